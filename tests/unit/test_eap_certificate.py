"""The certificate of 802.1X: one authority for ever, a server's certificate that is renewed in time, an operator's own."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from herotill.errors import InvalidValue
from sync_daemon.doctor.eap import judge_certificate
from sync_daemon.doctor.findings import Health
from sync_daemon.eap_certificate import (
    SERVER_LASTS,
    SERVER_NAME,
    SHOWN_CERTIFICATE,
    SHOWN_KEY,
    operators_certificate,
    own_certificate,
    present_certificate,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority and a certificate of it, made at NOW."""
    directory = tmp_path_factory.mktemp("eap")
    own_certificate(directory, NOW)
    return directory


def show(raddb: Path, certificate: bytes, key: bytes) -> None:
    (raddb / SHOWN_CERTIFICATE).parent.mkdir(parents=True)
    (raddb / SHOWN_CERTIFICATE).write_bytes(certificate)
    (raddb / SHOWN_KEY).write_bytes(key)


def test_the_server_is_vouched_for_by_its_authority_which_comes_along(made: Path) -> None:
    shown = own_certificate(made, NOW)
    server, authority = x509.load_pem_x509_certificates(shown.certificate_pem)
    server.verify_directly_issued_by(authority)
    assert shown.expires_at == NOW + SERVER_LASTS
    assert shown.is_own


def test_a_strict_device_is_content_with_it(made: Path) -> None:
    """RFC 5280 and what browsers ask beyond it; Python 3.13 refuses a certificate without its authority's key identifier."""
    server, authority = x509.load_pem_x509_certificates(own_certificate(made, NOW).certificate_pem)
    device = (
        PolicyBuilder().store(Store([authority])).time(NOW).build_server_verifier(x509.DNSName(SERVER_NAME))
    )
    assert device.verify(server, []) == [server, authority]


def test_keys_are_nobody_elses(made: Path) -> None:
    assert {stat.S_IMODE((made / name).stat().st_mode) for name in ("ca.key", "server.key")} == {0o600}
    assert b"PRIVATE" not in repr(own_certificate(made, NOW)).encode()


def test_nothing_is_made_anew_before_its_time(made: Path) -> None:
    assert own_certificate(made, NOW + SERVER_LASTS - timedelta(days=61)) == own_certificate(made, NOW)


def test_a_certificate_that_ends_soon_is_renewed_by_the_same_authority(tmp_path: Path) -> None:
    before, authority = own_certificate(tmp_path, NOW), (tmp_path / "ca.pem").read_bytes()
    later = NOW + SERVER_LASTS - timedelta(days=59)
    after = own_certificate(tmp_path, later)
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert after.expires_at == later + SERVER_LASTS
    assert after.key_pem != before.key_pem


def test_an_operators_certificate_is_checked(made: Path, tmp_path: Path) -> None:
    assert not operators_certificate(made / "server.pem", made / "server.key", NOW).is_own
    with pytest.raises(InvalidValue, match="key of"):
        operators_certificate(made / "server.pem", made / "ca.key", NOW)
    with pytest.raises(InvalidValue, match="ended"):
        operators_certificate(made / "server.pem", made / "server.key", NOW + SERVER_LASTS)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InvalidValue, match="PEM"):
        operators_certificate(tmp_path / "empty", made / "server.key", NOW)
    with pytest.raises(InvalidValue, match="PEM"):
        operators_certificate(made / "server.pem", tmp_path / "empty", NOW)


def test_an_installation_goes_on_with_what_it_shows(made: Path, tmp_path: Path) -> None:
    mine = own_certificate(tmp_path / "mine", NOW)
    show(tmp_path / "theirs", mine.certificate_pem, mine.key_pem)
    assert present_certificate(made, tmp_path / "theirs", NOW).certificate_pem == mine.certificate_pem
    show(tmp_path / "ours", (made / "server.pem").read_bytes(), (made / "server.key").read_bytes())
    assert present_certificate(made, tmp_path / "ours", NOW).is_own
    assert present_certificate(made, tmp_path / "none", NOW).is_own


@pytest.mark.parametrize(
    ("days_left", "health"),
    [(31, Health.GOOD), (30, Health.ADVICE), (1, Health.ADVICE), (0, Health.WRONG), (-400, Health.WRONG)],
)
def test_doctor_tells_of_a_certificate_that_ends(made: Path, days_left: int, health: Health) -> None:
    now = NOW + SERVER_LASTS - timedelta(days=days_left)
    assert judge_certificate((made / "server.pem").read_bytes(), now).health is health


@pytest.mark.parametrize("certificate", [None, b"", b"-----BEGIN CERTIFICATE-----"])
def test_doctor_tells_of_a_certificate_that_is_none(certificate: bytes | None) -> None:
    assert judge_certificate(certificate, NOW).health is Health.WRONG
