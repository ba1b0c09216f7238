"""Where something about a person may stand: every table that names a customer, an account or a user name (rule R36).

Found in the database's own catalogue, so that no table is forgotten when there is a new one. A user name may have been
another person's before: what names one counts from the time the account had it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

# The names of a customer's accounts, closed ones too, and since and until when they were theirs. Begins a statement.
OWNED = """
    WITH owned AS (
        SELECT account_id, username, status,
               CASE WHEN EXISTS (SELECT FROM billing.account other
                                 WHERE other.username = mine.username AND other.created_at < mine.created_at)
                    THEN created_at - interval '1 hour' ELSE '-infinity' END AS since,
               CASE WHEN EXISTS (SELECT FROM billing.account other
                                 WHERE other.username = mine.username AND other.created_at > mine.created_at)
                    THEN closed_at ELSE 'infinity' END AS until
        FROM billing.account mine WHERE customer_id = :customer_id)
"""
DIVIDED = frozenset({"radius.usage_interval", "radius.radacct_archive"})
"""What may be spread over several machines by user name (`herotill database distribute`)."""
_KEYS = ("customer_id", "account_id", "from_account_id", "to_account_id", "username")
_OWN_VOUCHERS = "(SELECT voucher_id FROM billing.voucher JOIN owned USING (account_id))"
_OWN_NAMES = "(SELECT username FROM owned WHERE until = 'infinity') AND item.relation NOT LIKE '%group%'"
# Tables that name none of these, and the way to them.
_BY_WAY_OF: Mapping[str, str] = {
    "billing.ledger_transaction": "item.transaction_id IN (SELECT transaction_id FROM billing.ledger_posting"
    " WHERE customer_id = :customer_id)",
    "billing.event_delivery": "item.event_id IN (SELECT event_id FROM billing.event WHERE customer_id = :customer_id)",
    "billing.voucher_event": f"item.voucher_id IN {_OWN_VOUCHERS}",
    "billing.usage_account": f"item.voucher_id IN {_OWN_VOUCHERS}",
    "billing.usage_bill": f"item.voucher_id IN {_OWN_VOUCHERS}",
    "billing.transfer_part": "item.transfer_id IN (SELECT transfer_id FROM billing.transfer JOIN owned"
    " ON owned.account_id IN (from_account_id, to_account_id))",
    "billing.refill_failure": "item.party = 'account' AND item.name IN (SELECT username FROM owned)",
    "billing.radius_attribute": f"item.name IN {_OWN_NAMES}",
    "radius.owned_attribute": f"item.name IN {_OWN_NAMES}",
    "radius.hand_edit": f"item.name IN {_OWN_NAMES}",
    "radius.drift": f"item.name IN {_OWN_NAMES}",
    "radius.coa_attempt": "item.coa_request_id IN (SELECT coa_request_id FROM radius.coa_request JOIN owned USING (username)"
    " WHERE created_at >= since AND created_at < until)",
}
# When a row that names a user was made; a table without it is about the living account of that name.
_TIMES: Mapping[str, str] = {
    "billing.granted": "granted_at",
    "radius.access_event": "occurred_at",
    "radius.coa_request": "created_at",
    "radius.device": "last_session_at",
    "radius.entitlement": "granted_at",
    "radius.login_outcome": "occurred_at",
    "radius.radacct": "acctstarttime",
    "radius.radacct_archive": "acctstarttime",
    "radius.radpostauth": "authdate",
    "radius.session": "started_at",
    "radius.usage_interval": "interval_start",
}
_CATALOGUE = text("""
    SELECT nspname || '.' || relname AS name, array_agg(attname::text ORDER BY attnum) AS columns
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE nspname IN ('billing', 'radius') AND relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0
      AND NOT attisdropped
    GROUP BY nspname, relname ORDER BY nspname, relname
""")


@dataclass(frozen=True, slots=True)
class PersonalTable:
    """A table and its columns. `condition` finds a customer's rows: it goes after OWNED and calls the table `item`."""

    name: str
    columns: Sequence[str]

    @property
    def condition(self) -> str:
        """SQL that is true of a customer's rows."""
        if self.name in _BY_WAY_OF:
            return _BY_WAY_OF[self.name]
        found = []
        if "customer_id" in self.columns:
            found.append("item.customer_id = :customer_id")
        accounts = [name for name in self.columns if name.endswith("account_id") and name in _KEYS]
        found += [f"item.{name} IN (SELECT account_id FROM owned)" for name in accounts]  # noqa: S608 - constants
        if "username" in self.columns:
            found.append(f"EXISTS (SELECT FROM owned WHERE {self.is_owned})")
        return " OR ".join(found)

    @property
    def is_owned(self) -> str:
        """SQL that is true of a row and the owned name it is about."""
        when = _TIMES.get(self.name)
        span = "until = 'infinity'"
        if when is not None:
            span = f"coalesce(item.{when}, since) >= since AND coalesce(item.{when}, since) < until"
        return f"owned.username = item.username AND {span}"


def personal_tables(session: Session) -> list[PersonalTable]:
    """Return every table where something about a person may stand, by name."""
    found = [PersonalTable(row.name, tuple(row.columns)) for row in session.execute(_CATALOGUE)]
    return [each for each in found if each.name in _BY_WAY_OF or set(_KEYS) & set(each.columns)]
