"""What a session takes from its grants where an octet counts otherwise than once (rule R22), and marks passed (rule R21)."""

from hypothesis import given
from hypothesis import strategies as st

from herotill.accounting import Report
from herotill.grants import Grant
from herotill.snapshot import AccountKind
from herotill.usage import NOTHING_USED, Usage
from sync_daemon.meter.batch import Account, BoundReport, Changes, apply_reports
from tests.unit.rules.build import at, grant, interim, start, stop

octets = st.integers(0, 2 * 10**8)  # twenty of them fit the 32 bits of a counter without Gigawords
multipliers = st.sampled_from([0, 1, 333, 500, 999, 1000, 1500, 2000, 100_000])


def _apply(account: Account, reports: list[Report], per_mille: int = 1000) -> Changes:
    return apply_reports([BoundReport(one, None, per_mille) for one in reports], {"student-1": account}, [])


def _account(*grants: Grant) -> Account:
    return Account("student-1", AccountKind.PREPAID, {one.grant_id: one for one in grants})


@given(st.lists(octets, min_size=1, max_size=20), multipliers)
def test_r22_over_a_session_the_floor_of_the_total_is_charged_and_the_raw_octets_are_kept(
    steps: list[int], per_mille: int
) -> None:
    account, total, reports = _account(grant()), 0, [start(at(0))]
    for number, step in enumerate(steps, 1):
        total += step
        reports.append(interim(at(number * 600), number * 600, total))
    # Repeated and out of order, as NASes send them.
    changes = _apply(
        account, [*reports, reports[-1], *reports[1:], stop(at(99_999), 99_999, total)], per_mille
    )
    charged = sum(changes.intervals.values(), NOTHING_USED)
    assert charged == Usage(0, total * per_mille // 1000, 99_999)
    assert account.grants[1].used == charged
    (session,) = changes.sessions.values()
    assert session.meter.total == Usage(0, total, 99_999)


def test_r22_a_grant_ends_when_what_was_charged_fills_it() -> None:
    account = _account(grant(quota_octets=1000))
    _apply(account, [start(at(0)), interim(at(60), 60, 499)], 2000)
    assert account.grants[1].ended_at is None
    _apply(account, [interim(at(0), 0, 0), interim(at(120), 120, 500)], 2000)
    assert account.grants[1].used_octets >= 1000


def test_r22_a_zero_rated_nas_takes_time_only() -> None:
    account = _account(grant(quota_octets=1, quota_seconds=3600))
    _apply(account, [start(at(0)), interim(at(60), 60, 10**9)], 0)
    assert account.grants[1].used == Usage(0, 0, 60)
    assert account.grants[1].ended_at is None


def test_r21_several_marks_of_one_batch_are_told_together_and_each_once() -> None:
    account = _account(grant(quota_octets=1000), grant(2))
    reports = [start(at(0)), interim(at(60), 60, 510), interim(at(120), 120, 810), interim(at(120), 120, 810)]
    (passed,) = _apply(account, reports).passed.values()
    assert (passed.percents, passed.grant.grant_id, passed.at) == ((50, 80), 1, at(120))
    assert passed.grant.used_octets == 810


@given(st.lists(octets, max_size=20), st.integers(1, 10**9))
def test_r21_however_the_journal_is_cut_each_mark_is_passed_once(steps: list[int], quota: int) -> None:
    account, total, passed = _account(grant(quota_octets=quota)), 0, list[int]()
    sessions: dict[str, object] = {}
    for number, step in enumerate(steps, 1):
        total += step
        report = BoundReport(interim(at(number), number, total), None)
        changes = apply_reports([report], {"student-1": account}, list(sessions.values()))  # type: ignore[arg-type]
        sessions |= changes.sessions
        passed += [percent for one in changes.passed.values() for percent in one.percents]
    assert passed == [mark for mark in (50, 80, 100) if total * 100 >= mark * quota]
