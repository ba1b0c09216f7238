"""What goes to the printer: a batch's living vouchers or chosen ones, as cards; every print is counted (rule R11).

A voucher just generated is printed from then on. A refill's code is unsealed here and nowhere else.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session, joinedload

from billing.holding import hold_vouchers
from billing.models import Voucher, VoucherBatch
from billing.new_batches import CodeType
from billing.sealed_codes import CodeKeys, SealedCode
from billing.terms import PlanTerms
from billing.voucher_batches import needed
from billing.vouchers import LIVING, get_batch
from herotill.errors import Refused
from herotill.quantities import Money

READ_AT_ONCE = 2_000
_MARK_PRINTED = text("""
    UPDATE billing.voucher SET
        state = CASE state WHEN 'generated' THEN 'printed' ELSE state END,
        changed_at = CASE state WHEN 'generated' THEN :now ELSE changed_at END,
        changed_by = CASE state WHEN 'generated' THEN :actor ELSE changed_by END,
        changed_reason = CASE state WHEN 'generated' THEN 'printed' ELSE changed_reason END,
        print_count = print_count + 1, printed_at = :now
    WHERE voucher_id = ANY(:voucher_ids)
""")


@dataclass(frozen=True, slots=True)
class Card:
    """What is printed of one voucher. `password` is empty where the code is enough. Neither is shown."""

    type: CodeType
    code: str = field(repr=False)
    password: str = field(repr=False)
    plan: str
    terms: PlanTerms
    price: Money | None
    serial: str
    state: str
    use_by: datetime | None


def cards_of_batch(
    session: Session, *, batch_id: int, keys: CodeKeys | None, now: datetime, printed_by: str
) -> list[Card]:
    """Return the cards of a batch's vouchers that are not used up, expired or void, and count the print."""
    get_batch(session, batch_id)
    living = (Voucher.batch_id == batch_id, Voucher.state.in_(LIVING))
    hold_vouchers(session, session.scalars(select(Voucher.voucher_id).where(*living)))
    query = select(Voucher).where(*living).options(joinedload(Voucher.account)).order_by(Voucher.number)
    # A card is small; a voucher with its account, as the books know it, is not.
    chosen = session.scalars(query, execution_options={"yield_per": READ_AT_ONCE})
    return _print(session, chosen, keys, (now, printed_by))


def cards_of(
    session: Session, chosen: Sequence[Voucher], keys: CodeKeys | None, now: datetime, printed_by: str
) -> list[Card]:
    """Return the cards of these vouchers and count the print. Raises Refused where one has ended."""
    for voucher in chosen:
        if voucher.state not in LIVING:
            raise Refused(f"voucher {voucher.code or voucher.serial} is {voucher.state}", "R11")
    hold_vouchers(session, [voucher.voucher_id for voucher in chosen])
    return _print(session, chosen, keys, (now, printed_by))


def _print(
    session: Session, chosen: Iterable[Voucher], keys: CodeKeys | None, printed: tuple[datetime, str]
) -> list[Card]:
    cards = dict(_cards(chosen, keys))
    values = {"voucher_ids": list(cards), "now": printed[0], "actor": printed[1]}
    session.execute(_MARK_PRINTED, values)
    session.expire_all()
    return list(cards.values())


def _cards(chosen: Iterable[Voucher], keys: CodeKeys | None) -> Iterator[tuple[int, Card]]:
    terms: dict[int, PlanTerms] = {}
    for voucher in chosen:
        batch = voucher.batch
        if batch.batch_id not in terms:
            terms[batch.batch_id] = PlanTerms.from_mapping(batch.plan_terms)
        yield voucher.voucher_id, _card(voucher, batch, terms[batch.batch_id], keys)


def _card(voucher: Voucher, batch: VoucherBatch, terms: PlanTerms, keys: CodeKeys | None) -> Card:
    code, password = _login(voucher, keys)
    state = "printed" if voucher.state == "generated" else voucher.state
    return Card(
        type=CodeType(batch.type),
        code=code,
        password=password,
        plan=batch.plan_name,
        terms=terms,
        price=None if batch.type == CodeType.FREE else batch.price,
        serial=voucher.serial,
        state=state,
        use_by=batch.codes_expire_at,
    )


def _login(voucher: Voucher, keys: CodeKeys | None) -> tuple[str, str]:
    if voucher.code_hash is not None and voucher.sealed_code is not None:
        sealed = SealedCode(bytes(voucher.code_hash), bytes(voucher.sealed_code))
        return needed(keys).open_code(sealed), ""
    code = voucher.code or ""
    secret = "" if voucher.account is None else voucher.account.secret
    return code, "" if secret == code else secret
