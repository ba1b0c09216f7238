"""How the demonstration is shown: a table line by line as it happens, and the same as JSON."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Line:
    """One step. `at_seconds` counts from the first one; `took_ms` is how long it took."""

    at_seconds: float
    step: str
    outcome: str
    reason: str
    took_ms: float


class UnexpectedOutcome(Exception):  # noqa: N818 - it names what happened
    """The story did not go as it must."""


@dataclass
class Report:
    """Collects what happened and what was measured."""

    console: Console
    lines: list[Line] = field(default_factory=list)
    explanation: str = ""
    measured: dict[str, float | int | bool | str] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def began(self) -> float:
        """Return a stopwatch's start."""
        return time.monotonic()

    def step(self, began: float, step: str, outcome: str, reason: str = "") -> None:
        """Note a step that is over."""
        now = time.monotonic()
        line = Line(round(began - self._began, 3), step, outcome, reason, round((now - began) * 1000, 1))
        self.lines.append(line)
        if self.console.is_terminal:
            self.console.print(Text(f"  {line.step}: {line.outcome}", style="dim"))

    def require(self, holds: bool, expectation: str) -> None:
        """Stop the story loudly where it is not as it must be."""
        if not holds:
            raise UnexpectedOutcome(expectation)

    def table(self) -> Table:
        """Return everything as a table."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="What happened", title_justify="left")
        table.add_column("at", justify="right", no_wrap=True)
        table.add_column("step", ratio=4)
        table.add_column("outcome", ratio=3)
        table.add_column("reason or figures", ratio=5)
        table.add_column("took", justify="right", no_wrap=True)
        for line in self.lines:
            cells = (
                f"{line.at_seconds:.1f} s",
                line.step,
                line.outcome,
                line.reason,
                f"{line.took_ms:.1f} ms",
            )
            table.add_row(*(Text(cell) for cell in cells))
        return table

    def write_json(self, path: Path) -> None:
        """Write the same as JSON."""
        document = {"steps": [asdict(line) for line in self.lines], "measured": self.measured}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
