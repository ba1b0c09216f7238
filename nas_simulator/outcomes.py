"""What comes of a login, as values, and the log a NAS keeps of its requests."""

from dataclasses import dataclass
from datetime import datetime

from nas_simulator.exchange import Answer
from nas_simulator.session import Session
from nas_simulator.wire import Received


@dataclass(frozen=True, slots=True)
class Accepted:
    """The user is on. `session` obeys what the reply said."""

    session: Session
    reply: Received
    answer: Answer


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server said no, and why; or the peer did not believe its yes (`by_peer`)."""

    reason: str
    reply: Received
    answer: Answer
    by_peer: bool = False


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nobody answered in time; `discarded` tells of replies that could not be believed."""

    answer: Answer
    discarded: tuple[str, ...] = ()


LoginOutcome = Accepted | Rejected | NoAnswer


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request of the NAS and what came of it; times are when its first copy left."""

    kind: str
    outcome: str
    reason: str
    user_name: str
    acct_session_id: str
    sent_at: datetime
    sent_monotonic: float
    elapsed_seconds: float
    attempts: int


def entry_of_access(user_name: str, outcome: LoginOutcome, sent_at: datetime) -> LogEntry:
    """Tell of a login."""
    match outcome:
        case Accepted(session):
            words, session_id = ("Access-Accept", ""), session.identity.acct_session_id
        case Rejected(reason, _, _, by_peer):
            words, session_id = ("not believed" if by_peer else "Access-Reject", reason), ""
        case NoAnswer(_, discarded):
            words, session_id = ("no answer", "; ".join(discarded)), ""
    return _entry("Access-Request", words, (user_name, session_id), outcome.answer, sent_at)


def entry_of_accounting(status: str, who: tuple[str, str], answer: Answer, sent_at: datetime) -> LogEntry:
    """Tell of an Accounting-Request; `who` is the user name and the Acct-Session-Id."""
    words = ("Accounting-Response" if answer.reply else "no answer", "")
    return _entry(f"Accounting-Request {status}", words, who, answer, sent_at)


def _entry(
    kind: str, words: tuple[str, str], who: tuple[str, str], answer: Answer, sent_at: datetime
) -> LogEntry:
    return LogEntry(
        kind=kind,
        outcome=words[0],
        reason=words[1],
        user_name=who[0],
        acct_session_id=who[1],
        sent_at=sent_at,
        sent_monotonic=answer.sent_monotonic,
        elapsed_seconds=answer.elapsed_seconds,
        attempts=answer.attempts,
    )
