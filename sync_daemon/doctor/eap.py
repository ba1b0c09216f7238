"""What 802.1X shows its devices, judged: a certificate that has ended locks everybody out. Pure: octets in, finding out."""

from datetime import datetime, timedelta

from sync_daemon.doctor.findings import Finding, advice, good, wrong
from sync_daemon.eap_certificate import expires_at

TOPIC = "802.1X certificate"
WARNED_BEFORE_END = timedelta(days=30)
MEND = (
    "herotill freeradius install (it renews our own; yours: --eap-certificate and --eap-key), "
    "then systemctl restart freeradius"
)


def judge_certificate(certificate_pem: bytes | None, now: datetime) -> Finding:
    """Judge the certificate FreeRADIUS was given; None is one that is not there."""
    try:
        end = expires_at(certificate_pem or b"")
    except ValueError:
        return wrong(TOPIC, "FreeRADIUS has none it could show, and does not start", MEND)
    if end <= now:
        return wrong(TOPIC, f"ended on {end:%Y-%m-%d}: devices that look at it do not log in", MEND)
    if end - now <= WARNED_BEFORE_END:
        return advice(TOPIC, f"ends on {end:%Y-%m-%d}; after that devices do not log in", MEND)
    return good(TOPIC, f"good until {end:%Y-%m-%d}")
