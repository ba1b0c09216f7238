"""Letters of a sheet: the built-in ones, or the operator's TrueType files, and how much room texts take."""

from dataclasses import dataclass

from reportlab.pdfbase.pdfmetrics import registerFont, stringWidth
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from billing.sheet_wording import Wording
from herotill.errors import InvalidValue

SMALLEST = 0.6
"""A text is made so much smaller at most, then cut."""


@dataclass(frozen=True, slots=True)
class Fonts:
    """Names of loaded fonts; codes are set in `code`, where no two letters look alike."""

    plain: str = "Helvetica"
    bold: str = "Helvetica-Bold"
    code: str = "Courier-Bold"

    def width(self, text: str, size: float, *, bold: bool = False, code: bool = False) -> float:
        """Return how wide a text is, in points. Raises InvalidValue for letters the font has not."""
        font = self.code if code else self.bold if bold else self.plain
        if font in _BUILT_IN and not _is_western(text):
            raise InvalidValue(
                "font", text, "the built-in fonts lack its letters; name a TrueType font in the template"
            )
        return float(stringWidth(text, font, size))


_BUILT_IN = ("Helvetica", "Helvetica-Bold", "Courier-Bold")


def load_fonts(wording: Wording) -> Fonts:
    """Return the template's fonts. Raises InvalidValue where a file is not one."""
    if wording.font is None:
        return Fonts()
    plain = _load("font", wording.font)
    return Fonts(plain, plain if wording.bold_font is None else _load("bold_font", wording.bold_font))


def fitted(
    fonts: Fonts, text: str, size: float, room: float, *, bold: bool = False, code: bool = False
) -> tuple[str, float]:
    """Return a text and the size at which it fits, cut with an ellipsis where it would be too small to read."""
    width = fonts.width(text, size, bold=bold, code=code)
    if width <= room or not text:
        return text, size
    if code:
        return text, size * room / width  # a code is never cut
    smaller = size * max(room / width, SMALLEST)
    if room / width >= SMALLEST:
        return text, smaller
    while len(text) > 1 and fonts.width(f"{text}…", smaller, bold=bold) > room:
        text = text[:-1]
    return f"{text}…", smaller


def wrapped(fonts: Fonts, text: str, size: float, room: float, *, bold: bool = False) -> list[str]:
    """Break a text into lines that fit."""
    lines: list[str] = []
    for word in text.split():
        if lines and fonts.width(f"{lines[-1]} {word}", size, bold=bold) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _load(field: str, path: str) -> str:
    name = f"HeroTill {path}"
    try:
        registerFont(TTFont(name, path))
    except (TTFError, OSError) as error:
        raise InvalidValue(field, path, f"it is a TrueType file (.ttf): {error}") from None
    return name


def _is_western(text: str) -> bool:
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
