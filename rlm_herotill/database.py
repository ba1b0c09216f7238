"""PostgreSQL at packet time: one connection for statements, one that listens, and a deadline on everything.

A hook must never wait for a database that is slow, paused or gone. statement_timeout is the server's, and a stopped server
does not keep it, so every wait of libpq goes through a callback with a deadline of ours. Connections are made by the
background thread only; a hook finds one or is told Unavailable.
"""

import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions

CHANNELS = ("herotill_account", "herotill_nas", "herotill_usage")
CONNECT_SECONDS = 3.0
FIRST_CONNECTION_SECONDS = 0.5
"""Names are looked up, passwords proved, the machine is busy starting: whoever is refused meanwhile was refused for nothing.
A database that refuses to be connected to ends the wait at once, one that is silent takes this long from one request."""
HEARTBEAT_SECONDS = 2.0
RETRY_SECONDS = 0.5
PAUSE_SECONDS = 0.01
SERVER_SHARE_OF_TIMEOUT = 0.85

Execute = Callable[..., list[tuple[Any, ...]]]
"""Run a statement with its parameters and return the rows."""

_deadline = threading.local()


class Unavailable(Exception):  # noqa: N818 - a state of the world, not a mistake
    """The database did not answer in time, or there is no connection."""


def _wait_with_deadline(connection: Any) -> None:
    """Wait for libpq as psycopg2.extras.wait_select does, but no longer than this thread's deadline."""
    poller = select.poll()
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        left = getattr(_deadline, "at", 0.0) - time.monotonic()
        if left <= 0:
            raise Unavailable("the database did not answer in time")
        poller.register(
            connection.fileno(), select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT
        )
        poller.poll(left * 1000)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the background thread calls."""

    notified: Callable[[str, str, Execute], None]
    """Channel and payload of each notification."""
    connected: Callable[[Execute], None]
    """After every (re)connection, before it counts as healthy."""
    idle: Callable[[Execute], bool]
    """Between notifications; soon again while it returns True."""


class Database:
    """Statements with a deadline, and notifications."""

    def __init__(
        self,
        dsn: str,
        statement_timeout_ms: int,
        prepare: str,
        callbacks: Callbacks,
        log: Callable[[str], None],
    ) -> None:
        self._dsn = dsn
        self._timeout_seconds = statement_timeout_ms / 1000
        self._prepare = prepare
        self._callbacks = callbacks
        self._log = log
        self._connection: Any = None
        self._listening: Any = None
        self._ready = threading.Event()
        self._wake_descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._complained = False
        self._is_in_doubt = False  # a statement was not answered: perhaps nothing will be heard either
        self._thread: threading.Thread | None = None

    @property
    def is_listening(self) -> bool:
        """Whether changes in the database would be heard: only then may memory accept a login."""
        return self._listening is not None and not self._is_in_doubt

    def start(self) -> None:
        """Start the background thread. Called by the first request, never by instantiate, which `-C` runs too."""
        psycopg2.extensions.set_wait_callback(_wait_with_deadline)
        self._thread = threading.Thread(target=self._keep_connected, name="herotill-database", daemon=True)
        self._thread.start()

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows. Raises Unavailable within the statement timeout."""
        connection = self._take_connection()
        try:
            rows = _execute(connection, statement, parameters, self._timeout_seconds)
        except psycopg2.errors.QueryCanceled as error:
            self._give_back(connection)
            raise Unavailable(str(error).strip()) from error
        except (Unavailable, psycopg2.Error) as error:
            self._is_in_doubt = True
            self._discard(connection)
            raise Unavailable(str(error).strip()) from error
        except BaseException:
            # Nothing was sent: the parameters cannot be said in SQL.
            self._give_back(connection)
            raise
        self._give_back(connection)
        return rows

    def await_first_connection(self) -> None:
        """Give the connection a moment to come up, for the very first request only."""
        self._ready.wait(FIRST_CONNECTION_SECONDS)

    def _take_connection(self) -> Any:
        connection, self._connection = self._connection, None
        if connection is None:
            raise Unavailable("there is no connection to the database")
        return connection

    def _give_back(self, connection: Any) -> None:
        if self._connection is None:
            self._connection = connection
        else:
            _close(connection)

    def _discard(self, connection: Any) -> None:
        _close(connection)
        self._wake()

    def _wake(self) -> None:
        os.eventfd_write(self._wake_descriptor, 1)

    def _was_woken(self) -> bool:
        try:
            return os.eventfd_read(self._wake_descriptor) > 0
        except BlockingIOError:
            return False

    def _keep_connected(self) -> None:
        while not self._stopping:
            try:
                self._connect_and_listen()
            except Exception as error:
                # Whatever it was: a thread that is gone while memory counts as fresh would accept for ever.
                self._stop_listening()
                if not self._complained and not self._stopping:
                    self._log(f"the database is not available, retrying: {str(error).strip()}")
                    self._complained = True
                self._ready.set()
                self._wait_to_retry()
        self._stop_listening()
        self._replace_connection(None)

    def _wait_to_retry(self) -> None:
        select.select([self._wake_descriptor], [], [], RETRY_SECONDS)
        self._was_woken()

    def _connect_and_listen(self) -> None:
        listening = self._connect("herotill listen", HEARTBEAT_SECONDS)
        try:
            for channel in CHANNELS:
                _execute(listening, f"LISTEN {channel}", (), CONNECT_SECONDS)
            self._callbacks.connected(_executor(listening))
            self._connect_for_hooks()
        except BaseException:
            _close(listening)
            raise
        self._listening, self._complained, self._is_in_doubt = listening, False, False
        self._ready.set()
        self._listen(listening)

    def _connect_for_hooks(self) -> None:
        # The server gives up first, where it is only slow: then the connection is sound.
        connection = self._connect("herotill packet time", self._timeout_seconds * SERVER_SHARE_OF_TIMEOUT)
        try:
            _execute(connection, self._prepare, (), CONNECT_SECONDS)
        except BaseException:
            _close(connection)
            raise
        self._replace_connection(connection)

    def _connect(self, application_name: str, statement_timeout_seconds: float) -> Any:
        _deadline.at = time.monotonic() + CONNECT_SECONDS
        connection = psycopg2.connect(self._dsn, application_name=application_name)
        connection.autocommit = True
        milliseconds = int(statement_timeout_seconds * 1000)
        _execute(
            connection,
            # Compiling a statement that reads a dozen rows takes longer than reading them.
            f"SET statement_timeout = {milliseconds}; SET TimeZone = 'UTC'; SET jit = off",
            (),
            CONNECT_SECONDS,
        )
        return connection

    def _listen(self, listening: Any) -> None:
        execute = _executor(listening)
        poller = select.poll()
        poller.register(listening.fileno(), select.POLLIN)
        poller.register(self._wake_descriptor, select.POLLIN)
        while not self._stopping:
            self._hear(listening, execute)
            has_more = self._callbacks.idle(execute)
            # What came with the answer to a statement does not make the socket readable again.
            self._hear(listening, execute)
            if poller.poll((PAUSE_SECONDS if has_more else HEARTBEAT_SECONDS / 2) * 1000):
                listening.poll()
            elif not has_more:
                _execute(listening, "SELECT 1", (), HEARTBEAT_SECONDS)
            if self._was_woken() and not self._stopping:
                _execute(listening, "SELECT 1", (), HEARTBEAT_SECONDS)
                self._hear(listening, execute)
                self._connect_for_hooks()
                self._is_in_doubt = False

    def _hear(self, listening: Any, execute: Execute) -> None:
        while listening.notifies:
            notification = listening.notifies.pop(0)
            self._callbacks.notified(notification.channel, notification.payload, execute)

    def _stop_listening(self) -> None:
        """Close what listens only: the hooks' own connection may be sound, and then memory is not needed."""
        listening, self._listening = self._listening, None
        if listening is not None:
            _close(listening)

    def _replace_connection(self, connection: Any) -> None:
        replaced, self._connection = self._connection, connection
        if replaced is not None:
            _close(replaced)

    def stop(self) -> None:
        """End the background thread and close both connections."""
        self._stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join(HEARTBEAT_SECONDS * 2)


def _executor(connection: Any) -> Execute:
    def execute(statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return _execute(connection, statement, parameters, CONNECT_SECONDS)

    return execute


def _execute(
    connection: Any, statement: str, parameters: Sequence[Any], timeout_seconds: float
) -> list[tuple[Any, ...]]:
    _deadline.at = time.monotonic() + timeout_seconds
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description is not None else []


def _close(connection: Any) -> None:
    with contextlib.suppress(psycopg2.Error):
        connection.close()


def changed_accounts(payload: str) -> list[str] | None:
    """Return the account names of a notification; None means any of them may have changed."""
    if not payload:
        return None
    names = json.loads(payload)
    return names if isinstance(names, list) else None
