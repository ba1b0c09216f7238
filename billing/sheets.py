"""Voucher cards as a PDF to print and cut: plan, price, code, QR code that opens the login page, validity (rule R11).

Owns where things stand on a sheet; what they say is in billing/sheet_wording.py.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reportlab.lib.colors import HexColor, white
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfdoc import PDFDictionary, PDFName, PDFStream
from reportlab.pdfgen.canvas import Canvas

from billing.codes import groups_of
from billing.new_batches import Progress, no_progress
from billing.printing import Card
from billing.sheet_fonts import Fonts, fitted, load_fonts, wrapped
from billing.sheet_layout import CARD_INSET, LAYOUTS, PAGE_MARGIN, Area, SheetStyle
from billing.sheet_qr import draw_qr
from billing.sheet_wording import login_url
from herotill.errors import InvalidValue

CUT_COLOR = HexColor("#b9c2c7")
BORDER_COLOR = HexColor("#d5dbdf")


@dataclass(frozen=True, slots=True)
class _Desk:
    """What every card is drawn with."""

    canvas: Canvas
    style: SheetStyle
    fonts: Fonts
    logo: ImageReader | None


def write_sheet(
    file: BinaryIO, cards: Sequence[Card], style: SheetStyle, progress: Progress = no_progress
) -> int:
    """Write the cards as a PDF and return how many pages; `progress` is told how many cards since it was told last.

    Raises InvalidValue for a logo or a font that cannot be used.
    """
    # invariant: the same cards make the same file.
    canvas = Canvas(file, pagesize=style.paper.size, pageCompression=1, invariant=1)
    canvas.setTitle(style.wording.title)
    canvas.setCreator("HeroTill RADIUS")
    desk = _Desk(canvas, style, load_fonts(style.wording), _load_logo(style.logo))
    pages = range(0, len(cards), style.cards_per_page)
    for start in pages:
        on_page = cards[start : start + style.cards_per_page]
        _draw_page(desk, on_page)
        _pack_page(canvas)
        progress(len(on_page))
    canvas.save()
    return len(pages)


def _pack_page(canvas: Canvas) -> None:
    """Compress the page that was just drawn, which reportlab would do at the end: ten thousand pages fit the memory so."""
    page = canvas._doc.Pages.pages[-1]  # there is no public way
    packed = zlib.compress(page.stream.encode())
    page.Contents = PDFStream(PDFDictionary({"Filter": PDFName("FlateDecode")}), packed)
    page.stream = ""


def _load_logo(path: Path | None) -> ImageReader | None:
    if path is None:
        return None
    try:
        logo = ImageReader(str(path))
        logo.getRGBData()
    except Exception as error:  # the imaging library's errors are many
        raise InvalidValue("logo", str(path), f"it is a PNG or JPEG picture: {error}") from None
    return logo


def _draw_page(desk: _Desk, cards: Sequence[Card]) -> None:
    columns, rows = LAYOUTS[desk.style.cards_per_page]
    page_width, page_height = desk.style.paper.size
    width = (page_width - 2 * PAGE_MARGIN) / columns
    height = (page_height - 2 * PAGE_MARGIN) / rows
    _draw_cut_lines(desk.canvas, (columns, rows), (page_width, page_height))
    for index, card in enumerate(cards):
        row, column = divmod(index, columns)
        cell = Area(
            PAGE_MARGIN + column * width, page_height - PAGE_MARGIN - (row + 1) * height, width, height
        )
        inner = Area(
            cell.x + CARD_INSET, cell.y + CARD_INSET, width - 2 * CARD_INSET, height - 2 * CARD_INSET
        )
        _draw_card(desk, card, inner)
    desk.canvas.showPage()


def _draw_cut_lines(canvas: Canvas, grid: tuple[int, int], page: tuple[float, float]) -> None:
    """Short marks in the margin, where no card is spoiled by them."""
    canvas.setStrokeColor(CUT_COLOR)
    canvas.setLineWidth(0.4)
    columns, rows = grid
    length, width, height = PAGE_MARGIN * 0.55, *page
    for column in range(columns + 1):
        x = PAGE_MARGIN + column * (width - 2 * PAGE_MARGIN) / columns
        canvas.line(x, 0, x, length)
        canvas.line(x, height - length, x, height)
    for row in range(rows + 1):
        y = PAGE_MARGIN + row * (height - 2 * PAGE_MARGIN) / rows
        canvas.line(0, y, length, y)
        canvas.line(width - length, y, width, y)


def _draw_card(desk: _Desk, card: Card, area: Area) -> None:
    values = desk.style.wordsmith.values_of(card)
    band_height = 11.5 * area.unit
    _draw_frame(desk, area, band_height)
    _draw_band(desk, values, area, band_height)
    body = Area(
        area.x + 4 * area.unit,
        area.y + 3 * area.unit,
        area.width - 8 * area.unit,
        area.height - band_height - 5.5 * area.unit,
    )
    qr_side = _draw_qr(desk, card, values, body)
    text_width = body.width - (qr_side + 3.5 * area.unit if qr_side else 0)
    text = Area(body.x, body.y, text_width, body.height)
    _draw_login(desk, card, text, area.unit)
    _draw_small_print(desk, card, values, (text, area.unit))
    _draw_serial(desk, values, (body, qr_side, area.unit))


def _draw_frame(desk: _Desk, area: Area, band_height: float) -> None:
    canvas, radius = desk.canvas, 2.2 * area.unit
    canvas.saveState()
    outline = canvas.beginPath()
    outline.roundRect(area.x, area.y, area.width, area.height, radius)
    canvas.clipPath(outline, stroke=0, fill=0)
    canvas.setFillColor(HexColor(desk.style.wording.color))
    canvas.rect(area.x, area.top - band_height, area.width, band_height, stroke=0, fill=1)
    canvas.restoreState()
    canvas.setStrokeColor(BORDER_COLOR)
    canvas.setLineWidth(0.6)
    canvas.roundRect(area.x, area.y, area.width, area.height, radius, stroke=1, fill=0)


def _draw_band(desk: _Desk, values: dict[str, str], area: Area, band_height: float) -> None:
    """The plan on the left, the price on the right; the logo, on white, before the plan."""
    canvas, unit, fonts = desk.canvas, area.unit, desk.fonts
    left = area.x + 4 * unit + _draw_logo(desk, area, band_height)
    price_size = 13 * unit / mm
    price_width = fonts.width(values["price"], price_size, bold=True)
    room = area.right - 4 * unit - left - (price_width + 3 * unit if price_width else 0)
    canvas.setFillColor(white)
    canvas.setFont(fonts.bold, price_size)
    middle = area.top - band_height / 2
    canvas.drawRightString(area.right - 4 * unit, middle - price_size * 0.35, values["price"])
    _draw_plan(desk, values, (left, middle, room), unit)


def _draw_plan(desk: _Desk, values: dict[str, str], place: tuple[float, float, float], unit: float) -> None:
    """The plan's name over the title; one too long takes both lines."""
    canvas, fonts, (left, middle, room) = desk.canvas, desk.fonts, place
    title = desk.style.wordsmith.fill(desk.style.wording.title, values)
    plan, size = values["plan"], 13 * unit / mm
    if fonts.width(plan, size * 0.75, bold=True) > room:
        size = 8.4 * unit / mm
        first, *rest = wrapped(fonts, plan, size, room, bold=True)
        title_size, title_font = size, fonts.bold
        plan, title = first, " ".join(rest)
    else:
        title_size, title_font = 6.6 * unit / mm, fonts.plain
    plan, size = fitted(fonts, plan, size, room, bold=True)
    canvas.setFont(fonts.bold, size)
    canvas.drawString(left, middle + 0.1 * unit if title else middle - size * 0.35, plan)
    title, title_size = fitted(fonts, title, title_size, room, bold=title_font == fonts.bold)
    canvas.setFont(title_font, title_size)
    canvas.drawString(left, middle - 3.3 * unit, title)


def _draw_logo(desk: _Desk, area: Area, band_height: float) -> float:
    """Draw the logo and return how much room it took."""
    if desk.logo is None:
        return 0
    canvas, unit = desk.canvas, area.unit
    width, height = desk.logo.getSize()
    side = band_height - 2.4 * unit
    drawn = float(min(side * width / height, 24 * unit))
    x, y = area.x + 2.4 * unit, area.top - band_height + 1.2 * unit
    canvas.setFillColor(white)
    canvas.roundRect(x, y, drawn + 1.6 * unit, side, 1.2 * unit, stroke=0, fill=1)
    canvas.drawImage(
        desk.logo,
        x + 0.8 * unit,
        y + 0.8 * unit,
        drawn,
        side - 1.6 * unit,
        mask="auto",
        preserveAspectRatio=True,
    )
    return drawn + 2.4 * unit


def _draw_qr(desk: _Desk, card: Card, values: dict[str, str], body: Area) -> float:
    """Draw the QR code at the right and return its side; nothing without an address to open."""
    if desk.style.login_url is None:
        return 0
    side = float(min(body.height * 0.92, body.width * 0.36))
    desk.canvas.setFillColor(HexColor(desk.style.wording.text_color))
    address = desk.style.wording.address_of(card, desk.style.login_url)
    draw_qr(desk.canvas, login_url(address, values), (body.right - side, body.top - side), side)
    return side


def _draw_login(desk: _Desk, card: Card, text: Area, unit: float) -> None:
    """The code, and the password where it has one of its own: what people come for, as large as fits."""
    wording = desk.style.wording
    fields = [(wording.labels[card.type], [card.code] if card.type.is_named else groups_of(card.code))]
    if card.password:
        fields.append((wording.labels["password"], [card.password]))
    # With room to spare, as without a QR code, the code is larger; one size for both, as the pair they are.
    largest = (15 if card.password else 19 if desk.style.login_url else 25) * unit / mm
    size = min(
        fitted(desk.fonts, "".join(parts), largest, text.width * 0.97, code=True)[1] for _, parts in fields
    )
    free = text.height - len(fields) * (size + 4.2 * unit) - 16 * unit
    y = text.top - 2.2 * unit - max(0, free) * 0.35
    for label, parts in fields:
        desk.canvas.setFillColor(HexColor(wording.muted_color))
        desk.canvas.setFont(desk.fonts.plain, 6.2 * unit / mm)
        desk.canvas.drawString(text.x, y, label)
        _draw_code(desk, parts, (text.x, y - size * 0.95), size)
        y -= size * 0.95 + 4.2 * unit


def _draw_code(desk: _Desk, parts: Sequence[str], corner: tuple[float, float], size: float) -> None:
    """Groups are told apart by their colour, not by blanks: nobody shall type a blank."""
    x, y = corner
    desk.canvas.setFont(desk.fonts.code, size)
    for index, part in enumerate(parts):
        wording = desk.style.wording
        desk.canvas.setFillColor(HexColor(wording.color if index % 2 else wording.text_color))
        desk.canvas.drawString(x, y, part)
        x += desk.fonts.width(part, size, code=True) + size * 0.06


def _draw_small_print(desk: _Desk, card: Card, values: dict[str, str], place: tuple[Area, float]) -> None:
    """From below: what to do with the code, and over it how long it is valid."""
    (text, unit), wording = place, desk.style.wording
    footer = desk.style.wordsmith.fill(
        wording.footer_of(card, has_qr=desk.style.login_url is not None), values
    )
    size, y = 6.2 * unit / mm, text.y
    desk.canvas.setFillColor(HexColor(wording.muted_color))
    desk.canvas.setFont(desk.fonts.plain, size)
    for line in reversed(wrapped(desk.fonts, footer, size, text.width)[:2]):
        desk.canvas.drawString(text.x, y, line)
        y += size * 1.2
    y += 1.2 * unit
    desk.canvas.setFillColor(HexColor(wording.text_color))
    for template in reversed(wording.lines):
        line, size = fitted(
            desk.fonts, desk.style.wordsmith.fill(template, values), 7.6 * unit / mm, text.width
        )
        if line:
            desk.canvas.setFont(desk.fonts.plain, size)
            desk.canvas.drawString(text.x, y, line)
            y += size * 1.35


def _draw_serial(desk: _Desk, values: dict[str, str], place: tuple[Area, float, float]) -> None:
    body, qr_side, unit = place
    serial = f"{desk.style.wording.labels['serial']} {values['serial']}"
    desk.canvas.setFillColor(HexColor(desk.style.wording.muted_color))
    size = 5.8 * unit / mm
    desk.canvas.setFont(desk.fonts.plain, size)
    if qr_side:
        desk.canvas.drawCentredString(body.right - qr_side / 2, body.y, serial)
    else:
        desk.canvas.drawRightString(body.right, body.top - 2.2 * unit, serial)
