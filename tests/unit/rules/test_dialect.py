"""Replies in every dialect: to the octet, within their width, never laxer than meant."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.dialect import (
    Change,
    Dialect,
    Pair,
    as_attributes,
    dialect_for,
    dialects,
    render,
    render_change,
    render_live,
)
from herotill.dialect_model import RATES
from herotill.dialect_sayings import covered
from herotill.dictionary import invalid_because
from herotill.errors import InvalidValue
from herotill.ladder import Step
from herotill.policy import MAX_BITS_PER_SECOND, ServicePolicy
from herotill.reply import UNLIMITED, Reply, reply_for
from herotill.service import with_step
from tests.unit.rules.build import WORD

MIKROTIK, CHILLI, WISPR, GENERIC = (
    dialect_for(name) for name in ("MikroTik", "coovachilli", "wispr", "what is this")
)

# What a text adds to a name of the longest would not fit; packet time tells of it (see the test of the longest names).
names = st.none() | st.text(st.characters(max_codepoint=0x2FF), min_size=1, max_size=220).filter(
    lambda text: text.isprintable() and len(text.encode()) <= 220
)
octets = st.none() | st.integers(0, 2**66) | st.sampled_from([0, 1, WORD - 1, WORD, 2**63, 2**64 - 1, 2**64])
seconds = st.none() | st.integers(0, 2**40)
rates = st.none() | st.integers(1, MAX_BITS_PER_SECOND)
replies = st.builds(
    Reply,
    session_timeout_seconds=seconds,
    idle_timeout_seconds=seconds,
    interim_interval_seconds=seconds,
    limit_total_octets=octets,
    limit_input_octets=octets,
    limit_output_octets=octets,
    download_bits_per_second=rates,
    upload_bits_per_second=rates,
    address_pool=names,
    address_list=names,
    download_burst_bits_per_second=rates,
    upload_burst_bits_per_second=rates,
    burst_seconds=st.none() | st.integers(1, 3600),
    redirect_url=names,
)
every_dialect = st.sampled_from(sorted(dialects()))


@given(every_dialect, replies)
def test_every_pair_of_every_dialect_is_sent_as_it_is_meant(name: str, reply: Reply) -> None:
    dialect = dialects()[name]
    pairs = render(dialect, reply)
    assert [(pair, why) for pair in pairs if (why := invalid_because(*pair))] == []
    assert len(set(pairs)) == len(pairs)
    assert [pair for pair in render_live(dialect, reply) if pair not in pairs] == []


@given(every_dialect, replies, replies)
def test_r16_every_change_of_a_session_is_sent_as_it_is_meant(name: str, before: Reply, after: Reply) -> None:
    dialect = dialects()[name]
    change = render_change(dialect, before, after)
    assert [(pair, why) for pair in change.pairs if (why := invalid_because(*pair))] == []
    assert set(change.only_by_reconnect) <= {saying.field for saying in dialect.sayings}
    assert change.counted_from_now <= {saying.field for saying in dialect.sayings if saying.live}
    assert render_change(dialect, after, after) == Change()


@given(every_dialect, replies, replies)
def test_r16_a_change_undone_says_what_the_login_said(name: str, normal: Reply, throttled: Reply) -> None:
    """Where all that differs can be changed live, what a throttle said is said as the login said it, or lifted."""
    dialect = dialects()[name]
    there, back = render_change(dialect, normal, throttled), render_change(dialect, throttled, normal)
    if there.only_by_reconnect or back.only_by_reconnect:
        return
    at_login, while_throttled = render(dialect, normal), render(dialect, throttled)
    lifts = render_change(dialect, throttled, Reply()).pairs
    assert [pair for pair in at_login if pair not in while_throttled and pair not in back.pairs] == []
    assert [pair for pair in back.pairs if pair not in at_login and pair not in lifts] == []


def split_value(pairs: dict[str, str], low: str) -> int:
    high = low.replace("-Octets", "-Gigawords") if low.endswith("-Octets") else f"{low}-Gigawords"
    return int(pairs[low]) + (int(pairs[high]) << 32)


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_r15_limits_over_4_gib_are_split_and_in_the_right_direction(total: int, up: int, down: int) -> None:
    reply = Reply(limit_total_octets=total, limit_input_octets=up, limit_output_octets=down)
    mikrotik, chilli = dict(render(MIKROTIK, reply)), dict(render(CHILLI, reply))
    assert split_value(mikrotik, "Mikrotik-Total-Limit") == total
    assert split_value(mikrotik, "Mikrotik-Recv-Limit") == up
    assert split_value(mikrotik, "Mikrotik-Xmit-Limit") == down
    assert split_value(chilli, "ChilliSpot-Max-Total-Octets") == total
    # CoovaChilli's Input is the download.
    assert split_value(chilli, "ChilliSpot-Max-Output-Octets") == up
    assert split_value(chilli, "ChilliSpot-Max-Input-Octets") == down


@pytest.mark.parametrize(
    ("limit", "low", "high"),
    [
        (0, 1, 0),  # zero would be no limit
        (1, 1, 0),
        (WORD - 1, WORD - 1, 0),
        (WORD, 0, 1),
        (2**64 - 1, WORD - 1, WORD - 1),
        (2**64, WORD - 1, WORD - 1),
        (3 * 2**63, WORD - 1, WORD - 1),
    ],
)
def test_r15_a_limit_that_does_not_fit_is_the_largest_that_does(limit: int, low: int, high: int) -> None:
    assert render(MIKROTIK, Reply(limit_total_octets=limit)) == [
        ("Mikrotik-Total-Limit", str(low)),
        ("Mikrotik-Total-Limit-Gigawords", str(high)),
    ]


@pytest.mark.parametrize(
    ("timeout", "said"), [(0, "1"), (1, "1"), (WORD - 1, "4294967295"), (WORD, "4294967295")]
)
def test_a_session_timeout_stays_within_32_bits_and_is_never_zero(timeout: int, said: str) -> None:
    assert render(GENERIC, Reply(session_timeout_seconds=timeout)) == [("Session-Timeout", said)]


@pytest.mark.parametrize(
    ("dialect", "reply", "pairs"),
    [
        (
            MIKROTIK,
            Reply(download_bits_per_second=8, upload_bits_per_second=2),
            [("Mikrotik-Rate-Limit", "2/8")],
        ),
        (MIKROTIK, Reply(download_bits_per_second=8), [("Mikrotik-Rate-Limit", "0/8")]),
        (
            CHILLI,
            Reply(download_bits_per_second=1999, upload_bits_per_second=999),
            [("ChilliSpot-Bandwidth-Max-Up", "1"), ("ChilliSpot-Bandwidth-Max-Down", "1")],
        ),
        (WISPR, Reply(download_bits_per_second=10**12), [("WISPr-Bandwidth-Max-Down", "4294967295")]),
        (GENERIC, Reply(download_bits_per_second=8, limit_total_octets=5), []),
    ],
)
def test_rates_are_said_in_the_units_and_order_of_the_make(
    dialect: Dialect, reply: Reply, pairs: list[Pair]
) -> None:
    assert render(dialect, reply) == pairs


@pytest.mark.parametrize("name", sorted(dialects()))
def test_the_longest_names_a_policy_allows_reach_every_make_that_is_told_them_plainly(name: str) -> None:
    policy = ServicePolicy(address_pool="p" * 253, address_list="l" * 247)
    pairs = render(dialects()[name], reply_for(policy, UNLIMITED, None))
    plain = {saying.attribute for saying in dialects()[name].sayings if saying.text is None}
    assert [(pair, why) for pair in pairs if pair[0] in plain and (why := invalid_because(*pair))] == []


def test_every_nas_type_means_one_dialect() -> None:
    types = [nas_type for dialect in dialects().values() for nas_type in dialect.nas_types]
    assert len(types) == len(set(types))
    assert all(dialect_for(name.upper()) is dialect_for(name) for name in types)
    assert dialect_for("").name == "generic"


def test_every_limit_of_a_reply_is_said_by_the_makes_that_can() -> None:
    said = {name for saying in MIKROTIK.sayings for name in covered(saying)}
    assert said - {RATES} == {field.name for field in fields(Reply)}


ACCEL, NOKIA, CISCO, ISG, JUNIPER, HOSTAPD = (
    dialect_for(name) for name in ("accel-ppp", "nokia", "cisco", "cisco-isg", "juniper", "hostapd")
)
FAST = Reply(download_bits_per_second=10_000_000, upload_bits_per_second=2_000_000)
SLOW = Reply(download_bits_per_second=256_000, upload_bits_per_second=128_000)


@pytest.mark.parametrize(
    ("dialect", "pairs"),
    [
        (MIKROTIK, [("Mikrotik-Rate-Limit", "2000000/10000000")]),
        (ACCEL, [("Filter-Id", "10000/2000")]),
        (
            NOKIA,
            [
                ("Alc-Subscriber-QoS-Override", "i:q:1:pir=2000"),
                ("Alc-Subscriber-QoS-Override", "e:q:1:pir=10000"),
            ],
        ),
        (ISG, [("Cisco-Account-Info", "QU;2000000;375000;750000;D;10000000;1875000;3750000")]),
        (JUNIPER, [("ERX-Service-Activate:1", "herotill-rate(2000000,10000000)")]),
        (HOSTAPD, []),
    ],
)
def test_rates_of_the_larger_makes_are_said_as_their_manuals_do(dialect: Dialect, pairs: list[Pair]) -> None:
    assert render(dialect, FAST) == pairs


def test_one_direction_alone_is_not_said_as_a_rate_of_nothing() -> None:
    """`rate-limit output 0 0 0` would keep a PPP session from being made."""
    pairs = render(CISCO, Reply(upload_bits_per_second=1_000_000))
    assert [value for _, value in pairs] == [
        "lcp:interface-config#1=rate-limit input 1000000 187500 375000 conform-action transmit exceed-action drop"
    ]


def test_bursts_are_said_where_the_make_has_them() -> None:
    burst = Reply(
        download_bits_per_second=8_000_000,
        upload_bits_per_second=2_000_000,
        download_burst_bits_per_second=16_000_000,
        burst_seconds=10,
    )
    assert render(MIKROTIK, burst) == [
        ("Mikrotik-Rate-Limit", "2000000/8000000 2000000/16000000 2000000/8000000 10/10")
    ]
    assert dict(render(dialect_for("huawei"), burst))["Huawei-Output-Peak-Rate"] == "16000000"


@pytest.mark.parametrize("dialect", [MIKROTIK, CHILLI, NOKIA])
def test_r16_a_throttle_is_undone_exactly_also_where_there_was_no_rate(dialect: Dialect) -> None:
    assert render_change(dialect, SLOW, FAST).pairs == tuple(render_live(dialect, FAST))
    lifted = render_change(dialect, SLOW, Reply())
    assert lifted.only_by_reconnect == ()
    assert {value.rpartition("=")[2] for _, value in lifted.pairs} <= {"0/0", "0", "-2"}


def test_r16_what_only_a_reconnection_changes_is_said_so() -> None:
    """accel-ppp changes a rate live and cannot take one away; Juniper is told rates at a login only."""
    assert render_change(ACCEL, FAST, SLOW).pairs == (("Filter-Id", "256/128"),)
    assert render_change(ACCEL, SLOW, Reply()) == Change((), (RATES,))
    assert render_change(JUNIPER, FAST, SLOW) == Change((), (RATES,))
    # hostapd has no words for rates: a reconnection would change nothing.
    assert render_change(HOSTAPD, FAST, SLOW) == Change()


def test_r16_a_coa_to_coovachilli_is_whole_because_it_resets_what_is_not_said() -> None:
    before = Reply(session_timeout_seconds=3600, limit_total_octets=5, download_bits_per_second=8_000)
    after = Reply(session_timeout_seconds=3600, limit_total_octets=5, download_bits_per_second=1_000)
    assert set(render_change(CHILLI, before, after).pairs) == set(render(CHILLI, after))
    assert render_change(MIKROTIK, before, after).pairs == (("Mikrotik-Rate-Limit", "0/1000"),)


def test_limits_that_count_from_the_change_are_told_apart() -> None:
    before, after = Reply(session_timeout_seconds=60), Reply(session_timeout_seconds=90)
    assert render_change(ACCEL, before, after).counted_from_now == {"session_timeout_seconds"}
    assert render_change(CHILLI, before, after).counted_from_now == frozenset()


def test_attributes_that_come_more_than_once_become_lists() -> None:
    pairs = render_change(NOKIA, SLOW, FAST).pairs
    assert as_attributes(pairs) == {"Alc-Subscriber-QoS-Override": ["i:q:1:pir=2000", "e:q:1:pir=10000"]}
    assert as_attributes([("Session-Timeout", "5")]) == {"Session-Timeout": "5"}


def test_r16_a_plan_s_burst_and_landing_page_are_told_and_a_slower_step_has_no_burst() -> None:
    policy = ServicePolicy(
        download_bits_per_second=8_000_000,
        upload_bits_per_second=2_000_000,
        download_burst_bits_per_second=16_000_000,
        burst_seconds=10,
        redirect_url="https://isp.example/hello",
    )
    reply = reply_for(policy, UNLIMITED, None)
    assert dict(render(MIKROTIK, reply))["Mikrotik-Rate-Limit"].endswith("10/10")
    assert dict(render(MIKROTIK, reply))["WISPr-Redirection-URL"] == "https://isp.example/hello"
    slower = with_step(reply, Step(80, 1_000_000, 500_000))
    assert dict(render(MIKROTIK, slower))["Mikrotik-Rate-Limit"] == "500000/1000000"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("download_burst_bits_per_second", {"download_burst_bits_per_second": 5}),
        (
            "upload_burst_bits_per_second",
            {"upload_bits_per_second": 6, "upload_burst_bits_per_second": 5},
        ),
        ("burst_seconds", {"burst_seconds": 0}),
        ("redirect_url", {"redirect_url": "javascript:alert(1)"}),
    ],
)
def test_a_burst_below_its_rate_and_a_page_that_is_none_are_refused(
    field: str, values: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValue) as told:
        ServicePolicy(**values)
    assert told.value.field == field
