"""The measures of a sheet of cards: paper, cards on a page, where a card lies."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.units import mm

from billing.sheet_wording import Wording, Wordsmith, check_login_url
from herotill.errors import InvalidValue

PAGE_MARGIN = 9 * mm
CARD_INSET = 1.2 * mm
DESIGN_WIDTH, DESIGN_HEIGHT = 92 * mm, 53 * mm  # the card all sizes below are meant for; others are scaled

# Cards on a page: columns and rows.
LAYOUTS = {
    1: (1, 1), 2: (1, 2), 4: (2, 2), 6: (2, 3), 8: (2, 4), 10: (2, 5), 12: (2, 6),
    15: (3, 5), 18: (3, 6), 21: (3, 7), 24: (3, 8), 27: (3, 9),
}  # fmt: skip


class Paper(StrEnum):
    """What is in the printer."""

    A4 = "a4"
    LETTER = "letter"

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points."""
        width, height = A4 if self is Paper.A4 else LETTER
        return float(width), float(height)


@dataclass(frozen=True, slots=True)
class SheetStyle:
    """How a sheet looks. Without a `login_url` there is no QR code."""

    wording: Wording
    wordsmith: Wordsmith
    paper: Paper = Paper.A4
    cards_per_page: int = 10
    login_url: str | None = None
    logo: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be printed. Raises InvalidValue, naming the option."""
        if self.cards_per_page not in LAYOUTS:
            raise InvalidValue(
                "per_page", self.cards_per_page, f"it is one of {', '.join(map(str, LAYOUTS))}"
            )
        if self.login_url is not None:
            check_login_url("login_url", self.login_url)


@dataclass(frozen=True, slots=True)
class Area:
    """A card's place on the page: its lower left corner and its size. `unit` is a design millimetre there."""

    x: float
    y: float
    width: float
    height: float

    @property
    def unit(self) -> float:
        """A millimetre of the design, in points on this card."""
        return float(mm * min(self.width / DESIGN_WIDTH, self.height / DESIGN_HEIGHT))

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width

    @property
    def top(self) -> float:
        """The upper edge."""
        return self.y + self.height
