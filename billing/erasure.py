"""Erasure: the person is gone, the books stay (rule R36).

Money, grants and use keep their figures under the name `erased-<account>`. Names, addresses and devices are taken away, and
what was sent. The ledger stays append-only but for this: a user name within a description gives way.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing import accounts, customers
from billing.models import Customer
from billing.personal_tables import DIVIDED, OWNED, PersonalTable, personal_tables
from herotill.errors import Refused

# A session that was silent for so long reports no more, and is taken for over.
SILENCE = timedelta(hours=2)

_TAKE_TIME = text("SET LOCAL statement_timeout = '15min'")
_LIVE = text(f"""
    {OWNED} SELECT count(*) FROM radius.session JOIN owned USING (username)
    WHERE stopped_at IS NULL AND last_report_at > :lately AND started_at >= since AND started_at < until
""")  # noqa: S608 - made of constants
_PSEUDONYM = "'erased-' || owned.account_id"
# What tells of a person or a place, and what it becomes; wherever such a column is.
_BLANKS = {
    "calling_station_id": "''",
    "callingstationid": "NULL",
    "framed_ip_address": "NULL",
    "framedipaddress": "NULL",
    "framed_ipv6_address": "NULL",
    "framedipv6address": "NULL",
    "framed_ipv6_prefix": "NULL",
    "framedipv6prefix": "NULL",
    "framedinterfaceid": "NULL",
    "delegated_ipv6_prefix": "NULL",
    "delegatedipv6prefix": "NULL",
    "nas_port_id": "NULL",
    "nasportid": "NULL",
    "class": "NULL",  # it names the account
    "pass": "NULL",
    "session_key": "item.acct_unique_id",
    "session_attributes": "'{}'",
}
# Keys of allocations hold the user name, as the third of their parts.
_RENAMED_KEYS = ("external_key", "event_key")
# Nothing of these is needed for any book.
_DELETED = frozenset(
    {
        "billing.contact_code",
        "billing.imported_row",
        "billing.low_balance_reminder",
        "billing.radius_attribute",
        "billing.refill_failure",
        "radius.device",
        "radius.drift",
        "radius.hand_edit",
        "radius.owned_attribute",
        "radius.session_review",
    }
)
_FORGET = [
    text(f"""
        {OWNED}, told AS (
            UPDATE billing.event SET payload = '{{"erased": true}}', event_key = 'erased:' || event_id, customer_id = NULL
            WHERE customer_id = :customer_id
               OR payload ->> 'username' IN (SELECT username FROM owned WHERE until = 'infinity')
            RETURNING event_id)
        UPDATE billing.event_delivery SET state = 'discarded', finished_at = :now
        FROM told WHERE event_delivery.event_id = told.event_id AND state = 'pending'
    """),  # noqa: S608 - made of constants
    text("UPDATE billing.payment SET payer = '' WHERE customer_id = :customer_id"),
    # Whoever gave to this account, or got from it, was told its name.
    text(f"""
        {OWNED} UPDATE radius.access_event
        SET details = CAST(replace(details::text, to_json(owned.username)::text, to_json({_PSEUDONYM})::text) AS jsonb)
        FROM owned, billing.transfer, billing.account other
        WHERE owned.account_id IN (from_account_id, to_account_id)
          AND other.account_id IN (from_account_id, to_account_id)
          AND access_event.kind = 'transfer' AND access_event.username = other.username
    """),  # noqa: S608 - made of constants
    # What nobody understood is kept word for word.
    text("""
        DELETE FROM radius.accounting_quarantine USING billing.account
        WHERE customer_id = :customer_id AND strpos(record, '"User-Name",' || to_json(username)::text) > 0
    """),
    text("""
        UPDATE billing.account SET username = 'erased-' || account_id, secret = gen_random_uuid()::text,
               must_reset_secret = false, policy = '{}'
        WHERE customer_id = :customer_id
    """),
    text("""
        UPDATE billing.customer
        SET name = 'erased', phone = NULL, email = NULL, language = NULL, verified_reason = NULL, erased_at = :now,
            deleted_at = coalesce(deleted_at, :now)
        WHERE customer_id = :customer_id
    """),
]
# A RADIUS database apart from the books is told the names, because the books have them no more.
_ORDER = text(f"""
    {OWNED} INSERT INTO billing.erasure_order (region_id, names, ordered_at)
    SELECT region_id, (SELECT jsonb_agg(to_jsonb(owned)) FROM owned), :now FROM billing.region
    WHERE EXISTS (SELECT FROM owned)
""")  # noqa: S608 - made of constants
_NAMED = """
    WITH owned AS (
        SELECT * FROM jsonb_to_recordset(CAST(:names AS jsonb))
            AS named (account_id bigint, username text, since timestamptz, until timestamptz))
"""
_FORGET_WORDS_OF = text(f"""
    {_NAMED} DELETE FROM radius.accounting_quarantine USING owned
    WHERE strpos(record, '"User-Name",' || to_json(username)::text) > 0
""")  # noqa: S608 - made of constants
_DESCRIPTIONS = text(f"""
    {OWNED} SELECT transaction_id AS key, description FROM billing.ledger_transaction
    WHERE transaction_id IN (SELECT transaction_id FROM billing.ledger_posting WHERE customer_id = :customer_id)
       OR external_key IN (SELECT 'transfer:' || transfer_id FROM billing.transfer JOIN owned
                           ON owned.account_id IN (from_account_id, to_account_id))
       OR external_key IN (SELECT 'purchase:' || purchase_id FROM billing.purchase JOIN owned USING (account_id))
""")  # noqa: S608 - made of constants
_REDESCRIBE = text("""
    UPDATE billing.ledger_transaction SET description = :description WHERE transaction_id = :key
""")
_BILLS = text(f"""
    {OWNED} SELECT invoice_id AS key, description FROM billing.invoice JOIN owned USING (account_id)
""")  # noqa: S608 - made of constants
_REDESCRIBE_BILL = text("UPDATE billing.invoice SET description = :description WHERE invoice_id = :key")
_NAMES = text("SELECT account_id, username FROM billing.account WHERE customer_id = :customer_id")
_ALLOW = text("SELECT set_config('herotill.erasing', 'on', true)")
_FORBID = text("SELECT set_config('herotill.erasing', 'off', true)")


@dataclass(frozen=True, slots=True)
class Erasure:
    """What came of it: `cut` sessions were asked to end now; while some are `live`, nothing is erased yet."""

    account_number: str
    cut: int
    live: int

    @property
    def done(self) -> bool:
        """Whether the person is gone."""
        return self.live == 0


def find(session: Session, reference: str) -> Customer:
    """Return a customer who may have been deleted already, then by account number. Raises InvalidValue."""
    deleted = select(Customer).where(Customer.account_number == reference, Customer.deleted_at.is_not(None))
    return session.scalars(deleted).one_or_none() or customers.get(session, reference)


def erase(session: Session, *, reference: str, now: datetime) -> Erasure:
    """Close what a customer has, and erase the person once no session is live any more.

    The caller commits in either case, and asks again while it is not `done`: a live session would report under the old name.
    """
    customer = find(session, reference)
    if customer.erased_at is not None:
        raise Refused(f"customer {reference} is erased already", "R36")
    whose = {"customer_id": customer.customer_id}
    cut = accounts.close(session, accounts.accounts_of(session, customer), now=now)
    customer.deleted_at = customer.deleted_at or now
    session.flush()
    live = session.scalar(_LIVE, whose | {"lately": now - SILENCE}) or 0
    if not live:
        _forget(session, whose, now)
        session.expire_all()
    return Erasure(customer.account_number, cut, live)


def forget_names(session: Session, names: str) -> None:
    """Erase people from a RADIUS database that is not the books': `names` is that of a billing.erasure_order, as JSON.

    The caller commits. Done twice it finds nothing the second time.
    """
    told = {"names": names}
    session.execute(_TAKE_TIME)
    for table in personal_tables(session):
        if table.name in _DELETED and table.name.startswith("radius."):
            session.execute(text(_delete(table, _NAMED)), told)
        elif table.name.startswith("radius.") and "username" in table.columns:
            session.execute(text(_rename(table, _NAMED)), told)
    session.execute(_FORGET_WORDS_OF, told)


def _forget(session: Session, whose: dict[str, int], now: datetime) -> None:
    session.execute(_TAKE_TIME)
    session.execute(_ORDER, whose | {"now": now})
    tables = personal_tables(session)
    for table in tables:
        if table.name in _DELETED:
            session.execute(text(_delete(table)), whose)
    for table in tables:
        if table.name not in _DELETED and table.name != "billing.account" and "username" in table.columns:
            session.execute(text(_rename(table)), whose)
    _redescribe(session, whose)
    for statement in _FORGET:
        session.execute(statement, whose | {"now": now})


def _delete(table: PersonalTable, owned: str = OWNED) -> str:
    # Made of names from the catalogue and of our own constants.
    return f"{owned} DELETE FROM {table.name} AS item WHERE {table.condition}"  # noqa: S608


def _rename(table: PersonalTable, owned: str = OWNED) -> str:
    changes = {"username": _PSEUDONYM}
    changes |= {name: blank for name, blank in _BLANKS.items() if name in table.columns}
    changes |= {
        key: f"replace(item.{key}, ':' || owned.username || ':', ':' || {_PSEUDONYM} || ':')"
        for key in _RENAMED_KEYS
        if key in table.columns
    }
    if table.name in DIVIDED:
        return _move(table, changes, owned)
    told = ", ".join(f"{name} = {value}" for name, value in changes.items())
    return f"{owned} UPDATE {table.name} AS item SET {told} FROM owned WHERE {table.is_owned}"  # noqa: S608


def _move(table: PersonalTable, changes: Mapping[str, str], owned: str) -> str:
    # Under another name a row lies elsewhere where the table is divided by user name: it is taken out and put in again.
    values = ", ".join(changes.get(name, f"item.{name}") for name in table.columns)
    return f"""
        {owned}, gone AS (
            DELETE FROM {table.name} AS item USING owned WHERE {table.is_owned} RETURNING item.*, owned.account_id AS whose)
        INSERT INTO {table.name} ({", ".join(table.columns)})
        SELECT {values} FROM gone AS item JOIN owned ON owned.account_id = item.whose
    """  # noqa: S608


def _redescribe(session: Session, whose: dict[str, int]) -> None:
    names = {row.username: f"erased-{row.account_id}" for row in session.execute(_NAMES, whose)}
    if not names:
        return
    # Longest first: one name may be within another. Only whole words: a name may be a syllable of any.
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\S)({either})(?=[\s,.:;]|$)")
    session.execute(_ALLOW)
    for ask, change in ((_DESCRIPTIONS, _REDESCRIBE), (_BILLS, _REDESCRIBE_BILL)):
        for row in session.execute(ask, whose).all():
            told = pattern.sub(lambda found: names[found[1]], row.description)
            if told != row.description:
                session.execute(change, {"description": told, "key": row.key})
    session.execute(_FORBID)
