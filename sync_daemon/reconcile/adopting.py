# ruff: noqa: S608 - every part of the SQL is our own text
"""Rows nobody owns, and taking them over: into the books as they are, or away (rule R30).

Nobody's are attributes of users and groups that the books do not produce, NASes that `herotill nas` did not enter, and
grants nobody sold. Only of names the books know: a whole user that stands in RADIUS alone has to be entered or imported.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from billing.projection import notification_payloads
from herotill.errors import Refused
from herotill.reconciling import HIDDEN
from herotill.typed_writer import misread_because
from sync_daemon.reconcile.comparing import Databases

_SELECT = """
    SELECT 'radcheck' AS relation, username AS name, attribute AS item, op, value FROM radius.radcheck
    WHERE attribute NOT IN ('Cleartext-Password', 'Auth-Type')
    UNION ALL SELECT 'radreply', username, attribute, op, value FROM radius.radreply
    UNION ALL SELECT 'radgroupcheck', groupname, attribute, op, value FROM radius.radgroupcheck
    UNION ALL SELECT 'radgroupreply', groupname, attribute, op, value FROM radius.radgroupreply
    UNION ALL SELECT 'nas', shortname, nasname, '', type FROM radius.nas
    WHERE NOT EXISTS (SELECT FROM radius.entered_nas entered WHERE entered.shortname = nas.shortname)
    UNION ALL SELECT 'entitlement', username, external_key, '', plan_name FROM radius.entitlement
    WHERE ended_at IS NULL
"""
_UNOWNED = f"""
    SELECT * FROM ({_SELECT}) AS present
    WHERE NOT EXISTS (SELECT FROM radius.owned_attribute owned WHERE owned.relation = present.relation
                      AND owned.name = present.name AND owned.attribute = present.item)
      AND (%(user)s IS NULL OR (name = %(user)s AND relation IN ('radcheck', 'radreply', 'entitlement')))
      AND (%(group)s IS NULL OR (name = %(group)s AND relation IN ('radgroupcheck', 'radgroupreply')))
    ORDER BY relation, name, item, op, value
"""
_KNOWN = """
    SELECT username FROM billing.account WHERE username = ANY(%s) AND status IN ('active', 'suspended')
"""
_SOLD = "SELECT external_key FROM billing.granted WHERE external_key = ANY(%s)"
_WANTED = "SELECT relation, name, attribute FROM billing.projected_attribute"
_KEEP = """
    INSERT INTO billing.radius_attribute (relation, name, attribute, op, value, entered_at, entered_by)
    SELECT relation, name, item, op, value, %s, %s
    FROM jsonb_to_recordset(%s) AS w (relation text, name text, item text, op text, value text)
    ON CONFLICT DO NOTHING
"""
_OWN = """
    INSERT INTO radius.owned_attribute (relation, name, attribute)
    SELECT DISTINCT relation, name, item FROM jsonb_to_recordset(%s) AS w (relation text, name text, item text)
    ON CONFLICT DO NOTHING
"""
_KEEP_NAS = """
    INSERT INTO radius.entered_nas
    SELECT DISTINCT ON (shortname) shortname, nasname, type, ports, secret, server, community, description
    FROM radius.nas WHERE shortname = ANY(%s) ORDER BY shortname, id ON CONFLICT DO NOTHING
"""
_TERMS = """
    external_key, entitlement_id, username, source, plan_name, priority, counting, quota_octets, quota_seconds, policy,
    granted_at, expires_at, seconds_after_first_use, seconds_after_last_use
"""
_READ_GRANTS = f"""
    SELECT coalesce(jsonb_agg(to_jsonb(grants)), '[]') FROM (
        SELECT {_TERMS} FROM radius.entitlement WHERE external_key = ANY(%s)) AS grants
"""
_KEEP_GRANTS = f"""
    INSERT INTO billing.granted ({_TERMS})
    SELECT {_TERMS} FROM jsonb_populate_recordset(NULL::billing.granted, %s) ON CONFLICT DO NOTHING
"""
_ATTRIBUTES = {
    "radcheck": "username",
    "radreply": "username",
    "radgroupcheck": "groupname",
    "radgroupreply": "groupname",
}


@dataclass(frozen=True, slots=True)
class Unowned:
    """One row that is nobody's. Of a NAS the item is its address, of a grant its key."""

    relation: str
    name: str
    item: str
    op: str
    value: str

    def as_row(self) -> dict[str, Any]:
        """Return it for people; passwords are not shown."""
        value = HIDDEN if "password" in self.item.lower() else self.value
        return {
            "table": self.relation,
            "name": self.name,
            "item": self.item,
            "op": self.op or None,
            "value": value,
        }


@dataclass(frozen=True, slots=True)
class Adoption:
    """One taking over: by whom, and when."""

    databases: Databases
    by: str
    now: datetime


def unowned(databases: Databases, user: str | None = None, group: str | None = None) -> list[Unowned]:
    """Return the rows nobody owns, of names the books know, of one user or group or of all."""
    with databases.books.cursor() as books, databases.radius.cursor() as radius:
        radius.execute(_UNOWNED, {"user": user, "group": group})
        found = [Unowned(*row) for row in radius.fetchall()]
        books.execute(_WANTED)
        wanted = set(books.fetchall())
        known = _asked(
            books,
            _KNOWN,
            {one.name for one in found if one.relation in ("radcheck", "radreply", "entitlement")},
        )
        sold = _asked(books, _SOLD, {one.item for one in found if one.relation == "entitlement"})
    databases.books.rollback()
    databases.radius.rollback()
    return [one for one in found if _is_nobodys(one, wanted, known, sold)]


def keep_rows(adoption: Adoption, found: Sequence[Unowned]) -> None:
    """Enter the rows in the books as they are. Raises Refused, naming it, for one FreeRADIUS misreads; then none is."""
    _check(found)
    attributes = _as_json([one for one in found if one.relation in _ATTRIBUTES])
    grants = [one.item for one in found if one.relation == "entitlement"]
    nases = [one.name for one in found if one.relation == "nas"]
    databases = adoption.databases
    with databases.books, databases.books.cursor() as books, databases.radius.cursor() as radius:
        books.execute(_KEEP, (adoption.now, adoption.by, attributes))
        radius.execute(_READ_GRANTS, (grants,))
        books.execute(_KEEP_GRANTS, (json.dumps((radius.fetchone() or ([],))[0]),))
    # The books first: what is ours and not wanted there would be removed.
    with databases.radius, databases.radius.cursor() as radius:
        radius.execute(_OWN, (attributes,))
        radius.execute(_KEEP_NAS, (nases,))


def drop_rows(adoption: Adoption, found: Sequence[Unowned]) -> None:
    """Remove the rows. Raises Refused for grants and NASes, which have commands of their own."""
    if any(one.relation not in _ATTRIBUTES for one in found):
        raise Refused("only attributes can be dropped; `herotill nas remove` removes a NAS", "R30")
    with adoption.databases.radius as connection, connection.cursor() as cursor:
        for relation, column in _ATTRIBUTES.items():
            chosen = [(one.name, one.item) for one in found if one.relation == relation]
            for name, item in dict.fromkeys(chosen):
                statement = f"DELETE FROM radius.{relation} WHERE {column} = %s AND attribute = %s"
                cursor.execute(statement, (name, item))
        for payload in notification_payloads(sorted({one.name for one in found})):
            cursor.execute("SELECT pg_notify('herotill_account', %s)", (payload,))


def _is_nobodys(one: Unowned, wanted: set[tuple[str, str, str]], known: set[str], sold: set[str]) -> bool:
    if one.relation in ("radcheck", "radreply", "entitlement") and one.name not in known:
        return False
    return (one.relation, one.name, one.item) not in wanted and one.item not in sold


def _check(found: Sequence[Unowned]) -> None:
    for one in found:
        if one.relation in _ATTRIBUTES:
            why = misread_because(one.relation, one.item, one.op, one.value)
            if why is not None:
                row = f"{one.relation} {one.name}: {one.item} {one.op}"
                raise Refused(
                    f"{row}: {why}; nothing was adopted. Mend it, or take it away with --drop", "R30"
                )


def _asked(cursor: Cursor, statement: str, names: set[str]) -> set[str]:
    cursor.execute(statement, (sorted(names),))
    return {row[0] for row in cursor.fetchall()}


def _as_json(found: Sequence[Unowned]) -> str:
    return json.dumps(
        [
            {"relation": one.relation, "name": one.name, "item": one.item, "op": one.op, "value": one.value}
            for one in found
        ]
    )
