"""A trouble that goes on is told once, another one is told too, and so is the same one after it was over."""

import errno
import logging

import psycopg2
import pytest

from sync_daemon.trouble import Trouble

log = logging.getLogger("test")


def test_the_same_trouble_is_told_once_whatever_its_words(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(log, "waits: %s")
    for name in ("a", "b"):
        trouble.tell(OSError(errno.ENOSPC, f"no room\nfor {name}"))
    assert caplog.messages == ["waits: [Errno 28] no room for a"]
    for _ in range(2):  # two of them take turns
        trouble.tell(psycopg2.OperationalError("away"))
        trouble.tell(OSError(errno.ENOSPC, "no room"))
    assert len(caplog.messages) == 2


def test_it_is_told_again_when_it_is_back_or_goes_on_for_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    trouble = Trouble(log, "waits: %s")
    trouble.is_over("nobody had heard of it")
    trouble.tell(TimeoutError("x"))
    trouble.is_over("works")
    trouble.is_over("works")
    trouble.tell(TimeoutError("x"))
    assert caplog.messages == ["waits: x", "works", "waits: x"]
    monkeypatch.setattr("sync_daemon.trouble.REPEAT_SECONDS", 0.0)
    trouble.tell(TimeoutError("x"))
    assert len(caplog.messages) == 4
