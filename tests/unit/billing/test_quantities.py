"""What operators type for octets, durations, rates and money."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.errors import InvalidValue
from herotill.quantities import (
    MAX_MINOR_UNITS,
    MAX_OCTETS,
    MAX_SECONDS,
    Money,
    format_bits_per_second,
    format_money,
    format_octets,
    format_seconds,
    parse_bits_per_second,
    parse_money,
    parse_octets,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("2GiB", 2_147_483_648),
        ("500MB", 500_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("1 kb", 1000),
        ("1KIB", 1024),
        ("7B", 7),
    ],
)
def test_octets_are_read_with_their_unit(text: str, octets: int) -> None:
    assert parse_octets(text, "quota") == octets


@pytest.mark.parametrize(
    "text", ["", "2", "2 GiBB", "-1GiB", "0B", "0.5B", "1e3MB", "٣GiB", "5000000TiB", "GiB"]
)
def test_octets_without_sense_name_the_field(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_octets(text, "quota")
    assert caught.value.field == "quota"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m", 60), ("2h30m", 9000), ("30d", 2_592_000), ("1w", 604_800), ("90s", 90)]
)
def test_durations_are_read_with_their_units(text: str, seconds: int) -> None:
    assert parse_seconds(text, "valid") == seconds


@pytest.mark.parametrize("text", ["", "60", "1M", "1m1m", "0s", "1.5h", "-1m", "1y", "m", "99999w"])
def test_durations_without_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="valid"):
        parse_seconds(text, "valid")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2Mbit/s", 2_000_000),
        ("512kbit/s", 512_000),
        ("10Mbps", 10_000_000),
        ("1.5 gbps", 1_500_000_000),
        ("9bps", 9),
        ("5M", 5_000_000),
        ("512k", 512_000),
    ],
)
def test_rates_are_read_in_powers_of_a_thousand(text: str, rate: int) -> None:
    assert parse_bits_per_second(text, "down") == rate


@pytest.mark.parametrize("text", ["", "2MB/s", "0bit/s", "2Mbit", "9999Tbit/s"])
def test_rates_without_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_bits_per_second(text, "down")


@pytest.mark.parametrize(
    ("text", "money"),
    [
        ("50KES", Money(5000, "KES")),
        ("1.50 usd", Money(150, "USD")),
        ("500UGX", Money(500, "UGX")),
        ("0EUR", Money(0, "EUR")),
        ("1.234KWD", Money(1234, "KWD")),
    ],
)
def test_money_is_read_into_minor_units_of_its_currency(text: str, money: Money) -> None:
    assert parse_money(text, "price") == money


def test_an_amount_without_currency_takes_the_one_for_granted() -> None:
    assert parse_money("50", "price", "UGX") == Money(50, "UGX")
    assert parse_money("50KES", "price", "UGX") == Money(5000, "KES")


@pytest.mark.parametrize("text", ["", "50", "1.505USD", "1.5UGX", "-1USD", "1USDX", "99999999999999999USD"])
def test_money_without_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_money(text, "price")


@given(st.integers(1, MAX_OCTETS))
def test_what_is_shown_of_octets_can_be_typed_again(octets: int) -> None:
    assert parse_octets(format_octets(octets), "quota") == octets


@given(st.integers(1, MAX_SECONDS))
def test_what_is_shown_of_a_duration_can_be_typed_again(seconds: int) -> None:
    assert parse_seconds(format_seconds(seconds), "valid") == seconds


@given(st.integers(1, 4 * 10**12))
def test_what_is_shown_of_a_rate_can_be_typed_again(rate: int) -> None:
    assert parse_bits_per_second(format_bits_per_second(rate), "down") == rate


@given(st.integers(0, MAX_MINOR_UNITS), st.sampled_from(["KES", "USD", "UGX", "KWD"]))
def test_what_is_shown_of_money_can_be_typed_again(minor: int, currency: str) -> None:
    assert parse_money(format_money(Money(minor, currency)), "price") == Money(minor, currency)


@given(st.text(max_size=30))
def test_no_text_makes_a_parser_fail_otherwise(text: str) -> None:
    for parse in (parse_octets, parse_seconds, parse_bits_per_second, parse_money):
        with suppress(InvalidValue):
            parse(text, "field")
