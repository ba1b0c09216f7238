"""`herotill-nas` tells what happened, in its exit status too."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nas_simulator import cli, wire
from nas_simulator.cli_options import read_size_octets
from nas_simulator.wire import Received
from tests.unit.nas_simulator.responder import Reply, accept, responding


@contextmanager
def server_in_another_thread(reply: Reply, heard: list[Received] | None = None) -> Iterator[tuple[int, int]]:
    """The command has its own event loop, so the server needs one too; what it hears is added to `heard`."""
    ready, done = threading.Event(), threading.Event()
    ports: list[int] = []

    def answer(request: Received) -> Reply:
        if heard is not None:
            heard.append(request)
        return reply

    async def serve() -> None:
        async with responding(answer) as server:
            ports.extend((server.authentication_port, server.accounting_port))
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0], ports[1]
    finally:
        done.set()
        thread.join(10)


def invoke(tmp_path: Path, ports: tuple[int, int], *arguments: str) -> Result:
    secret, password = tmp_path / "secret", tmp_path / "password"
    secret.write_text("testing123\n")
    password.write_text("secret\n")
    where = ["--auth-port", str(ports[0]), "--acct-port", str(ports[1]), "--timeout", "0.5"]
    files = ["--secret-file", str(secret), "--password-file", str(password)]
    return CliRunner().invoke(cli.cli, [*arguments, *where, *files])


def test_login_tells_the_reply(tmp_path: Path) -> None:
    answer = accept(("Session-Timeout", 60), ("Class", b"\x01"))(
        wire.decode(bytes([1, 1, 0, 20]) + bytes(16))
    )
    with server_in_another_thread(answer) as ports:
        told = invoke(tmp_path, ports, "login", "student-1")
    assert told.exit_code == 0
    assert told.output.startswith("Access-Accept (")
    assert "Session-Timeout = 60" in told.output
    assert "Class = 0x01" in told.output


def test_a_reject_is_exit_status_1_with_its_reason(tmp_path: Path) -> None:
    with server_in_another_thread((wire.ACCESS_REJECT, [("Reply-Message", "used up")])) as ports:
        told = invoke(tmp_path, ports, "login", "student-1", "--json")
    assert told.exit_code == 1
    assert json.loads(told.output)["reason"] == "used up"


def test_login_is_signed_unless_told_otherwise(tmp_path: Path) -> None:
    heard: list[Received] = []
    with server_in_another_thread((wire.ACCESS_ACCEPT, []), heard) as ports:
        for options in ((), ("--unsigned",)):
            assert invoke(tmp_path, ports, "login", "student-1", *options).exit_code == 0
    assert [request.has_message_authenticator for request in heard] == [True, False]


def test_run_uses_what_it_was_told_and_stops(tmp_path: Path) -> None:
    with server_in_another_thread((wire.ACCESS_ACCEPT, [("Acct-Interim-Interval", 60)])) as ports:
        options = ["--download", "9M", "--upload", "1M", "--rate", "800k", "--pace", "300", "--coa-port", "0"]
        told = invoke(tmp_path, ports, "run", "student-1", "--json", *options)
    assert told.exit_code == 0, told.output
    run = json.loads(told.output)
    (session,) = run["sessions"]
    assert (session["input_octets"], session["output_octets"]) == (1_000_000, 9_000_000)
    assert (session["terminate_cause"], session["stop_answered"]) == ("User-Request", True)
    kinds = [sent["kind"] for sent in run["sent"]]
    assert kinds[:3] == ["Access-Request", "Accounting-Request Start", "Accounting-Request Interim-Update"]
    assert kinds[-1] == "Accounting-Request Stop"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["--mood", "sleepy"], "mood"), (["--rate", "1X"], "rate"), (["--download", "x"], "size")],
)
def test_a_value_that_cannot_be_is_one_line_and_exit_status_2(
    tmp_path: Path,
    arguments: list[str],
    field: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    files = ["--secret-file", str(secret), "--password-file", str(secret)]
    monkeypatch.setattr("sys.argv", ["herotill-nas", "run", "student-1", *files, *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith(f"Error: {field}")


def test_help_names_every_command() -> None:
    told = CliRunner().invoke(cli.cli, ["--help"]).output
    assert all(name in told for name in ("login", "run", "makes"))


def test_makes_are_listed() -> None:
    assert "mikrotik: its Input is the upload" in CliRunner().invoke(cli.cli, ["makes"]).output


@pytest.mark.parametrize(("text", "octets"), [("10", 10), ("2Gi", 2**31), ("500M", 5 * 10**8), ("1kB", 1000)])
def test_sizes(text: str, octets: int) -> None:
    assert read_size_octets(text) == octets
