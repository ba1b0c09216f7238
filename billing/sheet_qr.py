"""A QR code as PDF drawing operators: sharp at every size, and quick for many."""

import re

import segno
from reportlab.pdfgen.canvas import Canvas

from herotill.errors import InvalidValue

# Choosing the prettiest of the eight masks costs five times the rest; any mask is valid (ISO/IEC 18004).
MASK = 3
_DARK = re.compile(b"\x01+")


def draw_qr(canvas: Canvas, text: str, corner: tuple[float, float], side: float) -> None:
    """Draw it in the colour set, its lower left corner here, so wide, without a quiet zone of its own."""
    rows = _modules(text)
    scale = side / len(rows)
    canvas.saveState()
    canvas.translate(*corner)
    canvas.scale(scale, scale)
    canvas.addLiteral(_rectangles(rows))
    canvas.restoreState()


def _modules(text: str) -> tuple[bytearray, ...]:
    try:
        return segno.make_qr(text, error="m", mask=MASK, boost_error=False).matrix
    except segno.DataOverflowError:
        raise InvalidValue("login_url", text, "it is too long for a QR code") from None


def _rectangles(rows: tuple[bytearray, ...]) -> str:
    """One rectangle for each run of dark modules in a row, filled together."""
    last = len(rows) - 1
    drawn = [
        f"{run.start()} {last - index} {run.end() - run.start()} 1 re"
        for index, row in enumerate(rows)
        for run in _DARK.finditer(row)
    ]
    return "\n".join([*drawn, "f"])
