"""The sinks of the settings: what is wrong is named, what is secret is not repeated."""

from pathlib import Path
from typing import Any

import pytest

from herotill.errors import InvalidValue
from sync_daemon.events.configuration import FileTarget, HttpTarget, Sink, SmtpTarget, read_sinks
from sync_daemon.events.retrying import LONGEST_PAUSE_SECONDS, pause_seconds

SECRET = "0123456789abcdef" * 4
HTTP = {"type": "http", "url": "https://portal.example.net/events", "secret": SECRET}
SMTP = {"type": "smtp", "host": "mail.example.net", "sender": "HeroTill <no-reply@example.net>"}


def _one(fields: Any) -> Sink:
    (sink,) = read_sinks("event_sinks", {"portal": fields})
    return sink


def test_a_sink_has_sensible_defaults() -> None:
    sink = _one({"type": "file", "path": "/var/log/events"})
    assert sink == Sink("portal", FileTarget(Path("/var/log/events")), ("*",), 24, 10, 1)
    assert _one(SMTP).target == SmtpTarget(
        "mail.example.net", "HeroTill <no-reply@example.net>", 587, "starttls"
    )
    assert _one(HTTP | {"kinds": "notice.*"}).kinds == ("notice.*",)
    assert _one(HTTP).target == HttpTarget("https://portal.example.net/events", bytes.fromhex(SECRET))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ("http", "type"),
        ({}, "type"),
        ({"type": "pigeon"}, "type"),
        ({"type": "file"}, "path"),
        ({"type": "file", "path": "events"}, "path"),
        ({"type": "file", "path": "/events", "url": "https://x"}, "url"),
        ({"type": "command", "command": []}, "command"),
        ({"type": "command", "command": [1]}, "command"),
        (HTTP | {"secret": "hunter2"}, "secret"),
        (HTTP | {"url": "https://user:hunter2@portal.example.net/"}, "url"),
        (HTTP | {"url": "ftp://portal.example.net/"}, "url"),
        (HTTP | {"attempts": 0}, "attempts"),
        (HTTP | {"timeout_seconds": 3600}, "timeout_seconds"),
        (HTTP | {"parallel": 17}, "parallel"),
        (HTTP | {"kinds": []}, "kinds"),
        (HTTP | {"passwort": "hunter2"}, "passwort"),
        (SMTP | {"sender": "nobody"}, "sender"),
        (SMTP | {"security": "ssl"}, "security"),
        (SMTP | {"port": 0}, "port"),
        (SMTP | {"password": 5}, "password"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is_repeated(fields: Any, key: str) -> None:
    with pytest.raises(InvalidValue, match=rf"event_sinks\.portal\.{key}") as refused:
        _one(fields)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "Portal", "a b", 5])
def test_a_sink_has_a_plain_name(name: object) -> None:
    with pytest.raises(InvalidValue, match="name"):
        read_sinks("event_sinks", {name: HTTP})


def test_no_representation_of_a_sink_shows_a_secret() -> None:
    shown = repr(_one(HTTP)) + repr(_one(SMTP | {"user": "us", "password": "hunter2"}))
    assert "hunter2" not in shown
    assert repr(bytes.fromhex(SECRET)) not in shown


def test_pauses_double_up_to_an_hour_and_are_spread() -> None:
    assert [pause_seconds(failures, 1) for failures in (1, 2, 3)] == [5, 10, 20]
    assert pause_seconds(3, 0) == 10
    assert pause_seconds(10_000, 1) == LONGEST_PAUSE_SECONDS
