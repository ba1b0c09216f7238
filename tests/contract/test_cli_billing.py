"""`herotill billing`, `invoice`, `account convert`: as an operator types them."""

import json
from typing import Any

import pytest
from click.testing import Result

from sync_daemon import database
from tests.conftest import RunHerotill


def _ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def _json(result: Result) -> Any:
    return json.loads(_ok(result))


def _sql(url: str, statement: str) -> None:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def mona(run_herotill: RunHerotill) -> RunHerotill:
    """A verified monthly customer and a plan that recurs, not begun."""
    run = run_herotill
    _ok(run("plan", "add", "home", "--price", "3000", "--quota", "30GiB", "--kind", "monthly"))
    _ok(
        run(
            "customer",
            "add",
            "--name",
            "Mona",
            "--user",
            "mona",
            "--kind",
            "monthly",
            "--password",
            "secret-1",
        )
    )
    _ok(run("customer", "verify", "mona"))
    return run


def test_r24_a_profile_with_a_plan_is_billed_and_given_at_once(mona: RunHerotill) -> None:
    shown = _json(mona("billing", "profile", "mona", "--plan", "home", "--ends-with-month", "--json"))
    assert (shown["plan"], shown["ends_with_month"], shown["payment_terms_days"]) == ("home", True, 7)
    (bill,) = _json(mona("invoice", "list", "--customer", "mona", "--json"))
    assert (bill["state"], bill["user"]) == ("open", "mona")
    assert _json(mona("billing", "run", "--json"))["done"] == {}
    ahead = _json(mona("billing", "run", "--until", "2099-01-01", "--dry-run", "--json"))
    assert ahead["done"]["billed"] > 800
    assert len(_json(mona("invoice", "list", "--json"))) == 1


def test_r24_r35_explain_answers_why_not_suspended(mona: RunHerotill, database_url: str) -> None:
    _ok(mona("billing", "profile", "mona", "--plan", "home", "--no-automatic-suspend"))
    _sql(database_url, "UPDATE billing.invoice SET due_at = now() - interval '1 day'")
    _sql(database_url, "UPDATE radius.entitlement SET expires_at = now() - interval '1 day'")
    told = _ok(mona("explain", "mona"))
    assert "It has expired, but is not suspended (rule R24)." in told
    assert "Automatic suspend is off." in told
    _ok(mona("billing", "profile", "mona", "--automatic-suspend"))
    assert _json(mona("billing", "run", "--json"))["done"] == {"suspended": 1}
    assert "Paying its overdue bills ends that at once" in _ok(mona("explain", "mona"))


def test_a_bill_is_shown_postponed_and_voided(mona: RunHerotill, database_url: str) -> None:
    _ok(mona("billing", "profile", "mona", "--plan", "home"))
    _sql(database_url, "UPDATE billing.invoice SET due_at = now() - interval '1 day'")
    _sql(database_url, "UPDATE radius.entitlement SET expires_at = now() - interval '1 day'")
    _ok(mona("billing", "run"))
    assert _json(mona("account", "show", "mona", "--json"))["status"] == "suspended"
    _ok(mona("invoice", "postpone", "1", "--due", "2099-01-01"))
    assert _json(mona("account", "show", "mona", "--json"))["status"] == "active"
    _ok(mona("invoice", "void", "1", "--reason", "goodwill", "--yes"))
    assert _json(mona("invoice", "show", "1", "--json"))["void_reason"] == "goodwill"
    assert mona("invoice", "void", "1", "--reason", "again", "--yes").exit_code == 1


def test_r2_what_becomes_of_data_is_always_said(mona: RunHerotill) -> None:
    refused = mona("account", "convert", "mona", "--to", "prepaid")
    assert (refused.exit_code, "--keep-data or --drop-data" in refused.output) == (2, True)
    told = _ok(mona("account", "convert", "mona", "--to", "prepaid", "--keep-data", "--yes"))
    assert told == "mona is prepaid; 0 grants kept, 0 sessions told\n"
    again = mona("account", "convert", "mona", "--to", "prepaid", "--keep-data", "--yes")
    assert (again.exit_code, "is prepaid already" in again.output) == (1, True)


def test_r23_the_daily_profile_is_typed_and_taken_away(mona: RunHerotill) -> None:
    assert mona("billing", "profile", "mona", "--profile", "daily").exit_code == 1
    _ok(mona("account", "convert", "mona", "--to", "prepaid", "--drop-data", "--yes"))
    assert _json(mona("billing", "profile", "mona", "--profile", "daily", "--json"))["profile"] == "daily"
    assert _json(mona("billing", "profile", "mona", "--profile", "none", "--json"))["profile"] is None


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("billing", "profile", "mona", "--cycle-day", "32"), 2, "32 is not in the range"),
        (("billing", "profile", "mona", "--begins", "soon"), 2, "it is a day like 2026-12-01"),
        (("billing", "profile", "mona", "--plan", "nope"), 2, "there is no such plan"),
        (("billing", "profile", "nobody", "--plan", "home"), 2, "there is no such account"),
        (("billing", "run", "--until", "soon"), 2, "it is a day like"),
        (("invoice", "show", "7"), 2, "there is no such bill"),
        (("plan", "add", "x", "--price", "1", "--roll-over"), 1, "for monthly accounts only"),
    ],
)
def test_errors_are_one_line_that_says_what_is_allowed(
    mona: RunHerotill, words: tuple[str, ...], status: int, said: str
) -> None:
    result = mona(*words)
    assert (result.exit_code, said in result.output) == (status, True), result.output
    assert result.output.count("\n") == 1
