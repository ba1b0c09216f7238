"""The books on a real PostgreSQL, as the daemon's role sees them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import psycopg2.extensions
import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from sync_daemon import database

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

OpenBooks = Callable[[], AbstractContextManager[Session]]
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    def connect() -> psycopg2.extensions.connection:
        return database.connect(database_url, "test")

    made = sqlalchemy.create_engine("postgresql+psycopg2://", creator=connect)
    yield made
    made.dispose()


@pytest.fixture
def books(engine: sqlalchemy.Engine) -> OpenBooks:
    """`with books() as session:` is one transaction: committed at the end, rolled back on an exception."""
    return sessionmaker(engine, expire_on_commit=False).begin


@pytest.fixture
def ask(engine: sqlalchemy.Engine) -> Ask:
    """Ask the database in a transaction of its own: ask("SELECT … WHERE x = :x", x=1) -> rows as dicts."""

    def run(statement: str, **values: Any) -> list[dict[str, Any]]:
        with engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    return run


@pytest.fixture
def listening(database_url: str) -> Iterator[psycopg2.extensions.connection]:
    """A connection that hears herotill_account and herotill_coa."""
    connection = database.connect(database_url, "test", autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("LISTEN herotill_account; LISTEN herotill_coa")
    yield connection
    connection.close()
