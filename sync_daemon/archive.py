"""Closed sessions of long ago leave `radacct` for monthly partitions of `radacct_archive`, a transaction for each batch.

Killed anywhere, the next run goes on. No figure of usage changes: those are in radius.usage_interval. `herotill explain`
reads both.
"""

from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

ARCHIVED_AT_ONCE = 5000

# Oldest first, by the stock index on the start.
_CLOSED = """
    SELECT radacctid, acctuniqueid, acctstoptime FROM radius.radacct
    WHERE acctstarttime < %(closed_before)s AND acctstoptime < %(closed_before)s
    ORDER BY acctstarttime LIMIT %(limit)s
"""
# Rows that somebody is writing are left for the next time, and so are those whose month is not open.
SELECT_CLOSED = f"""
    SELECT * FROM ({_CLOSED} FOR UPDATE SKIP LOCKED) AS closed
    WHERE date_trunc('month', acctstoptime AT TIME ZONE 'UTC') = ANY (%(months)s::timestamp[])
"""  # noqa: S608 - a constant

# In a transaction of their own: Citus does not let the owner make a table and us write to it in one.
OPEN_MONTHS = f"""
    SELECT month, radius.open_archive_month(month AT TIME ZONE 'UTC') FROM (
        SELECT DISTINCT date_trunc('month', acctstoptime AT TIME ZONE 'UTC') FROM ({_CLOSED}) AS closed) AS found (month)
"""  # noqa: S608

# A report that came after all made a row anew; the later one is right.
FORGET_EARLIER = "DELETE FROM radius.radacct_archive WHERE acctuniqueid = ANY (%(sessions)s)"

MOVE = """
    WITH moved AS (DELETE FROM radius.radacct WHERE radacctid = ANY (%(rows)s) RETURNING *)
    INSERT INTO radius.radacct_archive SELECT * FROM moved
"""

FORGET_SESSIONS = """
    DELETE FROM radius.session
    WHERE acct_unique_id = ANY (%(sessions)s) AND stopped_at IS NOT NULL AND stopped_at < %(closed_before)s
"""

# Of books in a database of their own: radacct and its archive are with RADIUS.
FORGET_COPIES = """
    DELETE FROM radius.session WHERE acct_unique_id = ANY (ARRAY(
        SELECT acct_unique_id FROM radius.session WHERE stopped_at < %(closed_before)s LIMIT %(limit)s))
"""

DROP_MONTHS = "SELECT radius.drop_archive_before(%(kept_from)s)"


def archive_closed(connection: Connection, closed_before: datetime, limit: int = ARCHIVED_AT_ONCE) -> int:
    """Move one batch of sessions that ended before this; return how many. As many as `limit`: there may be more."""
    wanted: dict[str, object] = {"closed_before": closed_before, "limit": limit}
    with connection, connection.cursor() as cursor:
        cursor.execute(OPEN_MONTHS, wanted)
        months = [row[0] for row in cursor.fetchall()]
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_CLOSED, wanted | {"months": months})
        found = cursor.fetchall()
        if not found:
            return 0
        rows, sessions = [row[0] for row in found], [row[1] for row in found]
        cursor.execute(FORGET_EARLIER, {"sessions": sessions})
        cursor.execute(MOVE, {"rows": rows})
        cursor.execute(FORGET_SESSIONS, {"sessions": sessions, "closed_before": closed_before})
    return len(found)


def forget_copies(books: Connection, closed_before: datetime, limit: int = ARCHIVED_AT_ONCE) -> int:
    """Forget one batch of sessions the books have a copy of; return how many."""
    with books, books.cursor() as cursor:
        cursor.execute(FORGET_COPIES, {"closed_before": closed_before, "limit": limit})
        return cursor.rowcount


def drop_old_months(connection: Connection, kept_from: datetime) -> list[str]:
    """Drop the months of the archive that ended before this; return their tables' names."""
    with connection, connection.cursor() as cursor:
        cursor.execute(DROP_MONTHS, {"kept_from": kept_from})
        return [row[0] for row in cursor.fetchall()]
