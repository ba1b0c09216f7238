"""Sessions whose Stop was lost (rule R32): closed when three reports in a row are missing, each NAS by its own rhythm.

Silence is measured up to where every node's accounting is applied (radius.meter_state): a meter that is away or behind
closes nobody. What was used stays as it is; a late interim opens the session again, a late Stop corrects its end
(herotill/sessions.py).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.sessions import STALE

MISSED_REPORTS = 3
GRACE_SECONDS = 30
"""How much later than its time a report may come."""
SHORTEST_INTERVAL_SECONDS = 60
"""A NAS that was seen to report faster than RFC 2869 §5.16 lets it is not held to that."""
CLOSED_AT_ONCE = 500
NODE_IS_GONE_AFTER = timedelta(days=1)
"""A node whose meter has not worked for so long is no longer waited for."""

# Written only where it changed by a tenth, and kept when the last session is gone.
OBSERVE = """
    INSERT INTO radius.nas_interim AS known (nas_address, interval_seconds, observed_at)
    SELECT nas_address, percentile_disc(0.5) WITHIN GROUP (ORDER BY interim_interval_seconds), %(now)s
    FROM radius.session
    WHERE stopped_at IS NULL AND nas_address IS NOT NULL AND interim_interval_seconds > 0
    GROUP BY nas_address
    ON CONFLICT (nas_address) DO UPDATE
    SET interval_seconds = excluded.interval_seconds, observed_at = excluded.observed_at
    WHERE abs(known.interval_seconds - excluded.interval_seconds) * 10 > known.interval_seconds
"""

SELECT_APPLIED_UP_TO = (
    "SELECT min(caught_up_at) FROM radius.meter_state WHERE caught_up_at > %(node_is_gone)s"
)

# A session that reported faster or slower than others of its NAS is given the longer of the two. One whose NAS was never
# seen to send interims gets the time of the settings.
SELECT_SILENT = """
    SELECT session.acct_unique_id, session.username
    FROM radius.session LEFT JOIN radius.nas_interim USING (nas_address)
    WHERE stopped_at IS NULL
      AND last_report_at < %(applied_up_to)s - make_interval(secs => coalesce(
              %(missed)s * GREATEST(interim_interval_seconds, interval_seconds,
                  CASE WHEN coalesce(interim_interval_seconds, interval_seconds) IS NOT NULL THEN %(shortest)s END)
              + %(grace)s,
              %(without_interims)s))
    ORDER BY session.username, session.acct_unique_id
    LIMIT %(limit)s
"""

LOCK_ACCOUNTS = """
    SELECT FROM radius.managed_account WHERE username = ANY (%(usernames)s) ORDER BY username FOR NO KEY UPDATE
"""

# What follows for reservations, radacct and memory where `closed` returned sessions that nobody stopped.
SETTLE_CLOSED = f"""
    released AS (
        UPDATE radius.reservation SET released_at = closed.stopped_at
        FROM closed WHERE reservation.login_id = closed.login_id AND reservation.released_at IS NULL
    ), archived AS (
        UPDATE radius.radacct SET acctstoptime = closed.stopped_at, acctterminatecause = '{STALE}'
        FROM closed WHERE radacct.acctuniqueid = closed.acct_unique_id
    )
    SELECT pg_notify('herotill_account', json_build_array(username)::text) FROM closed
"""  # noqa: S608 - the word is ours

# Asked again under the locks: a report may have come meanwhile.
CLOSE = f"""
    WITH silent AS ({SELECT_SILENT}), closed AS (
        UPDATE radius.session SET stopped_at = GREATEST(last_report_at, started_at), terminate_cause = '{STALE}'
        FROM silent
        WHERE session.acct_unique_id = silent.acct_unique_id AND session.acct_unique_id = ANY (%(sessions)s)
          AND session.stopped_at IS NULL
        RETURNING session.acct_unique_id, session.username, session.login_id, session.stopped_at
    ), {SETTLE_CLOSED}
"""  # noqa: S608 - the words are ours


def observe_intervals(connection: Connection, now: datetime) -> None:
    """Write down how often each NAS reports."""
    with connection, connection.cursor() as cursor:
        cursor.execute(OBSERVE, {"now": now})


def close_stale(connection: Connection, now: datetime, without_interims_seconds: int) -> int:
    """Close sessions that missed three reports; return how many. As many as CLOSED_AT_ONCE: there may be more.

    `without_interims_seconds` is the silence allowed to a session of a NAS that was never seen to send interims.
    """
    with connection, connection.cursor() as cursor:
        applied_up_to = _applied_up_to(cursor, now)
        if applied_up_to is None:
            return 0
        values = {
            "applied_up_to": applied_up_to,
            "missed": MISSED_REPORTS,
            "shortest": SHORTEST_INTERVAL_SECONDS,
            "grace": GRACE_SECONDS,
            "without_interims": without_interims_seconds,
            "limit": CLOSED_AT_ONCE,
        }
        cursor.execute(SELECT_SILENT, values)
        found: Sequence[tuple[str, str]] = cursor.fetchall()
        if not found:
            return 0
        cursor.execute(LOCK_ACCOUNTS, {"usernames": sorted({username for _, username in found})})
        cursor.execute(CLOSE, values | {"sessions": [acct_unique_id for acct_unique_id, _ in found]})
        return cursor.rowcount


def _applied_up_to(cursor: Cursor, now: datetime) -> datetime | None:
    cursor.execute(SELECT_APPLIED_UP_TO, {"node_is_gone": now - NODE_IS_GONE_AFTER})
    row = cursor.fetchone()
    applied_up_to: datetime | None = None if row is None else row[0]
    return applied_up_to
