"""What every command is given: the settings, the databases, the clock. Opened when asked for, not before."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from sync_daemon.settings import Settings, load_settings

# What is slow to import is imported where it is used: `herotill --help` needs none of it.
if TYPE_CHECKING:
    import sqlalchemy
    from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
    from rich.console import Console
    from sqlalchemy.orm import Session

    from billing.resellers import Seller


@dataclass(frozen=True)
class Application:
    """One run of the `herotill` command."""

    state_directory: Path
    config_path: Path
    verbose: bool = False
    reseller: str | None = None  # who is typing, if not the operator

    @cached_property
    def settings(self) -> Settings:
        """The settings of the installation, whose dialects this process then speaks.

        Raises Refused before `herotill init`, InvalidValue for a bad file.
        """
        from herotill.dialect import use_dialects  # noqa: PLC0415

        settings = load_settings(self.config_path, self.state_directory)
        use_dialects(settings.dialects_directory)
        return settings

    @cached_property
    def console(self) -> "Console":
        """Where tables are printed; without colour when nobody looks."""
        from rich.console import Console  # noqa: PLC0415

        return Console(highlight=False, soft_wrap=True)

    @cached_property
    def time_zone(self) -> ZoneInfo:
        """The operator's time zone, for dates typed in and shown."""
        return ZoneInfo(self.settings.time_zone)

    def now(self) -> datetime:
        """Return the present, aware and UTC."""
        return datetime.now(UTC)

    @contextmanager
    def billing_session(self) -> "Iterator[Session]":
        """Open the books for one transaction: committed at the end, rolled back on an exception.

        A reseller finds its own customers in it and nobody else's.
        """
        from sqlalchemy.orm import Session  # noqa: PLC0415

        from billing.confinement import confine  # noqa: PLC0415

        with Session(self._engine) as session, session.begin():
            seller = self.seller(session)
            if seller is not None:
                confine(session, seller)
            yield session

    def seller(self, session: "Session") -> "Seller | None":
        """Return the reseller that is typing. Raises InvalidValue for one that is not in the books."""
        from billing import resellers  # noqa: PLC0415

        return None if self.reseller is None else resellers.sign_in(session, self.reseller)

    @contextmanager
    def radius_connection(self) -> "Iterator[Connection]":
        """Open the schema radius for one transaction: committed at the end, rolled back on an exception."""
        from sync_daemon import database  # noqa: PLC0415

        database.ensure_running(self.settings)
        with database.transaction(database.radius_url(self.settings), "herotill") as connection:
            yield connection

    def close(self) -> None:
        """Close what was opened. Called once, when the command ends."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @cached_property
    def _engine(self) -> "sqlalchemy.Engine":
        from sync_daemon import database  # noqa: PLC0415

        database.ensure_running(self.settings)
        return database.billing_engine(
            self.settings, idle_in_transaction_milliseconds=database.PATIENT_MILLISECONDS
        )


pass_application = click.make_pass_decorator(Application)
