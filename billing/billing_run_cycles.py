"""Opening billing cycles: for each its bill, its grant, what the cycle before left, and the day of the next (rule R24).

A cycle is opened once: its row, its bill, its grant and the moving on of its profile are one transaction. Who missed
several gets them one after the other. A disabled or unverified account gets none: its cycles pass, and when it may log in
again what is left of the present one is opened.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from billing import invoices
from billing.billing_run_bills import NewBill, issue
from billing.billing_run_rollover import roll_over
from billing.cycle_grants import CycleEnd, cycle_key, ends_of
from billing.cycles import Cycle, CycleLength, CycleRule, cycle_from, end_of_day, first_instant, local_day
from billing.invoices import Paid
from billing.models import Plan
from billing.projection import Offer, grant, project_accounts
from billing.terms import GrantClocks, PlanTerms
from herotill.quantities import Money

# SKIP LOCKED: whoever is changing a profile is waited for until the next run.
_TAKE_DUE = """
    SELECT account_id, username, customer_id, automatic_bill,
           plan_id, payment_terms_days, cycle_length, anchor_on, cycle_day, profile.time_zone, next_cycle_on
    FROM billing.billing_profile profile JOIN billing.account USING (account_id) JOIN billing.customer USING (customer_id)
    WHERE next_cycle_at < :until AND account.status IN ('active', 'suspended')
      AND account.disabled_at IS NULL AND customer.disabled_at IS NULL AND verified_at IS NOT NULL {only}
    ORDER BY next_cycle_at, account_id LIMIT :batch_size
    FOR UPDATE OF profile SKIP LOCKED
"""
_FIRST_OF_PART = 4  # the columns from here on say which cycle it is
_TAKE = text(_TAKE_DUE.format(only=""))
_TAKE_ONE = text(_TAKE_DUE.format(only="AND account_id = :account_id"))
_ADD_CYCLES = text("""
    INSERT INTO billing.billing_cycle (account_id, began_on, begins_at, ends_at, grant_ends_at, plan_id, plan_name,
                                       rolls_over, topup_plan, topups_max, invoice_id)
    SELECT opened.account_id, began_on, begins_at, ends_at, grant_ends_at, plan.plan_id, plan.name,
           plan.rolls_over, plan.topup_plan, plan.topups_max, nullif(invoice_id, 0)
    FROM unnest(CAST(:account_ids AS bigint[]), CAST(:begin_dates AS date[]), CAST(:begin_times AS timestamptz[]),
                CAST(:end_times AS timestamptz[]), CAST(:grant_ends AS timestamptz[]), CAST(:plan_ids AS bigint[]),
                CAST(:invoice_ids AS bigint[]))
         AS opened (account_id, began_on, begins_at, ends_at, grant_ends_at, plan_id, invoice_id)
    JOIN billing.plan USING (plan_id)
""")
_ADVANCE = text("""
    UPDATE billing.billing_profile SET next_cycle_on = opened.next_on, next_cycle_at = opened.next_at
    FROM unnest(CAST(:account_ids AS bigint[]), CAST(:end_dates AS date[]), CAST(:end_times AS timestamptz[]))
         AS opened (account_id, next_on, next_at)
    WHERE billing_profile.account_id = opened.account_id
""")
_BRING_POLICIES = text("""
    UPDATE billing.account SET plan_policy = plan.policy
    FROM billing.billing_profile JOIN billing.plan USING (plan_id)
    WHERE account.account_id = ANY(:account_ids) AND billing_profile.account_id = account.account_id
      AND account.plan_policy IS DISTINCT FROM plan.policy
    RETURNING username
""")
_FORGET_USED_UP = text("DELETE FROM radius.used_up_account WHERE username = ANY(:usernames)")
_PAUSE = text("""
    UPDATE billing.billing_profile profile SET paused = true, next_cycle_on = NULL, next_cycle_at = NULL
    FROM billing.account LEFT JOIN billing.customer USING (customer_id)
    WHERE profile.account_id = account.account_id AND next_cycle_at < :until
      AND (account.disabled_at IS NOT NULL OR customer.disabled_at IS NOT NULL OR customer.verified_at IS NULL
           OR account.status = 'closed')
""")
_READ_PAUSED = text("""
    SELECT account_id, profile.time_zone
    FROM billing.billing_profile profile JOIN billing.account USING (account_id) JOIN billing.customer USING (customer_id)
    WHERE paused AND account.status IN ('active', 'suspended')
      AND account.disabled_at IS NULL AND customer.disabled_at IS NULL AND verified_at IS NOT NULL
    FOR UPDATE OF profile SKIP LOCKED
""")
_GO_ON = text("""
    UPDATE billing.billing_profile SET paused = false, next_cycle_on = :on, next_cycle_at = :at
    WHERE account_id = ANY(:account_ids)
""")


@dataclass(frozen=True, slots=True)
class Part:
    """A plan's cycle, or the rest of one, as all who begin it together get it.

    `grant_ends_at`: how long its grant lasts when it is paid; `due_at`: the payment date, should there be a bill.
    """

    plan_id: int
    plan_name: str
    terms: PlanTerms
    cycle: Cycle
    begins_at: datetime
    ends_at: datetime
    grant_ends_at: datetime
    amount: Money
    due_at: datetime
    description: str


@dataclass(frozen=True, slots=True)
class Opening:
    """A cycle of an account, about to be opened."""

    account_id: int
    username: str
    customer_id: int
    is_billed: bool
    part: Part

    @property
    def bill(self) -> NewBill:
        """The bill of this cycle."""
        part = self.part
        return NewBill(
            self.account_id,
            self.username,
            self.customer_id,
            part.amount,
            part.due_at,
            part.description,
            part.cycle.begins_on,
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening a batch of cycles led to."""

    openings: tuple[Opening, ...]
    paid: tuple[Paid, ...]
    rolled_over: tuple[str, ...]

    @property
    def billed(self) -> list[Opening]:
        """Those that got a bill."""
        return [each for each in self.openings if each.is_billed]


def open_cycles(
    session: Session,
    *,
    until: datetime,
    now: datetime,
    limit: int,
    billed_by: str,
    account_id: int | None = None,
) -> Opened:
    """Open the cycles that begin before `until`, at most `limit` and one for each account, of one account if that is named.

    Call it again, in another transaction, until it opens none.
    """
    values = {"until": until, "batch_size": limit, "account_id": account_id}
    rows = session.execute(_TAKE if account_id is None else _TAKE_ONE, values).all()
    openings = _openings(session, rows, now)
    if not openings:
        return Opened((), (), ())
    invoices.lock_customers(session, sorted({each.customer_id for each in openings}))
    billed = [each for each in openings if each.is_billed]
    numbers = issue(session, [each.bill for each in billed], now=now, billed_by=billed_by)
    _record(session, openings, dict(zip((each.account_id for each in billed), numbers, strict=True)))
    _bring_policies(session, openings)
    paid = invoices.settle(session, sorted({each.customer_id for each in billed}), now)
    rolled_over = _give(session, openings, now)
    return Opened(tuple(openings), tuple(paid), tuple(rolled_over))


def pause_and_go_on(session: Session, *, until: datetime, now: datetime) -> int:
    """Let the cycles of accounts that may not log in pass, and begin those of accounts that may again; return how many."""
    paused: int = session.execute(_PAUSE, {"until": until}).rowcount  # type: ignore[attr-defined]
    zones: dict[str, list[int]] = {}
    for row in session.execute(_READ_PAUSED):
        zones.setdefault(row.time_zone, []).append(row.account_id)
    for zone, account_ids in zones.items():
        today = local_day(now, zone)
        session.execute(_GO_ON, {"account_ids": account_ids, "on": today, "at": first_instant(today, zone)})
    return paused + sum(map(len, zones.values()))


def _openings(session: Session, rows: Sequence[Row[Any]], now: datetime) -> list[Opening]:
    wanted = {row.plan_id for row in rows}
    plans = session.scalars(select(Plan).where(Plan.plan_id.in_(wanted))) if wanted else ()
    terms = {plan.plan_id: (plan.name, PlanTerms.of(plan)) for plan in plans}
    parts: dict[tuple[Any, ...], Part] = {}  # thousands begin the same on the same day
    openings = []
    for row in rows:
        alike = tuple(row)[_FIRST_OF_PART:]
        part = parts.get(alike) or parts.setdefault(alike, _part(row, *terms[row.plan_id], now))
        is_billed = row.automatic_bill and part.amount.minor > 0
        openings.append(Opening(row.account_id, row.username, row.customer_id, is_billed, part))
    return openings


def _part(row: Row[Any], plan_name: str, terms: PlanTerms, now: datetime) -> Part:
    rule = CycleRule(CycleLength(row.cycle_length), row.cycle_day, row.anchor_on)
    cycle = cycle_from(rule, row.next_cycle_on)
    begins_at = first_instant(cycle.begins_on, row.time_zone)
    ends_at = first_instant(cycle.ends_on, row.time_zone)
    issued_on = max(cycle.begins_on, local_day(now, row.time_zone))
    return Part(
        plan_id=row.plan_id,
        plan_name=plan_name,
        terms=_terms_of(cycle, terms),
        cycle=cycle,
        begins_at=begins_at,
        ends_at=ends_at,
        grant_ends_at=_grant_end(terms, begins_at, ends_at),
        amount=Money(cycle.share_of(terms.price.minor), terms.price.currency),
        due_at=end_of_day(issued_on + timedelta(days=row.payment_terms_days), row.time_zone),
        description=_described(plan_name, cycle),
    )


def _grant_end(terms: PlanTerms, begins_at: datetime, ends_at: datetime) -> datetime:
    """Return the earliest of the plan's own ends and the cycle's."""
    ends = [ends_at] if terms.valid_until is None else [ends_at, terms.valid_until]
    if terms.seconds_after_purchase is not None:
        ends.append(begins_at + timedelta(seconds=terms.seconds_after_purchase))
    return min(ends)


def _described(plan_name: str, cycle: Cycle) -> str:
    to = cycle.ends_on - timedelta(days=1)
    rest = "" if cycle.is_whole else f", {cycle.days} of {cycle.whole_days} days"
    return f"{plan_name}, {cycle.begins_on} to {to}{rest}"


def _terms_of(cycle: Cycle, terms: PlanTerms) -> PlanTerms:
    """Return what this cycle holds: of the rest of a cycle, the rest of what the plan holds."""
    if cycle.is_whole:
        return terms
    octets, seconds = (
        None if quota is None else max(1, cycle.share_of(quota))
        for quota in (terms.quota_octets, terms.quota_seconds)
    )
    return replace(terms, quota_octets=octets, quota_seconds=seconds)


def _record(session: Session, openings: Sequence[Opening], invoice_ids: dict[int, int]) -> None:
    columns = {
        "account_ids": [each.account_id for each in openings],
        "begin_dates": [each.part.cycle.begins_on for each in openings],
        "begin_times": [each.part.begins_at for each in openings],
        "end_dates": [each.part.cycle.ends_on for each in openings],
        "end_times": [each.part.ends_at for each in openings],
        "grant_ends": [each.part.grant_ends_at for each in openings],
        "plan_ids": [each.part.plan_id for each in openings],
        "invoice_ids": [invoice_ids.get(each.account_id, 0) for each in openings],
    }
    session.execute(_ADD_CYCLES, columns)
    session.execute(_ADVANCE, columns)


def _bring_policies(session: Session, openings: Sequence[Opening]) -> None:
    """Let accounts follow their recurring plan's policy; few change it."""
    values = {"account_ids": [each.account_id for each in openings]}
    changed = session.execute(_BRING_POLICIES, values).scalars().all()
    if changed:
        session.expire_all()
        project_accounts(session, sorted(changed))


def _give(session: Session, openings: Sequence[Opening], now: datetime) -> list[str]:
    """Grant what the cycles hold, those that are not over already; what is rolled over comes first and so burns first."""
    by_account = {each.account_id: each for each in openings}
    present = [
        end
        for end in ends_of(session, list(by_account), now)
        if end.began_on == by_account[end.account_id].part.cycle.begins_on
    ]
    rolled_over = roll_over(
        session, present, {number: each.part.begins_at for number, each in by_account.items()}
    )
    for offer, holders in _offers(present, by_account):
        grant(session, offer, holders)
    session.execute(_FORGET_USED_UP, {"usernames": [each.username for each in openings]})
    return rolled_over


def _offers(
    present: Iterable[CycleEnd], by_account: dict[int, Opening]
) -> Iterable[tuple[Offer, dict[str, str]]]:
    """Put together those who get the very same."""

    def alike(end: CycleEnd) -> tuple[Any, ...]:
        part = by_account[end.account_id].part
        return part.plan_id, part.begins_at, part.cycle.days, end.ends_at

    for _, ends in groupby(sorted(present, key=alike), key=alike):
        same = list(ends)
        first = by_account[same[0].account_id].part
        clocks = GrantClocks(
            same[0].ends_at, first.terms.seconds_after_first_use, first.terms.seconds_after_last_use
        )
        offer = Offer("purchase", first.plan_name, first.terms, clocks, first.begins_at)
        yield offer, {cycle_key(end.account_id, end.began_on): end.username for end in same}
