"""Reading the ledger: its lines, a running balance, and what lies in every ledger account (rule R25)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, null, select
from sqlalchemy.orm import Session

from billing.ledger import CUSTOMER, KIND_OF_KEY, RESELLER, Kind, kind_of
from billing.models import Customer, LedgerPosting, LedgerTransaction, Reseller
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from herotill.quantities import Money

ROWS_AT_ONCE = 2000

_COLUMNS: tuple[Any, ...] = (
    LedgerPosting.posting_id,
    LedgerPosting.transaction_id,
    LedgerPosting.ledger_account,
    LedgerPosting.amount_minor,
    LedgerPosting.currency,
    LedgerTransaction.external_key,
    LedgerTransaction.occurred_at,
    LedgerTransaction.description,
    LedgerTransaction.recorded_by,
    LedgerTransaction.reverses_id,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines are wanted; the times are a half-open interval of when things happened."""

    customer_id: int | None = None
    reseller_id: int | None = None
    ledger_account: str | None = None
    kind: Kind | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_one_account(self) -> bool:
        """Whether all lines are of one ledger account, so that a running balance means something."""
        named = self.ledger_account not in (None, CUSTOMER, RESELLER)
        return named or self.customer_id is not None or self.reseller_id is not None


@dataclass(frozen=True, slots=True)
class Line:
    """One side of a ledger transaction. `balance` is that of its account after it, where all lines are of one account."""

    transaction_id: int
    occurred_at: datetime
    kind: Kind
    description: str
    recorded_by: str
    ledger_account: str
    party: str | None
    amount: Money
    balance: Money | None
    reverses_id: int | None


SORT_KEYS: SortKeys = {
    "occurred_at": literal_column("occurred_at"),
    "amount": literal_column("amount_minor"),
    "ledger_account": literal_column("ledger_account"),
    "party": literal_column("party"),
    "recorded_by": literal_column("recorded_by"),
}
_NEWEST_FIRST: tuple[ColumnElement[Any], ...] = (
    literal_column("occurred_at").desc(),
    literal_column("posting_id").desc(),
)


def lines(session: Session, wanted: Filter, page: Page = FIRST_PAGE) -> list[Line]:
    """Return the newest lines first."""
    query = paged(_lines(wanted), page, SORT_KEYS, *_NEWEST_FIRST)
    return [_line(row) for row in session.execute(query)]


def every_line(session: Session, wanted: Filter) -> Iterator[Line]:
    """Yield all lines, oldest first, in bounded memory."""
    rows = _lines(wanted)
    ordered = rows.order_by(literal_column("occurred_at"), literal_column("posting_id"))
    for row in session.execute(ordered.execution_options(yield_per=ROWS_AT_ONCE)):
        yield _line(row)


def trial_balance(session: Session) -> list[tuple[str, Money]]:
    """Return what lies in every ledger account, per currency; each currency sums to zero."""
    grouped = (LedgerPosting.currency, LedgerPosting.ledger_account)
    query = select(*grouped, func.sum(LedgerPosting.amount_minor)).group_by(*grouped).order_by(*grouped)
    return [(account, Money(int(total), currency)) for currency, account, total in session.execute(query)]


def _lines(wanted: Filter) -> Select[Any]:
    """Ask for lines. The running balance is made of all lines of the account, then the others wanted are picked out."""
    found = _of_account(_every(wanted), wanted).subquery()
    query = select(found)
    if wanted.kind is not None:
        query = query.where(_is_kind(found.c.external_key, wanted.kind))
    if wanted.since is not None:
        query = query.where(found.c.occurred_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(found.c.occurred_at < wanted.until)
    return query


def _every(wanted: Filter) -> Select[Any]:
    after: ColumnElement[Any] = null()
    if wanted.is_one_account:
        after = func.sum(LedgerPosting.amount_minor).over(
            partition_by=LedgerPosting.currency,
            order_by=(LedgerTransaction.occurred_at, LedgerPosting.posting_id),
        )
    party = func.coalesce(Customer.account_number, Reseller.name)
    query = select(*_COLUMNS, party.label("party"), after.label("balance")).select_from(LedgerPosting)
    return (
        query.join(LedgerTransaction, LedgerTransaction.transaction_id == LedgerPosting.transaction_id)
        .outerjoin(Customer, Customer.customer_id == LedgerPosting.customer_id)
        .outerjoin(Reseller, Reseller.reseller_id == LedgerPosting.reseller_id)
    )


def _of_account(query: Select[Any], wanted: Filter) -> Select[Any]:
    if wanted.customer_id is not None:
        query = query.where(LedgerPosting.customer_id == wanted.customer_id)
    if wanted.reseller_id is not None:
        query = query.where(LedgerPosting.reseller_id == wanted.reseller_id)
    if wanted.ledger_account is not None:
        query = query.where(LedgerPosting.ledger_account == wanted.ledger_account)
    return query


def _is_kind(external_key: ColumnElement[str], kind: Kind) -> ColumnElement[bool]:
    word = func.split_part(external_key, ":", 1)
    if kind is Kind.OTHER:
        return word.not_in(list(KIND_OF_KEY))
    return word.in_([known for known, its_kind in KIND_OF_KEY.items() if its_kind is kind])


def _line(row: Any) -> Line:
    return Line(
        transaction_id=row.transaction_id,
        occurred_at=row.occurred_at,
        kind=kind_of(row.external_key),
        description=row.description,
        recorded_by=row.recorded_by,
        ledger_account=row.ledger_account,
        party=row.party,
        amount=Money(row.amount_minor, row.currency),
        balance=None if row.balance is None else Money(int(row.balance), row.currency),
        reverses_id=row.reverses_id,
    )
