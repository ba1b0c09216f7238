"""`herotill freeradius`: our configuration into FreeRADIUS and out of it; a private instance."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from herotill.errors import InvalidValue, Refused
from sync_daemon.cli.application import Application, pass_application

if TYPE_CHECKING:
    from sync_daemon.eap_certificate import ServerCertificate
    from sync_daemon.freeradius_install import Plan
    from sync_daemon.freeradius_install_render import Listening, PacketTimeValues

# Why: freeradius_config/radiusd.conf, where our own instance has it so.
RADIUSD_ADVICE = "max_requests = 131072; in thread pool, start_servers, max_servers and max_spare_servers = 1"
DEBIAN_RADDB = Path("/etc/freeradius/3.0")
TRUST_IT = (
    "802.1X shows a certificate of our own making. Tell every device to trust {authority} alone, and the server name "
    "'{name}': a device that trusts anybody gives its password to anybody."
)

raddb_option = click.option(
    "--raddb",
    type=click.Path(path_type=Path),
    default=DEBIAN_RADDB,
    show_default=True,
    help="FreeRADIUS's directory.",
)
_auth_port = click.option("--auth-port", default=1812, show_default=True, help="For Access-Requests.")
_acct_port = click.option("--acct-port", default=1813, show_default=True, help="For Accounting-Requests.")
_addresses = click.option("--address", "addresses", multiple=True, help="To listen on; may be repeated.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would change.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_message_authenticator = click.option(
    "--require-message-authenticator/--allow-unsigned",
    "is_signed",
    default=None,
    help="Drop Access-Requests without Message-Authenticator (CVE-2024-3596); default as installed, else drop.",
)
_eap = click.option(
    "--eap/--no-eap",
    "has_eap",
    default=None,
    help="Also 802.1X: EAP-MD5, PEAP and EAP-TTLS. Default: as it was, at first without.",
)
_eap_certificate = click.option(
    "--eap-certificate",
    type=click.Path(path_type=Path),
    help="What the tunnels show, with those above it, in PEM. Default: as it was, at first one of an authority made here.",
)
_eap_key = click.option("--eap-key", type=click.Path(path_type=Path), help="Its private key, in PEM.")


class Chosen(TypedDict):
    """What both kinds of installation let the operator choose."""

    addresses: tuple[str, ...]
    auth_port: int
    acct_port: int
    is_signed: bool | None
    has_eap: bool | None
    eap_certificate: Path | None
    eap_key: Path | None


@click.group()
def freeradius() -> None:
    """Put our configuration into FreeRADIUS, or take it out."""


@freeradius.command()
@raddb_option
@_auth_port
@_acct_port
@_addresses
@_message_authenticator
@_eap
@_eap_certificate
@_eap_key
@_dry_run
@_yes
@pass_application
def install(
    application: Application, /, raddb: Path, dry_run: bool, yes: bool, **chosen: Unpack[Chosen]
) -> None:
    """Write our files into raddb, file by file as announced, and let FreeRADIUS check them."""
    from sync_daemon import freeradius_install_apply as apply  # noqa: PLC0415 - slow to import
    from sync_daemon.freeradius_install_probe import refuse_closed_path  # noqa: PLC0415
    from sync_daemon.freeradius_install_render import installed_entries  # noqa: PLC0415

    values = _values(application, chosen, ("*", "::"), raddb, is_rehearsal=dry_run)
    installation = apply.Installation(raddb)
    plan = installation.plan(installed_entries(values))
    if not _is_agreed(plan, dry_run=dry_run, yes=yes):
        return
    _refuse_unless_root(raddb)
    ours = () if values.dialects_directory is None else (values.dialects_directory,)
    refuse_closed_path((*values.python_path, *ours), raddb)
    apply.prepare_journal(values.journal_directory, raddb)
    installation.apply(plan, apply.check_with_freeradius)
    click.echo(f"FreeRADIUS has checked it. For speed, in {raddb}/radiusd.conf: {RADIUSD_ADVICE}.")
    click.echo("Next: systemctl restart freeradius")


@freeradius.command()
@raddb_option
@_dry_run
@_yes
@pass_application
def uninstall(application: Application, raddb: Path, dry_run: bool, yes: bool) -> None:  # noqa: ARG001
    """Bring every file we touched back to what it was, byte for byte."""
    from sync_daemon import freeradius_install_apply as apply  # noqa: PLC0415 - slow to import

    installation = apply.Installation(raddb)
    plan = installation.plan_removal()
    if _is_agreed(plan, dry_run=dry_run, yes=yes):
        _refuse_unless_root(raddb)
        installation.apply(plan, None)
        click.echo("Everything is as it was before. Next: systemctl restart freeradius")


@freeradius.command()
@click.option("--directory", type=click.Path(path_type=Path), required=True, help="Everything goes below it.")
@_auth_port
@_acct_port
@_addresses
@_message_authenticator
@_eap
@_eap_certificate
@_eap_key
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Threads of FreeRADIUS. One is fastest, unless EAP with TLS is most of the work.",
)
@pass_application
def private(application: Application, /, directory: Path, threads: int, **chosen: Unpack[Chosen]) -> None:
    """Make a FreeRADIUS of your own: no root, nothing of /etc/freeradius, started by you."""
    from sync_daemon import freeradius_install_apply as apply  # noqa: PLC0415 - slow to import
    from sync_daemon import freeradius_install_probe as probe  # noqa: PLC0415

    directory = directory.expanduser().absolute()
    values = _values(application, chosen, ("127.0.0.1", "::1"), directory / "raddb")
    values = replace(values, threads=threads)
    plan = apply.install_private(directory, values)
    for change in plan.changes:
        click.echo(change.sentence)
    reason = apply.check_with_freeradius(directory / "raddb")
    if reason is not None:
        raise Refused(f"FreeRADIUS refuses the configuration: {reason}", "freeradius")
    click.echo(f"Start it: {probe.PROGRAM} -f -l {directory}/log/radius.log -d {directory}/raddb")


def _values(
    application: Application,
    chosen: Chosen,
    everywhere: tuple[str, str],
    raddb: Path,
    *,
    is_rehearsal: bool = False,
) -> "PacketTimeValues":
    from sync_daemon import freeradius_install_probe as probe  # noqa: PLC0415 - slow to import

    listening = _listening(chosen, everywhere if probe.has_ipv6() else everywhere[:1])
    probe.refuse_unsupported(probe.freeradius_version())
    probe.refuse_other_python()
    values = probe.values_from_settings(
        application.settings, listening, require_message_authenticator=_is_signed(chosen, raddb)
    )
    directory = application.state_directory / "eap"
    with _copied(directory) if is_rehearsal else nullcontext(directory) as place:
        certificate = _certificate(place, chosen, raddb)
    if certificate is not None and certificate.is_own:
        from sync_daemon.eap_certificate import SERVER_NAME  # noqa: PLC0415 - slow to import

        click.echo(TRUST_IT.format(authority=directory / "ca.pem", name=SERVER_NAME), err=True)
    return replace(values, eap=certificate)


def _is_signed(chosen: Chosen, raddb: Path) -> bool:
    """Whether unsigned requests are to be dropped: an upgrade does not silence routers that were allowed not to sign."""
    from sync_daemon.doctor.freeradius import requires_message_authenticator  # noqa: PLC0415 - slow to import

    if chosen["is_signed"] is not None:
        return chosen["is_signed"]
    return requires_message_authenticator(raddb) is not False


@contextmanager
def _copied(directory: Path) -> Iterator[Path]:
    """A copy to make certificates in, away from where they would last."""
    with tempfile.TemporaryDirectory() as somewhere:
        copy = Path(somewhere) / directory.name
        if directory.exists():
            shutil.copytree(directory, copy)
        yield copy


def _certificate(directory: Path, chosen: Chosen, raddb: Path) -> "ServerCertificate | None":
    """Return what the tunnels of 802.1X show, which is made in `directory`; None for an installation without."""
    from sync_daemon import eap_certificate  # noqa: PLC0415 - slow to import
    from sync_daemon.freeradius_install_render import EAP_LINK  # noqa: PLC0415

    certificate, key = chosen["eap_certificate"], chosen["eap_key"]
    if (certificate is None) != (key is None):
        raise InvalidValue("--eap-key", key, "a certificate comes with its key: give both, or neither")
    if certificate and chosen["has_eap"] is False:
        raise InvalidValue("--eap-certificate", certificate, "it goes with --eap")
    if certificate and key:
        return eap_certificate.operators_certificate(certificate, key, datetime.now(UTC))
    # islink says no where raddb may not be read; that is refused further on.
    if not (os.path.islink(raddb / EAP_LINK) if chosen["has_eap"] is None else chosen["has_eap"]):  # noqa: PTH114
        return None
    return eap_certificate.present_certificate(directory, raddb, datetime.now(UTC))


def _listening(chosen: Chosen, everywhere: tuple[str, ...]) -> "Listening":
    from sync_daemon.freeradius_install_render import Listening  # noqa: PLC0415 - slow to import

    return Listening(chosen["addresses"] or everywhere, chosen["auth_port"], chosen["acct_port"])


def _is_agreed(plan: "Plan", *, dry_run: bool, yes: bool) -> bool:
    for change in plan.changes:
        click.echo(change.sentence)
    if not plan.changes:
        click.echo("nothing to change")
    if dry_run:
        return False
    if plan.changes and not yes:
        click.confirm("Do this?", abort=True)
    return True


def _refuse_unless_root(raddb: Path) -> None:
    if not os.access(raddb, os.W_OK):
        raise Refused(f"{raddb} may not be written by you; run this as root", "freeradius")
