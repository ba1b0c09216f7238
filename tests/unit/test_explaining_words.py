"""The words `herotill explain` adds for people at the telephone (rule R35)."""

from datetime import UTC, datetime

import pytest

from herotill.reasons import REPLY_MESSAGES, Reason
from sync_daemon.explaining import Event, GrantLine
from sync_daemon.explaining_words import LOGIN_WORDS, RULES, in_words, left_sentences

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def grant(octets: int | None, seconds: int | None = None, state: str = "in use") -> GrantLine:
    return GrantLine("p", "purchase", state, 0, octets, seconds, None)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.ACCEPTED])
def test_r35_every_refusal_has_words_and_its_rule(reason: Reason) -> None:
    assert LOGIN_WORDS[reason]
    needs_no_rule = {Reason.BAD_CREDENTIALS, Reason.UNKNOWN_USER}
    assert reason in RULES or reason in needs_no_rule
    assert reason in REPLY_MESSAGES or reason in {
        Reason.RESTRICTED, Reason.THROTTLED, Reason.SUSPENDED_POOL, Reason.OUTAGE,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "detail", "told"),
    [
        (
            "refused",
            "quota-used-up, 02-00, 10.0.0.1",
            "quota-used-up, 02-00, 10.0.0.1: the data was used up (rule R15)",
        ),
        ("refused", "bad-credentials", "bad-credentials: the password was wrong"),
        ("login", "accepted, 02-00", "accepted, 02-00"),
        ("disconnect", "expiry, 17, acked", "expiry, 17, acked: the plan ended, rule R13"),
        ("coa", "renewed, 17", "renewed, 17: something was bought or given, rule R16"),
        ("disconnect", "reconcile", "reconcile: RADIUS had let it in against the books, rule R30"),
        ("granted", "quota", "quota"),
    ],
)
def test_r35_history_says_why_in_words(event: str, detail: str, told: str) -> None:
    assert in_words(Event(NOW, event, detail)).detail == told


def test_r35_what_is_left_is_said_together() -> None:
    assert left_sentences([grant(5), grant(7, 60), grant(100, state="ended: quota")]) == (
        "Left: 12 B, 1m online where time is limited, in 2 grants.",
    )
    assert left_sentences([grant(1573741824)]) == ("Left: 1.4 GiB (1573741824 octets), in 1 grant.",)
    assert left_sentences([grant(None)]) == ("Left: unlimited data, in 1 grant.",)
    assert left_sentences([grant(1, state="ended: quota")]) == ()
