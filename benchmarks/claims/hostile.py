"""A million hostile answers to requests that are on their way: forged, stale, truncated, duplicated, random.

The judge is the test that runs on every change with fewer (tests/contract/test_coa_hostile.py): every request must still get
its right answer, memory must not grow, and nothing of what came may be in a log.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort
from benchmarks.saying import say
from herotill.errors import Refused

TITLE = "Hostile answers to dynamic authorization"
DATAGRAMS, QUICK_DATAGRAMS = 1_000_000, 20_000
TEST = Path("tests/contract/test_coa_hostile.py")
ROOT = Path(__file__).parents[2]
_SAID = re.compile(r"(\d+) hostile datagrams in ([\d.]+) s: (.*)")


def run(effort: Effort, _names: tuple[str, ...] = ()) -> Result:
    """Run the test with a million and tell how long they took. Raises Refused where one of them had an effect."""
    datagrams = QUICK_DATAGRAMS if effort.quick else DATAGRAMS
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:xdist", "-p", "no:cacheprovider", str(TEST)),
        cwd=ROOT,
        env=os.environ | {"HEROTILL_HOSTILE_DATAGRAMS": str(datagrams)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = _SAID.search(done.stdout)
    if done.returncode != 0 or said is None:
        raise Refused(f"a hostile answer had an effect: {done.stdout[-2000:]}", "R31")
    say(said[0])
    seconds = float(said[2])
    figures = (
        Figure("hostile answers without any effect", int(said[1]), "", datagrams),
        Figure("ignored a second", datagrams / seconds, "/s"),
        Figure("sending and ignoring them took", seconds, "s"),
    )
    return Result("hostile", TITLE, {"datagrams": datagrams}, {}, figures)
