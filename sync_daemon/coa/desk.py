"""The requests a worker holds: those in flight and the results to be written. Survives the loss of a connection."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sync_daemon.coa import closing, outbox
from sync_daemon.coa.client import DynamicAuthorizationClient
from sync_daemon.coa.exchange import Exchange
from sync_daemon.coa.health import NasHealth
from sync_daemon.coa.nas_targets import NasTarget, find_nases
from sync_daemon.coa.outbox import AttemptRecord, DueRequest
from sync_daemon.coa.packets import Ignored, Unsendable
from sync_daemon.coa.ports import IpAddress
from sync_daemon.coa.serving import ServingSettings
from sync_daemon.coa.verdicts import AddressedRequest, address_request, attempt_record, failed_record
from sync_daemon.coa.watched import WatchedConnection

BEGUN_AT_ONCE = 25
CONTENTION_SECONDS = 0.05  # another worker is just taking what is due; look again, but do not spin

QUIET_STATES = ("acked", "confirmed", "gone", "superseded")

logger = logging.getLogger(__name__)


class Desk:
    """Takes rows, has them sent, writes results. `on_result` is called when there is something to write."""

    def __init__(
        self, client: DynamicAuthorizationClient, settings: ServingSettings, on_result: Callable[[], None]
    ) -> None:
        self._client = client
        self._settings = settings
        self._on_result = on_result
        self._held: dict[int, DueRequest] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._backlog: Counter[IpAddress] = Counter()
        self._unwritten: list[AttemptRecord] = []
        self._beginning: asyncio.Task[None] | None = None
        self._health = NasHealth()
        self._awaits_accounting = True  # what another daemon left may await it too
        self._renew_at = 0.0
        self._watch_at = 0.0
        self._reopen_at = 0.0
        self._report_at = 0.0
        self._reported: Counter[Ignored] = Counter()

    @property
    def busy(self) -> bool:
        """Whether requests are in flight, or about to be."""
        return bool(self._tasks) or (self._beginning is not None and not self._beginning.done())

    @property
    def unwritten(self) -> int:
        """How many results are not in the database yet."""
        return len(self._unwritten)

    async def catch_up(self, database: WatchedConnection) -> None:
        """After a new connection: write and renew before anything is taken, or we would take our own rows again."""
        await self.write(database)
        self._renew_at = 0.0
        await self.renew_if_due(database)

    async def take(self, database: WatchedConnection) -> bool:
        """Take what is due and send it; return whether more may be due right now."""
        batch, lease_seconds = self._settings.batch, self._settings.lease_seconds
        rows = await database.run(outbox.take_due, batch, lease_seconds, self._full_nas_addresses())
        if not rows:
            return False
        targets = await database.run(find_nases, {row.nas_address for row in rows})
        self._health.learn(targets)
        await self._all_begun()
        self._beginning = asyncio.create_task(self._begin_all(rows, targets))
        return len(rows) == batch

    async def _begin_all(self, rows: Sequence[DueRequest], targets: Mapping[IpAddress, NasTarget]) -> None:
        """Begin what was taken, while more is being taken."""
        for number, row in enumerate(rows):
            self._begin(row, targets.get(row.nas_address))
            if number % BEGUN_AT_ONCE == BEGUN_AT_ONCE - 1:
                await asyncio.sleep(0)  # let answers be read, or they seem to come late

    async def _all_begun(self) -> None:
        beginning, self._beginning = self._beginning, None
        if beginning is not None:
            await beginning

    async def write(self, database: WatchedConnection) -> None:
        """Write all results there are; those that could not be written stay."""
        records = tuple(self._unwritten)
        if records:
            await database.run(outbox.record_results, records)
            del self._unwritten[: len(records)]
            self._awaits_accounting |= any(record.state == "acked" for record in records)
        marks = self._health.changes()
        if marks:
            await database.run(closing.mark_nases, marks)
            self._health.written(marks)

    async def watch_if_due(self, database: WatchedConnection) -> None:
        """Look what the accounting shows of what was acknowledged, and whether something goes on that should not."""
        now = asyncio.get_running_loop().time()
        if self._awaits_accounting and now >= self._watch_at:
            self._watch_at = now + self._settings.watch_seconds
            confirmed = await database.run(closing.confirm)
            self._awaits_accounting = confirmed.awaits_more
            unknown = self._health.confirmed(confirmed.nas_addresses)
            if unknown:
                self._health.learn(await database.run(find_nases, unknown))
                self._health.confirmed(unknown)
        if now >= self._reopen_at:
            self._reopen_at = now + self._settings.reopen_seconds
            await database.run(closing.reopen, self._settings.reopen_after_seconds)

    async def renew_if_due(self, database: WatchedConnection) -> None:
        """Renew the lease of all that is in flight or waits for its NAS, every third of a lease."""
        now = asyncio.get_running_loop().time()
        if self._held and now >= self._renew_at:
            lease_seconds = self._settings.lease_seconds
            await database.run(outbox.renew_leases, tuple(self._held.values()), lease_seconds)
            self._renew_at = now + lease_seconds / 3

    async def seconds_to_wait(self, database: WatchedConnection) -> float:
        """Return how long nothing is to be done unless there is news."""
        to_next = await database.run(outbox.seconds_to_next, self._full_nas_addresses())
        waits = [self._settings.poll_seconds]
        if to_next is not None:
            waits.append(max(to_next, CONTENTION_SECONDS))
        now = asyncio.get_running_loop().time()
        if self._held:
            waits.append(max(self._renew_at - now, 0.0))
        if self._awaits_accounting:
            waits.append(max(self._watch_at - now, 0.0))
        return min(waits)

    async def put_back(self, database: WatchedConnection) -> None:
        """Write what is known and return to the outbox what is still unanswered."""
        await self.abandon()
        await self.write(database)
        if self._held:
            await database.run(outbox.put_back, tuple(self._held.values()))
            logger.info("Unanswered requests were put back.", extra={"requests": len(self._held)})
            self._held.clear()

    async def abandon(self) -> None:
        """End all exchanges now; what is held stays held until it is put back or its lease ends."""
        self._client.hold()
        await self._all_begun()
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def report_ignored(self) -> None:
        """Log, now and then, how many datagrams were not taken for answers, and why. Never what was in them."""
        now = asyncio.get_running_loop().time()
        if now < self._report_at or self._client.ignored == self._reported:
            return
        new = self._client.ignored - self._reported
        logger.warning("Datagrams were ignored.", extra={reason.name.lower(): new[reason] for reason in new})
        self._reported = self._client.ignored.copy()
        self._report_at = now + self._settings.report_ignored_seconds

    def _full_nas_addresses(self) -> list[IpAddress]:
        return [address for address, held in self._backlog.items() if held >= self._settings.nas_backlog]

    def _begin(self, due: DueRequest, target: NasTarget | None) -> None:
        if due.coa_request_id in self._tasks:  # our lease had run out; it is ours again and still in flight
            self._held[due.coa_request_id] = due
            return
        addressed = address_request(due, target)
        if isinstance(addressed, AttemptRecord):
            self._note(due, addressed, target)
            return
        self._held[due.coa_request_id] = due
        self._backlog[due.nas_address] += 1
        task = asyncio.create_task(self._attempt(due.coa_request_id, addressed))
        self._tasks[due.coa_request_id] = task
        task.add_done_callback(partial(self._end, due))

    async def _attempt(self, coa_request_id: int, addressed: AddressedRequest) -> None:
        exchange = await self._client.exchange(addressed.request)
        held = self._held.pop(coa_request_id)
        record = attempt_record(held, addressed, exchange, self._settings)
        self._note(held, record, addressed.nas, exchange)

    def _end(self, due: DueRequest, task: asyncio.Task[None]) -> None:
        del self._tasks[due.coa_request_id]
        self._backlog[due.nas_address] -= 1
        if self._backlog[due.nas_address] == 0:
            del self._backlog[due.nas_address]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._held.pop(due.coa_request_id, None)
            reason = Unsendable(f"a fault in HeroTill ({type(error).__name__})")
            self._note(due, failed_record(due, reason))
            logger.error("A request failed by a fault of ours.", exc_info=error)

    def _note(
        self,
        due: DueRequest,
        record: AttemptRecord,
        nas: NasTarget | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self._unwritten.append(record)
        if nas is not None:
            self._health.note(due, record, nas)
        self._on_result()
        level = logging.INFO if record.state in QUIET_STATES else logging.WARNING
        logger.log(level, record.outcome, extra=_fields_of(due, record, exchange))


def _fields_of(due: DueRequest, record: AttemptRecord, exchange: Exchange | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "request": due.coa_request_id,
        "reason": due.reason,
        "username": due.username,
        "nas_address": str(due.nas_address),
        "state": record.state,
        "error_cause": record.error_cause,
    }
    if exchange is not None and exchange.sent_at is not None and due.caused_at is not None:
        fields["reaction_milliseconds"] = (exchange.sent_at - due.caused_at).total_seconds() * 1000
    return fields
