"""Joining a RADIUS database to the books: once, by whoever comes first; looked at again with every connection."""

import uuid

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.errors import Refused
from sync_daemon.returning.carrying import Region

_STATE = "SELECT database_id::text, region_id, carried_change FROM radius.return_state"
_BY_DATABASE = "SELECT region_id, name, carried_change FROM billing.region WHERE database_id = %s"
_BY_NAME = "SELECT region_id, database_id::text, returned_until FROM billing.region WHERE name = %s"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('herotill region'))"
_ADD = "INSERT INTO billing.region (name, database_id) VALUES (%s, %s) RETURNING region_id"
_ADD_AGAIN = """
    INSERT INTO billing.region (region_id, name, database_id) OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s)
"""
_AFTER = """
    SELECT setval(pg_get_serial_sequence('billing.region', 'region_id'), (SELECT max(region_id) FROM billing.region))
"""
_BEGIN = "SELECT radius.begin_return(%s, %s::smallint)"
_EVERYTHING = "SELECT radius.return_everything()"


def join(books: Connection, radius: Connection, name: str) -> Region:
    """Make the RADIUS database the region `name` of the books, if it is not yet, and return it.

    Raises Refused where the two do not belong together. Books that were restored from a backup are told everything again.
    """
    with radius, radius.cursor() as cursor:
        cursor.execute(_STATE)
        state = cursor.fetchone()
    if state is None:
        region = _entered(books, name)
        with radius, radius.cursor() as cursor:
            cursor.execute(_BEGIN, (region.database_id, region.region_id))
        return region
    region, books_have = _known(books, name, state[0], state[1])
    if books_have < state[2]:
        with radius, radius.cursor() as cursor:
            cursor.execute(_EVERYTHING)
    return region


def _entered(books: Connection, name: str) -> Region:
    """Enter a region; one that was entered but never joined, because somebody died in between, is taken."""
    with books, books.cursor() as cursor:
        cursor.execute(_LOCK)
        cursor.execute(_BY_NAME, (name,))
        found = cursor.fetchone()
        if found is None:
            database_id = str(uuid.uuid4())
            cursor.execute(_ADD, (name, database_id))
            return Region((cursor.fetchone() or (0,))[0], name, database_id)
    if found[2] is not None:
        raise Refused(
            f"the region {name} has another RADIUS database, and that of radius_url is new: "
            "restore it, or choose another name with the setting `region`",
            "R30",
        )
    return Region(found[0], name, found[1])


def _known(books: Connection, name: str, database_id: str, region_id: int) -> tuple[Region, int]:
    with books, books.cursor() as cursor:
        cursor.execute(_LOCK)
        cursor.execute(_BY_DATABASE, (database_id,))
        found = cursor.fetchone()
        if found is None:
            return _entered_again(cursor, name, database_id, region_id), 0
    if found[1] != name:
        raise Refused(f"radius_url is the database of the region {found[1]}, the settings say {name}", "R30")
    return Region(found[0], name, database_id), found[2]


def _entered_again(cursor: Cursor, name: str, database_id: str, region_id: int) -> Region:
    """Books from before the region was entered have it entered as it was; others are not ours."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM billing.region WHERE region_id = %s OR name = %s)", (region_id, name)
    )
    if cursor.fetchone() != (False,):
        raise Refused("radius_url is the RADIUS database of other books", "R30")
    cursor.execute(_ADD_AGAIN, (region_id, name, database_id))
    cursor.execute(_AFTER)
    return Region(region_id, name, database_id)
