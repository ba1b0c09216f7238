"""The health checks of the images: `healthy.py daemon` asks /readyz, `healthy.py radius` sends FreeRADIUS a Status-Server.

Standard library alone: it runs every few seconds.
"""

import hashlib
import hmac
import os
import socket
import sys
from http.client import HTTPConnection

STATUS_SERVER, ACCESS_ACCEPT = 12, 2
STATUS_ADDRESS = ("127.0.0.1", 18121)
STATUS_SECRET = b"herotill-healthy"  # status.conf; it opens nothing outside of the container
TIMEOUT_SECONDS = 4.0


def daemon() -> str | None:
    """Return why the daemon should get no work; None when it should."""
    port = int(os.environ.get("HEROTILL_METRICS_PORT", "9812"))
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    return None if response.status == 200 else text.strip()


def radius() -> str | None:
    """Return why FreeRADIUS is not well; None when it answers (RFC 5997)."""
    request = status_server(os.urandom(16))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.settimeout(TIMEOUT_SECONDS)
        opened.connect(STATUS_ADDRESS)
        opened.send(request)
        answer = opened.recv(4096)
    return None if answer[0] == ACCESS_ACCEPT else f"it answers with code {answer[0]}"


def status_server(authenticator: bytes) -> bytes:
    """Return a Status-Server with its Message-Authenticator (RFC 5997 section 3)."""
    unsigned = bytes([STATUS_SERVER, 0, 0, 38]) + authenticator + bytes([80, 18]) + bytes(16)
    return unsigned[:-16] + hmac.new(STATUS_SECRET, unsigned, hashlib.md5).digest()


if __name__ == "__main__":
    try:
        reason = {"daemon": daemon, "radius": radius}[sys.argv[1]]()
    except OSError as error:
        reason = str(error)
    if reason is not None:
        sys.exit(reason)
