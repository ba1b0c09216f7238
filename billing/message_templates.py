"""What customers are told, by kind of event and language (rule R21): the operator's words, else those that come with us."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.models import MessageTemplate
from billing.wording import WORDING, WORDING_LANGUAGE
from herotill.errors import InvalidValue
from herotill.messages import Template

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", re.ASCII)
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", re.ASCII)
LONGEST_BODY_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Wording:
    """One template and where it comes from; `changed_at` is None for what comes with the program."""

    kind: str
    language: str
    template: Template
    changed_at: datetime | None = None
    changed_by: str | None = None


def check_language(language: str) -> str:
    """Return the tag of a language (RFC 5646). Raises InvalidValue."""
    if not _LANGUAGE.fullmatch(language):
        raise InvalidValue("language", language, "it is a tag like en, sw or pt-BR (RFC 5646)")
    return language


def find(session: Session, kind: str, languages: Iterable[str | None]) -> Template | None:
    """Return what to say of a kind of event: in the first of these languages there are words in, else in ours."""
    own = {
        row.language: Template(row.subject, row.body)
        for row in session.scalars(select(MessageTemplate).where(MessageTemplate.kind == kind))
    }
    ours = WORDING.get(kind)
    if ours is not None:
        own.setdefault(WORDING_LANGUAGE, ours)
    for language in languages:
        for tag in _from_narrow_to_wide(language or ""):
            if tag in own:
                return own[tag]
    return ours if not own else own.get(WORDING_LANGUAGE, next(iter(own.values())))


def listing(session: Session) -> list[Wording]:
    """Return every template in force, by kind and language."""
    rows = session.scalars(select(MessageTemplate))
    own = {
        (row.kind, row.language): Wording(
            row.kind, row.language, Template(row.subject, row.body), row.changed_at, row.changed_by
        )
        for row in rows
    }
    ours = {
        (kind, WORDING_LANGUAGE): Wording(kind, WORDING_LANGUAGE, template)
        for kind, template in WORDING.items()
    }
    return [wording for _, wording in sorted((ours | own).items())]


def put(session: Session, wording: Wording) -> None:
    """Use these words from now on. Raises InvalidValue."""
    _check(wording)
    values = {
        "kind": wording.kind,
        "language": wording.language,
        "subject": wording.template.subject,
        "body": wording.template.body,
        "changed_at": wording.changed_at,
        "changed_by": wording.changed_by,
    }
    new = insert(MessageTemplate).values(values)
    session.execute(new.on_conflict_do_update(index_elements=["kind", "language"], set_=values))


def remove(session: Session, kind: str, language: str) -> None:
    """Forget the operator's words; ours are used again where there are any. Raises InvalidValue."""
    gone = delete(MessageTemplate).where(MessageTemplate.kind == kind, MessageTemplate.language == language)
    if session.execute(gone.returning(MessageTemplate.kind)).one_or_none() is None:
        raise InvalidValue("template", f"{kind} {language}", "there is none; `herotill notice template list`")


def _from_narrow_to_wide(language: str) -> list[str]:
    parts = language.split("-")
    return ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _check(wording: Wording) -> None:
    check_language(wording.language)
    if not _KIND.fullmatch(wording.kind):
        raise InvalidValue("kind", wording.kind, "it is a kind of event, like notice.usage")
    subject, body = wording.template.subject, wording.template.body
    if not subject.strip() or not subject.isprintable() or len(subject) > 200:
        raise InvalidValue("subject", subject, "it is one line of up to 200 printable characters")
    if not body.strip() or len(body) > LONGEST_BODY_CHARACTERS or "\0" in body:
        raise InvalidValue(
            "body", f"({len(body)} characters)", f"it is text of up to {LONGEST_BODY_CHARACTERS}"
        )
