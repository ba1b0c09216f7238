"""What the dialects say is what the simulated makes, an independent judge, read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.dialect import dialect_for, render
from herotill.dictionary import dictionary
from herotill.reply import Reply
from nas_simulator.limits import Limits
from nas_simulator.makes import MAKES
from nas_simulator.wire import ACCESS_ACCEPT, decode, reply_to
from tests.unit.rules.build import NOW

WITHOUT_RATES = {"generic"}
WITHOUT_LIMITS = {"generic", "wispr", "cisco", "accel-ppp", "nokia"}
# The makes' units are kbit/s at most, and what says the rates has 32 bits.
rates = st.integers(1, 4_000_000).map(lambda kbit: kbit * 1000)


def read(make: str, reply: Reply) -> Limits:
    pairs = [
        (name, int(value) if str(dictionary()[name].type) == "integer" else value)
        for name, value in render(dialect_for("coovachilli" if make == "chillispot" else make), reply)
    ]
    request = decode(bytes([1, 1, 0, 20]) + bytes(16))
    return Limits().changed_by(decode(reply_to(request, ACCESS_ACCEPT, b"s", pairs)), MAKES[make], NOW)


@pytest.mark.parametrize("make", sorted(set(MAKES) - WITHOUT_RATES))
@given(upload=rates, download=rates)
def test_r2_each_make_reads_the_rates_it_is_told_in_the_right_direction(
    make: str, upload: int, download: int
) -> None:
    limits = read(make, Reply(upload_bits_per_second=upload, download_bits_per_second=download))
    assert (limits.input_bits_per_second, limits.output_bits_per_second) == (upload, download)


@pytest.mark.parametrize("make", sorted(set(MAKES) - WITHOUT_LIMITS))
@given(total=st.integers(1, 2**64 - 1), upload=st.integers(1, 2**64 - 1), download=st.integers(1, 2**64 - 1))
def test_r15_each_make_reads_the_octets_it_is_told_in_the_right_direction(
    make: str, total: int, upload: int, download: int
) -> None:
    limits = read(
        make, Reply(limit_total_octets=total, limit_input_octets=upload, limit_output_octets=download)
    )
    assert (limits.total_octets, limits.input_octets, limits.output_octets) == (total, upload, download)


@pytest.mark.parametrize("make", sorted(MAKES))
def test_each_make_reads_its_times(make: str) -> None:
    limits = read(
        make, Reply(session_timeout_seconds=61, idle_timeout_seconds=62, interim_interval_seconds=600)
    )
    assert (limits.session_timeout_seconds, limits.idle_timeout_seconds) == (61, 62)
    assert limits.interim_interval_seconds == 600
