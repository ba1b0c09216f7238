"""What the tests of codes share: plans, batches and codes as an operator makes them."""

from datetime import datetime
from typing import Any

from billing import access_events, plans, printing, voucher_batches
from billing.new_batches import CodeType, NewBatch, SellWhen
from billing.sealed_codes import CodeKeys
from billing.terms import PlanTerms
from herotill.quantities import Money
from herotill.refilling import RefillTerms
from tests.contract.billing.conftest import Ask, OpenBooks

KEYS = CodeKeys.of_secret("ab" * 32)
GIB = 2**30


def add_plan(books: OpenBooks, now: datetime, name: str = "1h", **terms: Any) -> None:
    """Put a plan on the shelf, of 1 GiB for 20 KES where nothing else is said."""
    said: dict[str, Any] = {"price": Money(2000, "KES"), "quota_octets": GIB} | terms
    with books() as session:
        plans.add(session, name=name, terms=PlanTerms(**said), now=now)


def make(
    books: OpenBooks, now: datetime, kind: CodeType, count: int = 1, **more: Any
) -> tuple[int, list[printing.Card]]:
    """Generate a batch and print it; return its number and the cards, which hold the codes."""
    said: dict[str, Any] = {"plan": "1h", "sell": SellWhen.NOW} | more
    wanted = NewBatch(type=kind, count=count, created_by="desk", **said)
    with books() as session:
        batch_id = voucher_batches.generate(session, wanted=wanted, now=now, keys=KEYS).batch_id
        cards = printing.cards_of_batch(session, batch_id=batch_id, keys=KEYS, now=now, printed_by="desk")
    return batch_id, cards


def make_refills(
    books: OpenBooks, now: datetime, count: int = 1, refill: RefillTerms | None = None, **terms: Any
) -> list[str]:
    """Add a plan of refills and return so many sold codes of it."""
    add_plan(books, now, "refill", refill=refill or RefillTerms(), **terms)
    _, cards = make(books, now, CodeType.REFILL, count, plan="refill")
    return [card.code for card in cards]


def begin_use(books: OpenBooks, ask: Ask, username: str, at: datetime) -> None:
    """Log in for the first time, as packet time does it, and let the books hear of it."""
    ask(
        """SELECT radius.start_first_use(username, entitlement_id, :at) FROM radius.entitlement
           WHERE username = :name AND ended_at IS NULL""",
        name=username,
        at=at,
    )
    with books() as session:
        access_events.book_access_events(session, at)


def end_grant(ask: Ask, username: str, at: datetime, reason: str = "quota") -> None:
    """End what an account has, as the meter and the schedule do it."""
    ask(
        "UPDATE radius.entitlement SET ended_at = :at, ended_reason = :reason WHERE username = :name AND ended_at IS NULL",
        name=username,
        at=at,
        reason=reason,
    )


def log_in(ask: Ask, username: str, at: datetime, accepted: bool = True) -> None:
    """Write a login as the meter does."""
    ask(
        """INSERT INTO radius.login_outcome (username, occurred_at, accepted, reason, login_id, node)
           VALUES (:name, :at, :accepted, :reason, :login, 'test')""",
        name=username,
        at=at,
        accepted=accepted,
        reason="accepted" if accepted else "bad_credentials",
        login=f"{username}{at}",
    )
