"""What an examination of the installation says: one finding for each thing looked at, with how to mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How it stands with what was looked at."""

    GOOD = "good"
    ADVICE = "advice"
    """It works, and would work better otherwise."""
    UNKNOWN = "unknown"
    """It could not be seen from here."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `mend` says what to do about it, and is empty where nothing is to be done."""

    topic: str
    health: Health
    sentence: str
    mend: str = ""


def good(topic: str, sentence: str) -> Finding:
    """Return a finding about something that is as it should be."""
    return Finding(topic, Health.GOOD, sentence)


def advice(topic: str, sentence: str, mend: str) -> Finding:
    """Return a finding about something that could be better."""
    return Finding(topic, Health.ADVICE, sentence, mend)


def unknown(topic: str, sentence: str, mend: str) -> Finding:
    """Return a finding about something that cannot be seen; `mend` says how to see it."""
    return Finding(topic, Health.UNKNOWN, sentence, mend)


def wrong(topic: str, sentence: str, mend: str) -> Finding:
    """Return a finding about something that must be mended."""
    return Finding(topic, Health.WRONG, sentence, mend)


def is_anything_wrong(findings: Iterable[Finding]) -> bool:
    """Say whether something must be mended."""
    return any(finding.health is Health.WRONG for finding in findings)
