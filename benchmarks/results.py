"""What a benchmark found: runs, figures against their targets, the machine it was on. Written as JSON."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring import Runs, typical

TIMES = "\N{MULTIPLICATION SIGN}"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a claim. `target` is None where it is only told."""

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    stretch: float | None = None
    at_least: bool = True

    @property
    def verdict(self) -> str:
        """`pass`, `miss`, `stretch`, or nothing where there is no target."""
        if self.target is None:
            return ""
        if not self._reaches(self.target):
            return "miss"
        return "stretch" if self.stretch is not None and self._reaches(self.stretch) else "pass"

    def _reaches(self, mark: float) -> bool:
        return self.value >= mark if self.at_least else self.value <= mark

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object, with its verdict."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Result:
    """Everything one benchmark found."""

    claim: str
    title: str
    settings: Mapping[str, object]
    runs: Runs
    figures: tuple[Figure, ...]
    measured_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "claim": self.claim,
            "title": self.title,
            "measured_at": self.measured_at.isoformat(timespec="seconds"),
            "machine": machine(),
            "settings": dict(self.settings),
            "figures": [figure.as_json() for figure in self.figures],
            "typical": {name: typical(runs) for name, runs in self.runs.items() if runs},
            "runs": {name: [run.as_json() for run in runs] for name, runs in self.runs.items()},
        }

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n")


def machine() -> dict[str, object]:
    """Describe the machine, as far as it matters."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / (1 << 20)) if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "freeradius": _freeradius(),
    }


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _freeradius() -> str:
    text = subprocess.run(("freeradius", "-v"), capture_output=True, text=True, check=False).stdout
    found = re.search(r"FreeRADIUS Version ([\d.]+)", text)
    return found[1] if found else "unknown"
