"""Replies in every dialect: to the octet, within their width, never laxer than meant."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.dialect import dialect_for, dialects, render, render_live
from herotill.dialect_keys import DialectFile
from herotill.dialect_model import RATES
from herotill.dialect_reading import parse_dialect
from herotill.dialect_sayings import BURST_FIELDS, covered
from herotill.dictionary import invalid_because
from herotill.errors import InvalidValue
from herotill.policy import MAX_BITS_PER_SECOND, ServicePolicy
from herotill.reply import UNLIMITED, Reply, reply_for
from tests.unit.rules.build import WORD

MIKROTIK, CHILLI, WISPR, GENERIC = (
    dialect_for(name) for name in ("MikroTik", "coovachilli", "wispr", "what is this")
)

names = st.none() | st.text(st.characters(max_codepoint=0x2FF), min_size=1, max_size=247).filter(
    lambda text: text.isprintable() and len(text.encode()) <= 247
)
octets = st.none() | st.integers(0, 2**66) | st.sampled_from([0, 1, WORD - 1, WORD, 2**63, 2**64 - 1, 2**64])
seconds = st.none() | st.integers(0, 2**40)
rates = st.none() | st.integers(1, MAX_BITS_PER_SECOND)
replies = st.builds(
    Reply,
    seconds,
    seconds,
    seconds,
    octets,
    octets,
    octets,
    rates,
    rates,
    address_pool=names,
    address_list=names,
)


@given(st.sampled_from(sorted(dialects())), replies)
def test_every_pair_of_every_dialect_is_sent_as_it_is_meant(name: str, reply: Reply) -> None:
    dialect = dialects()[name]
    pairs = render(dialect, reply)
    assert [(pair, why) for pair in pairs if (why := invalid_because(*pair))] == []
    assert len({attribute for attribute, _ in pairs}) == len(pairs)
    assert [pair for pair in render_live(dialect, reply) if pair not in pairs] == []


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
    dialect: Any, reply: Reply, pairs: list[tuple[str, str]]
) -> None:
    assert render(dialect, reply) == pairs


@pytest.mark.parametrize("name", sorted(dialects()))
def test_the_longest_names_a_policy_allows_reach_every_make(name: str) -> None:
    policy = ServicePolicy(address_pool="p" * 253, address_list="l" * 247)
    pairs = render(dialects()[name], reply_for(policy, UNLIMITED, None))
    assert {"p" * 253, "l" * 247} <= {value for _, value in pairs}
    assert [(pair, why) for pair in pairs if (why := invalid_because(*pair))] == []


def test_every_nas_type_means_one_dialect() -> None:
    types = [nas_type for dialect in dialects().values() for nas_type in dialect.nas_types]
    assert len(types) == len(set(types))
    assert all(dialect_for(name.upper()) is dialect_for(name) for name in types)
    assert dialect_for("").name == "generic"


@pytest.mark.parametrize(
    "saying",
    [
        {"field": "speed", "attribute": "Session-Timeout"},
        {"field": "rates", "attribute": "Mikrotik-Rate-Limit", "color": "red"},
    ],
)
def test_a_dialect_that_says_what_there_is_not_is_refused(saying: dict[str, str]) -> None:
    with pytest.raises(InvalidValue):
        parse_dialect(DialectFile("x.toml", {"name": "x", "say": [saying]}))


def test_every_limit_of_a_reply_is_said_by_the_makes_that_can() -> None:
    said = {name for saying in MIKROTIK.sayings for name in covered(saying)}
    assert said - {RATES} >= {field.name for field in fields(Reply)} - {"redirect_url", *BURST_FIELDS}
