"""Whether a new name or address is somebody's already, or may be taken for somebody's (rules R4, R5).

For one at a time, by index; billing.import_checks asks the same of a whole file at once. What looks alike is
billing.confusables's to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from billing.confusables import look_alike, skeleton
from herotill.errors import InvalidValue

_IN_TURN = text("SELECT pg_advisory_xact_lock(hashtext('herotill double'), hashtext(:look))")
_SAME_EMAIL = text("""
    SELECT account_number FROM billing.customer
    WHERE lower(email) = lower(:value) AND deleted_at IS NULL AND customer_id IS DISTINCT FROM :owner
    ORDER BY customer_id LIMIT 1
""")
_LIKE_EMAIL = text("""
    SELECT email AS value, account_number FROM billing.customer
    WHERE billing.looks_like(email) IN (:look, '') AND deleted_at IS NULL AND customer_id IS DISTINCT FROM :owner
      AND lower(email) <> lower(:value)
    ORDER BY customer_id
""")
# Tickets are codes, which nobody takes for a name. One customer's accounts may be alike.
_LIKE_USER = text("""
    SELECT username AS value, account_number
    FROM billing.account JOIN billing.customer USING (customer_id)
    WHERE billing.looks_like(username) IN (:look, '') AND account.status <> 'closed'
      AND customer_id IS DISTINCT FROM :owner AND lower(username) <> lower(:value)
    ORDER BY account_id
""")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What an operator has looked at and wants all the same."""

    same_email: bool = False
    look_alikes: bool = False


STRICT = Tolerance()


def check_email_is_clear(
    session: Session, email: str | None, tolerance: Tolerance = STRICT, owner_id: int | None = None
) -> None:
    """Refuse an address that another customer than `owner_id` has, or that looks like theirs. Raises InvalidValue."""
    if email is None:
        return
    values = {"value": email, "look": skeleton(email), "owner": owner_id}
    session.execute(_IN_TURN, {"look": skeleton(email)})
    if not tolerance.same_email and (whose := session.scalar(_SAME_EMAIL, values)) is not None:
        raise InvalidValue("email", email, f"customer {whose} has it; --allow-same-email lets both have it")
    if not tolerance.look_alikes:
        _refuse_look_alike("email", email, session.execute(_LIKE_EMAIL, values).all())


def check_username_is_clear(
    session: Session, username: str, tolerance: Tolerance = STRICT, owner_id: int | None = None
) -> None:
    """Refuse a user name that people could take for one of another customer than `owner_id`. Raises InvalidValue."""
    if not tolerance.look_alikes:
        values = {"value": username, "look": skeleton(username), "owner": owner_id}
        session.execute(_IN_TURN, {"look": skeleton(username)})
        _refuse_look_alike("user", username, session.execute(_LIKE_USER, values).all())


def _refuse_look_alike(field: str, value: str, candidates: Sequence[Row[Any]]) -> None:
    for one in candidates:
        if look_alike(value, one.value):
            alike = f"it looks like {one.value} of customer {one.account_number}"
            raise InvalidValue(field, value, f"{alike}; --allow-look-alikes enters it all the same")
