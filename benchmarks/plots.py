"""One plot of a result: what the scenarios did per second, or how the figures stand to their targets, as SVG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS, THEIRS = "#c2571a", "#7d8ca3"


def plot(result: Mapping[str, Any], path: Path) -> bool:
    """Draw packets per second and CPU time per packet of each scenario; False where there is nothing to compare.

    matplotlib is in the extra `bench` and nothing else needs it.
    """
    typical = result["typical"]
    if len(typical) < 2:
        return False
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "herotill"  # the same numbers give the same file
    from matplotlib import pyplot  # noqa: PLC0415

    figure, (rates, costs) = pyplot.subplots(
        1, 2, figsize=(11, 0.6 + 0.45 * len(typical)), layout="constrained"
    )
    names = list(reversed(typical))
    colours = [OURS if name.startswith("ours") else THEIRS for name in names]
    bars = rates.barh(names, [typical[name]["rate"] for name in names], color=colours)
    rates.bar_label(bars, fmt="{:,.0f}", padding=3)
    rates.margins(x=0.15)
    rates.set_title("packets per second")
    _stack(costs, names, typical)
    for axes in (rates, costs):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(result["title"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def _stack(axes: Any, names: list[str], typical: Mapping[str, Any]) -> None:
    """Stack the CPU time of the processes."""
    left = [0.0] * len(names)
    for process, colour in (("freeradius", "#38598b"), ("postgresql", "#8fb0d8"), ("meter", "#e0a458")):
        widths = [_known(typical[name].get(f"{process}_us")) for name in names]
        if any(widths):
            axes.barh(names, widths, left=left, color=colour, label=process)
            left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_title("CPU time per packet, µs")
    axes.set_yticks([])
    if any(left):
        axes.legend(frameon=False)


def _known(value: float | None) -> float:
    return value if value is not None and value == value else 0.0  # noqa: PLR0124 - nan differs from itself
