"""Limits are read as each make reads them, and usage is cut exactly there."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.errors import InvalidValue
from nas_simulator.limits import Cut, Limits, Usage, parse_rate_bits_per_second, split_at_interims
from nas_simulator.makes import (
    ACCEL_PPP,
    CAMBIUM,
    CHILLISPOT,
    CISCO,
    GENERIC,
    MIKROTIK,
    NOKIA,
    WISPR,
    Make,
    make_named,
)
from nas_simulator.wire import ACCESS_ACCEPT, Value, decode, reply_to

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GIB = 2**30


def limits_of(make: Make, *pairs: tuple[str, Value]) -> Limits:
    request = decode(bytes([1, 1, 0, 20]) + bytes(16))
    return Limits().changed_by(decode(reply_to(request, ACCESS_ACCEPT, b"s", pairs)), make, NOW)


def test_mikrotik_reads_its_gigawords_and_rates() -> None:
    limits = limits_of(
        MIKROTIK,
        ("Mikrotik-Total-Limit", 1),
        ("Mikrotik-Total-Limit-Gigawords", 2),
        ("Mikrotik-Recv-Limit", 5),
        ("Mikrotik-Rate-Limit", "512k/2M 1M/4M"),
        ("Mikrotik-Address-List", "restricted"),
        ("Session-Timeout", 60),
        ("Framed-Pool", "pool-a"),
    )
    assert (limits.total_octets, limits.input_octets, limits.output_octets) == (2 * 2**32 + 1, 5, None)
    assert (limits.input_bits_per_second, limits.output_bits_per_second) == (512_000, 2_000_000)
    assert (limits.address_list, limits.address_pool) == ("restricted", "pool-a")
    assert limits.session_timeout_seconds == 60


def test_chillispot_counts_from_the_clients_side() -> None:
    limits = limits_of(
        CHILLISPOT,
        ("ChilliSpot-Max-Input-Octets", 7),
        ("ChilliSpot-Max-Output-Octets", 8),
        ("ChilliSpot-Max-Total-Gigawords", 1),
        ("ChilliSpot-Bandwidth-Max-Up", 256),
        ("ChilliSpot-Bandwidth-Max-Down", 1024),
    )
    assert (limits.output_octets, limits.input_octets, limits.total_octets) == (7, 8, 2**32)
    assert (limits.input_bits_per_second, limits.output_bits_per_second) == (256_000, 1_024_000)


def test_wispr_ends_at_a_time_of_day() -> None:
    until = ("WISPr-Session-Terminate-Time", "2026-11-22T14:01:00+02:00")
    assert limits_of(WISPR, until, ("Session-Timeout", 600)).session_timeout_seconds == 60
    assert limits_of(WISPR, ("WISPr-Bandwidth-Max-Up", 5)).input_bits_per_second == 5


@pytest.mark.parametrize(
    ("make", "pairs"),
    [
        (
            CISCO,
            (
                ("Cisco-AVPair", "ip:addr-pool=gold"),
                (
                    "Cisco-AVPair",
                    "lcp:interface-config#1=rate-limit input 2000000 3 6 conform-action transmit exceed-action drop",
                ),
                (
                    "Cisco-AVPair",
                    "lcp:interface-config#1=rate-limit output 8000000 1 2 conform-action transmit exceed-action drop",
                ),
            ),
        ),
        (ACCEL_PPP, (("Filter-Id", "8000/2000"),)),
        (
            NOKIA,
            (
                ("Alc-Subscriber-QoS-Override", "i:q:1:pir=2000"),
                ("Alc-Subscriber-QoS-Override", "E:Q:1:pir=8000"),
            ),
        ),
        (CAMBIUM, (("WISPr-Bandwidth-Max-Up", 2_000_000), ("WISPr-Bandwidth-Max-Down", 8_000_000))),
    ],
)
def test_rates_are_read_where_each_make_has_them(make: Make, pairs: tuple[tuple[str, Value], ...]) -> None:
    limits = limits_of(make, *pairs)
    assert (limits.input_bits_per_second, limits.output_bits_per_second) == (2_000_000, 8_000_000)
    assert limits_of(make, ("Filter-Id", "gold"), ("Cisco-AVPair", "rate-limit input x")) == Limits()


def test_cambium_reads_quotas_of_its_own() -> None:
    limits = limits_of(
        CAMBIUM,
        ("Cambium-Traffic-Quota-Limit-Total", 1),
        ("Cambium-Traffic-Quota-Limit-Total-Gigwords", 2),
        ("Cambium-Traffic-Quota-Limit-Down", 7),
    )
    assert (limits.total_octets, limits.output_octets) == (2 * 2**32 + 1, 7)


def test_a_make_does_not_read_what_it_does_not_know() -> None:
    assert limits_of(GENERIC, ("Mikrotik-Total-Limit", 1)) == Limits()


def test_the_total_is_cut_to_the_octet() -> None:
    cut = Limits(total_octets=1001).cut(Usage(1, 0, 0), Usage(500, 1500, 100))
    assert cut.used.total_octets == 1000
    assert (cut.used.seconds, cut.cause) == (50, "Session-Timeout")


def test_the_limit_reached_first_decides() -> None:
    limits = Limits(total_octets=1000, session_timeout_seconds=10)
    assert limits.cut(Usage(), Usage(1000, 0, 20)).used == Usage(500, 0, 10)
    assert limits.cut(Usage(), Usage(4000, 0, 20)).used == Usage(1000, 0, 5)


def test_one_less_than_the_limit_goes_on_and_the_limit_ends() -> None:
    limits = Limits(output_octets=5 * GIB)
    assert limits.cut(Usage(), Usage(0, 5 * GIB - 1, 0)) == Cut(Usage(0, 5 * GIB - 1, 0))
    assert limits.cut(Usage(), Usage(0, 5 * GIB, 0)) == Cut(Usage(0, 5 * GIB, 0), "Session-Timeout")


def test_a_limit_below_what_was_used_ends_at_once() -> None:
    assert Limits(total_octets=5).cut(Usage(9, 9, 9), Usage()) == Cut(Usage(), "Session-Timeout")


def test_idleness_ends_only_who_uses_nothing() -> None:
    limits = Limits(idle_timeout_seconds=60)
    assert limits.cut(Usage(), Usage(0, 0, 61), idle_seconds=10) == Cut(Usage(0, 0, 50), "Idle-Timeout")
    assert limits.cut(Usage(), Usage(1, 0, 61)).cause is None


def test_zero_is_unlimited() -> None:
    assert Limits(total_octets=0, session_timeout_seconds=0).cut(Usage(), Usage(9, 9, 9)).cause is None


octets = st.integers(0, 2**40)
limit = st.none() | st.integers(1, 2**40)


usages = st.builds(Usage, octets, octets, octets)


@given(usages, st.builds(Limits, limit, limit, limit, limit))
def test_no_limit_is_ever_exceeded(more: Usage, limits: Limits) -> None:
    cut = limits.cut(Usage(), more)
    pairs = (
        (cut.used.input_octets, limits.input_octets),
        (cut.used.output_octets, limits.output_octets),
        (cut.used.total_octets, limits.total_octets),
        (cut.used.seconds, limits.session_timeout_seconds),
    )
    assert all(bound is None or value <= bound for value, bound in pairs)
    assert cut.used.input_octets <= more.input_octets
    assert cut.used.output_octets <= more.output_octets
    assert (cut.cause is None) == all(bound is None or value < bound for value, bound in pairs)


@given(octets, octets, st.integers(0, 5000), st.integers(0, 5000), st.integers(60, 900))
def test_pieces_add_up_and_end_at_interims(
    inward: int, outward: int, seconds: int, done: int, interval: int
) -> None:
    pieces = split_at_interims(Usage(inward, outward, seconds), done, interval)
    assert sum(pieces, Usage()) == Usage(inward, outward, seconds)
    for piece in pieces[:-1]:
        done += piece.seconds
        assert done % interval == 0


@pytest.mark.parametrize(("text", "rate"), [("10M", 10_000_000), ("512k", 512_000), ("7", 7), ("1G", 10**9)])
def test_rates_of_routeros(text: str, rate: int) -> None:
    assert parse_rate_bits_per_second(text) == rate


@pytest.mark.parametrize("text", ["", "M", "1.5M", "-1", "1T"])
def test_a_rate_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="rate"):
        parse_rate_bits_per_second(text)


def test_an_unknown_make_is_refused() -> None:
    with pytest.raises(InvalidValue, match="make"):
        make_named("toaster")
