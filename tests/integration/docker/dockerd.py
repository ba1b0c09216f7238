"""The Docker daemon of the tests: the one that runs, else one started for them. Says what is missing otherwise."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 40.0
STOP_SECONDS = 20.0


class NoDocker(Exception):  # noqa: N818 - a reason, not a failure
    """Why there can be no Docker here."""


@contextmanager
def docker_host() -> Iterator[str]:
    """Where a Docker daemon listens. Raises NoDocker; stops the daemon at the end if it was started here."""
    if os.environ.get("HEROTILL_DOCKER") == "no":
        raise NoDocker("HEROTILL_DOCKER=no")
    # Daemons and images are root's business; who merely may use Docker is as good as root, too.
    present = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if _answers(present):
        yield present
        return
    if os.geteuid() != 0:
        raise NoDocker("no Docker daemon answers, and starting one needs root")
    if shutil.which("dockerd") is None:
        raise NoDocker(
            "no Docker daemon answers, and dockerd is not installed: apt install docker.io iptables"
        )
    with _started() as host:
        yield host


def _answers(host: str) -> bool:
    """Ask in the barest way: a client of the library's leaves sockets open where nobody answers."""
    if not host.startswith("unix://"):
        return True  # somebody has set DOCKER_HOST on purpose; what is wrong there should be seen
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.settimeout(5)
            opened.connect(host.removeprefix("unix://"))
            opened.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in opened.recv(4096)
    except OSError:
        return False


@contextmanager
def _started() -> Iterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="herotill-dockerd-"))
    host, log = f"unix://{directory}/docker.sock", directory / "dockerd.log"
    # The directory of images is the usual one, so that what was built is there the next time. A run that is killed takes the
    # daemon with it, which else would keep that directory from the next run's.
    command = (
        "setpriv", "--pdeathsig", "TERM",
        "dockerd", "--host", host, "--pidfile", str(directory / "pid"), "--exec-root", str(directory / "exec"),
    )  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_it_answers(process, host, log)
        yield host
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # A mount that is left below must not be emptied.
        subprocess.run(
            ("rm", "-rf", "--one-file-system", str(directory)), check=False, stderr=subprocess.DEVNULL
        )


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", host: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(host):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise NoDocker(f"dockerd does not start here: {lines[-1] if lines else 'it says nothing'}")
        time.sleep(0.2)
