"""What was found otherwise than it should be: kept with its time, and with what is known of an edit by hand."""

import json
from collections.abc import Mapping, Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.reconciling import Change

# A change without an edit that was seen came from the books past us, from another database, or from a lost notification.
_LOG = """
    INSERT INTO radius.drift (relation, name, item, before, after, why, sessions_cut, since, edited_as, mended_by)
    SELECT w.relation, w.name, w.item, w.before, w.after, w.why, w.sessions_cut, edit.edited_at,
           edit.database_user || coalesce(nullif(' with ' || edit.application, ' with '), '')
               || coalesce(' from ' || host(edit.client_address), ''), %(by)s
    FROM jsonb_to_recordset(%(rows)s) AS w (
        relation text, name text, item text, before jsonb, after jsonb, why text, sessions_cut integer)
    LEFT JOIN LATERAL (
        SELECT * FROM radius.hand_edit WHERE hand_edit.name = w.name
        ORDER BY (hand_edit.relation = w.relation) DESC, edited_at LIMIT 1) AS edit ON true
    ORDER BY w.relation, w.name, w.item
"""
_FORGET = "DELETE FROM radius.hand_edit WHERE name = ANY(%s)"


def log_drift(cursor: Cursor, changes: Sequence[Change], cut: Mapping[str, int], by: str) -> None:
    """Record changes that are made in this transaction; how many sessions were cut stands at the first of a name."""
    left = dict(cut)
    rows = [
        {
            "relation": change.relation,
            "name": change.name,
            "item": change.item,
            "before": change.shown(change.before),
            "after": change.shown(change.after),
            "why": change.why,
            "sessions_cut": left.pop(change.name, 0),
        }
        for change in changes
    ]
    cursor.execute(_LOG, {"rows": json.dumps(rows), "by": by})


def forget_hand_edits(cursor: Cursor, names: Sequence[str]) -> None:
    """Take the edits of names that were looked at off the list."""
    cursor.execute(_FORGET, (list(names),))
