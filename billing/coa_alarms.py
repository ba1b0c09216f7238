"""What the operator is told of dynamic authorization: sessions that could not be ended, NASes that do not as they are asked.

Rule R31. The worker that talks to the NASes leaves it in its own tables; here it becomes events, once each.
"""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.events import emit_all

ALARMS_AT_ONCE = 500

# A limit that was not raised hurts nobody who has a customer to tell; it is in `herotill coa log`.
_TAKE_FAILED = text("""
    WITH untold AS (
        SELECT coa_request_id FROM radius.coa_request
        WHERE state IN ('naked', 'timed_out', 'unconfirmed', 'failed') AND told_at IS NULL
        ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    UPDATE radius.coa_request request SET told_at = :now
    FROM untold
    WHERE request.coa_request_id = untold.coa_request_id
    RETURNING request.coa_request_id, request.username, host(request.nas_address) AS nas_address, request.purpose,
              request.reason, request.state, request.outcome, request.error_cause, request.attempts,
              request.is_superseded, request.session_attributes ->> 'Acct-Session-Id' AS acct_session_id,
              EXTRACT(epoch FROM request.finished_at)::bigint AS finished
""")
_TAKE_NASES = text("""
    WITH changed AS (
        SELECT nas_id FROM radius.nas_profile
        WHERE coa_state <> coa_told_state ORDER BY nas_id LIMIT :limit FOR UPDATE SKIP LOCKED)
    UPDATE radius.nas_profile profile SET coa_told_state = coa_state
    FROM changed JOIN radius.nas ON nas.id = changed.nas_id,
         LATERAL (SELECT coa_told_state AS told FROM radius.nas_profile WHERE nas_id = changed.nas_id) AS former
    WHERE profile.nas_id = changed.nas_id
    RETURNING nas.shortname, nas.nasname, profile.nas_id, profile.coa_state, profile.coa_failure, former.told,
              EXTRACT(epoch FROM profile.coa_state_since)::bigint AS since
""")


def tell_of_sessions(session: Session, now: datetime) -> int:
    """Make events of sessions that go on though they should not; return how many requests were looked at."""
    rows = session.execute(_TAKE_FAILED, {"limit": ALARMS_AT_ONCE, "now": now}).all()
    happened = [
        (
            f"coa:{row.coa_request_id}:{row.finished}",
            {
                "username": row.username,
                "nas_address": row.nas_address,
                "acct_session_id": row.acct_session_id,
                "reason": row.reason,
                "state": row.state,
                "outcome": row.outcome,
                "error_cause": row.error_cause,
                "attempts": row.attempts,
            },
            None,
        )
        for row in rows
        if row.purpose != "raise" and not row.is_superseded
    ]
    emit_all(session, "session.not_ended", happened, now)
    return len(rows)


def tell_of_nases(session: Session, now: datetime) -> int:
    """Make events of NASes that begin or cease to do what they are asked; return how many changed.

    That one works from the beginning is no news.
    """
    rows = session.execute(_TAKE_NASES, {"limit": ALARMS_AT_ONCE}).all()
    for state, kind in (("fails", "nas.coa_fails"), ("works", "nas.coa_works")):
        happened = [
            (
                f"nas:{row.nas_id}:{state}:{row.since}",
                {"nas": row.shortname, "nas_address": row.nasname, "failure": row.coa_failure},
                None,
            )
            for row in rows
            if row.coa_state == state and (state, row.told) != ("works", "unknown")
        ]
        emit_all(session, kind, happened, now)
    return len(rows)
