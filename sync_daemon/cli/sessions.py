"""`herotill sessions`: who is online, and who was."""

import click

from billing.paging import Page
from herotill.quantities import approximate_octets
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import bounds_of, keys_of, list_options, order_of
from sync_daemon.cli.output import Column, Output, show_seconds, show_time
from sync_daemon.cli.parameters import network_of

SELECT_SESSIONS = """
    SELECT username, host(nas_address) AS nas, calling_station_id AS device, host(framed_ip_address) AS address,
           started_at, stopped_at, session_seconds AS duration, input_octets AS upload, output_octets AS download,
           acct_session_id, terminate_cause
    FROM radius.session
    WHERE (%(all)s OR stopped_at IS NULL)
      AND (%(user)s::text IS NULL OR username = %(user)s)
      AND (%(nas)s::inet IS NULL OR nas_address <<= %(nas)s::inet)
    ORDER BY {order} coalesce(stopped_at, 'infinity') DESC, started_at DESC, acct_unique_id
    LIMIT %(limit)s OFFSET %(offset)s
"""

_COLUMNS = (
    Column("username"),
    Column("nas"),
    Column("device"),
    Column("address"),
    Column("started_at", show_time),
    Column("duration", show_seconds, right=True),
    Column("upload", approximate_octets, right=True),
    Column("download", approximate_octets, right=True),
    Column("acct_session_id"),
)
_ENDED_COLUMNS = (Column("stopped_at", show_time, absent="online"), Column("terminate_cause"))


@click.command()
@click.option("--user", metavar="NAME", help="Only this account.")
@click.option("--nas", metavar="ADDRESS[/LEN]", help="Only this NAS, or these.")
@click.option("--all", "is_all", is_flag=True, help="Also sessions that have ended, newest first.")
@list_options(keys_of([*_COLUMNS, *_ENDED_COLUMNS]))
@pass_application
def sessions(
    application: Application, output: Output, user: str | None, nas: str | None, is_all: bool, page: Page
) -> None:
    """Show who is online: device, address, duration, and the octets counted so far."""
    wanted = {"user": user, "nas": network_of(nas), "all": is_all} | bounds_of(page)
    with application.radius_connection() as connection, connection.cursor() as cursor:
        cursor.execute(SELECT_SESSIONS.format(order=order_of(page)), wanted)
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    output.rows(rows, _COLUMNS + _ENDED_COLUMNS if is_all else _COLUMNS)
