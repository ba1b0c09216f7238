"""Printed vouchers: what a card says, what its QR code opens, and that a sheet is a PDF of so many pages."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from billing.new_batches import CodeType
from billing.printing import Card
from billing.sheet_layout import LAYOUTS, Paper, SheetStyle
from billing.sheet_qr import draw_qr
from billing.sheet_wording import DEFAULT_TEMPLATE, Wording, Wordsmith, login_url
from billing.sheets import write_sheet
from billing.terms import PlanTerms
from herotill.errors import InvalidValue
from herotill.quantities import Money

LOGIN = "http://10.5.50.1/login?username={code}&password={password}"
WORDS = Wordsmith(ZoneInfo("Africa/Nairobi"))
CARD = Card(
    type=CodeType.TICKET,
    code="RA7D91Q",
    password="",
    plan="Day",
    terms=PlanTerms(price=Money(5000, "KES"), quota_octets=2**30, seconds_after_first_use=86_400),
    price=Money(5000, "KES"),
    serial="12-7",
    state="printed",
    use_by=datetime(2027, 2, 28, 21, 0, tzinfo=UTC),
)


def _style(**more: object) -> SheetStyle:
    return replace(SheetStyle(Wording.of_file(DEFAULT_TEMPLATE), WORDS), **more)  # type: ignore[arg-type]


def _pdf(cards: list[Card], style: SheetStyle) -> bytes:
    file = io.BytesIO()
    write_sheet(file, cards, style)
    return file.getvalue()


def test_r11_a_card_says_plan_price_validity_and_until_when() -> None:
    values = WORDS.values_of(CARD)
    assert values["validity"] == "Valid 1 day from the first login"
    assert values["quota"] == "1 GiB"
    assert values["use_by"] == "01 Mar 2027 00:00"  # in the operator's time zone
    assert values["price"] == "50.00 KES"


def test_r11_a_line_that_has_nothing_to_say_is_left_out() -> None:
    values = WORDS.values_of(replace(CARD, use_by=None, price=None))
    assert WORDS.fill("Use it before {use_by}", values) == ""
    assert WORDS.fill("Costs {price}", values) == ""
    assert WORDS.fill("Plan {plan}", values) == "Plan Day"


@given(st.text(min_size=1), st.text())
def test_r11_whatever_a_code_holds_the_address_stays_one(code: str, password: str) -> None:
    card = replace(CARD, code=code, password=password)
    values = {"code": code, "password": password}
    if not (code + password).isascii():
        return
    opened = login_url(LOGIN, values)
    assert re.fullmatch(r"http://10\.5\.50\.1/login\?username=[^&?#\s]*&password=[^&?#\s]*", opened), card


def test_r11_a_refill_opens_the_login_page_and_is_not_typed_in_as_a_user() -> None:
    wording = Wording.of_file(DEFAULT_TEMPLATE)
    assert wording.address_of(replace(CARD, type=CodeType.REFILL), LOGIN) == "http://10.5.50.1/login"
    assert wording.address_of(CARD, LOGIN) == LOGIN


@pytest.mark.parametrize("per_page", LAYOUTS)
@pytest.mark.parametrize("paper", Paper)
def test_r11_cards_per_page_make_so_many_pages(per_page: int, paper: Paper) -> None:
    cards = [CARD] * (per_page + 1)
    style = _style(cards_per_page=per_page, paper=paper, login_url=LOGIN)
    pdf = _pdf(cards, style)
    assert pdf.startswith(b"%PDF")
    width, height = paper.size
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 2
    assert f"{width:g}"[:5].encode() in pdf
    assert f"{height:g}"[:5].encode() in pdf


@pytest.mark.parametrize("kind", CodeType)
def test_r11_every_kind_of_code_is_printed(kind: CodeType) -> None:
    card = replace(CARD, type=kind, password="secret7" if kind.is_named else "")
    assert _pdf([card], _style(login_url=LOGIN)) != _pdf([card], _style())


def test_r11_a_logo_is_printed_and_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    logo, other = tmp_path / "logo.png", tmp_path / "logo.txt"
    segno.make_qr("x").save(str(logo))
    other.write_text("no picture")
    assert b"/Subtype /Image" in _pdf([CARD], _style(logo=logo))
    with pytest.raises(InvalidValue) as caught:
        _pdf([CARD], _style(logo=other))
    assert caught.value.field == "logo"


def test_r11_a_template_of_ones_own_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('title = "Karibu"\nlines = ["{validity}"]\n[labels]\nticket = "Kodi"\n')
    wording, ours = Wording.of_file(own), Wording.of_file(DEFAULT_TEMPLATE)
    assert (wording.title, wording.lines, wording.labels["ticket"]) == ("Karibu", ("{validity}",), "Kodi")
    assert (wording.footer, wording.labels["refill"]) == (ours.footer, ours.labels["refill"])


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("title = 5", "title"),
        ('title = "{who}"', "title"),
        ('title = "{"', "title"),
        ('color = "red"', "color"),
        ('tilte = "x"', "tilte"),
        ("lines = 3", "lines"),
        ("labels = 3", "labels"),
        ("[labels]\nticket = 3", "labels.ticket"),
        ("this is no TOML", "template"),
        ('refill_url = "ftp://x"', "refill_url"),
    ],
)
def test_r11_a_template_that_is_wrong_names_its_key(tmp_path: Path, text: str, field: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(InvalidValue) as caught:
        Wording.of_file(own)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "url", ["login", "http://a b", "http://x/{who}", "http://x/{", "javascript:alert(1)"]
)
def test_r11_an_address_no_phone_could_open_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        _style(login_url=url)
    assert caught.value.field == "login_url"


def test_r11_letters_the_built_in_fonts_lack_need_a_font() -> None:
    with pytest.raises(InvalidValue, match="TrueType"):
        _pdf([replace(CARD, plan="Дневной")], _style())


def test_r11_the_qr_code_is_drawn_module_by_module() -> None:
    drawn: list[str] = []

    class Paper:
        """A canvas that keeps what is drawn."""

        def __getattr__(self, name: str) -> object:
            return drawn.append if name == "addLiteral" else lambda *_: None

    draw_qr(Paper(), "http://10.5.50.1/login", (0, 0), 30)
    dark = {
        (int(x) + step, int(y))
        for x, y, length in re.findall(r"(\d+) (\d+) (\d+) 1 re", drawn[0])
        for step in range(int(length))
    }
    rows = segno.make_qr("http://10.5.50.1/login", error="m", mask=3, boost_error=False).matrix
    expected = {
        (x, len(rows) - 1 - y) for y, row in enumerate(rows) for x, module in enumerate(row) if module
    }
    assert dark == expected
