"""The images the tests run, built by docker/build as an operator builds them. Layers of earlier builds serve again."""

import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
BUILD_SECONDS = 1500


def debian_suite() -> str:
    """Return the Debian that HEROTILL_DOCKER_SUITE names; else that of this machine where we support it, else Debian 12."""
    if chosen := os.environ.get("HEROTILL_DOCKER_SUITE"):
        return chosen
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    return "trixie" if "VERSION_CODENAME=trixie" in text else "bookworm"


def build(host: str, suite: str, tag: str) -> tuple[float, str]:
    """Build all images; return how long that took and what was printed. Raises AssertionError with the output."""
    began = time.monotonic()
    done = subprocess.run(
        (str(REPOSITORY / "docker/build"), "--suite", suite, "--tag", tag, "--quiet"),
        env={**os.environ, "DOCKER_HOST": host, "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return time.monotonic() - began, done.stdout
