"""When a delivery that failed is tried again."""

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 3600.0


def pause_seconds(failures: int, chance: float, first_seconds: float = FIRST_PAUSE_SECONDS) -> float:
    """Return how long to wait after so many failures in a row: doubling, up to an hour.

    `chance` in [0, 1) spreads it over half to the whole, so that what failed together does not come back together.
    """
    longest: float = min(first_seconds * 2.0 ** min(failures - 1, 60), LONGEST_PAUSE_SECONDS)
    return longest * (0.5 + chance / 2)
