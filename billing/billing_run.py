"""The billing run: cycles, bills, rollovers, automatic top-ups, suspensions and their undoing (rules R18, R23, R24).

It works in batches, a transaction each, and asks the books what is left to do: killed anywhere and run again it does the
rest, run twice it does nothing the second time. An advisory lock keeps two runs apart.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import repeat
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import usage_bills
from billing.billing_run_cycles import open_cycles, pause_and_go_on
from billing.billing_run_topups import TopUp, top_up
from billing.invoices import Paid
from billing.suspension import resume_all, settle_all, suspend_all, to_resume, to_suspend
from herotill.errors import Refused
from herotill.quantities import Money
from herotill.suspension import ENDED, UNPAID_BILL

SessionFactory = Callable[[], AbstractContextManager[Session]]
Progress = Callable[[str, int], None]
_Found = TypeVar("_Found")

BATCH_SIZE = 2000
TOPUPS_AT_ONCE = 50

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtext('herotill billing run'))")
# With two databases: up to when what was used is known here. What rolls over and what use costs waits for it, not longer.
_KNOWN_UNTIL = text("SELECT min(coalesce(returned_until, 'epoch')) FROM billing.region")
_COUNT_DUE = text("SELECT count(*) FROM billing.billing_profile WHERE next_cycle_at < :until")
# Whose balance may cover a bill that nobody has settled: normally nobody, for every payment settles. No join, so that no
# plan can be a bad one.
_UNSETTLED = text("""
    SELECT DISTINCT customer_id FROM (
        SELECT customer_id, currency, amount_minor AS fund, NULL AS owed FROM billing.ledger_posting
        WHERE customer_id IS NOT NULL
        UNION ALL
        SELECT customer_id, currency, amount_minor, amount_minor FROM billing.invoice JOIN billing.account USING (account_id)
        WHERE paid_at IS NULL AND voided_at IS NULL AND customer_id IS NOT NULL) AS money
    GROUP BY customer_id, currency HAVING sum(fund) >= min(owed)
    ORDER BY customer_id
""")
# A month may make tables many times as large before PostgreSQL has counted them again. In a batch every statement asks for
# few rows, by an index.
_STEADY_PLANS = text("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
_USUAL_PLANS = text("SET LOCAL enable_seqscan = on")


@dataclass(frozen=True, slots=True)
class Options:
    """How to run; `actor` is who is written down for it."""

    actor: str = "billing run"
    dry_run: bool = False
    batch_size: int = BATCH_SIZE
    looks_for_unsettled: bool = True  # whether bills may be covered that no payment has settled


@dataclass(frozen=True, slots=True)
class Line:
    """One thing the run did to one account."""

    what: str
    username: str
    detail: str = ""


@dataclass
class Report:
    """What a run did; with `is_dry_run`, what it would have done."""

    is_dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    billed: dict[str, int] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def add(self, what: str, usernames: Sequence[str], details: Iterable[object] = repeat("")) -> None:
        """Count what was done. Only a dry run keeps the lines: it is read, and a real one may have many."""
        if usernames:
            self.counts[what] += len(usernames)
        if self.is_dry_run:
            pairs = zip(usernames, details, strict=False)
            self.lines.extend(Line(what, username, str(detail)) for username, detail in pairs)

    def add_bills(self, amounts: Iterable[Money]) -> None:
        """Add up what was billed, in minor units of each currency."""
        for amount in amounts:
            self.billed[amount.currency] = self.billed.get(amount.currency, 0) + amount.minor


@dataclass(frozen=True, slots=True)
class _Run:
    open_books: SessionFactory
    until: datetime
    now: datetime
    options: Options
    report: Report
    progress: Progress

    @contextmanager
    def batch(self) -> Iterator[Session]:
        """Open the transaction of one batch."""
        with self.open_books() as session:
            session.execute(_STEADY_PLANS)
            yield session
            session.execute(_USUAL_PLANS)  # a dry run goes on in the same transaction


def run(
    open_books: SessionFactory,
    until: datetime,
    now: datetime,
    *,
    options: Options = Options(),
    progress: Progress = lambda _step, _done: None,
) -> Report:
    """Do what is due before `until`. `open_books` opens a transaction that is committed at the end of its block.

    A dry run does everything and takes it back; it may look ahead, and then speaks as of `until`. `progress` is told a step
    and how many it has done. Raises Refused while another run is under way, and for a run that would be ahead of its time.
    """
    if until > now and not options.dry_run:
        raise Refused("nothing is billed before its day; with --dry-run you may look ahead", "R24")
    report = Report(options.dry_run)
    with _alone(open_books) as holder:
        if not options.dry_run:
            known_until = holder.scalar(_KNOWN_UNTIL) or until
            _do(_Run(open_books, min(until, known_until), now, options, report, progress))
        else:
            everything = holder.begin_nested()
            _do(_Run(_within(holder), until, max(until, now), options, report, progress))
            everything.rollback()
    return report


def top_up_now(open_books: SessionFactory, now: datetime, *, options: Options = Options()) -> Report:
    """Sell the automatic top-ups that are due, and do nothing else: who has used everything up waits for it."""
    report = Report()
    _top_up(_Run(open_books, now, now, options, report, lambda _step, _done: None))
    return report


def due_cycles(session: Session, until: datetime) -> int:
    """Return how many accounts have a cycle to open, for a progress bar."""
    return session.scalar(_COUNT_DUE, {"until": until}) or 0


@contextmanager
def _alone(open_books: SessionFactory) -> Iterator[Session]:
    """Hold the lock of the billing run; it ends with the transaction, also of a process that is killed."""
    with open_books() as holder:
        if not holder.scalar(_TRY_LOCK):
            raise Refused("another billing run is under way; it does the same", "R24")
        yield holder


def _within(holder: Session) -> SessionFactory:
    """Return a factory whose transactions are savepoints of this session's."""

    @contextmanager
    def open_savepoint() -> Iterator[Session]:
        with holder.begin_nested():
            yield holder

    return open_savepoint


def _do(run: _Run) -> None:
    with run.open_books() as session:
        pause_and_go_on(session, until=run.until, now=run.now)
    _open_cycles(run)
    _bill_usage(run)
    if run.options.looks_for_unsettled:
        _settle(run)
    _resume(run)
    for reason in (UNPAID_BILL, ENDED):
        _suspend(run, reason)
    _top_up(run)


def _open_cycles(run: _Run) -> None:
    while True:
        with run.batch() as session:
            opened = open_cycles(
                session,
                until=run.until,
                now=run.now,
                limit=run.options.batch_size,
                billed_by=run.options.actor,
            )
        if not opened.openings:
            return
        begins = (each.part.cycle.begins_on for each in opened.openings)
        run.report.add("cycle", [each.username for each in opened.openings], begins)
        amounts = [each.part.amount for each in opened.billed]
        run.report.add("billed", [each.username for each in opened.billed], amounts)
        _add_paid(run.report, opened.paid)
        run.report.add("rolled over", opened.rolled_over)
        run.report.add_bills(amounts)
        run.progress("cycles", len(opened.openings))


def _bill_usage(run: _Run) -> None:
    while True:
        with run.open_books() as session:
            taken = usage_bills.bill_usage(session, now=run.until, billed_by=run.options.actor)
        if not taken:
            return
        billed = [each for each in taken if each.amount.minor > 0]
        run.report.add("usage billed", [each.username for each in billed], [each.amount for each in billed])
        run.report.add_bills(each.amount for each in billed)
        run.progress("usage bills", len(taken))


def _settle(run: _Run) -> None:
    with run.open_books() as session:
        found = session.execute(_UNSETTLED).scalars().all()
    for customer_ids in _batches(run, found):
        with run.batch() as session:
            settled = settle_all(session, customer_ids, run.now)
        _add_paid(run.report, settled.paid)
        run.report.add("resumed", settled.resumed)
        run.progress("settled", len(customer_ids))


def _resume(run: _Run) -> None:
    with run.batch() as session:
        found = to_resume(session, now=run.now)
    for batch in _batches(run, found):
        with run.batch() as session:
            changed = resume_all(session, batch, now=run.now)
        run.report.add("resumed", [each.username for each in changed])
        run.progress("resumed", len(changed))


def _suspend(run: _Run, reason: str) -> None:
    with run.batch() as session:
        found = to_suspend(session, reason=reason, now=run.until)
    for batch in _batches(run, found):
        with run.batch() as session:
            changed = suspend_all(session, batch, reason=reason, now=run.until)
        run.report.add("suspended", [each.username for each in changed])
        run.progress("suspended", len(changed))


def _batches(run: _Run, found: Sequence[_Found]) -> Iterator[Sequence[_Found]]:
    size = run.options.batch_size
    return (found[start : start + size] for start in range(0, len(found), size))


def _top_up(run: _Run) -> None:
    more = True
    while more:
        with run.open_books() as session:
            done, more = top_up(session, now=run.now, limit=TOPUPS_AT_ONCE, sold_by=run.options.actor)
        for each in done:
            _add_topup(run.report, each)
        run.progress("top-ups", len(done))


def _add_topup(report: Report, done: TopUp) -> None:
    if done.refusal is not None:
        report.add("top-up refused", [done.username], [done.refusal])
    else:
        report.add("topped up", [done.username], [f"{done.plan_name} for {done.price}"])


def _add_paid(report: Report, paid: Sequence[Paid]) -> None:
    report.add("paid", [each.username for each in paid], [each.amount for each in paid])
