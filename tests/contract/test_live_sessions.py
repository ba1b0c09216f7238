"""Rule R16 on a real database: steps are told as they are reached, and undone by whatever gives the account more."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from herotill.journal import ACCOUNTING, encode
from rlm_herotill.journal import JournalWriter
from rlm_herotill.settings import Fdatasync
from sync_daemon import database
from sync_daemon.live_sessions import review_sessions
from sync_daemon.meter.worker import Meter
from sync_daemon.schedule import expire_grants
from sync_daemon.settings import Settings

NAS = "192.0.2.1"
BEGUN = datetime.now(UTC) - timedelta(hours=1)
POLICY = {
    "download_bits_per_second": 10_000_000,
    "upload_bits_per_second": 1_000_000,
    "ladder": "80:2000000/1000000,100:256000/128000,150:cut",
}
FULL, SLOW, CRAWL = "1000000/10000000", "1000000/2000000", "128000/256000"
REQUESTS = """
    SELECT action, purpose, reason, state, changes ->> 'Mikrotik-Rate-Limit' FROM radius.coa_request
    ORDER BY coa_request_id
"""
ADD_NAS = (
    "INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES (%s, 'router', %s, 'secret secret')"
)
ADD_ACCOUNT = """
    INSERT INTO radius.managed_account (username, kind, status, policy) VALUES ('anna', 'prepaid', %s, '{}')
    ON CONFLICT (username) DO UPDATE SET status = excluded.status
"""
GIVE = """
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, quota_octets, policy, granted_at, priority)
    VALUES (%s, 'anna', 'purchase', 'p', %s, %s, now(), %s)
"""


class Isp:
    """One account on one router, with a meter of its own."""

    def __init__(self, settings: Settings, nas_type: str = "mikrotik") -> None:
        self.settings = settings
        self.connection: Connection = database.connect(database.radius_url(settings), "test")
        self.do(ADD_NAS, NAS, nas_type)
        self.do(ADD_ACCOUNT, "active")
        self.meter = Meter(self.connection, settings)

    def close(self) -> None:
        self.connection.close()

    def do(self, statement: str, *values: object) -> None:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(statement, values)

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def give(self, key: str, octets: int = 1000, priority: int = 100, **policy: object) -> None:
        self.do(GIVE, key, octets, json.dumps(POLICY | policy), priority)

    def reports(self, *used: tuple[str, int]) -> None:
        """Report these sessions with so many octets, at once."""
        journal = JournalWriter(self.settings.journal_directory, Fdatasync.NEVER)
        for session, octets in used:
            pairs = [
                ["User-Name", "anna"],
                ["Acct-Session-Id", session],
                ["Acct-Status-Type", "Interim-Update"],
                ["Acct-Session-Time", "3600" if session.isdigit() else "1"],
                ["Acct-Input-Octets", str(octets)],
            ]
            at = int(datetime.now(UTC).timestamp() * 1_000_000)
            journal.append(encode(ACCOUNTING, at, NAS, pairs))
        journal.close()
        while self.meter.apply_new():
            pass

    def review(self) -> int:
        return review_sessions(self.connection, datetime.now(UTC))

    def requests(self) -> list[tuple[Any, ...]]:
        return self.ask(REQUESTS)

    def last_rates(self) -> object:
        return self.requests()[-1][-1]


@pytest.fixture
def isp(settings: Settings) -> Iterator[Isp]:
    made = Isp(settings)
    yield made
    made.close()


def test_r16_a_step_is_told_to_every_live_session_when_it_is_reached_and_once(isp: Isp) -> None:
    isp.give("purchase:1")
    isp.reports(("1", 300), ("2", 300))
    assert isp.requests() == []
    isp.reports(("1", 500))
    told = ("coa", "restrict", "ladder", "pending", SLOW)
    assert isp.requests() == [told, told]
    isp.reports(("1", 510), ("2", 310))
    assert isp.requests() == [told, told]


def test_r16_the_end_is_a_step_too_and_over_use_leads_to_the_next(isp: Isp) -> None:
    isp.give("purchase:1")
    isp.reports(("1", 900))
    isp.reports(("1", 1100))
    isp.reports(("1", 1200))
    assert [(row[0], row[1], row[-1]) for row in isp.requests()] == [
        ("coa", "restrict", SLOW),
        ("coa", "restrict", CRAWL),
    ]
    assert isp.requests()[0][3] == "superseded"
    isp.reports(("1", 1500))
    assert isp.requests()[-1][:3] == ("disconnect", "end", "quota")


def test_r16_a_jump_over_a_step_tells_the_last_one_only(isp: Isp) -> None:
    isp.give("purchase:1")
    isp.reports(("1", 1100))
    assert [row[-1] for row in isp.requests()] == [CRAWL]


def test_r16_a_purchase_undoes_the_step_exactly_and_live(isp: Isp) -> None:
    isp.give("purchase:1")
    isp.reports(("1", 900))
    isp.give("purchase:2")
    assert isp.review() == 1
    assert isp.requests() == [
        ("coa", "restrict", "ladder", "superseded", SLOW),
        ("coa", "restore", "renewed", "pending", FULL),
    ]
    assert isp.review() == 0
    isp.reports(("1", 1950))
    assert isp.last_rates() == SLOW


def test_r16_the_same_step_is_told_again_after_it_was_undone(isp: Isp) -> None:
    """Given a step, a top-up of the quota in place that undoes it, and use up to the step again, then it is told again."""
    isp.give("purchase:1")
    isp.reports(("1", 900))
    isp.do("UPDATE radius.entitlement SET quota_octets = 2000")
    isp.review()
    assert isp.last_rates() == FULL
    isp.reports(("1", 1700))
    assert isp.last_rates() == SLOW


@pytest.mark.parametrize("ended_at", [1100, 1600])
def test_r16_who_was_throttled_or_cut_at_the_end_is_restored_by_a_purchase(isp: Isp, ended_at: int) -> None:
    isp.give("purchase:1")
    isp.reports(("1", ended_at))
    isp.give("purchase:2")
    isp.review()
    *older, newest = isp.requests()
    if ended_at == 1100:
        assert newest == ("coa", "restore", "renewed", "pending", FULL)
    else:
        older.append(newest)
    assert {row[3] for row in older} == {"superseded"}


def test_r16_a_new_session_that_knew_nothing_of_the_step_is_told(isp: Isp) -> None:
    isp.give("purchase:1")
    isp.reports(("1", 900))
    isp.reports(("a", 10))
    assert [row[-1] for row in isp.requests()] == [SLOW, SLOW]
    isp.do("UPDATE radius.ladder_step SET since = since - interval '1 minute'")
    isp.reports(("b", 10))
    assert len(isp.requests()) == 2


def test_r16_the_next_grants_rates_are_told_when_the_first_is_used_up(isp: Isp) -> None:
    isp.give("purchase:1", ladder="")
    isp.give("purchase:2", priority=200, download_bits_per_second=5_000_000, ladder="")
    isp.reports(("1", 1100))
    assert isp.requests() == [("coa", "restrict", "ladder", "pending", "1000000/5000000")]


def test_r16_the_next_grants_rates_are_told_when_the_first_expires(isp: Isp) -> None:
    isp.give("purchase:1", ladder="")
    isp.give("purchase:2", priority=200, download_bits_per_second=5_000_000, ladder="")
    isp.reports(("1", 100))
    isp.do("UPDATE radius.entitlement SET expires_at = now() WHERE external_key = 'purchase:1'")
    assert expire_grants(isp.connection, datetime.now(UTC)) == 1
    assert isp.requests() == [("coa", "restrict", "ladder", "pending", "1000000/5000000")]


def test_a_refill_that_changes_the_rates_is_told_as_it_is(isp: Isp) -> None:
    isp.give("purchase:1", ladder="")
    isp.reports(("1", 100))
    faster = json.dumps(POLICY | {"ladder": "", "download_bits_per_second": 20_000_000})
    isp.do("UPDATE radius.entitlement SET policy = %s", faster)
    isp.review()
    assert isp.last_rates() == "1000000/20000000"


def test_nobody_is_asked_anything_where_nothing_changed_or_nobody_is_online(isp: Isp) -> None:
    isp.give("purchase:1")
    assert isp.review() == 0
    isp.reports(("1", 10))
    isp.do("UPDATE radius.entitlement SET quota_octets = quota_octets")
    assert isp.review() == 0
    isp.give("purchase:2")
    assert isp.review() == 1  # octets are no live matter of this make, and the rates are the same
    assert isp.requests() == []


def test_a_suspended_account_is_told_nothing_good(isp: Isp) -> None:
    isp.give("purchase:1")
    isp.reports(("1", 900))
    isp.do(ADD_ACCOUNT, "suspended")
    isp.give("purchase:2")
    isp.review()
    assert isp.last_rates() == SLOW


def test_r16_a_make_that_changes_no_rate_live_is_reconnected_and_one_that_has_no_rates_left_alone(
    settings: Settings,
) -> None:
    bare = Isp(settings, "other")
    bare.give("purchase:1")
    bare.reports(("1", 900))
    assert bare.requests() == []
    bare.reports(("1", 1100))
    assert [row[:3] for row in bare.requests()] == [("disconnect", "restrict", "quota")]
    bare.close()


def test_r16_live_top_up_raises_the_limits_of_running_sessions(settings: Settings) -> None:
    """CoovaChilli's limits are changed live: what the session has used, and what is left now."""
    chilli = Isp(settings, "coovachilli")
    chilli.give("purchase:1", ladder="")
    chilli.reports(("1", 400))
    chilli.give("topup:1", ladder="")
    chilli.review()
    [(action, purpose, limit)] = chilli.ask(
        "SELECT action, purpose, changes ->> 'ChilliSpot-Max-Total-Octets' FROM radius.coa_request"
    )
    assert (action, purpose, limit) == ("coa", "raise", "2000")
    chilli.close()


def test_r20_what_was_given_away_lowers_the_limits(settings: Settings) -> None:
    chilli = Isp(settings, "coovachilli")
    chilli.give("purchase:1", ladder="")
    chilli.reports(("1", 400))
    chilli.do("UPDATE radius.entitlement SET quota_octets = 600")
    chilli.review()
    [(limit,)] = chilli.ask("SELECT changes ->> 'ChilliSpot-Max-Total-Octets' FROM radius.coa_request")
    assert limit == "600"
    chilli.close()


def test_a_first_use_is_nothing_new(isp: Isp) -> None:
    isp.give("purchase:1")
    isp.reports(("1", 10))
    isp.do(
        "UPDATE radius.entitlement SET first_used_at = NULL, seconds_after_first_use = 60, expires_at = NULL"
    )
    isp.do("DELETE FROM radius.session_review")
    isp.do("SELECT radius.start_first_use(username, entitlement_id, now()) FROM radius.entitlement")
    assert isp.review() == 0
