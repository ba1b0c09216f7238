"""Looks which routers still send requests without Message-Authenticator, where FreeRADIUS answers them (CVE-2024-3596)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg2

from herotill.nas import SELECT_NASES, NasDirectory
from sync_daemon import database
from sync_daemon.doctor.findings import Finding, good, unknown, wrong
from sync_daemon.doctor.freeradius import requires_message_authenticator
from sync_daemon.nas_evidence import Signatures, read_signatures
from sync_daemon.settings import Settings

TOPIC = "unsigned routers"
MOST_NAMED = 10


def look_at_signatures(settings: Settings, raddb: Path) -> Iterator[Finding]:
    """Name the routers that must be put right before signatures can be required; nothing where they are."""
    if requires_message_authenticator(raddb) is not False:
        return
    try:
        with (
            database.transaction(database.radius_url(settings), "herotill doctor") as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(SELECT_NASES)
            nases = NasDirectory(cursor.fetchall())
            seen = read_signatures(cursor)
    except psycopg2.Error:
        yield unknown(TOPIC, "the database cannot be asked", "mend what is said of the database")
        return
    yield judge_signatures(seen, nases)


def judge_signatures(seen: Sequence[Signatures], nases: NasDirectory) -> Finding:
    """Say which addresses still ask without Message-Authenticator, those that do so most first."""
    if not seen:
        return unknown(TOPIC, "nobody has logged in lately", "log somebody in at every router")
    unsigned = [each for each in seen if each.still_unsigned]
    if not unsigned:
        logins = sum(each.logins for each in seen)
        return good(
            TOPIC, f"none: {len(seen)} routers were heard in the last {logins} logins, and all of them sign"
        )
    named = "; ".join(_named(each, nases) for each in unsigned[:MOST_NAMED])
    others = f"; and {len(unsigned) - MOST_NAMED} others" if len(unsigned) > MOST_NAMED else ""
    return wrong(
        TOPIC,
        f"without Message-Authenticator ask {named}{others}",
        "upgrade them, or switch it on there: herotill nas test NAME",
    )


def _named(each: Signatures, nases: NasDirectory) -> str:
    nas = nases.find(each.address)
    name = each.address if nas is None else f"{nas.shortname} ({each.address})"
    return f"{name}, {each.unsigned} of {each.logins} logins"
