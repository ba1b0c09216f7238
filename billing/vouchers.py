"""Vouchers: a code's life, from the drawer to its end, one by one or a batch at once (rule R8).

Every change is one statement over a set of vouchers that asks for the state it begins with, so that nothing happens twice.
How codes come to be is in billing/voucher_batches.py, what is printed in billing/printing.py.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session, joinedload

from billing.charging import Charge, PaidBy, charge
from billing.checks import escape_like
from billing.codes import as_typed
from billing.holding import hold_vouchers
from billing.ledger import Entry, post_sale
from billing.models import RefillRedemption, Voucher, VoucherBatch, VoucherEvent
from billing.new_batches import CodeType, SellWhen
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from billing.projection import Offer, grant, project_accounts
from billing.sealed_codes import CodeKeys
from billing.terms import PlanTerms, clocks_of_first_use_sale, clocks_of_purchase
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money

UNSOLD = ("generated", "printed")
LIVING = (*UNSOLD, "sold", "in_use")

_SERIAL = re.compile(r"([0-9]{1,9})-([0-9]{1,9})", re.ASCII)

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
_OPEN_ACCOUNTS = text("""
    UPDATE billing.account SET status = 'active'
    FROM billing.voucher WHERE voucher.account_id = account.account_id AND voucher_id = ANY(:voucher_ids)
      AND account.status = 'stored'
    RETURNING voucher_id, username
""")


@dataclass(frozen=True, slots=True)
class Buyer:
    """A customer who buys vouchers, and how they are paid (rules R25, R26)."""

    customer_id: int
    paid_by: PaidBy


@dataclass(frozen=True, slots=True)
class Sold:
    """When a voucher was sold, by whom, on what occasion; and to whom, where that is not somebody with cash."""

    at: datetime
    by: str
    occasion: str
    buyer: Buyer | None = None


def sell_all(session: Session, batch: VoucherBatch, voucher_ids: Sequence[int], sold: Sold) -> list[int]:
    """Sell those vouchers of a batch that are not sold yet, with one ledger entry; return which were."""
    if batch.type == CodeType.FREE:
        raise Refused(f"batch {batch.batch_id} is free and cannot be sold", "R7")
    values = {"now": sold.at, "actor": sold.by, "reason": sold.occasion}
    mark = session.execute(_MARK_SOLD, values | {"voucher_ids": list(voucher_ids)})
    newly_sold = sorted(mark.scalars())
    if newly_sold:
        session.execute(_ADD_PURCHASES, values | {"voucher_ids": newly_sold})
        _book(session, batch, newly_sold, sold)
    return newly_sold


def sell(
    session: Session,
    *,
    code: str,
    now: datetime,
    sold_by: str,
    keys: CodeKeys | None = None,
    buyer: Buyer | None = None,
) -> Voucher:
    """Sell one voucher over the counter. Raises Refused when it was sold before, or is void (rule R8)."""
    sold = Sold(now, sold_by, "sold by the operator", buyer)
    voucher = get(session, code, keys=keys)
    if not sell_batch(session, voucher.batch, sold, [voucher.voucher_id]):
        session.refresh(voucher)
        raise Refused(f"voucher {name_of(voucher)} cannot be sold: it is {voucher.state}", "R8")
    session.refresh(voucher)
    return voucher


def sell_batch(
    session: Session, batch: VoucherBatch, sold: Sold, voucher_ids: Sequence[int] | None = None
) -> list[int]:
    """Sell what is unsold of a batch, or of these of its vouchers, and let them in; return which were."""
    if voucher_ids is None:
        unsold = select(Voucher.voucher_id).where(
            Voucher.batch_id == batch.batch_id, Voucher.state.in_(UNSOLD)
        )
        voucher_ids = session.scalars(unsold.order_by(Voucher.voucher_id)).all()
    hold_vouchers(session, voucher_ids)
    newly_sold = sell_all(session, batch, voucher_ids, sold)
    opened = session.execute(_OPEN_ACCOUNTS, {"voucher_ids": newly_sold}).all()
    if opened:
        offer(session, batch, {row.voucher_id: row.username for row in opened}, sold.at)
        project_accounts(session, [row.username for row in opened])
    session.expire_all()
    return newly_sold


def offer(session: Session, batch: VoucherBatch, usernames: Mapping[int, str], now: datetime) -> None:
    """Give each voucher of a batch that is a login (user names by voucher id) what its plan promises."""
    terms = PlanTerms.from_mapping(batch.plan_terms)
    is_free = batch.type == CodeType.FREE
    on_first_use = is_free or batch.sell == SellWhen.FIRST_USE
    clocks = clocks_of_first_use_sale(terms) if on_first_use else clocks_of_purchase(terms, now, None)
    key = "free:{}:1" if is_free else "voucher:{}"
    holders = {key.format(voucher_id): name for voucher_id, name in usernames.items()}
    grant(session, Offer("voucher", batch.plan_name, terms, clocks, now), holders)


def batches(session: Session, *, limit: int = 100_000) -> list[VoucherBatch]:
    """Return batches, newest first."""
    return list(session.scalars(select(VoucherBatch).order_by(VoucherBatch.batch_id.desc()).limit(limit)))


def get(session: Session, code: str, *, keys: CodeKeys | None = None) -> Voucher:
    """Return the voucher with this code, or this number on the card. Raises InvalidValue."""
    found = session.scalars(select(Voucher).where(_is_called(code, keys))).first()
    if found is None:
        raise InvalidValue("code", code, "there is no such voucher; `herotill voucher list` shows them")
    return found


def get_batch(session: Session, batch_id: int) -> VoucherBatch:
    """Return a batch. Raises InvalidValue."""
    found = session.get(VoucherBatch, batch_id)
    if found is None:
        raise InvalidValue("batch", batch_id, "there is no such batch; `herotill voucher batches` shows them")
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which vouchers a list is of."""

    batch_id: int | None = None
    state: str = ""
    search: str = ""
    type: str = ""


SORT_KEYS: SortKeys = {
    "serial": Voucher.voucher_id,
    "code": Voucher.code,
    "state": Voucher.state,
    "changed_at": Voucher.changed_at,
}


def listing(session: Session, wanted: Wanted, page: Page = FIRST_PAGE) -> list[Voucher]:
    """Return vouchers, oldest first. Refills are found by the number on the card."""
    query = select(Voucher).options(joinedload(Voucher.batch), joinedload(Voucher.account))
    if wanted.search:
        pattern = escape_like(wanted.search)
        serial = func.concat(Voucher.batch_id, "-", Voucher.number)
        query = query.where(or_(Voucher.code.ilike(pattern), serial.ilike(pattern)))
    if wanted.batch_id is not None:
        query = query.where(Voucher.batch_id == wanted.batch_id)
    if wanted.state:
        query = query.where(Voucher.state == wanted.state)
    if wanted.type:
        query = query.join(VoucherBatch, Voucher.batch_id == VoucherBatch.batch_id)
        query = query.where(VoucherBatch.type == wanted.type)
    return list(session.scalars(paged(query, page, SORT_KEYS, Voucher.voucher_id)))


def history(session: Session, voucher: Voucher) -> list[VoucherEvent]:
    """Return every step of a voucher's life."""
    query = select(VoucherEvent).where(VoucherEvent.voucher_id == voucher.voucher_id)
    return list(session.scalars(query.order_by(VoucherEvent.voucher_event_id)))


def redemption_of(session: Session, voucher: Voucher) -> RefillRedemption | None:
    """Return whose account a refill went to."""
    return session.get(RefillRedemption, voucher.voucher_id)


def name_of(voucher: Voucher) -> str:
    """Return what people call a voucher: its code, or a refill's number on the card."""
    return voucher.serial if voucher.code is None else voucher.code


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


def _is_called(code: str, keys: CodeKeys | None) -> ColumnElement[bool]:
    names: list[Any] = [Voucher.code == code, Voucher.code == as_typed(code)]
    if (serial := _SERIAL.fullmatch(code)) is not None:
        names.append((Voucher.batch_id == int(serial[1])) & (Voucher.number == int(serial[2])))
    if keys is not None:
        names.append(Voucher.code_hash == keys.hash_of(code))
    return or_(*names)


def _book(session: Session, batch: VoucherBatch, voucher_ids: Sequence[int], sold: Sold) -> None:
    total = Money(batch.price_minor * len(voucher_ids), batch.currency)
    what = f"{len(voucher_ids)} of {batch.plan_name}, batch {batch.batch_id}"
    key = f"voucher:{voucher_ids[0]}" if len(voucher_ids) == 1 else f"batch:{batch.batch_id}:{voucher_ids[0]}"
    if sold.buyer is None:
        post_sale(session, Entry(key, what, sold.at, sold.by), total, customer_id=None)
    else:
        due = Charge(what, total, key, what, sold.by, sold.at)
        charge(session, due, sold.buyer.customer_id, sold.buyer.paid_by)
