"""`herotill init --example`: a month of a small ISP, made by the use cases, the meter and the schedule themselves."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from herotill.errors import Refused
from sync_daemon import database, example
from sync_daemon.embedded_postgresql import DAEMON_ROLE, EmbeddedPostgresql
from sync_daemon.settings import FILE_NAME, Settings, load_settings, render_settings, write_private
from tests.conftest import TEMPLATE, RunHerotill

NOW = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)

# What must come out the same whenever the example is made on the same day; codes are random.
FIGURES = """
    SELECT (SELECT array_agg(row(plan_name, currency, sold, minor) ORDER BY plan_name)::text
            FROM (SELECT plan_name, currency, sum(items) AS sold, sum(amount_minor) AS minor
                  FROM billing.sale GROUP BY plan_name, currency) AS sales) AS sales,
           (SELECT sum(input_octets) FROM radius.usage_interval)::text AS up,
           (SELECT sum(output_octets) FROM radius.usage_interval)::text AS down,
           (SELECT count(*) FROM radius.session)::text AS sessions,
           (SELECT count(*) FROM radius.session WHERE stopped_at IS NULL)::text AS online,
           (SELECT count(*) FROM radius.coa_request)::text AS cuts
"""


def _ask(url: str, statement: str) -> list[Any]:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _filled(settings: Settings) -> dict[str, str]:
    example.make(replace(settings, voucher_secret="ab" * 32, currency="KES"), NOW, lambda _: None, days=12)
    assert settings.billing_url is not None
    (figures,) = _ask(settings.billing_url, FIGURES)
    return dict(zip(("sales", "up", "down", "sessions", "online", "cuts"), figures, strict=True))


@pytest.fixture
def other_settings(cluster: EmbeddedPostgresql, database_name: str, state: Path) -> Settings:
    """An installation with another empty database."""
    name = f"{database_name}_again"
    cluster.create_database(name, TEMPLATE)
    url = cluster.url(DAEMON_ROLE, name)
    return replace(load_settings(state / FILE_NAME, state), billing_url=url, radius_url=url)


def test_r29_the_example_is_believable_the_same_every_time_and_made_once(
    settings: Settings, other_settings: Settings, database_url: str
) -> None:
    first, second = _filled(settings), _filled(other_settings)

    assert first == second
    assert int(first["online"]) > 0
    assert int(first["cuts"]) > 5
    ask = database_url
    assert _ask(ask, "SELECT sum(amount_minor) FROM billing.ledger_posting") == [(0,)]
    assert _ask(ask, "SELECT count(*) FROM radius.accounting_quarantine") == [(0,)]
    kinds = "SELECT DISTINCT status FROM radius.managed_account ORDER BY 1"
    assert _ask(ask, kinds) == [("active",), ("suspended",), ("unverified",)]
    assert _ask(ask, "SELECT count(*) > 0 FROM billing.credit_line") == [(True,)]
    # Nothing waits for a router that does not exist, and the meter's place in real journals is untouched.
    assert _ask(ask, "SELECT count(*) FROM radius.coa_request WHERE finished_at IS NULL") == [(0,)]
    assert _ask(ask, "SELECT count(*) FROM radius.journal_position") == [(0,)]
    # Metered as used: what grants say they gave is what the hours say was used of them.
    by_grants = "SELECT sum(used_input_octets + used_output_octets) FROM radius.entitlement"
    ((metered,),) = _ask(ask, by_grants)
    assert int(first["up"]) + int(first["down"]) >= metered > 0

    with pytest.raises(Refused, match="there are customers"):
        _filled(settings)


def test_the_example_is_refused_where_there_are_customers_and_changes_nothing(
    state: Path, owner_url: str, run_herotill: RunHerotill
) -> None:
    # The owner of the schema, who alone may bring it up to date.
    values = {"class_secret": "ab" * 32, "voucher_secret": "ab" * 32, "billing_url": owner_url}
    write_private(state / FILE_NAME, render_settings(values))
    added = run_herotill("customer", "add", "--name", "Somebody")
    assert added.exit_code == 0, added.output

    result = run_herotill("init", "--example")

    assert (result.exit_code, "there are customers" in result.stderr) == (1, True), result.output
    assert _ask(owner_url, "SELECT count(*) FROM billing.plan") == [(0,)]


def test_r30_the_example_is_refused_with_two_databases(settings: Settings) -> None:
    with pytest.raises(Refused, match="one database"):
        _filled(replace(settings, radius_url="postgresql://nobody@127.0.0.1:1/none"))
