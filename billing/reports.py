"""What every report is asked: of which time, of whom, and for whom it is made (rules R28, R29).

A reseller's reports are of its own groups. The queries are set-based SQL, which the fence of billing.confinement does not
see: each of them has `OWN` in it, and a test that asks for all reports as a reseller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.report_periods import Span
from billing.resellers import Seller
from herotill.errors import InvalidValue

# Of the customer's group: `customer` and `customer_group` are the query's.
OWN = """
    (CAST(:reseller_id AS bigint) IS NULL
     OR customer.group_id IN (SELECT group_id FROM billing.reseller_group WHERE reseller_id = :reseller_id))
    AND (CAST(:group_name AS text) IS NULL OR customer_group.name = :group_name)
"""
# Which span of the question a time is in, from 1 on.
SPAN = "width_bucket({}, CAST(:bounds AS timestamptz[]))"

_KNOWS_USER = text("""
    SELECT FROM billing.account LEFT JOIN billing.customer USING (customer_id)
    WHERE username = :username
      AND (CAST(:reseller_id AS bigint) IS NULL
           OR group_id IN (SELECT group_id FROM billing.reseller_group WHERE reseller_id = :reseller_id))
    LIMIT 1
""")
_KNOWS_GROUP = text("""
    SELECT FROM billing.customer_group
    WHERE name = :group_name
      AND (CAST(:reseller_id AS bigint) IS NULL
           OR group_id IN (SELECT group_id FROM billing.reseller_group WHERE reseller_id = :reseller_id))
""")
_KNOWS_PLAN = text("""
    SELECT WHERE EXISTS (SELECT FROM billing.plan WHERE name = :plan_name)
        OR EXISTS (SELECT FROM billing.purchase WHERE plan_name = :plan_name)
""")


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is of: spans of time that touch, and if wanted one group, plan or user name; `seller` is who asks."""

    spans: Sequence[Span]
    group: str | None = None
    plan: str | None = None
    username: str | None = None
    seller: Seller | None = None

    def values(self) -> dict[str, Any]:
        """Return the values the queries are bound to."""
        return {
            "bounds": [span.begins_at for span in self.spans],
            "since": self.spans[0].begins_at,
            "until": self.spans[-1].ends_at,
            "group_name": self.group,
            "plan_name": self.plan,
            "username": self.username,
            "reseller_id": None if self.seller is None else self.seller.reseller_id,
        }


def check(session: Session, question: Question) -> None:
    """Raise InvalidValue for a group, plan or user nobody ever had: an empty report would look like an answer.

    A reseller is told of others' just what it is told of what does not exist.
    """
    values = question.values()
    if question.group is not None and session.execute(_KNOWS_GROUP, values).one_or_none() is None:
        raise InvalidValue(
            "group", question.group, "there is no such group; `herotill group list` shows them"
        )
    if question.username is not None and session.execute(_KNOWS_USER, values).one_or_none() is None:
        raise InvalidValue(
            "user", question.username, "no account has, or had, this name; `herotill account list` shows them"
        )
    if question.plan is not None and session.execute(_KNOWS_PLAN, values).one_or_none() is None:
        raise InvalidValue(
            "plan", question.plan, "no plan has, or had, this name; `herotill plan list` shows them"
        )
