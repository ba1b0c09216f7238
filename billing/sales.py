"""Sales: an account gets a plan, once per key, and the ledger says who paid (rules R1, R3, R8, R12, R25, R26, R28)."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing import accounts, credit, plans, recurring, resellers, suspension
from billing.charging import Charge, PaidBy, charge, charge_reseller
from billing.events import emit
from billing.ledger import Entry, post_sale
from billing.models import Account, Plan, Purchase
from billing.projection import Offer, grant, project_accounts
from billing.resellers import Seller
from billing.terms import PlanTerms, clocks_of_purchase, daily_terms
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind

MAX_KEY_CHARACTERS = 200
# Keys made by us begin with these; nobody else's may.
RESERVED = ("voucher:", "payment:", "reseller:", "topup:")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sold. The same `key` sells it once, however often it is asked for.

    `time_zone` tells when a billing cycle ends, where the customer's group has no own.
    """

    plan: str
    username: str
    key: str
    sold_by: str
    paid_by: PaidBy = PaidBy.CASH
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Sale:
    """What came of an order; `repeated` when its key was sold before and nothing happened now."""

    purchase_id: int
    username: str
    plan_name: str
    price: Money
    purchased_at: datetime
    repeated: bool


def sell(session: Session, *, order: Order, now: datetime, seller: Seller | None = None) -> Sale:
    """Sell a plan to an account. Raises Refused with the rule that forbids it, InvalidValue for unknown names.

    A `seller` pays from its own balance, has keys of its own, and for it accounts of others do not exist.
    """
    _check_key(order.key)
    if seller is not None:
        order = _as_order_of(seller, order)
    return sell_once(session, order=order, now=now, seller=seller)


def sell_once(session: Session, *, order: Order, now: datetime, seller: Seller | None = None) -> Sale:
    """Sell as `sell` does, for callers that make the keys they are known to own, such as `payment:12`."""
    before = _find_purchase(session, order)
    if before is not None:
        return _repeated(before)
    account = _held_account(session, order.username, seller)
    plan = plans.get(session, order.plan)
    terms = PlanTerms.of(plan)
    _check_may_buy(session, account, plan, terms)
    purchase_id = _record(session, order, account, plan, now, seller)
    if purchase_id is None:
        return _sold_meanwhile(session, order)
    purchase = session.get_one(Purchase, purchase_id)
    _pay(session, order, account, purchase, seller)
    _deliver(session, order, account, purchase, now)
    _announce(session, account, purchase)
    return Sale(purchase_id, account.username, plan.name, terms.price, now, repeated=False)


def listing(session: Session, *, username: str, limit: int = 100) -> list[Purchase]:
    """Return what was sold to an account, newest first."""
    query = select(Purchase).join(Account).where(Account.username == username)
    return list(session.scalars(query.order_by(Purchase.purchased_at.desc()).limit(limit)))


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS or not key.isprintable():
        raise InvalidValue("key", key, f"it is 1 to {MAX_KEY_CHARACTERS} printable characters")
    if key.startswith(RESERVED):
        raise InvalidValue("key", key, f"keys that begin with {', '.join(RESERVED)} are made by us")


def _as_order_of(seller: Seller, order: Order) -> Order:
    if order.paid_by is not PaidBy.CASH:
        raise Refused(f"{seller.name} sells from its own balance, not from the customer's", "R28")
    return replace(order, key=f"reseller:{seller.reseller_id}:{order.key}", sold_by=seller.name)


def _held_account(session: Session, username: str, seller: Seller | None) -> Account:
    """Hold the customer, then the account: the order in which everybody takes these locks."""
    account = accounts.get(session, username)
    if seller is not None and not resellers.serves(session, seller, account.customer):
        # The very answer for a name nobody has: it does not tell that there is one.
        raise accounts.unknown(username)
    if account.customer_id is not None:
        credit.lock(session, account.customer_id)
    return accounts.get(session, username, lock=True)


def _check_may_buy(session: Session, account: Account, plan: Plan, terms: PlanTerms) -> None:
    recurring.refuse_unless_may_renew(session, account, "buy")
    if AccountKind(account.kind) not in terms.kinds:
        sold_to = ", ".join(terms.kinds)
        raise Refused(
            f"{plan.name} is sold to {sold_to} accounts; {account.username} is {account.kind}", "R1"
        )


def _find_purchase(session: Session, order: Order) -> Purchase | None:
    found = session.scalars(select(Purchase).where(Purchase.idempotency_key == order.key)).one_or_none()
    if found is not None and (found.account.username, found.plan_name) != (order.username, order.plan):
        sold = f"{found.plan_name} to {found.account.username}"
        raise Refused(f"key {order.key} sold {sold} before; use another key for another sale", "R8")
    return found


def _sold_meanwhile(session: Session, order: Order) -> Sale:
    """Another transaction committed the same key between our look and our insert."""
    purchase = _find_purchase(session, order)
    if purchase is None:
        raise Refused(f"key {order.key} is being sold by somebody else; try again", "R8")
    return _repeated(purchase)


def _repeated(purchase: Purchase) -> Sale:
    username, at = purchase.account.username, purchase.purchased_at
    return Sale(purchase.purchase_id, username, purchase.plan_name, purchase.price, at, repeated=True)


def _record(
    session: Session, order: Order, account: Account, plan: Plan, now: datetime, seller: Seller | None
) -> int | None:
    new = insert(Purchase).values(
        idempotency_key=order.key,
        account_id=account.account_id,
        plan_id=plan.plan_id,
        plan_name=plan.name,
        plan_terms=PlanTerms.of(plan).to_mapping(),
        price_minor=plan.price_minor,
        currency=plan.currency,
        purchased_at=now,
        sold_by=order.sold_by,
        reseller_id=None if seller is None else seller.reseller_id,
    )
    return session.scalar(new.on_conflict_do_nothing().returning(Purchase.purchase_id))


def _pay(session: Session, order: Order, account: Account, purchase: Purchase, seller: Seller | None) -> None:
    key, what = f"purchase:{purchase.purchase_id}", f"{purchase.plan_name} to {account.username}"
    if account.customer_id is None:
        if order.paid_by is not PaidBy.CASH:
            raise Refused(f"{account.username} belongs to no customer and has no balance", "R25")
        entry = Entry(key, what, purchase.purchased_at, order.sold_by)
        post_sale(session, entry, purchase.price, customer_id=None)
        return
    due = Charge(purchase.plan_name, purchase.price, key, what, order.sold_by, purchase.purchased_at)
    if seller is None:
        charge(session, due, account.customer_id, order.paid_by)
    else:
        charge_reseller(session, due, account.customer_id, seller)


def _deliver(session: Session, order: Order, account: Account, purchase: Purchase, now: datetime) -> None:
    terms = PlanTerms.from_mapping(purchase.plan_terms)
    if recurring.is_daily(session, account):
        terms = daily_terms(terms)
    cycle_end = recurring.end_of_cycle(session, account, order.time_zone, now)
    clocks = clocks_of_purchase(terms, now, cycle_end)
    if clocks.expires_at is not None and clocks.expires_at <= now:
        raise Refused(f"{purchase.plan_name} ended on {clocks.expires_at:%Y-%m-%d %H:%M} UTC", "R13")
    offer = Offer("purchase", purchase.plan_name, terms, clocks, now)
    grant(session, offer, {f"purchase:{purchase.purchase_id}": account.username})
    if account.status == "suspended":
        suspension.resume_after_sale(session, account, now)
    if account.kind == AccountKind.MONTHLY and not recurring.recurs(session, account):
        account.plan_policy = terms.policy.to_mapping()
        project_accounts(session, [account.username])


def _announce(session: Session, account: Account, purchase: Purchase) -> None:
    payload = {
        "purchase": purchase.purchase_id,
        "plan": purchase.plan_name,
        "user": account.username,
        "price_minor": purchase.price_minor,
        "currency": purchase.currency,
        "sold_by": purchase.sold_by,
    }
    key = f"purchase:{purchase.purchase_id}"
    emit(session, "plan.sold", key, payload, purchase.purchased_at, account.customer_id)
