"""Cutting and changing live sessions: the requests go into the outbox in the transaction that is their cause."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

# All that can name a session to its NAS, as herotill.sessions.identifying_attributes has it.
_NAMES = """
           jsonb_strip_nulls(jsonb_build_object(
               'User-Name', username,
               'Acct-Session-Id', acct_session_id,
               'Calling-Station-Id', nullif(calling_station_id, ''),
               'Framed-IP-Address', host(framed_ip_address),
               'Framed-IPv6-Prefix', framed_ipv6_prefix::text,
               'NAS-Port-Id', nullif(nas_port_id, ''),
               'Called-Station-Id', nullif(called_station_id, ''),
               'Service-Type', nullif(service_type, '')))
"""
# One request per live session. The transaction's number makes the key unique to this change and the same within it.
_CUT_SESSIONS = text(f"""
    INSERT INTO radius.coa_request (request_key, action, purpose, reason, username, acct_unique_id, nas_address,
                                    session_attributes, caused_at)
    SELECT 'disconnect:' || acct_unique_id || ':' || :reason || ':' || pg_current_xact_id(),
           'disconnect', CASE WHEN :reason = ANY(:reconnecting) THEN 'restore' ELSE 'end' END, :reason, username,
           acct_unique_id, nas_address,
           {_NAMES},
           :caused_at
    FROM radius.session
    WHERE username = ANY(:usernames) AND stopped_at IS NULL
    ON CONFLICT (request_key) DO NOTHING
    RETURNING coa_request_id
""")  # noqa: S608 - the words are ours
# As above; what a session is changed to comes with its id, nothing for one that is cut.
_CHANGE_SESSIONS = text(f"""
    INSERT INTO radius.coa_request (request_key, action, purpose, reason, username, acct_unique_id, nas_address,
                                    session_attributes, changes, caused_at)
    SELECT action || ':' || acct_unique_id || ':' || :reason || ':' || pg_current_xact_id(),
           action, CASE action WHEN 'coa' THEN 'restrict' ELSE 'end' END, :reason, username, acct_unique_id, nas_address,
           {_NAMES},
           changes, :caused_at
    FROM (SELECT key, value AS changes, CASE value WHEN '{{}}' THEN 'disconnect' ELSE 'coa' END AS action
          FROM jsonb_each(CAST(:wanted AS jsonb))) AS wanted
    JOIN radius.session ON acct_unique_id = key
    WHERE stopped_at IS NULL
    ON CONFLICT (request_key) DO NOTHING
    RETURNING coa_request_id
""")  # noqa: S608
# With two databases: RADIUS may have sessions that are not known here yet.
_ORDER_CUT = text("""
    INSERT INTO radius.cut_order (username, purpose, reason, caused_at)
    SELECT username, CASE WHEN :reason = ANY(:reconnecting) THEN 'restore' ELSE 'end' END, :reason, :caused_at
    FROM unnest(CAST(:usernames AS text[])) AS username WHERE EXISTS (SELECT FROM billing.region)
    RETURNING cut_order_id
""")
_REVIEW = text("""
    INSERT INTO radius.session_review (username)
    SELECT DISTINCT username FROM radius.session WHERE username = ANY(:usernames) AND stopped_at IS NULL
    RETURNING session_review_id
""")
_NOTIFY_REVIEW = text("SELECT pg_notify('herotill_review', '')")
# Sessions that are to come back better: it is no alarm where they stay.
_RECONNECTING = ["resumed"]
_NOTIFY_COA = text("SELECT pg_notify('herotill_coa', '')")


def cut_sessions(session: Session, usernames: Sequence[str], *, reason: str, now: datetime) -> int:
    """Ask the NASes to end every live session of these accounts; return how many there are.

    `reason` is a word of radius.coa_request: disabled, suspended, resumed, deleted, void, converted.
    """
    values = {
        "usernames": list(usernames),
        "reason": reason,
        "reconnecting": _RECONNECTING,
        "caused_at": now,
    }
    cut = len(session.execute(_CUT_SESSIONS, values).all())
    if session.execute(_ORDER_CUT, values).all() or cut:
        session.execute(_NOTIFY_COA)
    return cut


def change_sessions(
    session: Session, wanted: Mapping[str, Mapping[str, str]], *, reason: str, now: datetime
) -> int:
    """Ask the NASes to change live sessions, by acct_unique_id, to these attributes, or to end those that have none."""
    values = {"wanted": json.dumps({key: dict(changes) for key, changes in wanted.items()})}
    asked = len(session.execute(_CHANGE_SESSIONS, values | {"reason": reason, "caused_at": now}).all())
    if asked:
        session.execute(_NOTIFY_COA)
    return asked


def review_sessions(session: Session, usernames: Sequence[str]) -> int:
    """Tell every live session of these accounts its limits anew; return of how many accounts any is online (rule R2)."""
    reviewed = len(session.execute(_REVIEW, {"usernames": list(usernames)}).all())
    if reviewed:
        session.execute(_NOTIFY_REVIEW)
    return reviewed
