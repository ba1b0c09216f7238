"""`herotill serve --log-format json`: every line of the daemon and its workers is an object."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sync_daemon.logs import JsonLines


@pytest.mark.parametrize("worker", ["metrics"])
def test_every_line_of_the_daemon_and_its_workers_is_json(state: Path, worker: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HEROTILL_LOG_FORMAT"}
    with (state / "herotill.yaml").open("a") as settings:
        settings.write("metrics_port: 1\n" if os.geteuid() else "metrics_port: 0\n")
    command = (sys.executable, "-m", "sync_daemon", "--state", str(state), "serve", "--only", worker)
    with subprocess.Popen(
        (*command, "--log-format", "json"), stderr=subprocess.PIPE, text=True, env=environment
    ) as daemon:
        assert daemon.stderr is not None
        first = json.loads(daemon.stderr.readline())
        daemon.send_signal(signal.SIGTERM)
        lines = [first, *(json.loads(line) for line in daemon.stderr)]
        assert daemon.wait(20) == 0
    assert first["message"].startswith(f"started {worker}")
    assert {"at", "level", "logger", "worker", "message"} <= first.keys()
    assert lines[-1]["message"] == "all workers have ended"


def test_what_is_logged_beside_the_message_and_a_traceback_are_fields() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "%s failed", ("meter",), sys.exc_info(), extra={"octets": 7}
        )
    line = JsonLines().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["octets"], found["level"]) == ("meter failed", 7, "error")
    assert "ValueError" in found["traceback"]
