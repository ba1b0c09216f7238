"""Each kind of sink, against the real thing: a file, a program, a mail server, a web server."""

import json
import logging
import os
import socket
import stat
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing import accounts, customers
from billing.customers import Person
from billing.message_templates import Wording, put
from herotill.messages import Template
from herotill.signature import is_signed
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.events.conftest import LATER, Emit, NewCourier
from tests.contract.events.servers import HttpServer, Post, http_server, mail_server, make_certificate

SECRET = "0123456789abcdef" * 4


def _state(ask: Ask, key: str = "sale:1") -> tuple[Any, ...]:
    (row,) = ask(
        "SELECT state, attempts, last_error FROM billing.event_delivery JOIN billing.event USING (event_id)"
        " WHERE event_key = :key",
        key=key,
    )
    return tuple(row.values())


# -- file


def test_a_file_gets_a_line_of_json_for_each_event(
    tmp_path: Path, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    emit_event("sale", "sale:1", {"plan": "é\n"})
    emit_event("sale", "sale:2")
    courier = new_courier(type="file", path=str(tmp_path / "events"))
    assert [courier.deliver_next() for _ in range(3)] == [True, True, False]
    first, second = map(json.loads, (tmp_path / "events").read_text(encoding="utf-8").splitlines())
    assert (first["key"], first["kind"], first["payload"]) == ("sale:1", "sale", {"plan": "é\n"})
    assert second["key"] == "sale:2"
    assert _state(ask) == ("delivered", 1, None)
    assert stat.S_IMODE((tmp_path / "events").stat().st_mode) == 0o600


def test_half_a_line_of_a_writer_that_was_killed_spoils_no_other(
    tmp_path: Path, emit_event: Emit, new_courier: NewCourier
) -> None:
    (tmp_path / "events").write_bytes(b'{"key": "sa')
    emit_event("sale", "sale:1")
    new_courier(type="file", path=str(tmp_path / "events")).deliver_next()
    half, whole = (tmp_path / "events").read_bytes().splitlines()
    assert half == b'{"key": "sa'
    assert json.loads(whole)["key"] == "sale:1"


def test_a_file_that_cannot_be_written_is_tried_again(
    tmp_path: Path, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    emit_event("sale", "sale:1")
    new_courier(type="file", path=str(tmp_path / "no" / "events")).deliver_next()
    assert _state(ask) == ("pending", 1, "the file cannot be written: No such file or directory")


# -- command


def _program(tmp_path: Path, body: str) -> list[str]:
    script = tmp_path / "program.py"
    script.write_text(f"import json, os, sys, time\nout = {str(tmp_path / 'out')!r}\n{body}\n")
    return [sys.executable, str(script)]


def test_a_command_gets_the_event_on_standard_input(
    tmp_path: Path, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    command = _program(tmp_path, "open(out, 'w').write(sys.stdin.read() + os.environ['HEROTILL_EVENT_KEY'])")
    emit_event("sale", "sale:1", {"plan": "$(id); `id`"})
    new_courier(type="command", command=command).deliver_next()
    line, key = (tmp_path / "out").read_text().splitlines()
    assert json.loads(line)["payload"] == {"plan": "$(id); `id`"}
    assert key == "sale:1"
    assert _state(ask) == ("delivered", 1, None)


def test_the_exit_status_of_a_command_says_whether_it_has_the_event(
    tmp_path: Path, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    emit_event("sale", "sale:1")
    new_courier(type="command", command=_program(tmp_path, "sys.exit(75)")).deliver_next()
    assert _state(ask) == ("pending", 1, "exit status 75")


def test_a_command_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    body = "import subprocess; p = subprocess.Popen(['sleep', '600']); open(out, 'w').write(str(p.pid)); p.wait()"
    emit_event("sale", "sale:1")
    new_courier(type="command", command=_program(tmp_path, body), timeout_seconds=1).deliver_next()
    assert _state(ask) == ("pending", 1, "the command did not end within 1 s")
    child = int((tmp_path / "out").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline


def test_a_command_that_does_not_exist_is_no_fault_of_ours(
    emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    emit_event("sale", "sale:1")
    new_courier(type="command", command=["/nonexistent"]).deliver_next()
    assert _state(ask) == ("pending", 1, "the command cannot be run: No such file or directory")


# -- HTTP


def _http(server: HttpServer, **fields: Any) -> dict[str, Any]:
    return {"type": "http", "url": f"{server.url}/events?of=us", "secret": SECRET} | fields


def test_a_server_gets_a_signed_body_with_a_key(emit_event: Emit, new_courier: NewCourier, ask: Ask) -> None:
    with http_server() as server:
        emit_event("sale", "sale:é 1", {"plan": "1g"})
        new_courier(**_http(server)).deliver_next()
    (post,) = server.posts
    assert post.path == "/events?of=us"
    assert json.loads(post.body)["payload"] == {"plan": "1g"}
    assert post.headers["Idempotency-Key"] == "sale:%C3%A9%201"
    assert post.headers["HeroTill-Event"] == "sale"
    assert is_signed(bytes.fromhex(SECRET), post.body, post.headers["HeroTill-Signature"], datetime.now(UTC))
    assert _state(ask, "sale:é 1") == ("delivered", 1, None)


def test_what_a_server_does_not_take_comes_again_with_the_same_key(
    emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    with http_server() as server:
        server.statuses = [500, 302]
        emit_event("sale", "sale:1")
        new_courier(**_http(server)).deliver_next()
        assert _state(ask) == ("pending", 1, "HTTP status 500")
        new_courier(datetime.now(UTC) + LATER, **_http(server)).deliver_next()
        assert _state(ask) == ("pending", 2, "HTTP status 302")
        new_courier(datetime.now(UTC) + 2 * LATER, **_http(server)).deliver_next()
    assert _state(ask) == ("delivered", 3, None)
    # A redirect is not followed.
    assert [post.path for post in server.posts] == ["/events?of=us"] * 3
    assert {post.headers["Idempotency-Key"] for post in server.posts} == {"sale:1"}
    assert len({post.body for post in server.posts}) == 1


def test_a_server_that_does_not_answer_is_given_up_in_time(
    emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    silence = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silence.getsockname()[1]}/"
    emit_event("sale", "sale:1")
    began = time.monotonic()
    new_courier(type="http", url=url, secret=SECRET, timeout_seconds=1).deliver_next()
    assert time.monotonic() - began < 5
    silence.close()
    assert _state(ask) == ("pending", 1, "no answer: timed out")


def test_two_daemons_never_deliver_one_event_at_the_same_time(
    emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    for number in range(20):
        emit_event("sale", f"sale:{number}")
    under_way: list[str] = []
    overlaps: list[str] = []

    def hold(post: Post) -> None:
        key = post.headers["Idempotency-Key"]
        overlaps.extend([key] if key in under_way else [])
        under_way.append(key)
        time.sleep(0.01)
        under_way.remove(key)

    with http_server() as server:
        server.before_answer = hold
        couriers = [new_courier(**_http(server)) for _ in range(4)]

        def deliver_all(courier: Any) -> None:
            while courier.deliver_next():
                pass

        threads = [threading.Thread(target=deliver_all, args=(courier,)) for courier in couriers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert overlaps == []
    assert sorted(post.headers["Idempotency-Key"] for post in server.posts) == sorted(
        f"sale:{number}" for number in range(20)
    )


# -- SMTP


@pytest.fixture
def student(books: OpenBooks, now: datetime) -> int:
    """A customer with an address; the id."""
    with books() as session:
        person = Person("Student Öne", email="student-1@example.net")
        customer = customers.add(session, person=person, now=now)
        accounts.add(session, login=accounts.Login("student-1", "secret-1"), customer=customer, now=now)
        customer.language = "sw"
        return customer.customer_id


USAGE = {"username": "student-1", "plan_name": "1g-1m", "percent": 80, "remaining": "200 MiB"}


def test_r21_a_customer_is_written_to_over_starttls_in_their_language(
    tmp_path: Path, books: OpenBooks, student: int, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    certificate = make_certificate(tmp_path / "localhost.pem")
    words = Template("{percent} % ya {plan_name} imetumika", "Habari {customer_name}, imebaki {remaining}.\n")
    with books() as session:
        put(session, Wording("notice.usage", "sw", words, datetime.now(UTC), "test"))
    emit_event("notice.usage", "notice:1:80", USAGE, student)
    with mail_server(certificate) as server:
        new_courier(
            type="smtp",
            host=server.host,
            port=server.port,
            user="us",
            password="hunter2",
            sender="HeroTill <no-reply@isp.example>",
            ca_file=str(certificate),
        ).deliver_next()
    assert _state(ask, "notice:1:80") == ("delivered", 1, None)
    (mail,) = server.mails
    assert server.was_tls == [True]
    assert len(server.logins) == 1
    assert mail["To"] == "Student Öne <student-1@example.net>"
    assert mail["Subject"] == "80 % ya 1g-1m imetumika"
    assert mail.get_content().replace("\r\n", "\n") == "Habari Student Öne, imebaki 200 MiB.\n"
    assert (mail["Auto-Submitted"], mail["From"]) == ("auto-generated", "HeroTill <no-reply@isp.example>")


def test_a_password_never_goes_to_a_server_that_cannot_prove_who_it_is(
    tmp_path: Path, student: int, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    emit_event("notice.usage", "notice:1:80", USAGE, student)
    fields = {"type": "smtp", "user": "us", "password": "hunter2", "sender": "no-reply@isp.example"}
    with mail_server(make_certificate(tmp_path / "localhost.pem")) as server:
        new_courier(host=server.host, port=server.port, **fields).deliver_next()
        assert _state(ask, "notice:1:80")[:2] == ("pending", 1)
    with mail_server() as server:
        courier = new_courier(datetime.now(UTC) + LATER, host=server.host, port=server.port, **fields)
        courier.deliver_next()
    assert _state(ask, "notice:1:80")[:2] == ("pending", 2)
    assert (server.logins, server.mails) == ([], [])


@pytest.mark.parametrize(
    ("replies", "state"),
    [
        (("550 no such user", "250 OK"), "dead"),
        (("450 later", "250 OK"), "pending"),
        (("250 OK", "554 spam"), "dead"),
    ],
)
def test_what_a_mail_server_refuses_for_good_is_not_sent_again(
    student: int, emit_event: Emit, new_courier: NewCourier, ask: Ask, replies: tuple[str, str], state: str
) -> None:
    emit_event("notice.usage", "notice:1:80", USAGE, student)
    with mail_server() as server:
        server.recipient_reply, server.data_reply = replies
        sender = {"security": "none", "sender": "no-reply@isp.example"}
        new_courier(type="smtp", host=server.host, port=server.port, **sender).deliver_next()
    assert _state(ask, "notice:1:80")[:2] == (state, 1)


@pytest.mark.parametrize(
    ("event", "is_known", "reason"),
    [
        (("notice.usage", USAGE), False, "the customer has no e-mail address"),
        (("of.no.words", USAGE), True, "there is nothing to say of it to a customer"),
        (
            ("notice.usage", USAGE | {"superseded_by": 100}),
            True,
            "there is nothing to say of it to a customer",
        ),
    ],
)
def test_nobody_to_tell_or_nothing_to_say_is_no_failure(
    request: pytest.FixtureRequest,
    student: int,
    event: tuple[str, dict[str, Any]],
    is_known: bool,
    reason: str,
) -> None:
    emit_event, new_courier, ask = map(request.getfixturevalue, ("emit_event", "new_courier", "ask"))
    kind, payload = event
    emit_event(kind, "notice:1:80", payload, student if is_known else None)
    new_courier(type="smtp", host="localhost", port=1, sender="no-reply@isp.example").deliver_next()
    assert _state(ask, "notice:1:80") == ("discarded", 1, reason)


def test_a_template_that_does_not_fit_is_said_and_stops_only_who_needs_words(
    tmp_path: Path, books: OpenBooks, student: int, emit_event: Emit, new_courier: NewCourier, ask: Ask
) -> None:
    with books() as session:
        put(session, Wording("notice.usage", "sw", Template("s", "{nmae}"), datetime.now(UTC), "test"))
    emit_event("notice.usage", "notice:1:80", USAGE, student)
    new_courier(type="smtp", host="localhost", port=1, sender="no-reply@isp.example").deliver_next()
    state, _, error = _state(ask, "notice:1:80")
    assert state == "dead"
    assert "{nmae}" in error
    emit_event("notice.usage", "notice:1:100", USAGE, student)
    new_courier(type="file", path=str(tmp_path / "events"), name="archive").deliver_next()
    assert json.loads((tmp_path / "events").read_text())["message"] is None


def test_r36_no_secret_and_no_payload_is_logged(
    emit_event: Emit, new_courier: NewCourier, caplog: pytest.LogCaptureFixture, ask: Ask
) -> None:
    caplog.set_level(logging.DEBUG)
    emit_event("customer.code", "code:1", {"code": "RA7D91Q"})
    with http_server() as server:
        server.statuses = [500]
        courier = new_courier(attempts=1, **_http(server))
        courier.deliver_next()
    assert "is given up for sink: HTTP status 500" in caplog.text
    for secret in ("RA7D91Q", SECRET, repr(bytes.fromhex(SECRET))):
        assert secret not in caplog.text
        assert secret not in repr(courier.sink)
    assert os.environ.get("HEROTILL_EVENT_KEY") is None
    assert _state(ask, "code:1")[0] == "dead"


def test_pauses_grow_between_attempts(emit_event: Emit, new_courier: NewCourier, ask: Ask) -> None:
    emit_event("sale", "sale:1")
    when, pauses = datetime.now(UTC) + timedelta(seconds=1), []
    for _ in range(6):
        new_courier(when, type="command", command=["/nonexistent"]).deliver_next()
        (row,) = ask("SELECT next_attempt_at FROM billing.event_delivery")
        pauses.append(row["next_attempt_at"] - when)
        when = row["next_attempt_at"]
    for number, pause in enumerate(pauses):
        longest = timedelta(seconds=5 * 2**number)
        assert longest / 2 <= pause <= longest
