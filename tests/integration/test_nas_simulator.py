"""The simulated NAS and FreeRADIUS, which knows nothing of ours, agree; radclient agrees with its dynamic authorization."""

import asyncio
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nas_simulator import MIKROTIK, Accepted, Method, NasSettings, Rejected, SimulatedNas
from nas_simulator.credentials import Credentials
from nas_simulator.exchange import Retransmission

SECRET = "testing123"
CONFIGURATION = """
libdir = /usr/lib/freeradius
log { destination = stdout }
security { allow_core_dumps = no }
modules {
  pap { }
  chap { }
  mschap { }
  files { usersfile = ${confdir}/users }
  detail { filename = ${confdir}/detail }
}
client loopback {
  ipaddr = 127.0.0.1
  secret = SECRET
  require_message_authenticator = yes
}
server judge {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = AUTHENTICATION_PORT
  }
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = ACCOUNTING_PORT
  }
  authorize {
    update reply {
      Message-Authenticator := 0x00
    }
    chap
    mschap
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
    Auth-Type CHAP {
      chap
    }
    Auth-Type MS-CHAP {
      mschap
    }
  }
  accounting {
    detail
  }
}
"""
USERS = """
student-1 Cleartext-Password := "secret"
\tMikrotik-Total-Limit = 1000, Mikrotik-Total-Limit-Gigawords = 1, Class = 0x414243
nobody Auth-Type := Reject
\tReply-Message = "used up"
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def running(raddb: Path) -> Iterator[None]:
    command = ["freeradius", "-f", "-l", "stdout", "-d", str(raddb), "-n", "radiusd"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            wait_until_ready(server)
            yield
        finally:
            server.terminate()
            server.wait(10)


def wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    assert server.stdout is not None
    said = b""
    while b"Ready to process requests" not in said:
        readable, _, _ = select.select([server.stdout], [], [], 20)
        chunk = server.stdout.read1() if readable else b""  # type: ignore[attr-defined]
        assert chunk, f"FreeRADIUS did not start: {said.decode(errors='replace')}"
        said += chunk


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[NasSettings]:
    authentication, accounting = free_ports(2)
    text = CONFIGURATION.replace("SECRET", SECRET).replace("AUTHENTICATION_PORT", str(authentication))
    (tmp_path / "radiusd.conf").write_text(text.replace("ACCOUNTING_PORT", str(accounting)))
    (tmp_path / "users").write_text(USERS)
    (tmp_path / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    with running(tmp_path):
        yield NasSettings(
            secret=SECRET.encode(),
            authentication_port=authentication,
            accounting_port=accounting,
            make=MIKROTIK,
        )


async def radclient(nas: SimulatedNas, what: str, pairs: str) -> str:
    command = [
        "radclient",
        "-x",
        "-r",
        "1",
        "-t",
        "2",
        f"{nas.address}:{nas.dynamic_authorization_port}",
        what,
        SECRET,
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    told, _ = await process.communicate(pairs.encode())
    return told.decode()


@pytest.mark.parametrize("method", list(Method))
def test_every_method_is_accepted_and_a_wrong_password_is_not(settings: NasSettings, method: Method) -> None:
    async def test() -> None:
        async with SimulatedNas(settings) as nas:
            outcome = await nas.login("student-1", "secret", method=method)
            assert isinstance(outcome, Accepted)
            assert outcome.reply.message_authenticator_first
            assert outcome.session.limits.total_octets == 2**32 + 1000
            assert outcome.session.reports[0].answered
            wrong = await nas.login("student-1", "wrong", method=method)
            assert isinstance(wrong, Rejected)
            assert not wrong.by_peer
            refused = await nas.login("nobody", "any", method=method)
            assert isinstance(refused, Rejected)
            assert refused.reason == "used up"

    asyncio.run(test())


def test_the_server_writes_down_what_the_nas_counted(settings: NasSettings, tmp_path: Path) -> None:
    async def test() -> None:
        async with SimulatedNas(settings) as nas:
            outcome = await nas.login("student-1", "secret")
            assert isinstance(outcome, Accepted)
            cut = await outcome.session.use(input_octets=2**33, seconds=100)
            assert cut.used.total_octets == 2**32 + 1000

    asyncio.run(test())
    stop = (tmp_path / "detail").read_text().split("Acct-Status-Type = Stop")[1]
    for line in ("Acct-Input-Gigawords = 1", "Acct-Input-Octets = 1000", "Class = 0x414243"):
        assert line in stop


def test_radclient_disconnects_a_session(settings: NasSettings) -> None:
    async def test() -> None:
        async with SimulatedNas(settings) as nas:
            outcome = await nas.login("student-1", "secret")
            assert isinstance(outcome, Accepted)
            session = outcome.session
            assert "Session-Context-Not-Found" in await radclient(
                nas, "disconnect", 'Acct-Session-Id = "other", Message-Authenticator = 0x00'
            )
            who = f'Acct-Session-Id = "{session.identity.acct_session_id}", Message-Authenticator = 0x00'
            assert "CoA-ACK" in await radclient(nas, "coa", f'{who}, Mikrotik-Rate-Limit = "64k/64k"')
            assert session.limits.output_bits_per_second == 64_000
            assert "Disconnect-ACK" in await radclient(nas, "disconnect", who)
            assert (await session.wait_until_stopped()).answered

    asyncio.run(test())


def test_another_server_is_asked_when_the_first_is_silent(settings: NasSettings) -> None:
    async def test() -> None:
        # given a first server where nobody listens
        quick = Retransmission(timeout_seconds=0.2, attempts=2)
        twofold = replace(settings, server="127.0.0.9", other_servers=("127.0.0.1",), retransmission=quick)
        async with SimulatedNas(twofold) as nas:
            # when somebody logs in, the second is asked after both attempts; then it is the first
            first = await nas.authenticate(Credentials(Method.PAP, "student-1", "secret"), "phone")
            again = await nas.authenticate(Credentials(Method.PAP, "student-1", "secret"), "phone")
            assert isinstance(first, Accepted)
            assert isinstance(again, Accepted)
            assert (first.answer.attempts, again.answer.attempts) == (3, 1)

    asyncio.run(test())
