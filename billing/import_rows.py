"""One row of an import: what it says of a customer, and what is wrong with it by itself (rule R4). Pure."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from billing.checks import check_email, check_name, check_username
from billing.csv_columns import ColumnMap, Field
from billing.csv_files import Record
from billing.phones import normal_phone, suggested_phone
from herotill.errors import InvalidValue

_BLANKS = re.compile(r"\s+")
IDENTITIES = (Field.USER, Field.PHONE, Field.EMAIL)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row is refused: in which column, and what is wrong there."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What one line of the file says. Values that are wrong are None, but for a phone that is guessed to find its double."""

    line: int
    cells: list[str]
    name: str | None
    username: str | None
    phone: str | None
    email: str | None
    problems: list[Problem] = field(default_factory=list)

    def fingerprint(self, group: str) -> str:
        """Tell whether this very row was imported into this group before; the same file again changes nothing."""
        told = [group, self.name, self.username, self.phone, self.email]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads records by the columns of one file.

    `region` is where phones without a country code are; `user_from` is the field that becomes the user name of who has none.
    """

    columns: ColumnMap
    region: str | None = None
    user_from: Field | None = None

    def read(self, record: Record) -> ImportRow:
        """Read one record; what is wrong with it is in its problems."""
        problems: list[Problem] = []
        if len(record.cells) > len(self.columns.heads):
            reason = f"{len(record.cells)} cells where the head has {len(self.columns.heads)}"
            problems.append(Problem("", reason))
        name = _checked(self._name(record), Field.NAME, _name_of, problems)
        email = _checked(self._cell(record, Field.EMAIL), Field.EMAIL, _email_of, problems)
        phone = self._phone(record, problems)
        typed = self._cell(record, Field.USER) or self._made_username(phone, email)
        username = _checked(typed, Field.USER, _username_of, problems)
        row = ImportRow(record.line, record.cells, name, username, phone, email, problems)
        self._check_enough(record, row)
        return row

    def _name(self, record: Record) -> str:
        whole = self._cell(record, Field.NAME)
        parts = (self._cell(record, Field.FIRST_NAME), self._cell(record, Field.LAST_NAME))
        return whole or " ".join(part for part in parts if part)

    def _phone(self, record: Record, problems: list[Problem]) -> str | None:
        typed = self._cell(record, Field.PHONE)
        try:
            return normal_phone(typed or None, self.region)
        except InvalidValue as error:
            problems.append(_problem(Field.PHONE, error))
            return suggested_phone(typed, self.region)

    def _made_username(self, phone: str | None, email: str | None) -> str:
        made = {Field.PHONE: (phone or "").removeprefix("+"), Field.EMAIL: email or ""}
        return made.get(self.user_from, "") if self.user_from is not None else ""

    def _cell(self, record: Record, wanted: Field) -> str:
        column = self.columns.columns.get(wanted)
        if column is None or column >= len(record.cells):
            return ""
        # An apostrophe in front is a spreadsheet's mark for text.
        return unicodedata.normalize("NFC", record.cells[column].strip().removeprefix("'"))

    def _check_enough(self, record: Record, row: ImportRow) -> None:
        if row.name is None and not self._name(record):
            row.problems.append(Problem(Field.NAME, "it is empty"))
        if not any(self._cell(record, wanted) for wanted in IDENTITIES):
            row.problems.append(
                Problem("", "neither user name, phone nor e-mail: nothing tells this person from others")
            )


def _checked(typed: str, field_: Field, check: Callable[[str], str], problems: list[Problem]) -> str | None:
    if not typed:
        return None
    try:
        return check(typed)
    except InvalidValue as error:
        problems.append(_problem(field_, error))
        return None


def _problem(field_: Field, error: InvalidValue) -> Problem:
    return Problem(field_, f"{error.value!r} is not allowed; {error.allowed}")


def _name_of(typed: str) -> str:
    name = _BLANKS.sub(" ", typed)
    check_name("name", name)
    return name


def _email_of(typed: str) -> str:
    check_email(typed)
    return typed


def _username_of(typed: str) -> str:
    check_username(typed)
    return typed
