"""Pictures of the reports: bars an owner reads at a glance. Drawn by matplotlib, which is an optional extra (`plots`).

No global state of matplotlib is touched, and a file is there as a whole or not at all.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing.report_periods import Span
from billing.report_sales import Expenditure, Sales
from billing.report_usage import CutCount, Usage
from herotill.quantities import Money, format_money, minor_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, LINE = "#22303c", "#6b7a86", "#dfe5ea"
# Told apart by colour-blind readers too (Okabe and Ito, without their yellow).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f8c8d")
REST = "others"
MAX_BARS = 20
_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def draw_usage(rows: Sequence[Usage], spans: Sequence[Span], file: Path) -> None:
    """Draw download and upload of each span, one upon the other."""
    down, up = [0] * len(spans), [0] * len(spans)
    places = {span: number for number, span in enumerate(spans)}
    for row in rows:
        down[places[row.span]] += row.download_octets
        up[places[row.span]] += row.upload_octets
    size, unit = _unit_of(max((a + b for a, b in zip(down, up, strict=True)), default=0))
    figure, axes = _canvas(f"Usage {_period(spans)}", _usage_line(sum(down), sum(up)))
    _stack(axes, {"download": [v / size for v in down], "upload": [v / size for v in up]}, spans)
    axes.set_ylabel(unit, color=QUIET)
    _save(figure, file)


def draw_sales(rows: Sequence[Sales], spans: Sequence[Span], by: str, file: Path) -> None:
    """Draw the sales of each span, plan upon plan, and beside it what each plan brought; a row for each currency."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    currencies = sorted({row.amount.currency for row in rows}) or [""]
    figure = Figure(figsize=(12, 0.9 + 4.3 * len(currencies)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(currencies), 2, squeeze=False, width_ratios=(2.4, 1))
    for currency, (left, right) in zip(currencies, grid, strict=True):
        own = [row for row in rows if row.amount.currency == currency]
        _draw_currency(own, spans, left, right, currency)
        right.set_title(f"by {by}", loc="left", color=QUIET, fontsize=11)
    _title(figure, f"Sales {_period(spans)}", "")
    _save(figure, file)


def draw_expenditure(rows: Sequence[Expenditure], spans: Sequence[Span], file: Path) -> None:
    """Draw who spent most, at most twenty of them in each currency."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    currencies = sorted({row.spent.currency for row in rows}) or [""]
    shown = [[row for row in rows if row.spent.currency == each][:MAX_BARS] for each in currencies]
    heights = [max(len(some), 2) for some in shown]
    figure = Figure(figsize=(10, 1.6 + 0.34 * sum(heights)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(currencies), 1, squeeze=False, height_ratios=heights)
    for some, (axes,) in zip(shown, grid, strict=True):
        names = [f"{row.name}  {row.account_number}" for row in some]
        _bars(axes, names, [row.spent for row in some], [COLOURS[0]] * len(some))
    _title(figure, f"Expenditure {_period(spans)}", "")
    _save(figure, file)


def draw_cuts(rows: Sequence[CutCount], spans: Sequence[Span], file: Path) -> None:
    """Draw how many sessions were cut in each span, reason upon reason."""
    places = {span: number for number, span in enumerate(spans)}
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.reason, [0.0] * len(spans))[places[row.span]] += row.cuts
    figure, axes = _canvas(f"Cuts {_period(spans)}", f"{sum(row.cuts for row in rows)} sessions")
    _stack(axes, _largest(values), spans)
    axes.set_ylabel("sessions", color=QUIET)
    _whole_numbers(axes)
    _save(figure, file)


def draw_online(moments: Sequence[datetime], counts: Sequence[int], zone: tzinfo, file: Path) -> None:
    """Draw how many sessions were running at each moment."""
    dates: Any = import_module("matplotlib.dates")  # its functions have no types
    most = max(counts, default=0)
    figure, axes = _canvas("Sessions online", f"{most} at most, {counts[-1] if counts else 0} at the end")
    # matplotlib's numbers of days, in local time; its own conversion warns of nothing then.
    places = dates.date2num([moment.astimezone(zone).replace(tzinfo=None) for moment in moments])
    axes.fill_between(places, counts, step="post", color=COLOURS[0], alpha=0.25, linewidth=0)
    axes.step(places, counts, where="post", color=COLOURS[0], linewidth=1.6)
    locator = dates.AutoDateLocator(minticks=4, maxticks=12)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axes.set_ylim(0, max(most * 1.15, 1))
    _whole_numbers(axes)
    _save(figure, file)


def _draw_currency(
    rows: Sequence[Sales], spans: Sequence[Span], left: "Axes", right: "Axes", currency: str
) -> None:
    scale = 10.0 ** minor_digits(currency)
    places = {span: number for number, span in enumerate(spans)}
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.label, [0.0] * len(spans))[places[row.span]] += row.amount.minor / scale
    stacked = _largest(values)
    _style(left)
    _stack(left, stacked, spans, legend=False)
    left.set_ylabel(currency, color=QUIET)
    total = Money(sum(row.amount.minor for row in rows), currency or "USD")
    left.set_title(f"{_grouped(total)} in all", loc="left", color=INK, fontsize=12)
    sums = [Money(round(sum(amounts) * scale), currency or "USD") for amounts in stacked.values()]
    _bars(right, list(stacked), sums, [_colour(number) for number in range(len(sums))])


def _largest(values: dict[str, list[float]]) -> dict[str, list[float]]:
    """Keep the largest few; the others are one."""
    ordered = sorted(values, key=lambda label: (-sum(values[label]), label))
    kept, rest = ordered[: len(COLOURS) - 1], ordered[len(COLOURS) - 1 :]
    shown = {label: values[label] for label in kept}
    if rest:
        shown[REST] = [sum(column) for column in zip(*(values[label] for label in rest), strict=True)]
    return shown


def _stack(
    axes: "Axes", values: dict[str, list[float]], spans: Sequence[Span], *, legend: bool = True
) -> None:
    """Draw bars upon bars; what is below zero hangs below it."""
    above, below = [0.0] * len(spans), [0.0] * len(spans)
    for number, (label, heights) in enumerate(values.items()):
        bottoms = [
            low if height < 0 else high for height, high, low in zip(heights, above, below, strict=True)
        ]
        axes.bar(range(len(spans)), heights, 0.82, bottom=bottoms, color=_colour(number), label=label)
        above = [high + max(height, 0) for high, height in zip(above, heights, strict=True)]
        below = [low + min(height, 0) for low, height in zip(below, heights, strict=True)]
    if min(below, default=0) < 0:
        axes.axhline(0, color=QUIET, linewidth=0.8)
    _name_spans(axes, spans)
    if legend and values:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1.0), ncols=len(values), frameon=False, labelcolor=INK
        )


def _bars(axes: "Axes", names: Sequence[str], amounts: Sequence[Money], colours: Sequence[str]) -> None:
    """Draw lying bars with the amount at the end of each."""
    _style(axes)
    scales = [10.0 ** minor_digits(amount.currency) for amount in amounts]
    widths = [amount.minor / scale for amount, scale in zip(amounts, scales, strict=True)]
    bars = axes.barh(range(len(names)), widths, 0.68, color=list(colours))
    axes.bar_label(bars, [_grouped(amount) for amount in amounts], padding=4, color=INK, fontsize=9)
    axes.set_yticks(range(len(names)), [_shortened(name) for name in names], color=INK)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.45)


def _canvas(title: str, line: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    figure = Figure(figsize=(11, 4.8), layout="constrained", facecolor="white")
    axes = figure.subplots()
    _style(axes)
    _title(figure, title, line)
    return figure, axes


def _title(figure: "Figure", title: str, line: str) -> None:
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.15, h_pad=0.12)
    figure.suptitle(title, x=0.02, ha="left", fontsize=16, fontweight="bold", color=INK)
    if line and figure.axes:
        figure.axes[0].set_title(line, loc="left", fontsize=12, color=QUIET)


def _style(axes: "Axes") -> None:
    """Leave away what says nothing."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=QUIET)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _name_spans(axes: "Axes", spans: Sequence[Span]) -> None:
    """Name as many spans as there is room for."""
    every = -(-len(spans) // 16)
    shown = range(0, len(spans), every)
    axes.set_xticks(list(shown), [_name(spans, number) for number in shown])
    axes.set_xlim(-0.7, len(spans) - 0.3)


def _name(spans: Sequence[Span], number: int) -> str:
    """Name a day by its date, and by its month where that is new; a longer span by its first day; many months by name."""
    first = spans[number].first_day
    days = (spans[number].end_day - first).days
    if days > 7:
        return f"{first:%b %Y}" if first.day == 1 else f"{first.day} {first:%b}"
    return f"{first.day}\n{first:%b}" if number == 0 or first.day <= 2 else f"{first.day}"


def _period(spans: Sequence[Span]) -> str:
    first, last = spans[0].first_day, spans[-1].end_day - timedelta(days=1)
    if first == last:
        return f"on {first.day} {first:%B %Y}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {last.day} {last:%B %Y}"
    return f"{first.day} {first:%B %Y} to {last.day} {last:%B %Y}"


def _usage_line(down: int, up: int) -> str:
    return f"{_readable(down)} down, {_readable(up)} up"


def _readable(octets: int) -> str:
    size, unit = _unit_of(octets)
    return f"{octets / size:,.3g} {unit}" if octets / size < 1000 else f"{octets / size:,.0f} {unit}"


def _unit_of(octets: int) -> tuple[int, str]:
    return next(((size, unit) for size, unit in _UNITS if octets >= size), _UNITS[-1])


def _grouped(amount: Money) -> str:
    """Write an amount with its thousands told apart, without decimals that are nothing."""
    number, currency = format_money(amount).split(" ")
    whole, _, decimals = number.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    shown = f"{sign}{int(digits):,}" + (f".{decimals}" if decimals.strip("0") else "")
    return f"{shown} {currency}"


def _shortened(name: str) -> str:
    # A dollar sign would be read as mathematics.
    return (name if len(name) <= 34 else f"{name[:33]}…").replace("$", r"\$")


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - an optional extra

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _save(figure: Any, file: Path) -> None:
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        figure.savefig(unfinished, dpi=150, format=file.suffix[1:].lower())
        unfinished.replace(file)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()
