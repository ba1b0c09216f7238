"""R24: a billing run killed anywhere, or asked for at any times, leaves what one run in peace leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import billing_run, sales
from billing.billing_run import Options
from billing.cycles import CycleLength, CycleRule, cycle_from
from billing.recurring import Profile
from billing.sales import Order
from herotill.errors import Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import OpenBooks
from tests.contract.billing.monthly import GIB, ZONE, add_account, add_plan, pay, run
from tests.contract.billing.monthly import OpenBooks as Within

NOW = datetime(2026, 11, 10, 5, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=40)
CUSTOMERS = 30

# Runs in small batches and kills itself, with no chance to clean up, behind its statement of this number.
KILLED_RUN = """
import os, signal, sys
from datetime import datetime
import sqlalchemy
from sqlalchemy.orm import sessionmaker
from billing import billing_run
from sync_daemon import database
url, now, left = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=lambda: database.connect(url, "test"))
@sqlalchemy.event.listens_for(engine, "after_cursor_execute")
def count(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
billing_run.TOPUPS_AT_ONCE = 4
billing_run.run(sessionmaker(engine).begin, now, now, options=billing_run.Options(batch_size=7))
"""
# Whatever numbers and times the rows got: what is the same for every way there.
STATE = {
    "bills": """SELECT username, began_on, amount_minor, paid_at IS NULL AS open FROM billing.invoice
                JOIN billing.billing_cycle USING (invoice_id) JOIN billing.account
                     ON account.account_id = invoice.account_id ORDER BY 1, 2""",
    "ledger": """SELECT username, sum(posting.amount_minor), count(*) FROM billing.ledger_posting posting
                 JOIN billing.account USING (customer_id) GROUP BY 1 ORDER BY 1""",
    "grants": """SELECT split_part(external_key, ':', 1), username, quota_octets, granted_at, expires_at
                 FROM radius.entitlement ORDER BY 1, 2, 4""",
    "topups": """SELECT username, topup.number, purchase.price_minor FROM billing.cycle_topup topup
                 JOIN billing.purchase USING (purchase_id) JOIN billing.account ON account.account_id = topup.account_id
                 ORDER BY 1, 2""",
    "waiting": "SELECT username, refused_at IS NULL FROM radius.used_up_account ORDER BY 1",
    "accounts": "SELECT username, status, suspended_reason FROM billing.account ORDER BY 1",
    "cuts": "SELECT username, reason FROM radius.coa_request ORDER BY 1, 2",
    "events": "SELECT kind, payload ->> 'user', count(*) FROM billing.event GROUP BY 1, 2 ORDER BY 1, 2",
}


def state(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(row) for row in session.execute(text(question))] for name, question in STATE.items()}


def state_after_peace(engine: sqlalchemy.Engine, when: datetime) -> dict[str, list[tuple[Any, ...]]]:
    """What one run leaves that nobody disturbs; it is taken back."""
    with Session(engine) as session:
        run(within(session), when)
        return state(session)


def village(books: OpenBooks) -> None:
    """Some pay, some do not, some roll over; all are online."""
    add_plan(books, NOW, rolls_over=True)
    for number in range(CUSTOMERS):
        owner = add_account(books, NOW, f"c{number:02}", plan="home", automatic_bill=number % 5 != 0)
        if number % 3 == 0:
            pay(books, owner, 2 * 3000_00, NOW)
    with books() as session:
        session.execute(
            text("""
                INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,
                                            started_at, last_report_at)
                SELECT username, username, username, '192.0.2.1', username, :now, :now FROM billing.account"""),
            {"now": NOW},
        )


@pytest.mark.parametrize("statements", [2, 9, 17, 26, 38, 51, 65, 80, 96, 110])
def test_r24_a_run_that_is_killed_and_run_again_does_everything_once(
    books: OpenBooks, engine: sqlalchemy.Engine, database_url: str, statements: int
) -> None:
    village(books)
    run(books, NOW)
    expected, before = state_after_peace(engine, LATER), _read(engine)
    run_and_kill(database_url, LATER, statements)
    if statements in (2, 110):
        assert (_read(engine) != before) is (statements == 110), "between batches, what was committed stays"
    _run_when_the_dead_have_let_go(books, LATER)
    assert _read(engine) == expected
    assert run(books, LATER).counts == {}


def hamlet(books: OpenBooks) -> None:
    """Some have used everything up and top up, one cannot; some may come back; daily ones have come to their end."""
    add_plan(books, NOW, "5gb", price=Money(500_00, "KES"), quota_octets=5 * GIB, ends_with_cycle=True)
    add_plan(books, NOW, topup_plan="5gb", topups_max=2)
    hour = {"kinds": (AccountKind.PREPAID,), "seconds_after_purchase": 3600}
    add_plan(books, NOW, "hour", **hour)
    for number in range(10):
        owner = add_account(books, NOW, f"t{number}", plan="home")
        pay(books, owner, 3000_00 + (500_00 if number else 0), NOW)
    for number in range(9):
        add_account(books, NOW, f"s{number}", plan="home", automatic_bill=False)
        add_account(books, NOW, f"d{number}", AccountKind.PREPAID, profile=Profile.DAILY)
        with books() as session:
            sales.sell(session, order=Order("hour", f"d{number}", f"hour-{number}", "desk"), now=NOW)
    run(books, NOW)
    with books() as session:
        for change in (
            """UPDATE radius.entitlement SET used_input_octets = quota_octets, ended_at = granted_at, ended_reason = 'quota'
               WHERE username LIKE 't%'""",
            "UPDATE billing.account SET status = 'suspended', suspended_reason = 'unpaid-bill' WHERE username LIKE 's%'",
        ):
            session.execute(text(change))


@pytest.mark.parametrize("statements", [1, 4, 8, 12, 16, 20, 26, 34, 44, 56, 72, 90, 110, 140])
def test_r18_r23_r24_top_ups_suspensions_and_their_undoing_happen_once_though_a_run_is_killed(
    books: OpenBooks, engine: sqlalchemy.Engine, database_url: str, statements: int
) -> None:
    hamlet(books)
    soon = NOW + timedelta(days=1)
    expected = state_after_peace(engine, soon)
    run_and_kill(database_url, soon, statements)
    _run_when_the_dead_have_let_go(books, soon)
    after = _read(engine)
    assert after == expected
    assert after["topups"] == [(f"t{number}", 1, 500_00) for number in range(1, 10)]
    assert after["waiting"] == [("t0", False)]
    statuses = {name: status for name, status, _ in after["accounts"]}
    assert {statuses[f"s{number}"] for number in range(9)} == {"active"}
    assert {statuses[f"d{number}"] for number in range(9)} == {"suspended"}
    assert run(books, soon).counts == {}


def run_and_kill(database_url: str, when: datetime, statements: int) -> None:
    """Begin a run in a process that is killed behind so many statements."""
    command = [sys.executable, "-c", KILLED_RUN, database_url, when.isoformat(), str(statements)]
    killed = subprocess.run(command, env=os.environ, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL


def _read(engine: sqlalchemy.Engine) -> dict[str, list[tuple[Any, ...]]]:
    with Session(engine) as session:
        return state(session)


def _run_when_the_dead_have_let_go(books: OpenBooks, when: datetime) -> None:
    """PostgreSQL may need a moment to notice that the killed process is gone, and with it its lock."""
    deadline = time.monotonic() + 10
    while True:
        try:
            billing_run.run(books, when, when, options=Options(batch_size=7))
            return
        except Refused:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.sampled_from(CycleLength),
    cycle_day=st.integers(1, 31),
    begin=st.dates(date(2027, 1, 1), date(2028, 3, 1)),
    days=st.lists(st.integers(0, 70), min_size=1, max_size=12),
    payments=st.lists(st.integers(0, 6000_00), max_size=12),
)
def test_r24_whenever_it_runs_and_whatever_is_paid_every_cycle_is_billed_once(
    engine: sqlalchemy.Engine,
    length: CycleLength,
    cycle_day: int,
    begin: date,
    days: list[int],
    payments: list[int],
) -> None:
    now = datetime(begin.year, begin.month, begin.day, 12, tzinfo=UTC)
    with Session(engine) as session:  # rolled back: every history begins with empty books
        books = within(session)
        add_plan(books, now, rolls_over=True)
        profile: dict[str, Any] = {"plan": "home", "cycle_day": cycle_day, "cycle_length": length}
        owner = add_account(books, now, "office", **profile)
        for number, more in enumerate(days):
            if number < len(payments) and payments[number]:
                pay(books, owner, payments[number], now)
            run(books, now)
            now += timedelta(days=more)
        run(books, now)
        billed = session.execute(
            text("SELECT began_on FROM billing.billing_cycle ORDER BY began_on")
        ).scalars()
        assert list(billed) == _begins(CycleRule(length, cycle_day, begin), begin, now)
        invoices = text(
            "SELECT count(*), count(DISTINCT invoice_id) FROM billing.billing_cycle WHERE invoice_id > 0"
        )
        assert session.execute(invoices).one() == tuple(
            [len(_begins(CycleRule(length, cycle_day, begin), begin, now))] * 2
        )


def _begins(rule: CycleRule, begin: date, now: datetime) -> list[date]:
    begins, last = [], (now + timedelta(hours=3)).date()
    while begin <= last:
        begins.append(begin)
        begin = cycle_from(rule, begin).ends_on
    return begins


def within(session: Session) -> Within:
    """Transactions that are savepoints of this session's."""

    @contextmanager
    def open_savepoint() -> Iterator[Session]:
        with session.begin_nested():
            yield session

    return open_savepoint


def test_the_zone_of_these_tests_is_three_hours_ahead() -> None:
    assert ZONE == "Africa/Nairobi"
