"""Which column of somebody else's CSV file is which of our fields (rule R4). Pure.

Heads are matched generously: case, accents, blanks and punctuation do not matter, and several languages are known.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from herotill.errors import InvalidValue


class Field(StrEnum):
    """What an import reads."""

    NAME = "name"
    FIRST_NAME = "first-name"
    LAST_NAME = "last-name"
    USER = "user"
    PHONE = "phone"
    EMAIL = "email"


IGNORED = "ignore"
# The columns we add to a report; when it is fed back they are passed over.
REPORT_COLUMNS = ("import line", "import outcome", "import column", "import reason")

_NAMES = {
    Field.NAME: "name fullname customer customername client clientname student studentname tenant tenantname resident"
    " residentname guest guestname member membername displayname naam volledigenaam nom nomcomplet nombre"
    " nombrecompleto nome nomecompleto jina jinakamili vollername",
    Field.FIRST_NAME: "firstname first givenname givennames forename forenames voornaam prenom vorname primeironome",
    Field.LAST_NAME: "lastname last surname familyname achternaam nomdefamille apellido apellidos sobrenome nachname"
    " familienname",
    Field.USER: "user username userid userlogin login loginname loginid account accountname gebruiker gebruikersnaam"
    " utilisateur identifiant usuario benutzer benutzername utilizador jinalamtumiaji",
    Field.PHONE: "phone phonenumber phoneno telephone telephonenumber telephoneno tel telno telnumber mobile"
    " mobilenumber mobileno mobilephone cell cellnumber cellno cellphone msisdn gsm whatsapp contactnumber contactno"
    " contactphone telefoon telefoonnummer telefon telefonnummer telefone telefono celular handy mobiel portable simu"
    " nambariyasimu",
    Field.EMAIL: "email emailaddress emailaddr mail mailaddress eaddress courriel correo correoelectronico baruapepe"
    " emailadres emailadresse adresseemail",
}
_FIELD_OF = {name: field for field, names in _NAMES.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Where each field stands: its column's number from 0, and the heads as the file has them."""

    heads: tuple[str, ...]
    columns: Mapping[Field, int]

    def head_of(self, field: Field) -> str:
        """Return the head of a field's column, or the field's own name where no column has it."""
        return self.heads[self.columns[field]] if field in self.columns else str(field)

    @property
    def ignored(self) -> list[str]:
        """The heads nothing is read of, but for those of our own reports."""
        used = set(self.columns.values())
        left = [head for number, head in enumerate(self.heads) if number not in used]
        return [head for head in left if head.casefold() not in REPORT_COLUMNS]


def recognise(head: str) -> Field | None:
    """Return the field a column's head names, if it names one."""
    plain = unicodedata.normalize("NFKD", head.casefold())
    return _FIELD_OF.get(re.sub(r"[^a-z0-9]", "", plain))


def map_columns(heads: Sequence[str], wishes: Mapping[str, str]) -> ColumnMap:
    """Find the columns; `wishes` are of the operator, field or `ignore` by head. Raises InvalidValue."""
    heads = [head.strip() for head in heads]
    wished = _check_wishes(heads, wishes)
    columns: dict[Field, int] = {}
    for number, head in enumerate(heads):
        field = wished.get(head.casefold()) or recognise(head)
        if field is None or field == IGNORED:
            continue
        if (other := columns.get(Field(field))) is not None:
            number = _the_wished_one(field, (other, number), heads, wished)  # noqa: PLW2901 - one of the two
        columns[Field(field)] = number
    found = ColumnMap(tuple(heads), columns)
    _check_enough(found)
    return found


def _check_wishes(heads: Sequence[str], wishes: Mapping[str, str]) -> dict[str, str]:
    known = {head.casefold() for head in heads}
    for head, field in wishes.items():
        if head.strip().casefold() not in known:
            raise InvalidValue("--map", head, f"the file has the columns {', '.join(heads)}")
        if field not in (*Field, IGNORED):
            raise InvalidValue("--map", field, f"a column is one of {', '.join((*Field, IGNORED))}")
    return {head.strip().casefold(): field for head, field in wishes.items()}


def _the_wished_one(
    field: str, numbers: tuple[int, int], heads: Sequence[str], wished: Mapping[str, str]
) -> int:
    named = [number for number in numbers if heads[number].casefold() in wished]
    if len(named) == 1:
        return named[0]
    both = " and ".join(heads[number] for number in numbers)
    raise InvalidValue(
        "column", both, f"both could be the {field}; --map '{heads[numbers[1]]}=ignore' passes one over"
    )


def _check_enough(found: ColumnMap) -> None:
    has_name = Field.NAME in found.columns or {Field.FIRST_NAME, Field.LAST_NAME} & set(found.columns)
    if not has_name:
        raise InvalidValue(
            "columns", ", ".join(found.heads), "none is the name; say which with --map 'HEAD=name'"
        )
    if not {Field.USER, Field.PHONE, Field.EMAIL} & set(found.columns):
        allowed = "none is a user name, phone or e-mail; say which with --map 'HEAD=user' (or phone, email)"
        raise InvalidValue("columns", ", ".join(found.heads), allowed)
