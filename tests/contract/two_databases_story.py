"""A story of sales and use, played in one database or in two, and everything the operator is told of it afterwards."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Any

from billing import (
    billing_run,
    customers,
    groups,
    payments,
    refills,
    report_sales,
    report_usage,
    sales,
    top_ups,
    transfers,
)
from billing.charging import PaidBy
from billing.new_batches import CodeType, FreeTerms, SellWhen, UsageTerms, UsageUnit
from billing.payments import NewPayment
from billing.refill_attempts import Attempt
from billing.report_periods import Interval, spans_of
from billing.report_sales import SalesBy
from billing.report_usage import UsageBy
from billing.reports import Question
from billing.sales import Order
from billing.statements import Filter, every_line
from billing.top_ups import Gift
from billing.transfers import Wish
from herotill.allocation import Period
from herotill.policy import Ending, ServicePolicy
from herotill.quantities import Money
from herotill.refilling import RefillTerms
from herotill.usage_intervals import UsageInterval
from tests.contract.billing.code_makers import GIB, KEYS, add_plan, make
from tests.contract.billing.money import enter_customer
from tests.contract.two_databases import Isp

MIB = 1 << 20
DAY = 86_400


def play(isp: Isp) -> dict[str, str]:
    """Everything that is sold and used, with every worker's turn after each step; returns the codes."""
    codes = open_shop(isp)
    for step in (first_day, refilled, given_away, cut_off, later):
        step(isp, codes)
        isp.work()
    return codes


def open_shop(isp: Isp) -> dict[str, str]:
    """Plans, people and codes; returns the codes."""
    soft = ServicePolicy(
        at_quota=Ending.THROTTLE,
        throttled_download_bits_per_second=64_000,
        throttled_upload_bits_per_second=64_000,
        transferable=True,
    )
    add_plan(isp.books, isp.now, "data", policy=soft, seconds_after_first_use=7 * DAY)
    add_plan(isp.books, isp.now, "hard", quota_octets=100 * MIB, seconds_after_purchase=30 * DAY)
    add_plan(isp.books, isp.now, "more", refill=RefillTerms(counts_overuse=True))
    add_plan(isp.books, isp.now, "meter", quota_octets=None)
    with isp.books() as session:
        weekly = groups.Allocation(quota_octets=10 * MIB, period=Period.WEEK)
        groups.add(session, name="hostel", now=isp.now, allocation=weekly)
        for name in ("ann", "ben", "cleo", "dora"):
            enter_customer(session, name, isp.now, "hostel" if name == "cleo" else None)
        paid = NewPayment(customer="ann", amount=Money(10_000, "KES"), key="receipt-1", recorded_by="desk")
        payments.take(session, payment=paid, now=isp.now)
        for plan, name, how in (
            ("data", "ann", PaidBy.BALANCE),
            ("hard", "ben", PaidBy.CASH),
            ("hard", "dora", PaidBy.CASH),
        ):
            sales.sell(session, order=Order(plan, name, f"{plan}-{name}", "desk", how), now=isp.now)
    unit = UsageTerms(UsageUnit.OCTETS, 10 * MIB, Money(500, "KES"), UsageInterval.DAY)
    return {
        "ticket": _code(isp, CodeType.TICKET, plan="hard", sell=SellWhen.FIRST_USE),
        "refill": _code(isp, CodeType.REFILL, plan="more"),
        "free": _code(isp, CodeType.FREE, plan="meter", free=FreeTerms(2, 3600)),
        "usage": _code(isp, CodeType.USAGE, plan="meter", usage=unit),
    }


def _code(isp: Isp, kind: CodeType, **more: Any) -> str:
    (card,) = make(isp.books, isp.now, kind, **more)[1]
    return card.code


def first_day(isp: Isp, codes: dict[str, str]) -> None:
    """First logins and first octets; ann goes beyond what she bought, the ticket is used up."""
    isp.work()
    for name in ("ann", "ben", "cleo", codes["ticket"], codes["free"], codes["usage"]):
        isp.go_on(minutes=1)
        isp.log_in(name)
        isp.report(name, "Start", 0)
    isp.at_radius(
        "SELECT radius.grant_allocation('cleo', 'allocation:hostel:cleo:2026-W40', %s, %s)",
        isp.now,
        isp.now.replace(month=12),
    )
    isp.go_on(hours=1)
    for name, octets in (
        ("ann", GIB + 5 * MIB),
        ("ben", 30 * MIB),
        ("cleo", 3 * MIB),
        (codes["usage"], 25 * MIB),
    ):
        isp.report(name, "Interim-Update", octets, 3600)
    isp.report(codes["ticket"], "Stop", 101 * MIB, 3000)
    isp.log_in(codes["free"])


def refilled(isp: Isp, codes: dict[str, str]) -> None:
    """The refill counts what ann used beyond; an operator gives ben something."""
    with isp.books() as session:
        attempt = Attempt(codes["refill"], "ann", "desk")
        assert isinstance(refills.redeem(session, attempt=attempt, keys=KEYS, now=isp.now), refills.Redeemed)
        top_ups.top_up(session, gift=Gift("ben", "gift-1", "desk", "sorry", octets=5 * MIB), now=isp.now)


def given_away(isp: Isp, codes: dict[str, str]) -> None:
    """Ann gives ben what she has not used."""
    isp.go_on(hours=1)
    isp.report("ann", "Stop", GIB + 60 * MIB, 7200)
    isp.work()
    with isp.books() as session:
        sales.sell(session, order=Order("data", "ann", "data-ann-2", "desk", PaidBy.BALANCE), now=isp.now)
    isp.work()
    with isp.books() as session:
        wish = Wish("ann", "ben", 200 * MIB, "gift", "desk", Money(0, "KES"))
        transfers.transfer(session, wish=wish, now=isp.now)


def cut_off(isp: Isp, codes: dict[str, str]) -> None:
    """Cleo is disabled while she is online, dora before she ever was."""
    with isp.books() as session:
        for name in ("cleo", "dora"):
            customers.disable(session, reference=name, now=isp.now)


def later(isp: Isp, codes: dict[str, str]) -> None:
    """Two days pass: the rest is used, the bill is made, what had to end has ended."""
    isp.go_on(days=2)
    isp.report("ben", "Interim-Update", 400 * MIB, 2 * DAY)
    isp.report(codes["usage"], "Stop", 61 * MIB, 2 * DAY)
    isp.work()
    billing_run.run(isp.books, isp.now, isp.now)
    isp.go_on(days=10)
    isp.work()


def tell(isp: Isp, codes: dict[str, str]) -> dict[str, list[str]]:
    """What the operator sees of it: reports, ledger, states, grants, events; with the codes under their names."""
    spans = spans_of(date(2026, 10, 1), date(2026, 11, 1), "UTC", Interval.WEEK)
    question = Question(spans)
    told: dict[str, Any] = {name: isp.at_books(statement) for name, statement in TOLD.items()}
    with isp.books() as session:
        told |= {f"usage by {by}": report_usage.usage(session, question, by) for by in UsageBy}
        told |= {f"sales by {by}": report_sales.sales(session, question, by) for by in SalesBy}
        told["online"] = report_usage.online(session, question)
        told["cuts"] = report_usage.cut_counts(session, question)
        told["ledger"] = [asdict(line) for line in every_line(session, Filter())]
    return {what: sorted(_masked(repr(row), codes) for row in rows) for what, rows in told.items()}


def _masked(text: str, codes: dict[str, str]) -> str:
    for name, code in codes.items():
        text = text.replace(code, f"<{name}>")
    return text


TOLD = {
    "accounts": "SELECT username, status, suspended_reason, retires_at FROM billing.account ORDER BY account_id",
    "vouchers": "SELECT voucher_id, state, changed_at, changed_reason FROM billing.voucher ORDER BY voucher_id",
    "voucher lives": """
        SELECT voucher_id, from_state, to_state, occurred_at, actor, reason FROM billing.voucher_event
        ORDER BY voucher_id, voucher_event_id""",
    "grants": """
        SELECT to_jsonb(grants) - 'entitlement_id' FROM radius.entitlement AS grants ORDER BY external_key""",
    "noted": "SELECT to_jsonb(granted) - 'entitlement_id' FROM billing.granted ORDER BY external_key",
    "hours": """
        SELECT used.username, interval_start, external_key, input_octets, output_octets, seconds
        FROM radius.usage_interval AS used LEFT JOIN radius.entitlement USING (entitlement_id) ORDER BY 1, 2, 3""",
    "sessions": "SELECT to_jsonb(item) - 'session_key' - 'acct_unique_id' FROM radius.session AS item",
    "devices": "SELECT to_jsonb(device) FROM radius.device ORDER BY username, mac",
    "events": """
        SELECT kind, payload, occurred_at FROM billing.event ORDER BY kind, payload::text""",
    "what packet time told": """
        SELECT kind, event.username, external_key, occurred_at, details, booked_at IS NOT NULL
        FROM radius.access_event AS event LEFT JOIN radius.entitlement USING (entitlement_id) ORDER BY 1, 2, 3, 4""",
    "free": "SELECT to_jsonb(login_limit) FROM radius.login_limit ORDER BY username",
    "bills": "SELECT units, began_at, ended_at FROM billing.usage_bill ORDER BY usage_bill_id",
    "asked of routers": """
        SELECT action, purpose, reason, username, session_attributes, caused_at, changes FROM radius.coa_request
        ORDER BY username, caused_at, reason, purpose""",
    "waiting": "SELECT (SELECT count(*) FROM radius.ended_grant), (SELECT count(*) FROM radius.used_up_account)",
}
Step = Callable[[Isp, dict[str, str]], None]
