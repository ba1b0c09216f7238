"""802.1X by eapol_test, against a real FreeRADIUS: who is let in, with what, and metered to whom."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from herotill.journal import LOGIN, Record, decode_lines
from herotill.snapshot import AccountKind
from sync_daemon.eap_certificate import own_certificate
from sync_daemon.settings import Settings
from tests.contract.coa_fake_nas import wait_until
from tests.integration.conftest import NAS_SECRET
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp
from tests.integration.radclient import ask

EAPOL_TEST = shutil.which("eapol_test", path="/usr/bin:/usr/sbin:/usr/local/bin")
MAC = "02:00:00:00:00:01"
PATIENCE_SECONDS = 30

pytestmark = pytest.mark.skipif(EAPOL_TEST is None, reason="eapol_test is missing: apt install eapoltest")

MD5 = {"eap": "MD5"}
PEAP = {"eap": "PEAP", "phase2": '"auth=MSCHAPV2"', "anonymous_identity": '"anonymous@isp.example"'}
TTLS_PAP = {"eap": "TTLS", "phase2": '"auth=PAP"', "anonymous_identity": '"anonymous@isp.example"'}
TTLS_MSCHAPV2 = {**TTLS_PAP, "phase2": '"auth=MSCHAPV2"'}
TTLS_EAP = {**TTLS_PAP, "phase2": '"autheap=MSCHAPV2"'}
METHODS = {
    "md5": MD5,
    "mschapv2": {"eap": "MSCHAPV2"},
    "peap": PEAP,
    "ttls-pap": TTLS_PAP,
    "ttls-mschapv2": TTLS_MSCHAPV2,
    "ttls-eap-mschapv2": TTLS_EAP,
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
TUNNELS = {name: method for name, method in METHODS.items() if "anonymous_identity" in method}
every_tunnel = pytest.mark.parametrize("method", TUNNELS.values(), ids=TUNNELS)


@dataclass(frozen=True)
class Conversation:
    """What eapol_test saw."""

    output: str

    @property
    def is_accepted(self) -> bool:
        return self.output.rstrip().endswith("SUCCESS")

    @property
    def accept(self) -> dict[str, list[str]]:
        """The attributes of the last reply, by the number eapol_test shows, as text."""
        last = self.output.rsplit("RADIUS message: code=", 1)[1]
        found: dict[str, list[str]] = {}
        for number, value in re.findall(r"Attribute (\d+) \([^)]*\) length=\d+\n\s+Value: (.*)", last):
            found.setdefault(number, []).append(value)
        return found


@dataclass(frozen=True)
class Supplicant:
    """A device at a port of the NAS 127.0.0.1."""

    server: Freeradius
    directory: Path
    authority: Path

    def connect(
        self,
        method: dict[str, str],
        user: str = "student-1",
        password: str = PASSWORD,
        mac: str = MAC,
        again: int = 0,
    ) -> Conversation:
        network = {
            "key_mgmt": "IEEE8021X",
            "identity": f'"{user}"',
            "password": f'"{password}"',
            "ca_cert": f'"{self.authority}"',
        } | method
        lines = "".join(f"  {name}={value}\n" for name, value in network.items())
        configuration = self.directory / "supplicant.conf"
        configuration.write_text(f"network={{\n{lines}}}\n")
        assert EAPOL_TEST is not None
        command = [EAPOL_TEST, "-c", str(configuration), "-a", "127.0.0.1", "-p", str(self.server.auth_port)]
        command += ["-s", NAS_SECRET, "-M", mac, "-t", str(PATIENCE_SECONDS), "-A", "127.0.0.1"]
        command += ["-r", str(again)]
        # EAP-MD5 makes no keys.
        command += ["-n"] if method is MD5 else []
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS, check=False
        )
        return Conversation(done.stdout)


@pytest.fixture
def isp(settings: Settings) -> Isp:
    isp = Isp(settings)
    isp.found_group("residents")
    isp.enrol("student-1", group="residents")
    isp.offer("gib", quota_octets=GIB, policy={"idle_timeout_seconds": 900, "max_sessions": 1})
    isp.sell("gib", "student-1")
    return isp


@pytest.fixture
def supplicant(tmp_path: Path, settings: Settings, nas_secret: str, isp: Isp) -> Iterator[Supplicant]:
    certificate = own_certificate(tmp_path / "eap", datetime.now(UTC))
    server = Freeradius(tmp_path / "freeradius", settings, nas_secret, eap=certificate)
    server.start()
    yield Supplicant(server, tmp_path, tmp_path / "eap/ca.pem")
    server.stop()


@every_method
def test_who_may_is_let_in_with_all_that_a_login_is_told(
    supplicant: Supplicant, isp: Isp, method: dict[str, str]
) -> None:
    conversation = supplicant.connect(method)
    assert conversation.is_accepted, conversation.output[-3000:]
    accept = conversation.accept
    assert accept["28"] == ["900"]
    assert len(accept["25"]) == len(accept["80"]) == 1
    assert "24" not in accept


@every_method
def test_a_wrong_password_is_refused_and_journalled_once(
    supplicant: Supplicant, method: dict[str, str]
) -> None:
    conversation = supplicant.connect(method, password="wrong")
    assert not conversation.is_accepted
    assert _journalled(supplicant) == [("student-1", False, "bad-credentials")]


@every_tunnel
def test_a_tunnel_is_decided_once_under_the_name_within(
    supplicant: Supplicant, method: dict[str, str]
) -> None:
    conversation = supplicant.connect(method)
    assert conversation.is_accepted, conversation.output[-3000:]
    assert conversation.accept["1"] == ["'student-1'"]
    assert _journalled(supplicant) == [("student-1", True, "accepted")]


@every_method
def test_r5_who_is_disabled_is_refused_whatever_the_method(
    supplicant: Supplicant, isp: Isp, method: dict[str, str]
) -> None:
    with isp.radius() as cursor:
        cursor.execute("UPDATE radius.managed_account SET status = 'disabled' WHERE username = 'student-1'")
    assert not supplicant.connect(method).is_accepted
    assert _journalled(supplicant) == [("student-1", False, "disabled")]


@every_method
def test_r15_an_empty_account_is_refused_whatever_the_method(
    supplicant: Supplicant, isp: Isp, method: dict[str, str]
) -> None:
    isp.enrol("student-2", group="residents", kind=AccountKind.PREPAID)
    conversation = supplicant.connect(method, "student-2")
    assert not conversation.is_accepted
    assert "decapsulated EAP packet (code=4" in conversation.output
    assert "18" not in conversation.accept
    assert [outcome[:2] for outcome in _journalled(supplicant)] == [("student-2", False)]


def test_a_tunnel_that_is_asked_to_be_taken_up_again_is_decided_anew(supplicant: Supplicant) -> None:
    """Resumption of TLS would let in without the password, and without a decision."""
    conversation = supplicant.connect(PEAP, again=1)
    assert conversation.is_accepted, conversation.output[-3000:]
    assert _journalled(supplicant) == 2 * [("student-1", True, "accepted")]


@every_method
def test_r6_a_second_device_is_refused_and_the_first_comes_again(
    supplicant: Supplicant, method: dict[str, str]
) -> None:
    assert supplicant.connect(method).is_accepted
    assert not supplicant.connect(method, mac="02:00:00:00:00:02").is_accepted
    assert supplicant.connect(method).is_accepted


@every_tunnel
def test_r13_who_has_expired_is_refused_and_the_time_left_is_told(
    supplicant: Supplicant, isp: Isp, method: dict[str, str]
) -> None:
    isp.enrol("student-3", group="residents")
    isp.offer("hour", quota_seconds=3600, quota_octets=GIB)
    isp.sell("hour", "student-3")
    conversation = supplicant.connect(method, "student-3")
    assert conversation.is_accepted, conversation.output[-3000:]
    assert conversation.accept["27"] == ["3600"]
    with isp.radius() as cursor:
        cursor.execute("UPDATE radius.entitlement SET expires_at = now() WHERE username = 'student-3'")
        cursor.execute("""SELECT pg_notify('herotill_account', '["student-3"]')""")
    # What was edited by hand is heard of a moment later.
    wait_until(lambda: not supplicant.connect(method, "student-3").is_accepted)
    told = _journalled(supplicant)
    assert (told[0], told[-1]) == (("student-3", True, "accepted"), ("student-3", False, "expired"))


def test_r6_only_the_devices_of_an_account_come_through_the_tunnel(supplicant: Supplicant, isp: Isp) -> None:
    isp.enrol("student-4", group="residents", policy={"bound_devices": MAC})
    isp.sell("gib", "student-4")
    assert not supplicant.connect(PEAP, "student-4", mac="02:00:00:00:00:02").is_accepted
    assert supplicant.connect(PEAP, "student-4").is_accepted
    assert _journalled(supplicant) == [("student-4", False, "other-device"), ("student-4", True, "accepted")]


def test_a_device_that_trusts_another_authority_gives_no_password_away(
    supplicant: Supplicant, tmp_path: Path
) -> None:
    own_certificate(tmp_path / "other", datetime.now(UTC))
    stranger = Supplicant(supplicant.server, tmp_path, tmp_path / "other/ca.pem")
    assert not stranger.connect(PEAP).is_accepted
    assert _journalled(supplicant) == []


def test_a_name_that_is_no_utf8_is_refused_within_a_tunnel_too(supplicant: Supplicant) -> None:
    assert not supplicant.connect(TTLS_PAP | {"identity": "ff61"}).is_accepted
    assert supplicant.connect(TTLS_PAP).is_accepted


def test_pap_is_answered_as_without_eap(supplicant: Supplicant) -> None:
    server = supplicant.server
    pairs = ("User-Name = student-1", f'User-Password = "{PASSWORD}"', "Message-Authenticator = 0x00")
    reply = ask("auth", server.auth_port, pairs, secret=NAS_SECRET)
    assert reply.code == "Access-Accept"


def _journalled(supplicant: Supplicant) -> list[tuple[str, bool, str]]:
    """Return who was answered how, as the journal has it; nothing of EAP may pass for unsigned (rule R33)."""
    directory = supplicant.server.settings.journal_directory
    records = [
        record
        for segment in sorted(directory.glob("*.journal"))
        for record in decode_lines(segment.read_bytes(), 0)
    ]
    assert all(isinstance(record, Record) and "unsigned" not in record.body for record in records)
    return [
        (record.body["user"], record.body["ok"], record.body["reason"])
        for record in records
        if isinstance(record, Record) and record.kind == LOGIN
    ]


@pytest.mark.parametrize("identifier", ["2e", "ae"])
def test_an_identifier_of_ms_chap_that_is_no_utf8_hides_no_wrong_password(
    supplicant: Supplicant, identifier: str
) -> None:
    """MS-CHAP-Error begins with it, and FreeRADIUS calls no Python hook for such a list (decision 0007)."""
    server = supplicant.server
    pairs = (
        "User-Name = student-1",
        f"MS-CHAP-Challenge = 0x{'11' * 16}",
        f"MS-CHAP2-Response = 0x{identifier}00{'22' * 48}",
        "Message-Authenticator = 0x00",
    )
    reply = ask("auth", server.auth_port, pairs, secret=NAS_SECRET)
    assert reply.code == "Access-Reject"
    is_told = (reply.get("MS-CHAP-Error") or "").endswith("M=Authentication rejected")
    assert is_told == (identifier < "80")
    assert _journalled(supplicant) == [("student-1", False, "bad-credentials")]
