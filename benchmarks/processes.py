"""CPU time of processes, from /proc: what a packet costs is steadier than how many were answered."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 15.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time, user and system, of processes with all their descendants, ended ones included."""
    children = _children()
    pending, ticks = list(pids), 0
    while pending:
        pid = pending.pop()
        ticks += _ticks(pid)
        pending += children.get(pid, ())
    return ticks / _TICKS_PER_SECOND


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    # utime, stime, and those of the children waited for (proc(5), counted from the state, field 3).
    return sum(map(int, fields[11:15])) if fields else 0


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            found.setdefault(int(fields[1]), []).append(int(entry.name))
    return found


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process we started, politely and then not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def pin(pids: Iterable[int], core: int) -> None:
    """Let processes, with all their threads and children to come, run on one core only; one that has ended is let be."""
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})


def descendants(pid: int) -> list[int]:
    """Return a process and all below it."""
    children, found = _children(), [pid]
    for parent in found:
        found += children.get(parent, ())
    return found


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Poll until the callable is true. Raises TimeoutError saying what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s: {what}")
        time.sleep(0.02)
