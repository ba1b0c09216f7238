"""`herotill service`: the daemon as a service of systemd."""

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from herotill.errors import InvalidValue
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Output, output_options

if TYPE_CHECKING:
    from sync_daemon.service_install import FileChange, ServiceValues

COLUMNS = [Column("file"), Column("state")]
_SAYS = {
    "missing": "not installed",
    "kept": "installed",
    "other": "installed, differs",
    "foreign": "not ours",
}

_root_option = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    help="Below this directory, to build an image.",
)
_dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")


@click.group()
def service() -> None:
    """The daemon as a service of systemd."""


@service.command()
@click.option("--user", help="Who it runs as; default the owner of the settings file.")
@click.option("--show", is_flag=True, help="Print the files, and change nothing.")
@_root_option
@_dry_run_option
@pass_application
def install(application: Application, user: str | None, show: bool, root: Path, dry_run: bool) -> None:
    """Write units, sysusers and tmpfiles; as often as you like."""
    from sync_daemon import service_install  # noqa: PLC0415

    values = _values(application, user)
    changes = service_install.plan_install(service_install.files_of(values, root))
    if show:
        for change in changes:
            click.echo(f"# {change.path}\n{change.text}")
        return
    _carry_out(changes, dry_run)
    if dry_run:
        return
    _tell_systemd(
        root, [["systemd-sysusers"], ["systemd-tmpfiles", "--create"], ["systemctl", "daemon-reload"]]
    )
    names = "herotill-database herotill" if application.settings.embedded else "herotill"
    click.echo(
        f"Next: `systemctl enable --now {names}`; then `systemctl status herotill`, `journalctl -u herotill`."
    )


@service.command()
@_root_option
@_dry_run_option
@pass_application
def uninstall(application: Application, root: Path, dry_run: bool) -> None:
    """Remove what install wrote; settings and data stay."""
    from sync_daemon import service_install  # noqa: PLC0415

    changes = service_install.plan_uninstall(service_install.files_of(_values(application, None), root), root)
    if not changes:
        click.echo("nothing of ours is installed")
        return
    if not dry_run:
        _tell_systemd(root, [["systemctl", "disable", "--now", "herotill.service"]])
    _carry_out(changes, dry_run)
    if not dry_run:
        _tell_systemd(root, [["systemctl", "daemon-reload"]])


@service.command()
@_root_option
@output_options
@pass_application
def status(application: Application, /, output: Output, root: Path) -> None:
    """Say which files are installed, and whether the units run."""
    from sync_daemon import service_install  # noqa: PLC0415

    wanted = service_install.files_of(_values(application, None), root)
    states = [(path, service_install.state_of(path, text)) for path, text in sorted(wanted.items())]
    rows = [
        {"file": str(path), "state": ", ".join(filter(None, (_SAYS[state], _activity(path, root))))}
        for path, state in states
    ]
    output.rows(rows, COLUMNS)
    if any(state != "kept" for _, state in states):
        raise click.exceptions.Exit(1)


def _values(application: Application, user: str | None) -> "ServiceValues":
    from sync_daemon import service_install  # noqa: PLC0415

    settings, config_path = application.settings, application.config_path.absolute()
    user = user or service_install.owner_of(config_path)
    if not re.fullmatch(r"[a-z_][a-z0-9_.-]{0,30}\$?|[0-9]+", user):
        raise InvalidValue("--user", user, "it is the name of a user of this system")
    command = service_install.command_line(config_path, settings.state_directory)
    return service_install.ServiceValues(user, command, settings, service_install.radius_group())


def _carry_out(changes: "list[FileChange]", dry_run: bool) -> None:
    from sync_daemon import service_install  # noqa: PLC0415

    for change in changes:
        done = "removed" if change.text is None else "kept   " if change.state == "kept" else "wrote  "
        would = (
            "would remove"
            if change.text is None
            else "would keep"
            if change.state == "kept"
            else "would write"
        )
        if not dry_run:
            service_install.carry_out(change)
        click.echo(f"{would if dry_run else done} {change.path}")


def _tell_systemd(root: Path, commands: list[list[str]]) -> None:
    if not _runs_here(root):
        click.echo("systemd does not run here: it reads the files when it starts")
        return
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            click.echo(f"{' '.join(command)}: {' '.join(done.stderr.split()) or done.returncode}", err=True)


def _activity(path: Path, root: Path) -> str:
    if path.suffix != ".service" or not _runs_here(root):
        return ""
    done = subprocess.run(("systemctl", "is-active", path.name), capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _runs_here(root: Path) -> bool:
    return root == Path("/") and Path("/run/systemd/system").is_dir()
