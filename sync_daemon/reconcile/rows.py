"""Writing changes into schema radius, one or two statements for each relation, whatever their number."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.reconciling import Change
from sync_daemon.reconcile.relations import BY_NAME, Relation

# The same row may stand there several times: only as many go as are too many, the youngest first.
_REMOVE = """
    DELETE FROM radius.{table} WHERE id IN (
        SELECT id FROM (
            SELECT present.id, gone.count,
                   row_number() OVER (PARTITION BY {name}, {item}, {content} ORDER BY present.id DESC) AS nth
            FROM radius.{table} AS present
            JOIN jsonb_to_recordset(%s) AS gone (name text, item text, content jsonb, count integer)
              ON present.{name} = gone.name AND present.{item} = gone.item AND {object} = gone.content) AS counted
        WHERE nth <= count)
"""
_ADD = """
    INSERT INTO radius.{table} ({columns})
    SELECT {columns} FROM jsonb_populate_recordset(NULL::radius.{table}, %s) ORDER BY {name}, {item}
"""
_REMOVE_KEYED = "DELETE FROM radius.{table} WHERE {item} = ANY(%s)"
_CHANGE_KEYED = """
    UPDATE radius.{table} AS present SET {assignments}
    FROM jsonb_populate_recordset(NULL::radius.{table}, %s) AS new WHERE present.{item} = new.{item}
"""
_ADD_KEYED = """
    INSERT INTO radius.{table} ({columns})
    SELECT {columns} FROM jsonb_populate_recordset(NULL::radius.{table}, %s) AS new
    WHERE NOT EXISTS (SELECT FROM radius.{table} AS present WHERE present.{item} = new.{item}) ORDER BY {item}
"""
# A grant that was deleted comes back under its number, with what was metered for it. With two databases the books know both.
_REMEMBER_USAGE = """
    UPDATE radius.entitlement AS present
    SET entitlement_id = sold.entitlement_id, used_input_octets = sold.input_octets, used_output_octets = sold.output_octets,
        used_seconds = sold.seconds, first_used_at = sold.first_used_at, last_used_at = sold.last_used_at
    FROM (
        SELECT external_key, granted.entitlement_id, coalesce(sum(input_octets), 0) AS input_octets,
               coalesce(sum(output_octets), 0) AS output_octets, coalesce(sum(seconds), 0) AS seconds,
               min(interval_start) AS first_used_at, max(interval_start) AS last_used_at
        FROM billing.granted LEFT JOIN radius.usage_interval AS used
          ON used.username = granted.username AND used.entitlement_id = granted.entitlement_id
        WHERE external_key = ANY(%s) GROUP BY external_key, granted.entitlement_id) AS sold
    WHERE present.external_key = sold.external_key
      AND NOT EXISTS (SELECT FROM radius.entitlement AS other WHERE other.entitlement_id = sold.entitlement_id)
"""
_OWN = """
    INSERT INTO radius.owned_attribute (relation, name, attribute)
    SELECT %s, name, item FROM jsonb_to_recordset(%s) AS ours (name text, item text) ON CONFLICT DO NOTHING
"""
_DISOWN = """
    DELETE FROM radius.owned_attribute AS owned USING jsonb_to_recordset(%s) AS gone (name text, item text)
    WHERE owned.relation = %s AND owned.name = gone.name AND owned.attribute = gone.item
"""
_ALWAYS_OURS = ("Cleartext-Password", "Auth-Type")
_ATTRIBUTES = ("radcheck", "radreply", "radgroupcheck", "radgroupreply")

# A first use has set the end: a grant keeps it. Used up is used up.
_ASSIGNED = {
    ("entitlement", "expires_at"): """
        LEAST(new.expires_at, present.first_used_at + make_interval(secs => new.seconds_after_first_use))""",
    **{
        ("entitlement", column): f"""
        CASE WHEN new.ended_at IS NULL AND (
                 (present.ended_reason = 'quota' AND present.used_octets >= new.quota_octets)
                 OR (present.ended_reason = 'time' AND present.used_seconds >= new.quota_seconds))
             THEN present.{column} ELSE new.{column} END"""
        for column in ("ended_at", "ended_reason")
    },
}
_TOUCHED = {
    "managed_account": ", updated_at = now()",
    "group_allocation": ", updated_at = now()",
    # A new turn begins with no logins.
    "login_limit": ", logins = CASE WHEN present.turn = new.turn THEN present.logins ELSE 0 END",
}
BORN_WITH = (
    "entitlement_id", "used_input_octets", "used_output_octets", "used_seconds", "first_used_at", "last_used_at",
)  # fmt: skip
"""What a grant has that its terms do not say, where it comes from books in another database."""

Births = Mapping[str, dict[str, Any]]
"""These columns of grants that are new here, by key."""


def write(cursor: Cursor, changes: Sequence[Change], births: Births | None = None) -> None:
    """Write changes, in their order as far as relations go. `births` is for books in another database."""
    for name, group in groupby(changes, key=lambda change: change.relation):
        relation, chosen = BY_NAME[name], list(group)
        if relation.keyed:
            _write_keyed(cursor, relation, chosen, births)
        else:
            _write_rows(cursor, relation, chosen)
        if name in _ATTRIBUTES:
            _note_ownership(cursor, name, [one for one in chosen if one.item not in _ALWAYS_OURS])


def _write_rows(cursor: Cursor, relation: Relation, changes: Sequence[Change]) -> None:
    gone = [
        {"name": one.name, "item": one.item, "content": one.before, "count": one.count}
        for one in changes
        if one.before is not None
    ]
    if gone:
        cursor.execute(_sql(_REMOVE, relation), (json.dumps(gone),))
    added = [row for row in _new_rows(relation, changes) for _ in range(row.pop("count"))]
    if added:
        cursor.execute(_sql(_ADD, relation), (json.dumps(added),))


def _write_keyed(
    cursor: Cursor, relation: Relation, changes: Sequence[Change], births: Births | None
) -> None:
    gone = [one.item for one in changes if one.after is None]
    if gone:
        cursor.execute(_sql(_REMOVE_KEYED, relation), (gone,))
    wanted = json.dumps([*_new_rows(relation, changes)])
    if len(gone) < len(changes):
        cursor.execute(_sql(_CHANGE_KEYED, relation), (wanted,))
    if births is not None and relation.name == "entitlement":
        _add_born(cursor, relation, changes, births)
        return
    if len(gone) < len(changes):
        cursor.execute(_sql(_ADD_KEYED, relation), (wanted,))
    if relation.name == "entitlement" and (back := [one.item for one in changes if one.before is None]):
        cursor.execute(_REMEMBER_USAGE, (back,))


def _add_born(cursor: Cursor, relation: Relation, changes: Sequence[Change], births: Births) -> None:
    """Add grants under the numbers the books gave them, with what these know to be used of them already."""
    born = [row | births[row[relation.item_column]] for row in _new_rows(relation, changes)
            if row[relation.item_column] in births]  # fmt: skip
    if born:
        statement = _sql(_ADD_KEYED, replace(relation, content=relation.content + BORN_WITH))
        cursor.execute(statement, (json.dumps(born),))


def _new_rows(relation: Relation, changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [
        {**one.after, relation.name_column: one.name, relation.item_column: one.item, "count": one.count}
        for one in changes
        if one.after is not None
    ]


def _note_ownership(cursor: Cursor, relation: str, changes: Sequence[Change]) -> None:
    ours = [{"name": one.name, "item": one.item} for one in changes if one.after is not None]
    kept = {(one["name"], one["item"]) for one in ours}
    gone = [{"name": one.name, "item": one.item} for one in changes if (one.name, one.item) not in kept]
    if gone:
        cursor.execute(_DISOWN, (json.dumps(gone), relation))
    if ours:
        cursor.execute(_OWN, (relation, json.dumps(ours)))


def _sql(template: str, relation: Relation) -> str:
    columns = list(dict.fromkeys((relation.name_column, relation.item_column, *relation.content)))
    assigned = (
        f"{column} = {_ASSIGNED.get((relation.name, column), f'new.{column}')}" for column in relation.content
    )
    return template.format(
        table=relation.name,
        name=relation.name_column,
        item=relation.item_column,
        columns=", ".join(columns),
        content=", ".join(f"present.{column}" for column in relation.content),
        object=_object(relation),
        assignments=", ".join(assigned) + _TOUCHED.get(relation.name, ""),
    )


def _object(relation: Relation) -> str:
    pairs = ", ".join(f"'{column}', present.{column}" for column in relation.content)
    return f"jsonb_build_object({pairs})"
