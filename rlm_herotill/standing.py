"""Answers kept ready: what the logins of an unchanged account are told, rendered once for its NAS's dialect.

A hook's cost is the code it touches: FreeRADIUS, the kernel and other processes run in between, so that every line is
met cold (docs/performance.md). An ordinary login therefore touches as little as possible.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from herotill.dialect import Dialect, render, render_timed
from herotill.reply import Reply, carried_reply, spread_interval
from herotill.snapshot import AccountSnapshot, Row
from herotill.standing import StandingAccept, standing_accept
from rlm_herotill.attributes import ReplyPair, checked_pairs, checked_rows, password_pairs

LIMIT = 200_000


@dataclass(frozen=True, slots=True)
class StandingAnswer:
    """A standing accept in the words of one dialect. What differs from login to login is not in `pairs`."""

    snapshot: AccountSnapshot
    dialect: Dialect
    per_mille: int
    accept: StandingAccept
    passwords: tuple[ReplyPair, ...]
    pairs: tuple[ReplyPair, ...]

    def timed_pairs(self, login_id: str, now: datetime) -> list[ReplyPair]:
        """Return how long this login's session may last and how often it reports."""
        interval = self.accept.reply.interim_interval_seconds
        spread = None if interval is None else spread_interval(interval, login_id)
        timed = render_timed(self.dialect, self.accept.session_seconds(now), spread)
        return [(name, ":=", value) for name, value in timed]


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """An account whose logins have each to be decided by themselves."""

    snapshot: AccountSnapshot
    dialect: Dialect
    per_mille: int


class StandingAnswers:
    """At most LIMIT of them, by user name; each good as long as the snapshot it was made from is."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._answers: dict[str, StandingAnswer | _NoAnswer] = {}

    def find(
        self, snapshot: AccountSnapshot, nas: tuple[Dialect, int], now: datetime
    ) -> StandingAnswer | None:
        """Return the answer for this account's logins at such a NAS; None where each is decided by itself.

        `nas` is its dialect and its multiplier in thousandths.
        """
        answer, (dialect, per_mille) = self._answers.get(snapshot.username), nas
        if (
            answer is None
            or answer.snapshot is not snapshot
            or answer.dialect is not dialect
            or answer.per_mille != per_mille
        ):
            answer = self._keep(_prepare(snapshot, nas, now, self._complain))
        if isinstance(answer, _NoAnswer):
            return None
        if now >= answer.accept.until:
            self._answers.pop(snapshot.username)
            return self.find(snapshot, nas, now)
        return answer

    def _keep(self, answer: StandingAnswer | _NoAnswer) -> StandingAnswer | _NoAnswer:
        if len(self._answers) >= LIMIT:
            self._answers.clear()
        self._answers[answer.snapshot.username] = answer
        return answer


def _prepare(
    snapshot: AccountSnapshot, nas: tuple[Dialect, int], now: datetime, complain: Callable[[str], None]
) -> StandingAnswer | _NoAnswer:
    dialect, per_mille = nas
    accept = standing_accept(snapshot, now)
    if accept is None:
        return _NoAnswer(snapshot, dialect, per_mille)
    seconds = accept.session_seconds(now)
    reply = carried_reply(replace(accept.reply, session_timeout_seconds=seconds), per_mille)
    timed = checked_pairs(render_timed(dialect, seconds, reply.interim_interval_seconds), complain)
    pairs = [pair for pair in reply_pairs(dialect, reply, snapshot.reply, complain) if pair not in timed]
    return StandingAnswer(snapshot, dialect, per_mille, accept, password_pairs(snapshot.check), tuple(pairs))


def reply_pairs(
    dialect: Dialect, reply: Reply, rows: Sequence[Row], complain: Callable[[str], None]
) -> list[ReplyPair]:
    """Return a reply in the words of a dialect, and the operator's rows behind it.

    What is metered is not for a row to change: ours come first, and Class is ours.
    """
    pairs = checked_pairs(render(dialect, reply), complain)
    if rows:
        said = {"Class", *(pair[0] for pair in pairs)}
        pairs += checked_rows([row for row in rows if row.attribute not in said], complain)
    return pairs
