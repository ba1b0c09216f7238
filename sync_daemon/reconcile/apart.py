"""What the books in another database have for RADIUS beside rows that can be compared: grants' histories, and wishes.

A wish is a request to a router, or a look at live sessions, that a use case of the books asked for. It reaches RADIUS in the
transaction that brings its account's rows, so that nobody is cut off before he is denied, and once: by its key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.grants import Grant
from herotill.live_change import Purpose
from herotill.reconciling import Change
from herotill.refilling import overuse_taken
from herotill.sessions import Session
from sync_daemon.grant_rows import read_grants
from sync_daemon.meter.statements import load_live_sessions
from sync_daemon.outbox import Wanted, put_requests
from sync_daemon.reconcile.comparing import Databases
from sync_daemon.reconcile.rows import BORN_WITH, Births

_HISTORIES = """
    SELECT external_key,
           jsonb_build_object(
               'entitlement_id', granted.entitlement_id, 'used_input_octets', coalesce(used_input_octets, 0),
               'used_output_octets', coalesce(used_output_octets, 0), 'used_seconds', coalesce(used_seconds, 0),
               'first_used_at', first_used_at, 'last_used_at', last_used_at),
           EXISTS (SELECT FROM billing.voucher JOIN billing.voucher_batch USING (batch_id)
                   WHERE external_key = 'voucher:' || voucher_id AND type = 'refill'
                     AND plan_terms ->> 'refill_counts_overuse' = 'true') AS takes_overuse
    FROM billing.granted LEFT JOIN radius.entitlement USING (external_key) WHERE external_key = ANY(%s)
"""
# The last hours go on where they are, so that what is metered here is added to them.
_HOURS = """
    SELECT coalesce(jsonb_agg(to_jsonb(used) - 'nth'), '[]')::text FROM (
        SELECT *, row_number() OVER (PARTITION BY entitlement_id ORDER BY interval_start DESC) AS nth
        FROM radius.usage_interval WHERE username = ANY(%s) AND entitlement_id = ANY(%s)) AS used
    WHERE nth <= 3
"""
_GO_ON = """
    INSERT INTO radius.usage_interval SELECT * FROM jsonb_populate_recordset(NULL::radius.usage_interval, %s)
    ON CONFLICT DO NOTHING
"""
_TAKE = """
    UPDATE radius.entitlement SET used_input_octets = GREATEST(used_input_octets, %s),
        used_output_octets = GREATEST(used_output_octets, %s), used_seconds = GREATEST(used_seconds, %s)
    WHERE external_key = %s
"""
_NUMBERS = "SELECT entitlement_id, external_key FROM radius.entitlement WHERE external_key = ANY(%s)"

# A name of no account, or of a closed one, is everybody's.
_IS_HERE = """
    NOT EXISTS (SELECT FROM billing.account_region AS home
                WHERE home.username = {0}.username AND home.region_id <> %(region_id)s)
"""
_WISHES = f"""
    SELECT coalesce(jsonb_agg(to_jsonb(request) ORDER BY coa_request_id), '[]')::text, array_agg(coa_request_id)
    FROM radius.coa_request AS request
    WHERE username = ANY(%(names)s) AND finished_at IS NULL AND told_radius_at IS NULL AND {_IS_HERE.format("request")}
"""  # noqa: S608 - our own text
_PUT_WISHES = """
    WITH put AS (
        INSERT INTO radius.coa_request (request_key, action, purpose, reason, username, acct_unique_id, nas_address,
                                        session_attributes, changes, caused_at, created_at)
        SELECT request_key, action, purpose, reason, username, acct_unique_id, nas_address, session_attributes, changes,
               caused_at, created_at
        FROM jsonb_populate_recordset(NULL::radius.coa_request, %s) ORDER BY coa_request_id
        ON CONFLICT (request_key) DO NOTHING RETURNING 1)
    SELECT pg_notify('herotill_coa', '') FROM put LIMIT 1
"""
_ENDING_ALREADY = """
    SELECT acct_unique_id FROM radius.coa_request
    WHERE acct_unique_id = ANY(%s) AND finished_at IS NULL AND action = 'disconnect'
"""
_TOLD = "UPDATE radius.coa_request SET told_radius_at = now() WHERE coa_request_id = ANY(%s)"
_ORDERS = f"""
    DELETE FROM radius.cut_order AS ordered WHERE username = ANY(%(names)s) AND {_IS_HERE.format("ordered")}
    RETURNING username, purpose, reason, caused_at, cut_order_id
"""  # noqa: S608 - our own text
# Which differences nobody wished for: they are drift, and what is mended then cuts.
_EDITED = "SELECT name FROM radius.hand_edit WHERE name = ANY(%s)"
# What a grant gives is noted at RADIUS too, when it comes there; only what was asked for by itself is carried.
_REVIEWS = f"""
    WITH taken AS (
        DELETE FROM radius.session_review AS review WHERE username = ANY(%(names)s) AND {_IS_HERE.format("review")}
        RETURNING username, given, before)
    SELECT coalesce(array_agg(DISTINCT username), '{{}}') FROM taken WHERE given = '{{}}' AND before = '{{}}'
"""  # noqa: S608 - our own text
_PUT_REVIEWS = """
    INSERT INTO radius.session_review (username)
    SELECT DISTINCT username FROM radius.session WHERE username = ANY(%s) AND stopped_at IS NULL;
    SELECT pg_notify('herotill_review', '')
"""
_WISHING = f"""
    SELECT username FROM (
        SELECT username FROM radius.coa_request WHERE finished_at IS NULL AND told_radius_at IS NULL
        UNION SELECT username FROM radius.cut_order UNION SELECT username FROM radius.session_review) AS wished
    WHERE {_IS_HERE.format("wished")} ORDER BY 1
"""  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class CutOrder:
    """The books ended an account's sessions, whichever there are."""

    username: str
    purpose: str
    reason: str
    caused_at: datetime
    number: int


def wishing(databases: Databases) -> list[str]:
    """Return the accounts of this region for which the books ask something of live sessions."""
    if databases.region is None:
        return []
    with databases.books.cursor() as cursor:
        cursor.execute(_WISHING, {"region_id": databases.region.region_id})
        names = [row[0] for row in cursor.fetchall()]
    databases.books.rollback()
    return names


def carry_wishes(databases: Databases, names: Sequence[str]) -> None:
    """Put what the books ask of these accounts' sessions into RADIUS's outbox; the caller commits RADIUS, then the books."""
    assert databases.region is not None  # noqa: S101 - with one database they are there already
    chosen = {"names": list(names), "region_id": databases.region.region_id}
    with databases.books.cursor() as books, databases.radius.cursor() as radius:
        books.execute(_WISHES, chosen)
        requests, numbers = books.fetchone() or ("[]", None)
        if numbers:
            radius.execute(_PUT_WISHES, (requests,))
            books.execute(_TOLD, (numbers,))
        books.execute(_ORDERS, chosen)
        _obey(radius, [CutOrder(*row) for row in books.fetchall()])
        books.execute(_REVIEWS, chosen)
        (reviewed,) = books.fetchone() or ([],)
        if reviewed:
            radius.execute(_PUT_REVIEWS, (reviewed,))


def _obey(radius: Cursor, orders: Sequence["CutOrder"]) -> None:
    """End the sessions the books did not know of, too."""
    live = load_live_sessions(radius, sorted({order.username for order in orders}))
    asked = ending_already(radius, live)
    requests = {
        session.acct_unique_id: (
            Wanted(
                session,
                f"order:{session.acct_unique_id}:{order.number}",
                Purpose(order.purpose),
                order.reason,
                {},
            ),
            order.caused_at,
        )
        for order in orders
        for session in live
        if session.username == order.username and session.acct_unique_id not in asked
    }
    for request, caused_at in requests.values():
        put_requests(radius, [request], caused_at)


def ending_already(radius: Cursor, sessions: Sequence[Session]) -> set[str]:
    """Return which of these sessions are being ended, so that nobody asks for it twice."""
    radius.execute(_ENDING_ALREADY, ([one.acct_unique_id for one in sessions],))
    return {row[0] for row in radius.fetchall()}


def drifted(databases: Databases, changes: Sequence[Change]) -> list[Change]:
    """Return the changes whose sessions reconcile itself must end: of what the books do, they say so themselves.

    Who may not log in at all is not left online in any case.
    """
    names = [change.name for change in changes]
    edited: set[str] = set()
    for connection in (databases.books, databases.radius):
        with connection.cursor() as cursor:
            cursor.execute(_EDITED, (names,))
            edited.update(row[0] for row in cursor.fetchall())
    return [
        change
        for change in changes
        if change.name in edited
        or (
            change.relation == "managed_account"
            and (change.after is None or change.after["status"] == "disabled")
        )
    ]


def births_of(databases: Databases, changes: Iterable[Change]) -> tuple[Births, set[str]]:
    """Return what the books know of grants that are new at RADIUS, and which of them are refills that take over-use."""
    keys = [change.item for change in changes if change.relation == "entitlement" and change.before is None]
    if not keys:
        return {}, set()
    with databases.books.cursor() as cursor:
        cursor.execute(_HISTORIES, (keys,))
        rows = cursor.fetchall()
    histories: dict[str, dict[str, Any]] = {
        key: {name: known[name] for name in BORN_WITH} for key, known, _ in rows
    }
    return histories, {key for key, _, takes_overuse in rows if takes_overuse}


def continue_hours(databases: Databases, changes: Iterable[Change], births: Births) -> None:
    """Let usage per hour of grants that were metered elsewhere go on from there."""
    names = sorted({change.name for change in changes if change.item in births})
    numbers = [known["entitlement_id"] for known in births.values() if known["last_used_at"] is not None]
    if not numbers:
        return
    with databases.books.cursor() as books, databases.radius.cursor() as radius:
        books.execute(_HOURS, (names, numbers))
        radius.execute(_GO_ON, books.fetchone())


def take_overuse(cursor: Cursor, changes: Iterable[Change], refills: set[str], now: datetime) -> None:
    """Count against refills what was used beyond the end also since the books looked: here it is known to the octet."""
    chosen = {change.item: change.name for change in changes if change.item in refills}
    if not chosen:
        return
    cursor.execute(_NUMBERS, (list(chosen),))
    keys: dict[int, str] = dict(cursor.fetchall())
    grants: dict[str, list[Grant]] = {}
    for name, grant in read_grants(cursor, sorted(set(chosen.values()))):
        grants.setdefault(name, []).append(grant)
    for held in grants.values():
        for grant in held:
            if grant.grant_id in keys:
                taken = overuse_taken(grant, [one for one in held if one is not grant], now)
                cursor.execute(
                    _TAKE, (taken.input_octets, taken.output_octets, taken.seconds, keys[grant.grant_id])
                )
