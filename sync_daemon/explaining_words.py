"""The words of `herotill explain`: which rule decides, and why something happened. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from herotill.quantities import approximate_octets, format_seconds
from herotill.reasons import Reason

if TYPE_CHECKING:
    from sync_daemon.explaining import Event, GrantLine

RULES: dict[Reason, str] = {
    Reason.RESTRICTED: "R16",
    Reason.THROTTLED: "R16",
    Reason.SUSPENDED_POOL: "R24",
    Reason.OUTAGE: "R34",
    Reason.DISABLED: "R30",
    Reason.UNVERIFIED: "R3",
    Reason.SUSPENDED: "R24",
    Reason.NO_CREDIT: "R1",
    Reason.QUOTA_USED_UP: "R15",
    Reason.TIME_USED_UP: "R15",
    Reason.EXPIRED: "R13",
    Reason.ALL_RESERVED: "R15",
    Reason.TOO_MANY_SESSIONS: "R6",
    Reason.OTHER_DEVICE: "R6",
    Reason.TOO_MANY_FAILURES: "R10",
    Reason.UNAVAILABLE: "R34",
}
"""The rule that decides (docs/rules.md); a wrong password and an unknown name need none."""

LOGIN_WORDS: dict[Reason, str] = {
    Reason.RESTRICTED: "into the restricted pool: what was bought is used up or over",
    Reason.THROTTLED: "at the throttled rates: what was bought is used up or over",
    Reason.SUSPENDED_POOL: "into the suspended pool: a bill is unpaid",
    Reason.OUTAGE: "the database was away; decided from what was remembered",
    Reason.BAD_CREDENTIALS: "the password was wrong",
    Reason.UNKNOWN_USER: "nobody has this name",
    Reason.DISABLED: "an operator has disabled the account",
    Reason.UNVERIFIED: "the account is not verified",
    Reason.SUSPENDED: "a bill is unpaid",
    Reason.NO_CREDIT: "nothing was bought",
    Reason.QUOTA_USED_UP: "the data was used up",
    Reason.TIME_USED_UP: "the time was used up",
    Reason.EXPIRED: "the plan had expired",
    Reason.ALL_RESERVED: "other devices had taken all that was left",
    Reason.TOO_MANY_SESSIONS: "too many devices were online",
    Reason.TOO_MANY_FAILURES: "there had been too many wrong attempts; it is let in after five minutes",
    Reason.OTHER_DEVICE: "it is not one of the account's own devices",
    Reason.UNAVAILABLE: "the database was away, and nothing was remembered",
}
CUT_WORDS = {
    "quota": "the data was used up, rule R16", "time": "the time was used up, rule R16",
    "expiry": "the plan ended, rule R13",
    "void": "the plan was taken back", "disabled": "the account was disabled, rule R30",
    "suspended": "a bill is unpaid, rule R24", "resumed": "it is no longer suspended, rule R24",
    "deleted": "the account is gone", "converted": "the account is of another kind now, rule R2",
    "replaced": "its device has logged in again, rule R6",
    "ladder": "a step of the plan's rates was reached, rule R16", "operator": "an operator asked for it",
    "renewed": "something was bought or given, rule R16", "transferred": "its data was given away, rule R20",
    "expired": "the code was not used in time, rule R8",
    "reconcile": "RADIUS had let it in against the books, rule R30",
}  # fmt: skip
_LOGINS = ("login", "refused")
_CUTS = ("disconnect", "coa")


def rule_of(reason: Reason) -> str:
    """Return ` (rule R15)`, or nothing where no rule is needed to understand it."""
    return f" (rule {RULES[reason]})" if reason in RULES else ""


def in_words(event: "Event") -> "Event":
    """Add to a line of history why it happened; its words for machines stay first."""
    word = event.detail.split(",", 1)[0]
    if event.event in _LOGINS and word in set(Reason):
        words = LOGIN_WORDS.get(Reason(word), "")
        return replace(event, detail=f"{event.detail}: {words}{rule_of(Reason(word))}") if words else event
    if event.event in _CUTS and word in CUT_WORDS:
        return replace(event, detail=f"{event.detail}: {CUT_WORDS[word]}")
    return event


def _exactly(octets: int) -> str:
    roughly = approximate_octets(octets)
    return roughly if roughly == f"{octets} B" else f"{roughly} ({octets} octets)"


def left_sentences(grants: Iterable["GrantLine"]) -> tuple[str, ...]:
    """Say what is left of all living grants together; nothing where there is none."""
    living = [grant for grant in grants if not grant.state.startswith("ended")]
    if not living:
        return ()
    limits = [grant.remaining_octets for grant in living]
    left = "unlimited data" if None in limits else _exactly(sum(limit or 0 for limit in limits))
    seconds = [grant.remaining_seconds for grant in living if grant.remaining_seconds is not None]
    timed = f", {format_seconds(sum(seconds))} online where time is limited" if seconds else ""
    number = "1 grant" if len(living) == 1 else f"{len(living)} grants"
    return (f"Left: {left}{timed}, in {number}.",)
