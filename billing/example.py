"""A small ISP to try everything on: what its desk did in a month, typed through the same use cases an operator uses.

What its routers reported is in sync_daemon.example_usage. Everything follows from the day it is made on and from `SEED`,
but for the codes, which are made as codes are. Nothing is made where there are customers.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import (
    accounts,
    corrections,
    credit,
    customers,
    groups,
    ledger,
    payments,
    plans,
    printing,
    recurring,
    resellers,
    sales,
    top_ups,
    voucher_batches,
)
from billing.billing_run_cycles import open_cycles
from billing.charging import PaidBy
from billing.customers import Person
from billing.example_people import MARKET, NORTH, SOUTH, Resident, residents
from billing.groups import Allocation
from billing.ledger import Entry
from billing.models import Account, Customer, Invoice, LedgerTransaction
from billing.new_batches import CodeType, FreeTerms, NewBatch, SellWhen
from billing.payments import Method, NewPayment
from billing.recurring import Profile
from billing.resellers import Seller
from billing.sales import Order
from billing.sealed_codes import CodeKeys
from billing.terms import PlanTerms
from billing.top_ups import Gift
from herotill.allocation import Period
from herotill.credit import CreditLine
from herotill.errors import Refused
from herotill.policy import ServicePolicy
from herotill.quantities import Money, minor_digits
from herotill.snapshot import AccountKind

SEED = 2026
DAYS = 30
PASSWORD = "try-it-out"  # noqa: S105 - everybody's in the example, so that you can log in as anybody
DESK, KIOSK = "example", "Mama Njeri"
GIB, HOUR, DAY = 2**30, 3600, 86_400
MBIT = 1_000_000
# What fifty shillings buy costs a dollar.
DEAR = frozenset({"USD", "EUR", "GBP", "CHF", "AUD", "CAD", "KWD", "BHD", "OMR"})
TICKETS, REFILLS, GUESTS = 80, 20, 5
LENT_TO = ("north-3", "north-8", "south-2")
NEVER_PAYS, PAYS_LATE = "duka-moja", "green-gate"


@dataclass(frozen=True, slots=True)
class Example:
    """The example that is made on a day: its calendar, its money, and its dice."""

    today: date
    time_zone: str
    currency: str
    keys: CodeKeys
    length: int = DAYS
    dice: Random = field(default_factory=lambda: Random(SEED))  # noqa: S311 - nothing secret

    @property
    def days(self) -> list[date]:
        """The days of the month, the last of them today."""
        return [self.today - timedelta(days=back) for back in range(self.length, -1, -1)]

    def at(self, day: date, hour: int, minute: int = 0) -> datetime:
        """Return a time of the operator's day."""
        return datetime.combine(day, time(hour, minute), ZoneInfo(self.time_zone))

    def price(self, shillings: int) -> Money:
        """Return a price in the operator's currency."""
        units = shillings * 10 ** minor_digits(self.currency)
        return Money(units // 50 if self.currency in DEAR else units, self.currency)


def check_nobody_is_here(session: Session) -> None:
    """Raise Refused where there are customers: an example among them could not be told from them."""
    if session.scalar(select(Customer.customer_id).limit(1)) is not None:
        raise Refused(
            "there are customers in these books; the example wants new ones, such as `herotill --state DIRECTORY init"
            " --example`",
            "R29",
        )


def open_shop(session: Session, example: Example) -> None:
    """Enter plans, groups, the reseller, everybody with an account, and the first codes."""
    opened = example.at(example.days[0], 0)
    _add_plans(session, example, opened)
    _add_groups(session, example, opened)
    for resident in residents():
        _move_in(session, example, resident, opened)
    for username in LENT_TO:
        line = CreditLine(example.price(300), 5 * DAY)
        debtor = customers.get(session, username)
        credit.grant(session, customer=debtor, line=line, now=opened, granted_by=DESK)
    _print_codes(session, example, opened)


def day_at_the_desk(session: Session, example: Example, day: date, empty: Collection[str]) -> None:
    """Sell to those who ran `empty`, and take money for debts and bills. Not for a day on which the desk is open still."""
    number = example.days.index(day)
    morning = example.at(day, 8)
    for username in sorted(empty):
        _sell_to(session, example, username, day)
    if number % 6 == 5:
        _settle_debts(session, example, day)
    _take_for_bills(session, example, day, number)
    if number == 9:
        gift = Gift("north-5", f"example:{day}", DESK, "the router in north was down all day", octets=GIB)
        top_ups.top_up(session, gift=gift, now=morning)
    if number == 12:
        _take_back_a_sale(session, morning)


def _add_plans(session: Session, example: Example, now: datetime) -> None:
    price = example.price
    hotspot, monthly = (AccountKind.HOTSPOT,), (AccountKind.MONTHLY,)
    fast = ServicePolicy(
        download_bits_per_second=10 * MBIT, upload_bits_per_second=5 * MBIT, suspended_pool="unpaid"
    )
    shelf = {
        "hour": PlanTerms(price(20), hotspot, quota_octets=GIB // 2, seconds_after_first_use=HOUR),
        "day-1GiB": PlanTerms(price(50), quota_octets=GIB, seconds_after_purchase=DAY),
        "week-5GiB": PlanTerms(price(250), quota_octets=5 * GIB, seconds_after_purchase=7 * DAY),
        "refill-2GiB": PlanTerms(price(100), quota_octets=2 * GIB, seconds_after_purchase=30 * DAY),
        "home-200GiB": PlanTerms(
            price(2500), monthly, quota_octets=200 * GIB, ends_with_cycle=True, policy=fast
        ),
        "guest": PlanTerms(price(0), hotspot, quota_octets=GIB // 4),
    }
    for name, terms in shelf.items():
        plans.add(session, name=name, terms=terms, now=now)


def _add_groups(session: Session, example: Example, now: datetime) -> None:
    allocations = {
        NORTH: Allocation(Period.MONTH, quota_octets=4 * GIB),
        SOUTH: Allocation(Period.WEEK, quota_octets=GIB),
        MARKET: None,
    }
    for name, allocation in allocations.items():
        policy = {"max_sessions": 2}
        groups.add(
            session, name=name, now=now, allocation=allocation, policy=policy, time_zone=example.time_zone
        )
    resellers.add(session, name=KIOSK, currency=example.currency, commission_basis_points=1000, now=now)
    resellers.assign_group(session, name=KIOSK, group=MARKET, now=now)
    entry = Entry("payment:reseller:example", "a float to begin with", now, DESK)
    resellers.pay_in(session, name=KIOSK, amount=example.price(8000), entry=entry, into=str(Method.BANK))


def _move_in(session: Session, example: Example, resident: Resident, now: datetime) -> None:
    person = Person(resident.name, phone=resident.phone, email=resident.email)
    customer = customers.add(session, person=person, group=resident.group, now=now)
    kind = AccountKind.PREPAID if resident.group is not None else AccountKind.MONTHLY
    login = accounts.Login(resident.username, PASSWORD, kind)
    accounts.add(session, login=login, customer=customer, now=now)
    if resident.username != "south-14":  # somebody has not verified yet
        customers.verify(session, reference=resident.username, now=now)
    if kind is AccountKind.MONTHLY:
        begins_on = example.days[resident.number % 5]
        changes = {"profile": Profile.MONTHLY, "plan": "home-200GiB", "begins_on": begins_on}
        profile = recurring.change(
            session, username=resident.username, changes=changes, now=now, time_zone=example.time_zone
        )
        if profile is not None and begins_on == example.days[0]:
            open_cycles(session, until=now, now=now, limit=1, billed_by=DESK, account_id=profile.account_id)


def _print_codes(session: Session, example: Example, now: datetime) -> None:
    wanted = [
        NewBatch("hour", TICKETS, SellWhen.FIRST_USE, DESK),
        NewBatch("refill-2GiB", REFILLS, SellWhen.NOW, DESK, CodeType.REFILL),
        NewBatch("guest", GUESTS, SellWhen.LATER, DESK, CodeType.FREE, free=FreeTerms(3, DAY)),
    ]
    for batch in wanted:
        made = voucher_batches.generate(session, wanted=batch, now=now, keys=example.keys)
        printing.cards_of_batch(session, batch_id=made.batch_id, keys=example.keys, now=now, printed_by=DESK)


def _sell_to(session: Session, example: Example, username: str, day: date) -> None:
    """Perhaps sell somebody who has nothing left something: on credit, at the kiosk, or over the desk."""
    dice = example.dice
    rolled, hour, minute = dice.random(), dice.randint(7, 20), dice.randint(0, 59)
    if rolled > 0.4:
        return
    order = Order("week-5GiB" if rolled < 0.12 else "day-1GiB", username, f"example:{day}:{username}", DESK)
    seller: Seller | None = None
    if username.startswith("market"):
        seller = resellers.sign_in(session, KIOSK)
    elif username in LENT_TO:
        order = replace(order, paid_by=PaidBy.CREDIT)
    now = example.at(day, hour, minute)
    try:
        with session.begin_nested():
            sales.sell(session, order=order, now=now, seller=seller)
    except Refused:
        return  # no credit left, or the kiosk has run out of float: as it happens


def _settle_debts(session: Session, example: Example, day: date) -> None:
    """All but one of those who bought on credit pay their debts."""
    for username in LENT_TO[1:]:
        debtor = customers.get(session, username)
        owed = -ledger.balance(session, debtor.customer_id, example.currency).minor
        if owed > 0:
            amount = Money(owed, example.currency)
            _take(session, username, amount, f"debt:{username}:{day}", example.at(day, 17))


def _take_for_bills(session: Session, example: Example, day: date, number: int) -> None:
    """Bills are paid three days after they were written, one much later, one never."""
    still_open = select(Invoice, Account.username).join(Account, Account.account_id == Invoice.account_id)
    rows = session.execute(still_open.where(Invoice.paid_at.is_(None)).order_by(Invoice.invoice_id)).all()
    for invoice, username in rows:
        waits = timedelta(days=16 if username == PAYS_LATE else 3)
        if username != NEVER_PAYS and invoice.issued_at <= example.at(day, 9) - waits:
            amount = Money(invoice.amount_minor, invoice.currency)
            _take(session, username, amount, f"bill:{invoice.invoice_id}", example.at(day, 9, number))


def _take(session: Session, username: str, amount: Money, key: str, now: datetime) -> None:
    payment = NewPayment(username, amount, f"example:{key}", DESK, Method.MOBILE_MONEY)
    payments.take(session, payment=payment, now=now)


def _take_back_a_sale(session: Session, now: datetime) -> None:
    sold = select(LedgerTransaction.transaction_id).where(LedgerTransaction.external_key.like("purchase:%"))
    last = session.scalars(sold.order_by(LedgerTransaction.transaction_id.desc()).limit(1)).first()
    if last is not None:
        corrections.reverse(
            session, transaction_id=last, reason="sold twice by mistake", now=now, reversed_by=DESK
        )
