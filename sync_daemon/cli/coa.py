"""`herotill coa`: what was asked of the routers about sessions that are online, what they said, and what came of it."""

from datetime import datetime
from ipaddress import ip_address
from typing import Any, TextIO

import click

from billing.paging import Page
from herotill.errors import InvalidValue, Refused
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, bounds_of, keys_of, list_options, order_of
from sync_daemon.cli.nas import checked_port, checked_secret
from sync_daemon.cli.output import Column, Output, output_options
from sync_daemon.cli.parameters import ask_before, network_of, yes_option

FAILED = ("naked", "timed_out", "unconfirmed", "failed")
STATES = ("pending", "sent", "acked", "confirmed", "gone", *FAILED, "superseded")

_FILTER = """
    (%(user)s::text IS NULL OR request.username = %(user)s)
    AND (%(nas)s::inet IS NULL OR request.nas_address <<= %(nas)s::inet)
    AND (%(states)s::text[] IS NULL OR request.state = ANY (%(states)s))
"""

# One line for each attempt, and one for a request of which nothing has left.
SELECT_LOG = f"""
    SELECT request.coa_request_id AS request, attempt.attempt, coalesce(attempt.sent_at, request.created_at) AS at,
           request.username, host(request.nas_address) AS nas, coalesce(attempt.action, request.action) AS action,
           request.reason, attempt.profile AS named_by, attempt.result, attempt.error_cause, attempt.transmissions,
           (EXTRACT(epoch FROM attempt.answered_at - attempt.sent_at) * 1000)::int AS milliseconds,
           request.state, coalesce(attempt.outcome, request.outcome) AS outcome
    FROM radius.coa_request AS request
    LEFT JOIN radius.coa_attempt AS attempt USING (coa_request_id)
    WHERE {_FILTER}
    ORDER BY {{order}} at DESC, request DESC, attempt DESC
    LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608 - the filter is ours

SELECT_REQUEST = """
    SELECT coa_request_id AS request, state, action, purpose, reason, username, host(nas_address) AS nas,
           acct_unique_id, session_attributes, changes, caused_at, created_at, acked_at, finished_at,
           CASE WHEN finished_at IS NULL THEN next_attempt_at END AS next_at, becomes_disconnect, attempts, error_cause,
           outcome
    FROM radius.coa_request WHERE coa_request_id = %(request)s
"""
SELECT_ATTEMPTS = """
    SELECT attempt, action, profile AS named_by, destination, identifier, source_port, sent_at, transmissions, answered_at,
           result, error_cause, outcome
    FROM radius.coa_attempt WHERE coa_request_id = %(request)s ORDER BY attempt
"""

SELECT_NASES = """
    SELECT nas.shortname AS name, nas.nasname AS address, nas.type, coalesce(profile.coa_port, 3799) AS port,
           coalesce(profile.coa_state, 'unknown') AS state, profile.coa_state_since AS since,
           profile.coa_failure AS failure,
           (SELECT count(*) FROM radius.coa_request AS request
            WHERE request.finished_at IS NULL AND nas.nasname = host(request.nas_address)) AS waiting
    FROM radius.nas LEFT JOIN radius.nas_profile AS profile ON profile.nas_id = nas.id
    ORDER BY coalesce(profile.coa_state, 'unknown') <> 'fails', nas.shortname
"""

# NULL: as it is; '' is back to what it is otherwise.
SET_NAS = """
    INSERT INTO radius.nas_profile (nas_id, coa_port, coa_address, coa_secret)
    SELECT id, coalesce(%(port)s, 3799), nullif(%(address)s, '')::inet, nullif(%(secret)s, '')
    FROM radius.nas WHERE shortname = %(name)s
    ON CONFLICT (nas_id) DO UPDATE
    SET coa_port = coalesce(%(port)s, nas_profile.coa_port),
        coa_address = CASE WHEN %(address)s::text IS NULL THEN nas_profile.coa_address
                           ELSE nullif(%(address)s, '')::inet END,
        coa_secret = CASE WHEN %(secret)s::text IS NULL THEN nas_profile.coa_secret ELSE nullif(%(secret)s, '') END
    RETURNING nas_id
"""

COUNT_RETRIED = f"""
    SELECT count(*) FROM radius.coa_request AS request
    WHERE {_FILTER} AND (%(requests)s::bigint[] IS NULL OR request.coa_request_id = ANY (%(requests)s))
      AND EXISTS (SELECT FROM radius.session
                  WHERE session.acct_unique_id = request.acct_unique_id AND session.stopped_at IS NULL)
"""  # noqa: S608 - the filter is ours
# From the beginning, as if nothing had been tried; a session that has ended needs nothing.
RETRY = f"""
    WITH again AS (
        UPDATE radius.coa_request AS request
        SET state = 'pending', finished_at = NULL, next_attempt_at = clock_timestamp(), profile_number = 0, failures = 0,
            becomes_disconnect = false, is_superseded = false, told_at = NULL
        WHERE {_FILTER} AND (%(requests)s::bigint[] IS NULL OR request.coa_request_id = ANY (%(requests)s))
          AND EXISTS (SELECT FROM radius.session
                      WHERE session.acct_unique_id = request.acct_unique_id AND session.stopped_at IS NULL)
        RETURNING 1)
    SELECT count(*), pg_notify('herotill_coa', '') FROM again
"""  # noqa: S608 - the filter is ours


def _show_moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _show_attributes(named: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in named.items()) or "none"


_LOG_COLUMNS = (
    Column("request", right=True),
    Column("attempt", absent="-", right=True),
    Column("at", _show_moment),
    Column("username"),
    Column("nas"),
    Column("action"),
    Column("reason"),
    Column("named_by", absent="-"),
    Column("result", absent="-"),
    Column("error_cause", absent="-", right=True),
    Column("transmissions", absent="-", right=True),
    Column("milliseconds", absent="-", right=True),
    Column("state"),
    Column("outcome"),
)
_NAS_COLUMNS = (
    Column("name"),
    Column("address"),
    Column("type"),
    Column("port", right=True),
    Column("state"),
    Column("since", _show_moment, absent="-"),
    Column("waiting", right=True),
    Column("failure", absent="-"),
)
_REQUEST_COLUMNS = (
    Column("request"),
    Column("state"),
    Column("action"),
    Column("purpose"),
    Column("reason"),
    Column("username"),
    Column("nas"),
    Column("acct_unique_id"),
    Column("session_attributes", _show_attributes),
    Column("changes", _show_attributes),
    Column("caused_at", _show_moment, absent="-"),
    Column("created_at", _show_moment),
    Column("acked_at", _show_moment, absent="-"),
    Column("finished_at", _show_moment, absent="not yet"),
    Column("next_at", _show_moment, absent="-"),
    Column("becomes_disconnect"),
    Column("outcome", absent="-"),
)


@click.group()
def coa() -> None:
    """What was asked of the routers, and what came of it."""


_user_option = click.option("--user", metavar="NAME", help="Only this account.")
_nas_option = click.option("--nas", metavar="ADDRESS[/LEN]", help="Only this NAS, or these.")


@coa.command()
@_user_option
@_nas_option
@click.option("--state", type=click.Choice(STATES), help="Only requests in this state.")
@click.option("--failed", is_flag=True, help="Only requests for which all was tried in vain.")
@list_options(keys_of(_LOG_COLUMNS))
@pass_application
def log(application: Application, /, output: Output, page: Page, **chosen: Any) -> None:
    """List every attempt, newest first: what was asked, how the session was named, what the NAS said."""
    wanted = _filter(chosen) | bounds_of(page)
    output.rows(_rows(application, SELECT_LOG.format(order=order_of(page)), wanted), _LOG_COLUMNS)


@coa.command()
@click.argument("request", type=click.INT)
@pass_application
@output_options
def show(application: Application, /, output: Output, request: int) -> None:
    """Show one request: what it is for, how far it is, and every attempt."""
    found = _rows(application, SELECT_REQUEST, {"request": request})
    if not found:
        raise InvalidValue("request", request, "it is a number of `herotill coa log`")
    attempts = _rows(application, SELECT_ATTEMPTS, {"request": request})
    record = found[0] | {"attempts": attempts}
    output.record(record, [*_REQUEST_COLUMNS, Column("attempts", _show_attempts, absent="none")])


@coa.command()
@list_options(keys_of(_NAS_COLUMNS))
@pass_application
def nas(application: Application, /, output: Output, page: Page) -> None:
    """List the NASes by whether they do what they are asked, those that do not first."""
    output.rows(arranged(_rows(application, SELECT_NASES, {}), page), _NAS_COLUMNS)


@coa.command(name="set")
@click.argument("name")
@click.option("--port", type=click.INT, help="Where it takes Disconnect and CoA requests.")
@click.option("--address", help="Where, if not at the address its packets come from; or none.")
@click.option(
    "--secret-file",
    "file",
    type=click.File(),
    help="Its secret, if not that of RADIUS, first line; - is stdin.",
)
@click.option("--radius-secret", is_flag=True, help="Its secret is that of RADIUS again.")
@pass_application
def set_nas(
    application: Application,
    /,
    name: str,
    port: int | None,
    address: str | None,
    file: TextIO | None,
    radius_secret: bool,
) -> None:
    """Say where a NAS takes requests about its sessions, and with which secret; what is not said stays."""
    if file is not None and radius_secret:
        raise InvalidValue("--secret-file", file.name, "give it, or --radius-secret")
    values: dict[str, Any] = {
        "name": name,
        "port": None if port is None else checked_port(port),
        "address": None if address is None else _address_or_none(address),
        "secret": "" if radius_secret else None,
    }
    if file is not None:
        values["secret"] = checked_secret(file.readline().rstrip("\r\n"))
    if not _rows(application, SET_NAS, values):
        raise Refused(f"there is no NAS named {name}", "R33")
    told = [field for field, value in values.items() if value is not None and field != "name"]
    click.echo(f"changed {name}: {', '.join(told) or 'nothing'}")


@coa.command()
@click.argument("requests", type=click.INT, nargs=-1, metavar="[REQUEST]...")
@_user_option
@_nas_option
@click.option("--all-failed", is_flag=True, help="Every one for which all was tried in vain.")
@yes_option
@pass_application
def retry(
    application: Application, /, requests: tuple[int, ...], all_failed: bool, yes: bool, **chosen: Any
) -> None:
    """Ask again, from the beginning, for sessions that are still online."""
    if not (requests or all_failed or chosen["user"] or chosen["nas"]):
        raise InvalidValue(
            "request", None, "say which: numbers of `herotill coa log`, --user, --nas or --all-failed"
        )
    wanted = _filter(chosen | {"state": None, "failed": True}) | {"requests": list(requests) or None}
    number = _rows(application, COUNT_RETRIED, wanted)[0]["count"]
    if not number:
        raise Refused(
            "nothing to try again: no such request failed for a session that is still online", "R31"
        )
    if not requests:
        ask_before(f"{number} requests will be tried again", yes)
    done = _rows(application, RETRY, wanted)[0]["count"]
    click.echo(f"{done} requests are tried again; `herotill serve` does it")


def _filter(chosen: dict[str, Any]) -> dict[str, Any]:
    states = list(FAILED) if chosen["failed"] else [chosen["state"]] if chosen["state"] else None
    return {"user": chosen["user"], "nas": network_of(chosen["nas"]), "states": states}


def _rows(application: Application, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with application.radius_connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _address_or_none(text: str) -> str:
    if text.strip().lower() == "none":
        return ""
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise InvalidValue("--address", text, "it is an address such as 192.0.2.1, or none") from None


def _show_attempts(attempts: list[dict[str, Any]]) -> str:
    lines = [
        f"{each['attempt']}. {each['action']} to {each['destination']} from port {each['source_port']}, "
        f"named by {each['named_by']}: {each['outcome'] or each['result']}"
        for each in attempts
    ]
    return "\n".join(lines) or "none"
