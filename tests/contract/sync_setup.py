"""What tests of `herotill sync` share: edits by hand, a second database, the worker as a thread, waiting."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg2
from click.testing import Result

from sync_daemon import database
from sync_daemon.reconcile import worker
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill

DEADLINE_SECONDS = 15.0


def ok(result: Result) -> str:
    """The command did it; return what it printed."""
    assert result.exit_code == 0, result.output
    return result.stdout


def by_hand(url: str, *statements: str) -> None:
    """As psql or daloRADIUS does it: nobody says who is writing."""
    connection = psycopg2.connect(url, application_name="psql")
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def ask(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement of ours."""
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll until it is so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        time.sleep(0.005)


def found_hostel(run: RunHerotill, *names: str) -> None:
    """A hostel with students; the first has bought something."""
    ok(run("group", "add", "hostel-a", "--allocation", "2GiB", "--period", "month"))
    ok(run("plan", "add", "p", "--price", "50", "--quota", "1GiB", "--valid-for", "30d"))
    for name in names:
        command = ("customer", "add", "--name", name, "--verified", "--group", "hostel-a", "--user", name)
        ok(run(*command, "--password-file", "-", stdin="secret-1\n"))
    ok(run("sell", "p", "--to", names[0]))


@contextmanager
def keeping(settings: Settings, pass_seconds: int = 3600) -> Iterator[None]:
    """The worker `reconcile`, at work and listening."""
    stop, failures = threading.Event(), []

    def work() -> None:
        try:
            worker.run(replace(settings, sync_pass_seconds=pass_seconds), stop)
        except BaseException as failure:
            failures.append(failure)
            raise

    thread = threading.Thread(target=work, name="reconcile")
    thread.start()
    try:
        listens = """
            SELECT count(*) > 0 FROM pg_stat_activity
            WHERE application_name = 'herotill reconcile listen' AND query LIKE 'LISTEN%%'
        """
        until(
            lambda: ask(database.billing_url(settings), listens) == [(True,)] or bool(failures), "listening"
        )
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
    assert not failures, failures
