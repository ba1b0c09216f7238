"""Templates filled in with what an event says."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.errors import InvalidValue
from herotill.messages import Message, Template, render_message
from herotill.quantities import approximate_octets

NAIROBI = ZoneInfo("Africa/Nairobi")


def _said(text: str, **values: object) -> str:
    return render_message(Template("s", text), values, NAIROBI).body


def test_a_value_is_shown_as_its_name_says() -> None:
    assert _said("{left_octets}", left_octets=3 * 2**29) == "1.5 GiB"
    assert _said("{left_seconds}", left_seconds=5400) == "1h30m"
    assert _said("{ends_at}", ends_at="2026-11-22T12:00:00+00:00") == "2026-11-22 15:00"
    assert _said("{due_minor}", due_minor=5000, currency="KES") == "50.00 KES"
    assert _said("{due_minor}", due_minor=5000) == "5000"
    assert (
        _said("{percent} {name} {left_octets}", percent=80, name="student-1", left_octets=None)
        == "80 student-1 -"
    )


def test_a_subject_stays_one_line_whatever_is_filled_in() -> None:
    message = render_message(Template("of {name}", "b"), {"name": "a\r\nBcc: x@example.net"}, NAIROBI)
    assert message == Message("of a Bcc: x@example.net", "b")


def test_a_name_the_event_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(InvalidValue, match=r"\{nmae\}.*name, plan"):
        _said("{nmae}", name="a", plan="b")


def test_other_braces_are_just_text() -> None:
    assert _said("{} {0} {a.b} {A} {{name}}", name="x") == "{} {0} {a.b} {A} {x}"


@given(st.integers(0, 2**70))
def test_octets_for_people_never_promise_too_much(octets: int) -> None:
    number, unit = approximate_octets(octets).split()
    size = 1024 ** ("B", "KiB", "MiB", "GiB", "TiB", "PiB").index(unit)
    assert float(number) * size <= octets + 1e-6 * size
    assert octets - float(number) * size < size / 10 + 1e-6 * size or float(number) > 1e6
