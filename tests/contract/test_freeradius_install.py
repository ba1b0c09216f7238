"""Installing into a copy of Debian's own raddb, judged by FreeRADIUS: `freeradius -XC`."""

import os
import re
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync_daemon.doctor.freeradius import requires_message_authenticator
from sync_daemon.eap_certificate import SHOWN_CERTIFICATE, SHOWN_KEY, own_certificate
from sync_daemon.freeradius_install_apply import check_with_freeradius
from sync_daemon.freeradius_install_probe import freeradius_version, refuse_unsupported
from tests.conftest import RunHerotill

EAP, CERTIFICATE, KEY = "mods-enabled/herotill_eap", SHOWN_CERTIFICATE, SHOWN_KEY
# A user who may not read Debian's has a copy of it made by scripts/bootstrap.
STOCK_RADDB = Path(os.environ.get("HEROTILL_STOCK_RADDB", "/etc/freeradius/3.0"))


@pytest.fixture
def raddb(tmp_path: Path) -> Path:
    """Debian's raddb, without EAP (it wants the system's private key) and without switching user."""
    copy = tmp_path / "raddb"
    shutil.copytree(STOCK_RADDB, copy, symlinks=True, ignore=shutil.ignore_patterns("certs"))
    (copy / "mods-enabled/eap").unlink()
    (copy / "sites-enabled/inner-tunnel").unlink()
    main = copy / "radiusd.conf"
    text = re.sub(r"(?m)^\s*(user|group) = \w+$", "", main.read_text())
    text = text.replace("raddbdir = /etc/freeradius/3.0", f"raddbdir = {copy}")
    main.write_text(re.sub(r"(?m)^(logdir|run_dir) = .*$", rf"\1 = {tmp_path}", text))
    return copy


def _tree(directory: Path) -> dict[str, tuple[object, ...]]:
    tree: dict[str, tuple[object, ...]] = {}
    for path in directory.rglob("*"):
        status = path.lstat()
        content: object = str(path.readlink()) if path.is_symlink() else path.is_file() and path.read_bytes()
        mode = None if path.is_symlink() else status.st_mode
        tree[str(path.relative_to(directory))] = (content, mode, status.st_uid, status.st_gid)
    return tree


def test_install_says_what_it_does_and_uninstall_restores_every_byte(
    raddb: Path, run_herotill: RunHerotill, state: Path
) -> None:
    before = _tree(raddb)
    dry = run_herotill("freeradius", "install", "--raddb", str(raddb), "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert _tree(raddb) == before

    rehearsed = run_herotill("freeradius", "install", "--raddb", str(raddb), "--dry-run", "--eap")
    assert rehearsed.exit_code == 0, rehearsed.output
    assert not (state / "eap").exists()
    done = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes")
    assert done.exit_code == 0, done.output
    changed = {path for path, state in _tree(raddb).items() if before.get(path) != state}
    changed |= set(before) - set(_tree(raddb))
    announced = {line.split()[1] for line in dry.output.splitlines()}
    assert changed - {".herotill-manifest.json"} == announced
    assert check_with_freeradius(raddb) is None

    again = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes")
    assert "nothing to change" in again.output

    undone = run_herotill("freeradius", "uninstall", "--raddb", str(raddb), "--yes")
    assert undone.exit_code == 0, undone.output
    assert _tree(raddb) == before
    assert run_herotill("freeradius", "uninstall", "--raddb", str(raddb), "--yes").exit_code == 1


def test_unsigned_requests_are_dropped_unless_allowed_and_can_be_required_again(
    raddb: Path, run_herotill: RunHerotill
) -> None:
    said = []
    for options in ((), ("--allow-unsigned",), (), ("--require-message-authenticator",), ()):
        done = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes", *options)
        assert done.exit_code == 0, done.output
        said.append(requires_message_authenticator(raddb))
    # Who says nothing keeps what is there.
    assert said == [True, False, False, True, True]


def test_secrets_are_not_for_everybody(raddb: Path, run_herotill: RunHerotill) -> None:
    assert run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes").exit_code == 0
    assert stat.S_IMODE((raddb / "mods-available/herotill").stat().st_mode) == 0o640
    assert (raddb / "mods-available/herotill").stat().st_gid == raddb.stat().st_gid
    assert stat.S_IMODE((raddb / ".herotill-manifest.json").stat().st_mode) == 0o600


def test_a_failed_check_undoes_everything_and_says_why(raddb: Path, run_herotill: RunHerotill) -> None:
    (raddb / "sites-enabled/broken").write_text(
        "server broken {\n    authorize {\n        no_such_module\n    }\n}\n"
    )
    before = _tree(raddb)
    done = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes")
    assert done.exit_code == 1
    assert "no_such_module" in done.output
    assert _tree(raddb) == before


def test_a_file_edited_since_is_refused_and_named(raddb: Path, run_herotill: RunHerotill) -> None:
    assert run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes").exit_code == 0
    with (raddb / "sites-available/herotill").open("a") as site:
        site.write("# mine\n")
    for action in ("install", "uninstall"):
        done = run_herotill("freeradius", action, "--raddb", str(raddb), "--yes")
        assert done.exit_code == 1
        assert "sites-available/herotill" in done.output
    assert (raddb / "sites-available/herotill").read_text().endswith("# mine\n")


def test_nothing_is_written_without_a_yes(raddb: Path, run_herotill: RunHerotill) -> None:
    before = _tree(raddb)
    assert run_herotill("freeradius", "install", "--raddb", str(raddb), stdin="n\n").exit_code == 1
    assert _tree(raddb) == before


@pytest.mark.parametrize("arguments", [("--auth-port", "70000"), ("--address", "localhost")])
def test_impossible_values_exit_2(raddb: Path, run_herotill: RunHerotill, arguments: tuple[str, ...]) -> None:
    before = _tree(raddb)
    done = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes", *arguments)
    assert done.exit_code == 2
    assert arguments[0].strip("-") in done.output
    assert _tree(raddb) == before


def test_a_raddb_that_is_not_there_is_one_line(tmp_path: Path, run_herotill: RunHerotill) -> None:
    done = run_herotill("freeradius", "install", "--raddb", str(tmp_path / "none"), "--yes")
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 1


def test_a_private_instance_needs_nothing_of_the_systems(tmp_path: Path, run_herotill: RunHerotill) -> None:
    done = run_herotill("freeradius", "private", "--directory", str(tmp_path / "d"), "--auth-port", "11812")
    assert done.exit_code == 0, done.output
    assert "/etc/freeradius" not in (tmp_path / "d/raddb/radiusd.conf").read_text().split("\n", 2)[2]


def test_eap_is_there_when_asked_for_stays_and_goes_with_its_keys(
    raddb: Path, run_herotill: RunHerotill
) -> None:
    """The certificate outlives its removal, so that devices go on trusting it."""
    before = _tree(raddb)

    def install(*options: str) -> str:
        done = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes", *options)
        assert done.exit_code == 0, done.output
        return done.output

    install()
    assert not (raddb / EAP).is_symlink()
    told = install("--eap")
    assert "trust" in told
    assert "ca.pem" in told
    assert check_with_freeradius(raddb) is None
    assert stat.S_IMODE((raddb / KEY).stat().st_mode) == 0o640
    shown = (raddb / CERTIFICATE).read_bytes()

    assert "nothing to change" in install()
    assert (raddb / EAP).is_symlink()
    install("--no-eap")
    assert not (raddb / EAP).is_symlink()
    assert not (raddb / KEY).exists()
    install("--eap")
    assert (raddb / CERTIFICATE).read_bytes() == shown
    assert run_herotill("freeradius", "uninstall", "--raddb", str(raddb), "--yes").exit_code == 0
    assert {path: state for path, state in _tree(raddb).items() if path in before} == before
    assert not (raddb / KEY).exists()


def test_an_operators_certificate_is_taken_and_kept(
    raddb: Path, tmp_path: Path, run_herotill: RunHerotill
) -> None:
    mine = own_certificate(tmp_path / "mine", datetime.now(UTC))
    pair = (
        "--eap-certificate",
        str(tmp_path / "mine/server.pem"),
        "--eap-key",
        str(tmp_path / "mine/server.key"),
    )
    done = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes", *pair)
    assert done.exit_code == 0, done.output
    assert (raddb / CERTIFICATE).read_bytes() == mine.certificate_pem

    again = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes")
    assert "nothing to change" in again.output
    assert "of our own making" not in again.output


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--eap-certificate", "server.pem"), "eap-key"),
        (("--no-eap", "--eap-certificate", "server.pem", "--eap-key", "server.key"), "eap-certificate"),
        (("--eap-certificate", "server.pem", "--eap-key", "ca.key"), "eap-key"),
        (("--eap-certificate", "server.key", "--eap-key", "server.key"), "eap-certificate"),
        (("--eap-certificate", "none.pem", "--eap-key", "server.key"), "none.pem"),
    ],
)
def test_certificates_that_cannot_be_used_exit_2(
    raddb: Path, tmp_path: Path, run_herotill: RunHerotill, options: tuple[str, ...], named: str
) -> None:
    before = _tree(raddb)
    own_certificate(tmp_path / "mine", datetime.now(UTC))
    here = [option if option.startswith("--") else str(tmp_path / "mine" / option) for option in options]
    done = run_herotill("freeradius", "install", "--raddb", str(raddb), "--yes", *here)
    assert done.exit_code == 2, done.output
    assert named in done.output
    assert len(done.output.splitlines()) == 1
    assert _tree(raddb) == before


def test_this_freeradius_is_supported() -> None:
    refuse_unsupported(freeradius_version())
