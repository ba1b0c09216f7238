"""The `herotill` command: one module per noun, loaded when it is used.

The noun `plan` is the click command `plan` in the module `sync_daemon.cli.plan`. Errors end as one line: exit status 1
when the rules refuse, 2 when a value is impossible, 3 when the database cannot be reached,
70 for a fault of ours.
"""

import importlib
import sys
import traceback
from keyword import iskeyword
from pathlib import Path
from typing import Any

import click

from herotill.errors import InvalidValue, Refused
from sync_daemon.cli.acting import check_may_type
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.completing import offer_names
from sync_daemon.cli.naming import as_typed, command_of
from sync_daemon.settings import FILE_NAME, default_state_directory

__all__ = ["Application", "main", "pass_application"]

# The noun, the module its command lives in, and the line `--help` shows without loading it.
NOUNS = {
    "init": ("init", "Make this machine ready: settings, database, schema."),
    "plan": ("plan", "What is sold."),
    "customer": ("customer", "People and companies in the books."),
    "import": ("import_command", "Enter customers from somebody else's CSV file."),
    "account": ("account", "What logs in: user name and secret."),
    "group": ("group", "Sets of customers and their pre-allocation."),
    "voucher": ("voucher", "Batches of codes."),
    "refill": ("refill", "Redeem a refill code for an account or ticket."),
    "sell": ("sell", "Sell a plan to an account."),
    "pay": ("pay", "Money that comes in, by hand and by gateways."),
    "invoice": ("invoice", "Bills."),
    "billing": ("billing", "How accounts are billed, and the billing run."),
    "ledger": ("ledger", "What was paid, sold and owed."),
    "report": ("report", "Sales, use, expenditure, who is online, what was cut and why."),
    "reseller": ("reseller", "Who sells for us to the customers of its own groups."),
    "topup": ("topup", "Give an account data or time for nothing."),
    "transfer": ("transfer", "Give unused data of one account to another."),
    "notice": ("notice", "When customers are told, and in which words."),
    "event": ("event", "What somebody outside is told, and how far that got."),
    "sessions": ("sessions", "Who is online."),
    "coa": ("coa", "What was asked of the routers about live sessions, and what came of it."),
    "explain": ("explain", "Why a user would be let in or refused, and what happened last."),
    "nas": ("nas", "The routers that may ask."),
    "sync": ("sync", "Compare the books with RADIUS, and make RADIUS what they say."),
    "status": ("status", "How the installation does at this moment."),
    "doctor": ("doctor", "Is this installation sound, and if not, what to do."),
    "freeradius": ("freeradius", "Put our configuration into FreeRADIUS, or take it out."),
    "database": (
        "database_commands",
        "The embedded PostgreSQL: start, stop, status, url; dividing a large one.",
    ),
    "serve": ("serve", "Run the daemon."),
    "service": ("service", "The daemon as a service of systemd."),
}


_COMMAND = "herotill.command"  # which one runs, in the context's meta


class CommandError(click.ClickException):
    """An expected outcome on its way out: one line and an exit status."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code  # type: ignore[misc] # click itself reads it from the instance


class NounGroup(click.Group):
    """Loads a noun's module when the noun is used, so that `herotill --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the nouns, in the order of a first day."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load the noun's command."""
        if cmd_name not in NOUNS:
            return None
        module = importlib.import_module(f"sync_daemon.cli.{NOUNS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name)
        offer_names(cmd_name, command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the noun; refuse what the actor may not use."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and ctx.params.get("actor"):
            check_may_type(ctx, command, rest)
        if command is not None:
            ctx.meta[_COMMAND] = command_of(command, ctx, rest)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the nouns without loading their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(noun, text) for noun, (_, text) in NOUNS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn expected errors into one line and an exit status."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
            raise CommandError(error.format_message().rstrip(".") + hint, 2) from None
        except (click.exceptions.Exit, click.Abort, click.ClickException, BrokenPipeError):
            raise  # nobody reads on (`herotill … | head`): click ends quietly, and what was not committed is rolled back
        except Exception as error:
            if ctx.params.get("verbose"):
                traceback.print_exc(file=sys.stderr)
            raise _as_command_error(error, ctx.meta.get(_COMMAND)) from None


def _as_command_error(error: Exception, command: click.Command | None) -> CommandError:
    if isinstance(error, InvalidValue):
        return CommandError(str(as_typed(error, command)), 2)
    if isinstance(error, Refused):
        return CommandError(str(error), 1)
    if (refusal := _refusal(error)) is not None:
        return CommandError(refusal, 3)
    if _is_database_down(error):
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        if _is_disk_full(error):
            return CommandError(f"nothing was changed: {reason} (make room on PostgreSQL's disk)", 3)
        return CommandError(
            f"the database does not answer: {reason} "
            "(embedded: `herotill database start`; your own: check billing_url and radius_url in the settings)",
            3,
        )
    return CommandError(
        f"unexpected {type(error).__name__}: {error} (a fault of ours; `herotill --verbose` shows where)", 70
    )


def _refusal(error: Exception) -> str | None:
    """What to do where the database is the wrong one, or we are the wrong one for it."""
    import psycopg2.errors  # noqa: PLC0415

    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg2.errors.InsufficientPrivilege):
        reason = str(cause).strip().splitlines()[0]
        return f"the database refuses: {reason}; use the URL of a role that may do this"
    if isinstance(cause, psycopg2.errors.ReadOnlySqlTransaction):
        return "this database is a replica, which only reads; use the URL of the primary"
    return None


def _is_disk_full(error: Exception) -> bool:
    import psycopg2.errors  # noqa: PLC0415

    return isinstance(getattr(error, "orig", None) or error, psycopg2.errors.DiskFull)


def _is_database_down(error: Exception) -> bool:
    # Imported here: an error path may be slow, `--help` may not.
    import psycopg2  # noqa: PLC0415
    import sqlalchemy.exc  # noqa: PLC0415

    return isinstance(error, psycopg2.OperationalError | sqlalchemy.exc.OperationalError)


@click.group(cls=NounGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--state", type=click.Path(path_type=Path), help="State directory (or HEROTILL_STATE).")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="HEROTILL_CONFIG",
    help=f"Settings file (or HEROTILL_CONFIG; else {FILE_NAME} in the state directory).",
)
@click.option(
    "--as",
    "actor",
    type=(click.Choice(["reseller"]), str),
    metavar="reseller NAME",
    help="Act as this reseller: see and serve its customers only, sell from its balance.",
)
@click.option("--verbose", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="herotill-radius", prog_name="herotill")
@click.pass_context
def main(
    ctx: click.Context, state: Path | None, config: Path | None, actor: tuple[str, str] | None, verbose: bool
) -> None:
    """Prepaid internet access, enforced where the packets are."""
    directory = (state or default_state_directory()).expanduser().absolute()
    reseller = None if actor is None else actor[1]
    application = Application(directory, config or directory / FILE_NAME, verbose, reseller)
    ctx.obj = application
    ctx.call_on_close(application.close)
