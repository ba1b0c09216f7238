"""The worker: is told of requests in the outbox, puts them to the NASes, and writes what became of them.

One asyncio loop keeps the UDP exchanges and watches the database connection; statements run in one thread, so that a
slow database delays no retransmission. Requests in flight and results not yet written outlive the connection.
Delivery is at least once: a worker killed between sending and writing leaves the request to the next one.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from sync_daemon.coa import outbox
from sync_daemon.coa.client import ClientSettings, DynamicAuthorizationClient
from sync_daemon.coa.desk import Desk
from sync_daemon.coa.serving import ServingSettings
from sync_daemon.coa.watched import WatchedConnection
from sync_daemon.database import connect, radius_url
from sync_daemon.settings import Settings

logger = logging.getLogger(__name__)


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve the outbox until `stop` is set; returns after what was in flight is written or put back."""
    url = radius_url(settings)
    client_settings = ClientSettings(source_address=settings.coa_source_address)
    asyncio.run(serve_outbox(lambda: connect(url, "herotill coa", autocommit=True), stop, client_settings))


async def serve_outbox(
    connect_to_radius: Callable[[], Connection],
    stop: threading.Event,
    client_settings: ClientSettings | None = None,
    serving_settings: ServingSettings | None = None,
) -> None:
    """Serve until `stop` is set, connecting again whenever the database goes away.

    `connect_to_radius` returns an autocommit connection and may raise psycopg2.Error.
    """
    dictionary = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call] # pyrad is untyped
    client = DynamicAuthorizationClient(dictionary, client_settings)
    server = OutboxServer(client, stop, serving_settings or ServingSettings())
    try:
        await server.serve(connect_to_radius)
    finally:
        await server.close()
        client.close()


class OutboxServer:
    """Keeps a connection, and over it the rhythm of take, write, renew and wait."""

    def __init__(
        self, client: DynamicAuthorizationClient, stop: threading.Event, settings: ServingSettings
    ) -> None:
        self._stop = stop
        self._settings = settings
        self._wake = asyncio.Event()
        self._desk = Desk(client, settings, self._wake.set)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="coa-database")
        self._stop_watcher = asyncio.create_task(self._watch_for_stop())
        self._database: WatchedConnection | None = None
        self._database_is_away = False

    async def serve(self, connect_to_radius: Callable[[], Connection]) -> None:
        """Serve over one connection after another until stopped."""
        pause_seconds = self._settings.reconnect_initial_seconds
        while not self._stop.is_set():
            try:
                await self._serve_once(connect_to_radius)
            except psycopg2.Error as error:
                pause_seconds = self._next_pause_seconds(pause_seconds, error)
                self._wake.clear()
                if not self._stop.is_set():
                    await self._sleep(pause_seconds)

    async def close(self) -> None:
        """Abandon what is still in flight and give thread and tasks back."""
        self._stop_watcher.cancel()
        await self._desk.abandon()
        self._thread.shutdown(wait=False)

    async def _serve_once(self, connect_to_radius: Callable[[], Connection]) -> None:
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(self._thread, connect_to_radius)
        self._database = database = WatchedConnection(connection, self._thread, self._wake.set)
        try:
            await database.run(outbox.listen)
            self._note_database_is_back()
            await self._desk.catch_up(database)
            while not self._stop.is_set():
                await self._turn(database)
            await self._finish(database)
        finally:
            self._database = None
            database.close()

    async def _turn(self, database: WatchedConnection) -> None:
        """Take, write and renew once, then wait for news: a NOTIFY, an answer, a due row, the end.

        While more is due, sending goes before writing: what is known is not lost by waiting, only by our death.
        """
        self._wake.clear()
        more_are_due = await self._desk.take(database)
        if not more_are_due or self._desk.unwritten >= self._settings.most_unwritten:
            await self._desk.write(database)
        await self._desk.renew_if_due(database)
        await self._desk.watch_if_due(database)
        self._desk.report_ignored()
        if not more_are_due and not self._wake.is_set():
            await self._sleep(await self._desk.seconds_to_wait(database))

    async def _finish(self, database: WatchedConnection) -> None:
        """Let what is in flight be answered for a few seconds, then put the rest back for others."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.stop_grace_seconds
        while self._desk.busy and loop.time() < deadline:
            self._wake.clear()
            await self._desk.renew_if_due(database)
            await self._sleep(min(deadline - loop.time(), self._settings.lease_seconds / 3))
        await self._desk.put_back(database)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    async def _watch_for_stop(self) -> None:
        """Wake the server when it is to stop, and do not let a database that hangs keep it from stopping."""
        while not self._stop.is_set():
            await asyncio.sleep(self._settings.stop_check_seconds)
        self._wake.set()
        await asyncio.sleep(self._settings.stop_grace_seconds + self._settings.stop_database_seconds)
        if self._database is not None:
            self._database.break_off()

    def _next_pause_seconds(self, pause_seconds: float, error: psycopg2.Error) -> float:
        if self._database_is_away:
            return min(pause_seconds * 2, self._settings.reconnect_maximum_seconds)
        self._database_is_away = True
        first_line = str(error).strip().partition("\n")[0]
        logger.warning(
            "The database cannot be used; disconnects wait until it can.",
            extra={"error": type(error).__name__, "detail": first_line},
        )
        return self._settings.reconnect_initial_seconds

    def _note_database_is_back(self) -> None:
        if self._database_is_away:
            self._database_is_away = False
            logger.info("The database can be used again.")
