"""Percentiles, medians and ratios. Pure."""

from collections.abc import Iterable, Sequence
from statistics import median


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of values in ascending order; nan of none."""
    if not ordered:
        return float("nan")
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def median_of(values: Iterable[float]) -> float:
    """Return the median; nan of none."""
    known = list(values)
    return median(known) if known else float("nan")


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios round by round: both of a round met the same neighbours on the machine."""
    return median_of(our / their for our, their in zip(ours, theirs, strict=True) if their)
