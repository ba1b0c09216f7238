"""The worker `metrics`: `/metrics` for Prometheus, `/healthz` and `/readyz`, on the loopback unless told otherwise.

Nothing is collected in between: the databases and the journal are asked when somebody scrapes. A port that is taken, or a
database that does not answer, ends nothing: the first is tried again, the second is what the metrics then say.
"""

import logging
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from sync_daemon.metrics.gathering import Gathering
from sync_daemon.settings import Settings

log = logging.getLogger(__name__)

RETRY_SECONDS = 15.0
_TEXT = "text/plain; charset=utf-8"


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve until `stop`; with metrics_port 0 only wait for it."""
    while settings.metrics_port and not stop.is_set():
        try:
            server = MetricsServer(settings, settings.metrics_port)
        except OSError as error:
            log.warning("port %s is not to be had for metrics: %s", settings.metrics_port, error.strerror)
            stop.wait(RETRY_SECONDS)
        else:
            with server:
                server.serve_until(stop)
    stop.wait()


class MetricsServer(ThreadingHTTPServer):
    """Answers on `metrics_address`; `port` 0 is any that is free."""

    daemon_threads = True

    def __init__(self, settings: Settings, port: int) -> None:
        """Bind the port. Raises OSError."""
        self.gathering = Gathering(settings)
        super().__init__((settings.metrics_address, port), _Answering)

    def serve_until(self, stop: threading.Event) -> None:
        """Answer until `stop`."""
        thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="metrics", daemon=True)
        thread.start()
        stop.wait()
        self.shutdown()
        thread.join()
        self.gathering.close()

    def handle_error(self, _request: object, client_address: object) -> None:
        """Log a fault of ours; who did not wait for the answer has no need of a log."""
        if not isinstance(sys.exception(), ConnectionError):
            log.exception("metrics: a request from %s could not be answered", client_address)


class _Answering(BaseHTTPRequestHandler):
    """One request; each connection has a thread of its own, and the looking is done one at a time."""

    server: MetricsServer
    timeout = 10
    server_version = "herotill"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one path."""
        match self.path.split("?", 1)[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, self.server.gathering.scrape(), CONTENT_TYPE_LATEST)
            case "/healthz":
                self._answer(HTTPStatus.OK, b"alive\n")
            case "/readyz":
                self._tell_ready()
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"there are /metrics, /healthz and /readyz\n")

    def _tell_ready(self) -> None:
        reasons = self.server.gathering.look().unready()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        self._answer(status, ("\n".join(reasons or ("ready",)) + "\n").encode())

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = _TEXT) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: a scrape every few seconds is no news."""
