"""Entering what an import staged: customers, their accounts, the projection into RADIUS, thousands at a time (rule R4)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.projection import project_accounts
from herotill.snapshot import AccountKind

ENTERED_AT_ONCE = 10_000

# Everybody is unverified (rule R3), and nobody knows the password.
_ENTER = text("""
    WITH chunk AS MATERIALIZED (
        SELECT wanted.*, billing.new_account_number() AS account_number
        FROM (SELECT * FROM pg_temp.import_row WHERE outcome = 'new' AND line > :after
              ORDER BY line LIMIT :at_once) AS wanted),
    person AS (
        INSERT INTO billing.customer (account_number, name, phone, email, group_id, joined_at)
        SELECT account_number, name, phone, email, :group_id, :now FROM chunk ORDER BY line
        RETURNING customer_id, account_number),
    login AS (
        INSERT INTO billing.account (username, secret, kind, customer_id, cycle_day, must_reset_secret, created_at)
        SELECT username, secret, :kind, customer_id, :cycle_day, true, :now
        FROM chunk JOIN person USING (account_number) WHERE username IS NOT NULL ORDER BY line),
    remembered AS (
        INSERT INTO billing.imported_row (fingerprint, customer_id, imported_at)
        SELECT fingerprint, person.customer_id, :now FROM chunk JOIN person USING (account_number))
    SELECT line, username, person.customer_id FROM chunk JOIN person USING (account_number) ORDER BY line
""")
_REMEMBER_UNCHANGED = text("""
    INSERT INTO billing.imported_row (fingerprint, customer_id, imported_at)
    SELECT DISTINCT ON (fingerprint) fingerprint, whose, CAST(:now AS timestamptz)
    FROM pg_temp.import_row WHERE outcome = 'unchanged'
    ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Entering:
    """What all rows have in common."""

    group_id: int
    kind: AccountKind
    now: datetime


def enter(session: Session, entering: Entering, told: Callable[[int], None]) -> list[int]:
    """Enter every new row and return the customers' ids in the order of the file; `told` hears how many at a time."""
    values = {
        "group_id": entering.group_id,
        "kind": str(entering.kind),
        "cycle_day": entering.now.day if entering.kind is AccountKind.MONTHLY else None,
        "now": entering.now,
        "at_once": ENTERED_AT_ONCE,
    }
    entered: list[int] = []
    after = 0
    while rows := session.execute(_ENTER, values | {"after": after}).all():
        project_accounts(session, [row.username for row in rows if row.username is not None])
        entered += [row.customer_id for row in rows]
        after = rows[-1].line
        told(len(rows))
    session.execute(_REMEMBER_UNCHANGED, {"now": entering.now})
    return entered
