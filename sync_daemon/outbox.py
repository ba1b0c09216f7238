"""Requests to NASes put into the outbox `radius.coa_request`, in the transaction that makes them necessary."""

import json
from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_address

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extras import execute_values

from herotill.dialect import dialect_for, render_live
from herotill.ending import Cut
from herotill.reply import throttled_reply
from herotill.sessions import identifying_attributes
from sync_daemon.coa.outbox import find_nases

INSERT_REQUESTS = """
    INSERT INTO radius.coa_request (
        request_key, action, reason, username, acct_unique_id, nas_address, session_attributes, changes, caused_at)
    VALUES %s
    ON CONFLICT (request_key) DO NOTHING
"""

NOTIFY_COA = "SELECT pg_notify('herotill_coa', '')"


def request_cuts(cursor: Cursor, cuts: Iterable[Cut], caused_at: datetime | None) -> None:
    """Ask the NASes to end or change these sessions. Asking twice for one end asks once."""
    wanted = list(cuts)
    if not wanted:
        return
    nases = find_nases(cursor.connection, {ip_address(cut.session.nas_address) for cut in wanted})
    rows = []
    for cut in wanted:
        session = cut.session
        nas = nases.get(ip_address(session.nas_address))
        changes = {} if nas is None else _changes(cut, nas.nas_type)
        rows.append(
            (
                cut.request_key,
                "coa" if changes else "disconnect",
                str(cut.reason),
                session.username,
                session.acct_unique_id,
                session.nas_address,
                json.dumps(identifying_attributes(session)),
                json.dumps(changes),
                caused_at,
            )
        )
    execute_values(cursor, INSERT_REQUESTS, rows)
    cursor.execute(NOTIFY_COA)


def _changes(cut: Cut, nas_type: str) -> dict[str, str]:
    """Return what a CoA sets; nothing where the session must be ended, or the NAS cannot change a rate live."""
    if cut.throttle_to is None:
        return {}
    return dict(render_live(dialect_for(nas_type), throttled_reply(cut.throttle_to)))
