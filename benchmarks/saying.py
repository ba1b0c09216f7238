"""Tells the person who waits what is going on."""

import sys


def say(sentence: str) -> None:
    """Print a line to standard error."""
    print(sentence, file=sys.stderr, flush=True)
