"""Results as tables, read from their JSON: for people at the terminal, and as Markdown for the README."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = {
    "rate": "packets/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "freeradius_us": "FreeRADIUS µs",
    "postgresql_us": "PostgreSQL µs",
    "meter_us": "meter µs",
    "generator_us": "generator µs",
    "lost": "lost",
    "late": "late",
    "wrong": "wrong",
    "settled_seconds": "settled s",
}
"""Figures of a scenario and their headings; µs are CPU time per packet."""

Rows = list[list[str]]


def number(value: float | None) -> str:
    """Write a number with three significant digits or all of a whole one; nothing for one that is not known."""
    if value is None or isnan(value):
        return ""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def scenario_rows(result: Mapping[str, Any]) -> Rows:
    """Return the heading and a row for each scenario."""
    rows = [["scenario", *COLUMNS.values()]]
    for name, figures in result["typical"].items():
        rows.append([name, *(number(figures.get(column)) for column in COLUMNS)])
    return rows


def figure_rows(figures: Sequence[Mapping[str, Any]]) -> Rows:
    """Return the heading and a row for each figure with its target."""
    rows = [["figure", "measured", "target", "stretch", ""]]
    for figure in figures:
        sign = "≥" if figure["at_least"] else "≤"
        marks = [
            f"{sign} {number(figure[key])}" if figure[key] is not None else ""
            for key in ("target", "stretch")
        ]
        value = number(figure["value"])
        measured = f"{value} {figure['unit']}".strip() if value else "never"
        rows.append([figure["name"], measured, *marks, figure["verdict"]])
    return rows


def markdown(rows: Rows) -> str:
    """Render rows as a Markdown table, numbers to the right."""
    heading, *body = rows
    rule = ["---", *("---:" for _ in heading[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heading, rule, *body))


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print both tables."""
    if result["typical"]:
        console.print(_table(scenario_rows(result), result["title"]))
    console.print(_table(figure_rows(result["figures"]), f"{result['claim']}: against the targets"))


def _table(rows: Rows, title: str) -> Table:
    heading, *body = rows
    # A column that says nothing of any scenario is left out.
    kept = [at for at in range(len(heading)) if at == 0 or any(row[at] for row in body)]
    table = Table(title=title, title_justify="left")
    for at in kept:
        table.add_column(heading[at], justify="left" if at == 0 else "right")
    for row in body:
        table.add_row(*(row[at] for at in kept))
    return table
