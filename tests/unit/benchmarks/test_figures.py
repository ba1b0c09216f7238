"""Percentiles, ratios, verdicts and tables."""

from math import isnan, nan

import pytest

from benchmarks.arithmetic import median_ratio, percentile
from benchmarks.cli import CLAIMS, effort_for
from benchmarks.generator import Outcome
from benchmarks.homecoming import attribute
from benchmarks.measuring import Run, Settled, rate_ratio, run_of, typical
from benchmarks.packets import text
from benchmarks.results import Figure, Result
from benchmarks.rounds import expected_packets
from benchmarks.tables import figure_rows, markdown, number, scenario_rows


def run(rate: float, **others: float) -> Run:
    outcome = Outcome(100, 100, 100, 0, 0, 0, "", 100 / rate, [0.001, 0.002, 0.003, 0.004], 0.01)
    return run_of(outcome, {"freeradius": others.get("cpu", 0.02)}, Settled())


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 50), (95, 95), (99.5, 100), (100, 100)])
def test_percentiles_are_nearest_rank(percent: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], percent) == value


def test_a_percentile_of_nothing_is_not_a_number() -> None:
    assert isnan(percentile([], 50))


def test_a_ratio_is_the_median_over_the_rounds_and_outlives_one_bad_round() -> None:
    assert median_ratio([50, 5, 52], [100, 100, 100]) == 0.5


def test_rates_are_compared_within_their_round() -> None:
    runs = {"ours": [run(400), run(40)], "null": [run(1000), run(100)]}

    assert rate_ratio(runs, "ours", "null") == pytest.approx(0.4)


def test_a_run_divides_cpu_time_by_the_answered_packets() -> None:
    one = run(1000, cpu=0.02)

    assert one.cpu_us == {"freeradius": pytest.approx(200), "generator": pytest.approx(100)}
    assert [one.rate, one.p50_ms, one.max_ms] == pytest.approx([1000, 2, 4])


def test_only_right_answers_in_time_count_for_the_rate() -> None:
    outcome = Outcome(100, 95, 90, 5, 3, 2, "", 1.0, [0.001], 0.01)

    assert outcome.rate == 85


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [(0.3, True, "miss"), (0.4, True, "pass"), (0.6, True, "stretch"), (0.3, False, "pass")],
)
def test_a_figure_knows_its_verdict(value: float, at_least: bool, verdict: str) -> None:
    stretch = 0.6 if at_least else None

    assert Figure("f", value, target=0.4, stretch=stretch, at_least=at_least).verdict == verdict


def test_a_figure_that_was_not_measured_passes_nothing() -> None:
    assert Figure("f", nan, target=1, at_least=False).verdict == "miss"
    assert Figure("f", nan).verdict == ""


def test_tables_show_what_was_measured_and_the_mark() -> None:
    result = Result("logins", "Logins", {}, {"null": [run(1000)]}, (Figure("a", 0.52, "x", 0.4, 0.6),))
    document = result.as_json()

    assert scenario_rows(document)[1][:2] == ["null", "1,000"]
    assert figure_rows(document["figures"])[1] == ["a", "0.52 x", "≥ 0.40", "≥ 0.60", "pass"]


def test_what_never_happened_is_said_to_have_never_happened() -> None:
    figures = [Figure("all online", nan, "s", 60, at_least=False).as_json()]

    assert figure_rows(figures)[1] == ["all online", "never", "≤ 60", "", "miss"]


def test_markdown_has_a_rule_below_the_heading() -> None:
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (12.34, "12.3"), (1.234, "1.23"), (7.0, "7"), (nan, ""), (None, "")],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number(value) == text


def test_typical_figures_leave_out_processes_that_do_not_run() -> None:
    figures = typical([run(10), run(20), run(30)])

    assert figures["rate"] == pytest.approx(20)
    assert isnan(figures["meter_us"])


def test_enough_packets_are_prepared_but_not_for_ever() -> None:
    assert expected_packets(1_000, 4) > 4_000
    assert expected_packets(1e9, 4) == 150_000


def test_an_attribute_is_found_in_a_reply() -> None:
    reply = bytes(20) + text(80, bytes(16)) + text(25, b"a class")

    assert attribute(reply, 25) == b"a class"
    assert attribute(reply, 26) == b""


@pytest.mark.parametrize("claim", CLAIMS)
def test_each_claim_has_its_sizes(claim: str) -> None:
    chosen = {"accounts": None, "sessions": 0, "seconds": 4.0, "rounds": 5, "ports": 64, "quick": False}

    effort = effort_for(claim, chosen)

    assert effort.sizes.accounts == {"flat": 200_000, "reconcile": 1_000_000}.get(claim, 10_000)
    assert effort.sizes.sessions == 0
