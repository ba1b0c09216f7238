"""radclient, FreeRADIUS's own client, as an independent judge of what comes back."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

_PAIR = re.compile(r"^\t([\w.:-]+) = (.*)$")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the packet's name (None: nothing came) and its attributes, in order, as radclient prints them."""

    code: str | None
    attributes: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The first value of an attribute, without radclient's quotes."""
        return next((value.strip('"') for key, value in self.attributes if key == name), None)


def ask(
    kind: str,
    port: int,
    pairs: Sequence[str],
    *,
    secret: str,
    host: str = "127.0.0.1",
    retries: int = 1,
    timeout_seconds: float = 3.0,
) -> Reply:
    """Send one packet; kind is `auth`, `acct` or `status`, pairs are lines such as 'User-Name = "bob"'."""
    destination = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    done = subprocess.run(
        ("radclient", "-x", "-r", str(retries), "-t", str(timeout_seconds), destination, kind, secret),
        input="\n".join(pairs) + "\n",
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=30,
    )
    return _parse(done.stdout)


def _parse(output: str) -> Reply:
    received = re.search(r"^Received ([\w-]+) Id", output, re.MULTILINE)
    if received is None:
        return Reply(None)
    pairs = (_PAIR.match(line) for line in output[received.start() :].splitlines()[1:])
    return Reply(received[1], tuple((pair[1], pair[2]) for pair in pairs if pair))
