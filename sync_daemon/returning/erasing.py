"""People the books have forgotten are forgotten by this region's RADIUS database too (rule R36)."""

import sqlalchemy
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from sqlalchemy.orm import Session

from billing.erasure import forget_names
from sync_daemon.database import connect, radius_url
from sync_daemon.returning.carrying import Region
from sync_daemon.settings import Settings

_ORDERS = """
    SELECT erasure_order_id, names::text FROM billing.erasure_order WHERE region_id = %s ORDER BY erasure_order_id
"""
_DONE = "DELETE FROM billing.erasure_order WHERE erasure_order_id = %s"


def erase_forgotten(settings: Settings, books: Connection, region: Region) -> int:
    """Carry out what the books ordered, each order in a transaction; return how many. Raises psycopg2's errors."""
    with books, books.cursor() as cursor:
        cursor.execute(_ORDERS, (region.region_id,))
        orders = cursor.fetchall()
    if not orders:
        return 0
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=lambda: connect(radius_url(settings), "herotill erase")
    )
    try:
        for order_id, names in orders:
            _erase(engine, names)
            with books, books.cursor() as cursor:
                cursor.execute(_DONE, (order_id,))
    finally:
        engine.dispose()
    return len(orders)


def _erase(engine: sqlalchemy.Engine, names: str) -> None:
    try:
        with Session(engine) as radius, radius.begin():
            forget_names(radius, names)
    except sqlalchemy.exc.DBAPIError as error:
        raise error.orig or error from error
