"""A server that events are posted to as signed JSON. Any answer of 200 to 299 says that it has the event."""

import http.client
import ssl
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from herotill.signature import SIGNATURE_HEADER, sign
from sync_daemon.events.configuration import HttpTarget
from sync_daemon.events.envelope import Envelope
from sync_daemon.events.outcomes import Delivered, Failed, Outcome


class HttpSink:
    """Posts to one URL. Redirects are not followed: what is signed for one server is not shown to another."""

    def __init__(self, target: HttpTarget, timeout_seconds: float) -> None:
        self._url = urlsplit(target.url)
        self._secret = target.secret
        self._ca_file = target.ca_file
        self._timeout_seconds = timeout_seconds

    def deliver(self, envelope: Envelope) -> Outcome:
        """Post once. The Idempotency-Key is the same however often that happens."""
        body = envelope.to_json()
        try:
            with closing(self._connection()) as connection:
                connection.request("POST", self._path(), body, self._headers(envelope, body))
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return Failed(f"no answer: {_reason(error)}")
        return Delivered() if 200 <= status <= 299 else Failed(f"HTTP status {status}")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_seconds)
        tls = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_seconds, context=tls)

    def _path(self) -> str:
        return (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")

    def _headers(self, envelope: Envelope, body: bytes) -> dict[str, str]:
        event = envelope.delivery
        return {
            "Content-Type": "application/json",
            "User-Agent": "HeroTill-RADIUS",
            "Idempotency-Key": quote(event.event_key, safe=":/,.@+=-_~"),
            "HeroTill-Event": event.kind,
            SIGNATURE_HEADER: sign(self._secret, body, datetime.now(UTC)),
        }


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
