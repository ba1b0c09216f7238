"""Reports of money: what was sold, and what each customer spent (rules R5, R29).

A sale is what the ledger earned, on the day it was made, whether paid then or later; it sums to what moved in the ledger
account `sales`. What was taken back counts below zero on the day it was taken back.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from billing.report_periods import Span
from billing.reports import OWN, SPAN, Question
from herotill.quantities import Money


class SalesBy(StrEnum):
    """What sales are told apart by."""

    PLAN = "plan"
    GROUP = "group"
    RESELLER = "reseller"
    USER = "user"


_LABELS = {
    SalesBy.PLAN: """coalesce(sale.plan_name, CASE sale.kind WHEN 'invoice' THEN '(other bills)'
                              WHEN 'transfer' THEN '(transfer fees)' ELSE '(other)' END)""",
    SalesBy.GROUP: "coalesce(customer_group.name, '(no group)')",
    SalesBy.RESELLER: "coalesce(reseller.name, '(ourselves)')",
    SalesBy.USER: "coalesce(account.username, '(over the counter)')",
}
_FROM_SALES = f"""
    FROM billing.sale
    LEFT JOIN billing.account USING (account_id)
    LEFT JOIN billing.customer ON customer.customer_id = sale.customer_id
    LEFT JOIN billing.customer_group USING (group_id)
    LEFT JOIN billing.reseller ON reseller.reseller_id = sale.reseller_id
    WHERE occurred_at >= :since AND occurred_at < :until AND {OWN}
      AND (CAST(:plan_name AS text) IS NULL OR sale.plan_name = :plan_name)
"""
_OF_USER = "AND (CAST(:username AS text) IS NULL OR account.username = :username)"
_SALES = {
    by: text(f"""
        SELECT {SPAN.format("occurred_at")} AS span, {label} AS label, sale.currency,
               sum(items) AS items, sum(amount_minor) AS amount_minor
        {_FROM_SALES} {_OF_USER}
        GROUP BY span, label, sale.currency ORDER BY span, sale.currency, amount_minor DESC, label
    """)
    for by, label in _LABELS.items()
}

# What was paid is told by the ledger's keys, as billing.ledger.kind_of does; taken back, it counts below zero too.
_EXPENDITURE = text(f"""
    WITH spent AS (
        SELECT sale.customer_id, sale.currency, sum(items) AS items, sum(amount_minor) AS spent_minor
        {_FROM_SALES} AND sale.customer_id IS NOT NULL
        GROUP BY sale.customer_id, sale.currency),
    paid AS (
        SELECT posting.customer_id, currency, sum(amount_minor) AS paid_minor
        FROM billing.ledger_transaction AS booked
        JOIN billing.ledger_posting AS posting USING (transaction_id)
        LEFT JOIN billing.ledger_transaction AS wrong ON wrong.transaction_id = booked.reverses_id
        WHERE booked.occurred_at >= :since AND booked.occurred_at < :until AND posting.customer_id IS NOT NULL
          AND coalesce(wrong.external_key, booked.external_key) LIKE 'payment:%'
        GROUP BY posting.customer_id, currency),
    page AS (
        SELECT customer_id, account_number, customer.name, customer_group.name AS group_name, currency,
               coalesce(items, 0) AS items, coalesce(spent_minor, 0) AS spent_minor, coalesce(paid_minor, 0) AS paid_minor
        FROM spent FULL JOIN paid USING (customer_id, currency)
        JOIN billing.customer USING (customer_id) LEFT JOIN billing.customer_group USING (group_id)
        WHERE {OWN} AND (CAST(:username AS text) IS NULL
                         OR customer_id IN (SELECT customer_id FROM billing.account WHERE username = :username))
        ORDER BY currency, spent_minor DESC, paid_minor DESC, account_number LIMIT :limit OFFSET :offset)
    SELECT page.*, (SELECT coalesce(sum(amount_minor), 0) FROM billing.ledger_posting AS posting
                    WHERE posting.customer_id = page.customer_id AND posting.currency = page.currency) AS balance_minor
    FROM page ORDER BY currency, spent_minor DESC, paid_minor DESC, account_number
""")  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class Sales:
    """How many of something were sold in a span, for how much; both below zero where more was taken back."""

    span: Span
    label: str
    items: int
    amount: Money


@dataclass(frozen=True, slots=True)
class Expenditure:
    """What a customer spent and paid in the period, in one currency, and the balance as it is now."""

    account_number: str
    name: str
    group: str | None
    items: int
    spent: Money
    paid: Money
    balance: Money


def sales(session: Session, question: Question, by: SalesBy = SalesBy.PLAN) -> list[Sales]:
    """Return what was sold, by span, the most first; nothing stands for nothing sold."""
    rows = session.execute(_SALES[by], question.values())
    return [
        Sales(
            question.spans[row.span - 1],
            row.label,
            int(row.items),
            Money(int(row.amount_minor), row.currency),
        )
        for row in rows
    ]


def expenditure(
    session: Session, question: Question, *, limit: int = 100, offset: int = 0
) -> list[Expenditure]:
    """Return what customers spent and paid, who spent most first."""
    values = question.values() | {"limit": limit, "offset": offset}
    return [_expenditure(row) for row in session.execute(_EXPENDITURE, values)]


def totals(rows: list[Sales]) -> list[tuple[int, Money]]:
    """Return how many were sold and for how much, in each currency."""
    items: dict[str, int] = {}
    minor: dict[str, int] = {}
    for row in rows:
        currency = row.amount.currency
        items[currency] = items.get(currency, 0) + row.items
        minor[currency] = minor.get(currency, 0) + row.amount.minor
    return [(items[currency], Money(minor[currency], currency)) for currency in sorted(items)]


def _expenditure(row: Row[Any]) -> Expenditure:
    return Expenditure(
        account_number=row.account_number,
        name=row.name,
        group=row.group_name,
        items=int(row.items),
        spent=Money(int(row.spent_minor), row.currency),
        paid=Money(int(row.paid_minor), row.currency),
        balance=Money(int(row.balance_minor), row.currency),
    )
