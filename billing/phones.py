"""Phone numbers as E.164, however people write them (rule R5)."""

import re

import phonenumbers

from herotill.errors import InvalidValue

MAX_CHARACTERS = 40
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
# Typed by hand, or made by fonts and spreadsheets: letters that look like digits.
_LETTERS_LIKE_DIGITS = str.maketrans("oOlI|", "00111")


def normal_phone(phone: str | None, region: str | None = None) -> str | None:
    """Return a number as E.164. Without a `region` (ISO 3166, such as KE) it is international, with + or 00.

    Raises InvalidValue, also for letters, which phones would take for digits.
    """
    if phone is None:
        return None
    number = _parsed(phone.strip(), region)
    if number is None:
        raise InvalidValue("phone", phone, _allowed(phone, region))
    return number


def suggested_phone(phone: str, region: str | None = None) -> str | None:
    """Return what a number with look-alike letters (O for 0, l for 1) was meant to be, or None."""
    return _parsed(phone.strip().translate(_LETTERS_LIKE_DIGITS), region)


def check_region(field: str, region: str) -> str:
    """Return a region that has phone numbers. Raises InvalidValue."""
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidValue(field, region, "it is two capital letters (ISO 3166), such as KE")
    return region


def _parsed(phone: str, region: str | None) -> str | None:
    if len(phone) > MAX_CHARACTERS or any(character.isalpha() for character in phone):
        return None
    if phone.startswith("00"):
        phone = "+" + phone[2:]
    try:
        number = phonenumbers.parse(phone, region)
    except phonenumbers.NumberParseException:
        return None
    # Some are possible within a town only: nobody else can call them.
    possible = (
        phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    )
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164 if possible and not number.extension and _E164.fullmatch(e164) else None


def _allowed(phone: str, region: str | None) -> str:
    if (meant := suggested_phone(phone, region)) is not None:
        return f"it has letters; perhaps {meant} is meant"
    if "E+" in phone.upper():
        return "a spreadsheet has rounded it; export the column as text"
    national = "" if region is None else f", or one of {region}"
    return f"it is international (E.164), like +254712345678{national}"
