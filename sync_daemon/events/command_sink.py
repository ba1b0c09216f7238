"""A program that is run for each event: an SMS gateway's client, a script. Exit status 0 says that it is delivered."""

import os
import signal
import subprocess
from contextlib import suppress

from sync_daemon.events.configuration import CommandTarget
from sync_daemon.events.envelope import Envelope
from sync_daemon.events.outcomes import Delivered, Failed, Outcome


class CommandSink:
    """Runs a program without a shell, with the event as JSON on its standard input and its key in HEROTILL_EVENT_KEY."""

    def __init__(self, target: CommandTarget, timeout_seconds: float) -> None:
        self._command = target.command
        self._timeout_seconds = timeout_seconds

    def deliver(self, envelope: Envelope) -> Outcome:
        """Run it and wait. What it prints is not kept: it may repeat a secret."""
        if envelope.message_error is not None:
            return Failed(envelope.message_error, is_permanent=True)
        environment = os.environ | {"HEROTILL_EVENT_KEY": envelope.delivery.event_key}
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return Failed(f"the command cannot be run: {error.strerror}")
        try:
            process.communicate(envelope.to_json() + b"\n", timeout=self._timeout_seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return Failed(f"the command did not end within {self._timeout_seconds:.0f} s")
        return Delivered() if process.returncode == 0 else Failed(f"exit status {process.returncode}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill it with everything it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
