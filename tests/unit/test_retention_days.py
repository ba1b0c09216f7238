import pytest

from herotill.errors import InvalidValue
from sync_daemon.retention_days import RetentionDays, read_retention


def test_r36_what_is_not_said_keeps_its_default_and_forever_is_for_ever() -> None:
    kept = read_retention("retention_days", {"logins": 30, "archive": "forever"})
    assert kept == RetentionDays(logins=30, archive=None)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (30, "retention_days"),
        ({"invoices": 30}, "retention_days"),
        ({"logins": 0}, "retention_days.logins"),
        ({"logins": True}, "retention_days.logins"),
        ({"events": "soon"}, "retention_days.events"),
    ],
)
def test_r36_a_period_that_makes_no_sense_is_named(value: object, named: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        read_retention("retention_days", value)
    assert named in str(refused.value)
