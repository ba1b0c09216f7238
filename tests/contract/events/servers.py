"""Real servers on this machine for events to be delivered to: HTTP, and SMTP with STARTTLS."""

import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Post:
    """One request as the server got it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpServer:
    """Answers with the next of `statuses`, then with 204; `before_answer` may hold it up."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    before_answer: Callable[[Post], None] = lambda _: None


@dataclass
class MailServer:
    """Takes mail; answers DATA with `data_reply` and RCPT with `recipient_reply`."""

    host: str = ""
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    recipient_reply: str = "250 OK"
    data_reply: str = "250 OK"
    was_tls: list[bool] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None


@contextmanager
def http_server() -> Iterator[HttpServer]:
    """Run an HTTP server on a free port."""
    told = HttpServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            post = Post(self.path, dict(self.headers), body)
            told.posts.append(post)
            told.before_answer(post)
            status = told.statuses.pop(0) if told.statuses else 204
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", f"{told.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        with _served(server):
            yield told


@contextmanager
def mail_server(certificate: Path | None = None) -> Iterator[MailServer]:
    """Run a mail server on a free port; with a certificate it offers STARTTLS, and logins only then."""
    told = MailServer(host="127.0.0.1")
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            conversation = _Conversation(self, told, tls)
            with closing(conversation):
                conversation.hold()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed is part of the tests."""

    with Server(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        with _served(server):
            yield told


class _Conversation:
    """One SMTP connection (RFC 5321), as much of it as a client of ours needs."""

    def __init__(
        self, handler: socketserver.StreamRequestHandler, told: MailServer, tls: ssl.SSLContext | None
    ) -> None:
        self._socket = handler.request
        self._lines = handler.rfile
        self._told = told
        self._tls = tls
        self._is_tls = False

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def hold(self) -> None:
        self._say("220 test ESMTP")
        while line := self._lines.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "QUIT":
                self._say("221 bye")
                return
            self._answer(verb, line)

    def _answer(self, verb: str, line: str) -> None:
        if verb == "EHLO":
            offers = ["AUTH PLAIN"] if self._is_tls or self._tls is None else ["STARTTLS"]
            self._say(
                "\r\n".join(["250-test", *(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}"])
            )
        elif verb == "STARTTLS":
            self._start_tls()
        elif verb == "AUTH":
            self._told.logins.append(line)
            self._say("235 OK")
        elif verb == "RCPT":
            self._say(self._told.recipient_reply)
        elif verb == "DATA":
            self._take_mail()
        else:
            self._say("250 OK")

    def _start_tls(self) -> None:
        assert self._tls is not None
        self._say("220 go ahead")
        self._socket = self._tls.wrap_socket(self._socket, server_side=True)
        self._lines = self._socket.makefile("rb")
        self._is_tls = True

    def _take_mail(self) -> None:
        self._say("354 go ahead")
        lines = []
        while (line := self._lines.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        mail = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self._told.mails.append(mail)
        self._told.was_tls.append(self._is_tls)
        self._told.before_answer()
        self._say(self._told.data_reply)

    def _say(self, text: str) -> None:
        self._socket.sendall(text.encode() + b"\r\n")


def make_certificate(path: Path) -> Path:
    """Write a key and a certificate that signs itself, for localhost by address: a bare machine may not know the name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
