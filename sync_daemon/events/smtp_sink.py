"""A mail server that takes what customers are told. An event without words or without an address is no mail."""

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, parseaddr

from sync_daemon.events.configuration import SmtpTarget
from sync_daemon.events.envelope import Envelope
from sync_daemon.events.outcomes import Delivered, Failed, Outcome, Unaddressed


class SmtpSink:
    """Sends one mail for each event, over a connection of its own. The password never goes over an open line."""

    def __init__(self, target: SmtpTarget, timeout_seconds: float) -> None:
        self._target = target
        self._timeout_seconds = timeout_seconds

    def deliver(self, envelope: Envelope) -> Outcome:
        """Send once. Whom the server refuses for good is not tried again."""
        if (obstacle := _obstacle(envelope)) is not None:
            return obstacle
        try:
            mail = self._compose(envelope)
        except ValueError:
            return Failed("this address cannot be written to", is_permanent=True)
        return self._attempt(mail)

    def _attempt(self, mail: EmailMessage) -> Outcome:
        try:
            self._send(mail)
        except smtplib.SMTPException as error:
            return _failure(error)
        except OSError as error:
            return Failed(f"the mail server cannot be reached: {error.strerror or type(error).__name__}")
        return Delivered()

    def _compose(self, envelope: Envelope) -> EmailMessage:
        assert envelope.message is not None  # noqa: S101 - the caller looked
        assert envelope.email is not None  # noqa: S101 - the caller looked
        event = envelope.delivery
        mail = EmailMessage()
        mail["From"] = self._target.sender
        mail["To"] = formataddr((event.customer.name if event.customer else "", envelope.email))
        mail["Subject"] = envelope.message.subject
        mail["Date"] = format_datetime(datetime.now(UTC))
        # The same for every attempt: mail readers show the repetition once.
        domain = parseaddr(self._target.sender)[1].rpartition("@")[2]
        mail["Message-ID"] = f"<event-{event.event_id}-{event.sink}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notices in return
        mail.set_content(envelope.message.body)
        return mail

    def _send(self, mail: EmailMessage) -> None:
        target = self._target
        with self._connect() as server:
            if target.security == "starttls":
                server.starttls(context=self._tls())
            if target.user is not None:
                server.login(target.user, target.password or "")
            server.send_message(mail)

    def _connect(self) -> smtplib.SMTP:
        target, seconds = self._target, self._timeout_seconds
        if target.security == "tls":
            return smtplib.SMTP_SSL(target.host, target.port, timeout=seconds, context=self._tls())
        return smtplib.SMTP(target.host, target.port, timeout=seconds)

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._target.ca_file)


def _obstacle(envelope: Envelope) -> Outcome | None:
    if envelope.message_error is not None:
        return Failed(envelope.message_error, is_permanent=True)
    if envelope.message is None:
        return Unaddressed("there is nothing to say of it to a customer")
    return Unaddressed("the customer has no e-mail address") if envelope.email is None else None


def _failure(error: smtplib.SMTPException) -> Failed:
    """Name what the server answered; its text may repeat what we sent and is left out."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        return Failed(
            f"the recipient was refused: {codes[0]}", is_permanent=all(500 <= c <= 599 for c in codes)
        )
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Failed(f"user or password was refused: {error.smtp_code}")
    if isinstance(error, smtplib.SMTPDataError):
        return Failed(f"the mail was refused: {error.smtp_code}", is_permanent=500 <= error.smtp_code <= 599)
    if isinstance(error, smtplib.SMTPResponseException):
        return Failed(f"the mail server refused: {error.smtp_code}")
    return Failed(f"the mail server failed: {type(error).__name__}")
