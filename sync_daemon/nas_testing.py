"""Judges one NAS by what was really received and answered (rule R33). Pure: evidence in, findings out.

What was never seen is unknown, not missing: a NAS without a session longer than two interims has had no time to send any.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from herotill.dialect import Dialect, dialect_for
from herotill.quantities import format_octets
from sync_daemon.coa.error_causes import CONTEXT_NOT_FOUND, describe_error_cause
from sync_daemon.coa.exchange import Destination, Exchange
from sync_daemon.coa.packets import Ack, Action, Nak, Timeout
from sync_daemon.coa.profiles import profiles_for
from sync_daemon.doctor.findings import Finding, Health, advice, good, unknown, wrong
from sync_daemon.nas_commands import commands_for
from sync_daemon.nas_evidence import Answered, EnteredNas, Evidence

ENOUGH_OCTETS = 1024**3
"""Of so much traffic people have downloaded more than they uploaded, or the directions are swapped."""
REQUEST_NAMES = {"disconnect": "Disconnect", "coa": "CoA"}


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is judged, and what is known beside the evidence; `requires_signature` None: could not be read."""

    nas: EnteredNas
    server: str = "SERVER"
    requires_signature: bool | None = None

    @property
    def dialect(self) -> Dialect:
        """What we speak to it."""
        return dialect_for(self.nas.nas_type)

    def commands(self, topic: str) -> str:
        """Return what to type at the router; where we know no command, where to read."""
        typed = commands_for(self.dialect.name, topic, self.server, self.nas.coa_port)
        return typed or f"see docs/nas, {self.dialect.title}"


def judge_nas(subject: Subject, seen: Evidence, asked: Mapping[str, Answered]) -> tuple[Finding, ...]:
    """Say everything about a NAS; `asked` is what it answered just now, by action."""
    return (
        _logins(subject, seen),
        _signature(subject, seen),
        *_accounting(subject, seen),
        *(_authorization(subject, seen, asked, action) for action in REQUEST_NAMES),
    )


def _logins(subject: Subject, seen: Evidence) -> Finding:
    if seen.logins:
        return good("logins", f"{seen.logins} asked for lately, {seen.accepted} accepted")
    if seen.sessions:
        return wrong(
            "logins",
            "accounting arrives and no login does: another secret, unsigned requests, or it asks another server",
            subject.commands("logins"),
        )
    return unknown("logins", "nothing was ever received from it", subject.commands("logins"))


def _signature(subject: Subject, seen: Evidence) -> Finding:
    topic = "Message-Authenticator"
    if subject.requires_signature is None:
        return unknown(
            topic, "whether FreeRADIUS requires it cannot be read", "run this as root where FreeRADIUS runs"
        )
    if not subject.requires_signature:
        return _signature_seen(topic, subject, seen)
    if seen.logins:
        return good(topic, "there: requests without it are dropped, and its logins were answered")
    if seen.sessions:
        mend = (
            "upgrade the router; or herotill freeradius install --allow-unsigned, after reading CVE-2024-3596"
        )
        return wrong(
            topic, "probably missing: requests without it are dropped, and no login was ever seen", mend
        )
    return unknown(topic, "nothing was ever received from it", "log somebody in")


def _signature_seen(topic: str, subject: Subject, seen: Evidence) -> Finding:
    if not seen.logins:
        return unknown(topic, "no login was received from it lately", "log somebody in")
    if seen.still_unsigned:
        return _signature_missing(topic, subject, seen)
    if seen.unsigned:
        return advice(
            topic,
            f"there, in the last {seen.signed_since} logins, but missing in {seen.unsigned} a day or more before",
            "nothing, where you have switched it on since; else find out which of its services does not sign",
        )
    return good(
        topic,
        f"there, in all of the last {seen.logins} logins; it can be required when every router sends it (herotill doctor): "
        "herotill freeradius install --require-message-authenticator",
    )


def _signature_missing(topic: str, subject: Subject, seen: Evidence) -> Finding:
    found = f"missing in {seen.unsigned} of the last {seen.logins} logins"
    mend = f"upgrade the router, or switch it on there\n{subject.commands('signature')}"
    if seen.signed_since:
        found += f", in none of the last {seen.signed_since}"
        mend += "\ndone since? then look again a day later"
    return wrong(topic, f"{found}: anybody on the way can forge answers (CVE-2024-3596)", mend)


def _accounting(subject: Subject, seen: Evidence) -> Iterator[Finding]:
    if not seen.sessions:
        mend = "log somebody in, then look again\n" + subject.commands("interims")
        yield unknown("accounting", "no session was ever reported", mend)
        return
    yield good("accounting", f"{seen.sessions} sessions, {seen.live_sessions} of them online")
    yield _interims(subject, seen)
    yield _gigawords(subject, seen)
    yield _class(seen)
    yield _direction(subject, seen)


def _interims(subject: Subject, seen: Evidence) -> Finding:
    if seen.interim_seconds is not None and seen.long_without_interim * 2 <= max(1, seen.long_sessions):
        return good("interims", f"every {seen.interim_seconds} s")
    if not seen.long_sessions:
        return unknown(
            "interims", "no session was long enough to have sent one", "look again after 20 minutes"
        )
    return wrong(
        "interims",
        f"{seen.long_without_interim} of {seen.long_sessions} sessions over 20 minutes sent none: quotas bind late",
        subject.commands("interims"),
    )


def _gigawords(subject: Subject, seen: Evidence) -> Finding:
    topic = "Gigawords"
    if seen.with_gigawords:
        return good(topic, f"sent in {seen.with_gigawords} of {seen.sessions} sessions")
    said = {True: ", though its make does", False: ", as its make does not", None: ""}[
        subject.dialect.sends_gigawords
    ]
    return advice(
        topic,
        f"never seen{said}; more than 4 GiB between two interims would be lost",
        "let it send interims at least every ten minutes; some send Gigawords only past 4 GiB",
    )


def _class(seen: Evidence) -> Finding:
    if seen.with_class * 2 >= seen.sessions:
        return good("Class", f"returned in {seen.with_class} of {seen.sessions} sessions")
    return advice(
        "Class",
        f"returned in {seen.with_class} of {seen.sessions} sessions; the others are bound by user name",
        "no command is known that makes a router return it; let it not rewrite user names",
    )


def _direction(subject: Subject, seen: Evidence) -> Finding:
    topic = "Input"
    is_upload = subject.dialect.input_is_upload
    meaning = f"taken for the {'upload' if is_upload else 'download'}, as type {subject.nas.nas_type} has it"
    carried = f"{format_octets(seen.input_octets)} up, {format_octets(seen.output_octets)} down"
    if seen.input_octets + seen.output_octets < ENOUGH_OCTETS:
        return unknown(topic, f"{meaning}; {carried} is too little to tell", "look again after a gibibyte")
    if seen.input_octets > 2 * seen.output_octets:
        other = "download" if is_upload else "upload"
        mend = f"if it is the {other} there: herotill nas edit {subject.nas.name} --type TYPE (herotill nas dialects)"
        return advice(topic, f"{meaning}, but then more went up than down: {carried}", mend)
    return good(topic, f"{meaning}, which fits: {carried}")


def _authorization(subject: Subject, seen: Evidence, asked: Mapping[str, Answered], action: str) -> Finding:
    topic = REQUEST_NAMES[action]
    profiles = subject.dialect.disconnect if action == "disconnect" else subject.dialect.coa
    if not profiles:
        return unknown(topic, f"{subject.dialect.title} takes none, as far as its sources say", "nothing")
    answer = asked.get(action) or _latest(seen, action)
    if answer is None:
        return unknown(topic, "it was never sent one", f"herotill nas test {subject.nas.name} --ask")
    if answer.result == "ack" or is_nobody(answer):
        return good(topic, _taken(subject, answer))
    return _not_taken(subject, topic, answer)


def _latest(seen: Evidence, action: str) -> Answered | None:
    """Return the last answer: a router that once listened and is silent now does not listen."""
    answers = [answer for answer in seen.answers if answer.action == action]
    return max(answers, key=lambda answer: answer.last_at, default=None)


def is_nobody(answer: Answered) -> bool:
    """Whether it answered that there is no such session: it listens, with our secret."""
    return answer.result == "nak" and answer.error_cause == CONTEXT_NOT_FOUND


def _taken(subject: Subject, answer: Answered) -> str:
    profiles = (*subject.dialect.disconnect, *subject.dialect.coa)
    named = next(
        (profile.required for profile in profiles if profile.name == answer.profile), (answer.profile,)
    )
    what = "acknowledged" if answer.result == "ack" else "answered (503, no such session)"
    return f"{what} at {answer.destination}, the session named by {', '.join(named)}"


def _not_taken(subject: Subject, topic: str, answer: Answered) -> Finding:
    if answer.result == "nak":
        cause = describe_error_cause(answer.error_cause)
        return wrong(
            topic, f"refused at {answer.destination}: {cause}", subject.commands("dynamic authorization")
        )
    return wrong(
        topic,
        f"no answer from {answer.destination}: not switched on, another port or secret, or a firewall",
        f"{subject.commands('dynamic authorization')}\nherotill nas edit {subject.nas.name} --coa-port PORT",
    )


def is_in_order(findings: tuple[Finding, ...]) -> bool:
    """Whether nothing is wrong; what was not seen yet is not."""
    return all(finding.health is not Health.WRONG for finding in findings)


def answered(nas: EnteredNas, action: Action, destination: Destination, exchange: Exchange) -> Answered:
    """Say what a question of now came to, in the shape of those the database remembers."""
    cause = exchange.outcome.error_cause if isinstance(exchange.outcome, Nak) else None
    result = {Ack: "ack", Nak: "nak", Timeout: "timeout"}.get(type(exchange.outcome), "error")
    profile = profiles_for(nas.nas_type, action)[0].name
    at = exchange.answered_at or exchange.sent_at or datetime.now(UTC)
    return Answered(action.value, str(destination), profile, result, cause, 1, at)
