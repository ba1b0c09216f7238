"""Rule R16: a session that is online is told by CoA where the make can, by a reconnection where only that helps."""

from dataclasses import replace
from typing import Any

import pytest

from herotill.dialect import CountsFrom, Dialect, IdentificationProfile, Saying
from herotill.live_change import (
    ChangeBy,
    LiveChange,
    Purpose,
    Reconnect,
    Unsayable,
    Way,
    changed_service,
    is_slower,
    way_to_change,
)
from herotill.metering import Meter
from herotill.reply import Reply
from herotill.usage import Usage
from tests.unit.rules.build import at, session

FULL = Reply(download_bits_per_second=10**7, upload_bits_per_second=10**6, address_list="all")
SLOW = Reply(download_bits_per_second=256_000, upload_bits_per_second=128_000, address_list="slow")


def dialect(**live: bool) -> Dialect:
    """A make with one text for both rates, a list, a pool, a split limit and a timeout; `live` says what a CoA changes."""
    sayings = (
        Saying("rates", "Rate", text="{upload}/{download}", unlimited="0", live=live.get("rates", False)),
        Saying("address_list", "List", live=live.get("list", False)),
        Saying("address_pool", "Pool"),
        Saying("limit_total_octets", "Limit", "Limit-Giga", unlimited="0", live=live.get("limit", False)),
        Saying("session_timeout_seconds", "Timeout", live=live.get("timeout", False), counts_from=CountsFrom.CHANGE),
    )  # fmt: skip
    named = (IdentificationProfile("session-id", ("Acct-Session-Id",)),)
    return Dialect("make", "Make", ("make",), (), sayings, coa=named)


def way(before: Reply, after: Reply, make: Dialect, per_mille: int = 1000, **used: Any) -> Way:
    told = session(meter=Meter(Usage(**used)), last_report_at=at(100))
    change = LiveChange(told, "key", "ladder", Purpose.RESTRICT, before, after)
    return way_to_change(change, make, per_mille)


def test_r16_a_rate_is_changed_live_where_the_make_can() -> None:
    assert way(FULL, SLOW, dialect(rates=True)) == ChangeBy((("Rate", "128000/256000"),))


def test_r16_the_list_stands_for_a_rate_the_make_cannot_change() -> None:
    assert way(FULL, SLOW, dialect(list=True)) == ChangeBy((("List", "slow"),))
    assert way(SLOW, FULL, dialect(list=True)) == ChangeBy((("List", "all"),))


def test_r16_only_where_nothing_else_works_a_reconnection() -> None:
    assert way(FULL, SLOW, dialect()) == Reconnect()
    assert way(FULL, Reply(address_pool="walled"), dialect(rates=True, list=True)) == Reconnect()


def test_a_make_that_cannot_say_it_at_all_is_asked_nothing() -> None:
    assert way(FULL, SLOW, Dialect("bare", "Bare", ("bare",), (), ())) == Unsayable()
    assert way(FULL, FULL, dialect(rates=True, list=True)) == Unsayable()


def test_r16_a_make_that_takes_no_coa_is_reconnected() -> None:
    deaf = replace(dialect(rates=True), coa=())
    assert way(FULL, SLOW, deaf) == Reconnect()
    assert way(Reply(), Reply(limit_total_octets=400), deaf) == Unsayable()


def test_r16_unlimited_rates_are_said_when_they_come_back() -> None:
    assert way(SLOW, Reply(address_list="slow"), dialect(rates=True)) == ChangeBy((("Rate", "0/0"),))


def test_r16_a_list_that_cannot_be_taken_back_live_takes_a_reconnection() -> None:
    assert way(SLOW, Reply(), dialect(list=True)) == Reconnect()


@pytest.mark.parametrize(("per_mille", "low"), [(1000, "700"), (2000, "500"), (500, "1100")])
def test_r16_a_raised_limit_counts_from_the_sessions_start_in_octets_it_carries(
    per_mille: int, low: str
) -> None:
    """Given 300 octets carried, when 400 are left, then the limit is what the session may have carried in all."""
    after = Reply(limit_total_octets=400)
    raised = way(
        Reply(limit_total_octets=5),
        after,
        dialect(limit=True),
        per_mille,
        input_octets=100,
        output_octets=200,
    )
    assert raised == ChangeBy((("Limit", low), ("Limit-Giga", "0")))


def test_r16_a_limit_that_is_gone_is_lifted() -> None:
    assert way(Reply(limit_total_octets=5), Reply(), dialect(limit=True)) == ChangeBy(
        (("Limit", "0"), ("Limit-Giga", "0"))
    )
    assert way(Reply(), Reply(), dialect(limit=True)) == Unsayable()


def test_a_timeout_that_counts_from_the_change_is_what_is_left() -> None:
    after = Reply(session_timeout_seconds=60)
    assert way(Reply(), after, dialect(timeout=True), seconds=90) == ChangeBy((("Timeout", "60"),))


def test_a_limit_the_make_cannot_raise_throws_nobody_out() -> None:
    assert way(Reply(), Reply(limit_total_octets=400), dialect()) == Unsayable()


def test_what_differs_and_what_is_slower() -> None:
    assert changed_service(FULL, FULL) == frozenset()
    assert changed_service(FULL, SLOW) == {
        "download_bits_per_second",
        "upload_bits_per_second",
        "address_list",
    }
    assert is_slower(FULL, SLOW)
    assert not is_slower(SLOW, FULL)
    assert is_slower(Reply(), FULL)
    assert is_slower(FULL, Reply(address_pool="walled"))
