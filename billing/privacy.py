"""Everything that is known of one customer, as one document (rule R36).

Passwords and hashes of codes are no knowledge about a person and are left out.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.models import Customer
from billing.personal_tables import OWNED, PersonalTable, personal_tables

_SECRET_COLUMNS = frozenset({"secret", "code_hash", "sealed_code", "pass"})
_SECRET_ATTRIBUTES = ("Cleartext-Password", "User-Password")
# radacct is not sorted by user names: all of it is read.
_TAKE_TIME = text("SET LOCAL statement_timeout = '15min'")


def export(session: Session, customer: Customer, now: datetime) -> dict[str, Any]:
    """Return everything the books and RADIUS hold of a customer, by table, as JSON can have it."""
    session.execute(_TAKE_TIME)
    tables = {table.name: _rows(session, table, customer) for table in personal_tables(session)}
    return {
        "account_number": customer.account_number,
        "exported_at": now.isoformat(),
        "tables": {name: rows for name, rows in tables.items() if rows},
    }


def _rows(session: Session, table: PersonalTable, customer: Customer) -> list[dict[str, Any]]:
    # Made of names from the catalogue and of our own constants.
    statement = f"{OWNED} SELECT to_jsonb(item) FROM {table.name} AS item WHERE {table.condition} ORDER BY 1"  # noqa: S608
    found = session.execute(text(statement), {"customer_id": customer.customer_id}).scalars()
    return [_without_secrets(row) for row in found]


def _without_secrets(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in _SECRET_COLUMNS}
    if row.get("attribute") in _SECRET_ATTRIBUTES:
        del kept["value"]
    if isinstance(payload := row.get("payload"), dict):
        kept["payload"] = {name: value for name, value in payload.items() if name != "code"}
    return kept
