"""Charging: where the money of a purchase comes from, and what the rules say to that (rules R25, R26, R28).

Whoever sells something to a customer charges it here: with cash, from the balance, on credit, or from a reseller's balance.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from billing import credit, resellers
from billing.ledger import COMMISSION, CUSTOMER, RESELLER, Entry, Posting, post, post_payment, post_sale
from billing.resellers import Seller
from herotill.credit import refusal_by_balance, refusal_by_credit
from herotill.errors import Refused
from herotill.quantities import Money


class PaidBy(StrEnum):
    """Where the money of a sale comes from."""

    CASH = "cash"  # received with the sale
    BALANCE = "balance"  # paid before
    CREDIT = "credit"  # the balance, and below zero as far as the customer's credit line allows


@dataclass(frozen=True, slots=True)
class Charge:
    """A price to be paid for something. `key` is the sale's own in the ledger, such as `purchase:12`."""

    what: str
    price: Money
    key: str
    description: str
    recorded_by: str
    at: datetime


def charge(session: Session, due: Charge, customer_id: int, paid_by: PaidBy) -> None:
    """Take the price from a customer. Raises Refused with both figures when there is not enough.

    Cash of somebody with a credit line settles the debt first, so it buys nothing while a debt is overdue.
    """
    credit.lock(session, customer_id)
    if paid_by is PaidBy.CASH:
        post_payment(session, _received(due), due.price, customer_id)
    _check_affordable(session, due, customer_id, paid_by)
    post_sale(session, _sale(due), due.price, customer_id)


def charge_reseller(session: Session, due: Charge, customer_id: int, seller: Seller) -> None:
    """Take the price less the commission from the reseller, who has the customer's money. Raises Refused when short."""
    if due.price.currency != seller.currency:
        raise Refused(f"{seller.name} sells in {seller.currency}, {due.what} costs {due.price}", "R28")
    commission = seller.commission(due.price)
    owed = Money(due.price.minor - commission.minor, due.price.currency)
    resellers.get(session, seller.name, lock=True)
    held = resellers.balance(session, seller.reseller_id, seller.currency)
    if held.minor < owed.minor:
        raise Refused(f"the balance of {seller.name} is {held}, {due.what} costs it {owed}", "R25")
    sides = [
        Posting(RESELLER, -owed.minor, owed.currency, reseller_id=seller.reseller_id),
        Posting(COMMISSION, -commission.minor, owed.currency),
        Posting(CUSTOMER, due.price.minor, owed.currency, customer_id),
    ]
    if due.price.minor:
        post(session, _received(due), [side for side in sides if side.amount_minor])
    post_sale(session, _sale(due), due.price, customer_id)


def _check_affordable(session: Session, due: Charge, customer_id: int, paid_by: PaidBy) -> None:
    stands = credit.standing(session, customer_id, due.price.currency)
    if paid_by is PaidBy.BALANCE:
        short = refusal_by_balance(stands, due.what, due.price)
        if short is not None:
            raise Refused(short, "R25")
    elif paid_by is PaidBy.CREDIT or stands.line is not None:
        refusal = refusal_by_credit(stands, due.what, due.price, due.at)
        if refusal is not None:
            raise Refused(refusal, "R26")


def _received(due: Charge) -> Entry:
    return Entry(f"payment:{due.key}", f"paid for {due.what}", due.at, due.recorded_by)


def _sale(due: Charge) -> Entry:
    return Entry(due.key, due.description, due.at, due.recorded_by)
