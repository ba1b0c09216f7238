"""Vouchers: codes made in batches, each with a life that is recorded (rules R7, R8).

A ticket's code is the login of a hotspot account. Sold on first use: it can log in at once, and packet time starts its
clock. Sold later: nobody can log in with it before the operator sells it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, joinedload

from billing import accounts, plans
from billing.checks import escape_like
from billing.codes import DEFAULT_LENGTH, check_length, new_codes
from billing.ledger import Entry, post_sale
from billing.models import Plan, Voucher, VoucherBatch, VoucherEvent
from billing.projection import Offer, grant, project_accounts, void_grants
from billing.terms import PlanTerms, clocks_of_first_use_sale, clocks_of_purchase
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind

MAX_BATCH = 1_000_000
UNSOLD = ("generated", "printed")
LIVING = (*UNSOLD, "sold", "in_use")

_TAKEN = text("""
    SELECT username FROM billing.account WHERE lower(username) = ANY(:lowered) AND status <> 'closed'
    UNION SELECT code FROM billing.voucher WHERE code = ANY(:codes)
""")
_ADD_ACCOUNTS = text("""
    INSERT INTO billing.account (username, secret, kind, status, created_at)
    SELECT code, secret, 'hotspot', :status, :now
    FROM unnest(CAST(:codes AS text[]), CAST(:secrets AS text[])) WITH ORDINALITY AS ticket (code, secret, position)
    ORDER BY position
""")
_ADD_VOUCHERS = text("""
    INSERT INTO billing.voucher (batch_id, number, code, account_id, changed_at, changed_by, changed_reason)
    SELECT :batch_id, row_number() OVER (ORDER BY account_id), username, account_id, :now, :actor, 'generated'
    FROM billing.account WHERE username = ANY(:codes) AND status <> 'closed' ORDER BY account_id
    RETURNING voucher_id, code
""")
# Only what has not been sold changes, so a voucher sold meanwhile by somebody else is not sold again (rule R8).
_MARK_SOLD = text("""
    UPDATE billing.voucher SET state = 'sold', changed_at = :now, changed_by = :actor, changed_reason = :reason
    WHERE voucher_id = ANY(:voucher_ids) AND state IN ('generated', 'printed')
    RETURNING voucher_id
""")
_ADD_PURCHASES = text("""
    INSERT INTO billing.purchase (idempotency_key, account_id, voucher_id, plan_id, plan_name, plan_terms,
                                  price_minor, currency, purchased_at, sold_by)
    SELECT 'voucher:' || voucher_id, account_id, voucher_id, plan_id, plan_name, plan_terms,
           price_minor, currency, :now, :actor
    FROM billing.voucher JOIN billing.voucher_batch USING (batch_id)
    WHERE voucher_id = ANY(:voucher_ids) ORDER BY voucher_id
""")
_MARK_PRINTED = text("""
    UPDATE billing.voucher SET state = 'printed', changed_at = :now, changed_by = :actor, changed_reason = 'printed'
    WHERE batch_id = :batch_id AND state = 'generated'
""")


class SellWhen(StrEnum):
    """When a batch's codes are sold."""

    NOW = "now"
    LATER = "later"
    FIRST_USE = "first-use"


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What to generate. Without `password_length` a ticket's password is its code."""

    plan: str
    count: int
    sell: SellWhen
    created_by: str
    length: int = DEFAULT_LENGTH
    password_length: int | None = None


def generate(session: Session, *, wanted: NewBatch, now: datetime) -> VoucherBatch:
    """Make a batch of tickets and, as it says, sell them or offer them for sale on first use."""
    if not 1 <= wanted.count <= MAX_BATCH:
        raise InvalidValue("count", wanted.count, f"it is a whole number from 1 to {MAX_BATCH}")
    check_length(wanted.length, wanted.count)
    plan = plans.get(session, wanted.plan)
    terms = PlanTerms.of(plan)
    if AccountKind.HOTSPOT not in terms.kinds:
        raise Refused(f"{plan.name} is not sold to hotspot accounts, which tickets are", "R1")
    batch = _add_batch(session, wanted, plan, now)
    vouchers = _add_tickets(session, wanted, batch, now)
    if wanted.sell is SellWhen.NOW:
        sell_all(session, batch, list(vouchers), Sold(now, wanted.created_by, "sold with its batch"))
    if wanted.sell is not SellWhen.LATER:
        _offer(session, batch, vouchers, now)
        project_accounts(session, list(vouchers.values()))
    session.expire_all()
    return batch


@dataclass(frozen=True, slots=True)
class Sold:
    """When a voucher was sold, by whom, and on what occasion."""

    at: datetime
    by: str
    occasion: str


def sell_all(session: Session, batch: VoucherBatch, voucher_ids: Sequence[int], sold: Sold) -> list[int]:
    """Sell those vouchers of a batch that are not sold yet, with one ledger entry; return which were."""
    values = {"now": sold.at, "actor": sold.by, "reason": sold.occasion}
    mark = session.execute(_MARK_SOLD, values | {"voucher_ids": list(voucher_ids)})
    newly_sold = sorted(mark.scalars())
    if newly_sold:
        session.execute(_ADD_PURCHASES, values | {"voucher_ids": newly_sold})
        _book(session, batch, newly_sold, sold)
    return newly_sold


def sell(session: Session, *, code: str, now: datetime, sold_by: str) -> Voucher:
    """Sell one voucher over the counter. Raises Refused when it was sold before, or is void (rule R8)."""
    voucher = get(session, code)
    if not sell_all(session, voucher.batch, [voucher.voucher_id], Sold(now, sold_by, "sold by the operator")):
        session.refresh(voucher)
        raise Refused(f"voucher {code} cannot be sold: it is {voucher.state}", "R8")
    if voucher.batch.sell == SellWhen.LATER:
        voucher.account.status = "active"
        _offer(session, voucher.batch, {voucher.voucher_id: code}, now)
        project_accounts(session, [code])
    session.refresh(voucher)
    return voucher


def void(session: Session, *, codes: Sequence[str], now: datetime, voided_by: str, reason: str) -> int:
    """Take vouchers out of the world for good; return how many live sessions were cut. Money is not given back."""
    found = [get(session, code, lock=True) for code in codes]
    for voucher in found:
        if voucher.state not in LIVING:
            raise Refused(f"voucher {voucher.code} is {voucher.state} already", "R8")
        voucher.state, voucher.changed_at = "void", now
        voucher.changed_by, voucher.changed_reason = voided_by, reason
    session.flush()
    void_grants(session, [f"voucher:{voucher.voucher_id}" for voucher in found], now=now)
    return accounts.close(session, [voucher.account for voucher in found], now=now)


def mark_printed(session: Session, *, batch_id: int, now: datetime, printed_by: str) -> list[Voucher]:
    """Return a batch's living vouchers for printing; those just generated become printed."""
    get_batch(session, batch_id)
    session.execute(_MARK_PRINTED, {"batch_id": batch_id, "now": now, "actor": printed_by})
    session.expire_all()
    return living_of(session, batch_id)


def living_of(session: Session, batch_id: int) -> list[Voucher]:
    """Return a batch's vouchers that are not used up, expired or void, with their accounts."""
    get_batch(session, batch_id)
    query = select(Voucher).where(Voucher.batch_id == batch_id, Voucher.state.in_(LIVING))
    with_accounts = query.options(joinedload(Voucher.account), joinedload(Voucher.batch))
    return list(session.scalars(with_accounts.order_by(Voucher.voucher_id)))


def batches(session: Session, *, limit: int = 100) -> list[VoucherBatch]:
    """Return batches, newest first."""
    return list(session.scalars(select(VoucherBatch).order_by(VoucherBatch.batch_id.desc()).limit(limit)))


def get(session: Session, code: str, *, lock: bool = False) -> Voucher:
    """Return the voucher with this code. Raises InvalidValue."""
    query = select(Voucher).where(Voucher.code == code)
    if lock:
        query = query.with_for_update(of=Voucher).execution_options(populate_existing=True)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise InvalidValue("code", code, "there is no such voucher; `herotill voucher list` shows them")
    return found


def get_batch(session: Session, batch_id: int) -> VoucherBatch:
    """Return a batch. Raises InvalidValue."""
    found = session.get(VoucherBatch, batch_id)
    if found is None:
        raise InvalidValue("batch", batch_id, "there is no such batch; `herotill voucher list` shows them")
    return found


def listing(
    session: Session, *, batch_id: int | None = None, state: str = "", search: str = "", limit: int = 100
) -> list[Voucher]:
    """Return vouchers, oldest first."""
    query = select(Voucher).where(Voucher.code.ilike(escape_like(search)))
    if batch_id is not None:
        query = query.where(Voucher.batch_id == batch_id)
    if state:
        query = query.where(Voucher.state == state)
    return list(session.scalars(query.order_by(Voucher.voucher_id).limit(limit)))


def history(session: Session, voucher: Voucher) -> list[VoucherEvent]:
    """Return every step of a voucher's life."""
    query = select(VoucherEvent).where(VoucherEvent.voucher_id == voucher.voucher_id)
    return list(session.scalars(query.order_by(VoucherEvent.voucher_event_id)))


def _add_batch(session: Session, wanted: NewBatch, plan: Plan, now: datetime) -> VoucherBatch:
    batch = VoucherBatch(
        type="ticket",
        sell=str(wanted.sell),
        plan_id=plan.plan_id,
        plan_name=plan.name,
        plan_terms=PlanTerms.of(plan).to_mapping(),
        price_minor=plan.price_minor,
        currency=plan.currency,
        code_count=wanted.count,
        code_length=wanted.length,
        created_at=now,
        created_by=wanted.created_by,
    )
    session.add(batch)
    session.flush()
    return batch


def _add_tickets(session: Session, wanted: NewBatch, batch: VoucherBatch, now: datetime) -> dict[int, str]:
    """Store accounts and vouchers; return codes by voucher id."""
    codes = _unused_codes(session, wanted)
    secrets = codes if wanted.password_length is None else _passwords(wanted.password_length, len(codes))
    status = "stored" if wanted.sell is SellWhen.LATER else "active"
    session.execute(_ADD_ACCOUNTS, {"codes": codes, "secrets": secrets, "status": status, "now": now})
    values = {"batch_id": batch.batch_id, "codes": codes, "now": now, "actor": wanted.created_by}
    return {row.voucher_id: row.code for row in session.execute(_ADD_VOUCHERS, values)}


def _unused_codes(session: Session, wanted: NewBatch) -> list[str]:
    source, codes = new_codes(wanted.length), set[str]()
    while len(codes) < wanted.count:
        fresh = set(islice(source, wanted.count - len(codes))) - codes
        values = {"codes": list(fresh), "lowered": [code.lower() for code in fresh]}
        codes |= fresh - set(session.execute(_TAKEN, values).scalars())
    return list(codes)


def _passwords(length: int, count: int) -> list[str]:
    if not 4 <= length <= 64:
        raise InvalidValue("password_length", length, "it is 4 to 64 characters")
    return [accounts.generate_secret(length) for _ in range(count)]


def _offer(session: Session, batch: VoucherBatch, codes: dict[int, str], now: datetime) -> None:
    terms = PlanTerms.from_mapping(batch.plan_terms)
    on_first_use = batch.sell == SellWhen.FIRST_USE
    clocks = clocks_of_first_use_sale(terms) if on_first_use else clocks_of_purchase(terms, now, None)
    offer = Offer("voucher", batch.plan_name, terms, clocks, now)
    grant(session, offer, {f"voucher:{voucher_id}": code for voucher_id, code in codes.items()})


def _book(session: Session, batch: VoucherBatch, voucher_ids: Sequence[int], sold: Sold) -> None:
    total = Money(batch.price_minor * len(voucher_ids), batch.currency)
    what = f"{len(voucher_ids)} of {batch.plan_name}, batch {batch.batch_id}"
    key = f"voucher:{voucher_ids[0]}" if len(voucher_ids) == 1 else f"batch:{batch.batch_id}:{voucher_ids[0]}"
    post_sale(session, Entry(key, what, sold.at, sold.by), total, customer_id=None)


def count_states(session: Session, batch_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Return how many vouchers of each batch are in which state."""
    counted = (
        select(Voucher.batch_id, Voucher.state, func.count())
        .where(Voucher.batch_id.in_(list(batch_ids)))
        .group_by(Voucher.batch_id, Voucher.state)
    )
    states: dict[int, dict[str, int]] = {}
    for batch_id, state, count in session.execute(counted):
        states.setdefault(batch_id, {})[state] = count
    return states
