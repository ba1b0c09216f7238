"""A database connection in an asyncio loop: NOTIFY arrives in the loop, statements run in one thread.

psycopg2 connections are synchronous; while a statement runs the loop keeps its hands off the connection, and what was
notified meanwhile is found when it ends.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

P = ParamSpec("P")
T = TypeVar("T")


class WatchedConnection:
    """Calls `on_news` when PostgreSQL notified or the connection broke. One statement at a time."""

    def __init__(
        self, connection: Connection, thread: ThreadPoolExecutor, on_news: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._on_news = on_news
        self._loop = asyncio.get_running_loop()
        self._descriptor = connection.fileno()
        self._lost: psycopg2.Error | None = None
        self._loop.add_reader(self._descriptor, self._readable)

    async def run(
        self, statement: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function of the connection in the thread; raises psycopg2.Error, also for a loss seen earlier."""
        if self._lost is not None:
            raise self._lost
        self._loop.remove_reader(self._descriptor)
        result = await self._loop.run_in_executor(
            self._thread, partial(statement, self._connection, *args, **kwargs)
        )
        self._loop.add_reader(self._descriptor, self._readable)
        self._tell_notifications()
        return result

    def break_off(self) -> None:
        """Make a statement that hangs (a paused server, a dead network) fail now; for the end of the process only."""
        with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as same_connection:
            same_connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop watching and close the connection, broken or not."""
        self._loop.remove_reader(self._descriptor)
        self._connection.close()

    def _readable(self) -> None:
        try:
            self._connection.poll()
        except psycopg2.Error as error:
            self._lost = error
            self._loop.remove_reader(self._descriptor)
            self._on_news()
            return
        self._tell_notifications()

    def _tell_notifications(self) -> None:
        if self._connection.notifies:
            self._connection.notifies.clear()
            self._on_news()
