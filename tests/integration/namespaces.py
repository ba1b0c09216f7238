"""Network namespaces for real routers: a place each for router and subscriber, joined by cables, gone after the test."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TUN = Path("/dev/net/tun")


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace; `run` and `start` put a program into it."""

    name: str

    def command(self, *command: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name, *command)

    def run(self, *command: str, stdin: str | None = None) -> str:
        return run(*self.command(*command), stdin=stdin)

    def start(self, log: Path, *command: str) -> "subprocess.Popen[bytes]":
        """Start a program that goes on; what it says goes to the log."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command(*command), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def give_address(self, interface: str, address: str) -> None:
        self.run("ip", "address", "add", address, "dev", interface)
        self.run("ip", "link", "set", "dev", interface, "up")


def run(*command: str, stdin: str | None = None) -> str:
    """Run a program to its end and return what it printed. It must succeed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def why_not(programs: Sequence[str], needs_tun: bool = False) -> str | None:
    """Say in one sentence why this machine cannot play such a network; None: it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [program for program in ("ip", *programs) if shutil.which(program) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (scripts/bootstrap names the packages)"
    if needs_tun and not _opens(TUN):
        return f"this machine gives no {TUN}"
    name = unique("try")
    made = subprocess.run(("ip", "netns", "add", name), capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"this machine allows no network namespaces ({made.stderr.strip()})"
    cable = ("ip", "link", "add", unique("a"), "netns", name, "type", "veth", "peer", "name", unique("b"))
    laid = subprocess.run(cable, capture_output=True, text=True, check=False)
    # Refused in a chroot, whose root is nothing mounted.
    entered = subprocess.run(
        ("ip", "netns", "exec", name, "true"), capture_output=True, text=True, check=False
    )
    subprocess.run(("ip", "netns", "delete", name), check=False)
    if entered.returncode != 0:
        return f"no program can be run in a network namespace here ({entered.stderr.strip()})"
    return None if laid.returncode == 0 else f"this machine allows no veth pairs ({laid.stderr.strip()})"


@contextmanager
def namespaces(*parts: str) -> Iterator[tuple[Namespace, ...]]:
    """As many namespaces, each with its loopback up and without IPv6's own chatter; removed with all that is in them."""
    with ExitStack() as stack:
        made = []
        for part in parts:
            namespace = Namespace(unique(part))
            run("ip", "netns", "add", namespace.name)
            stack.callback(subprocess.run, ("ip", "netns", "delete", namespace.name), check=False)
            with suppress(AssertionError):  # where /proc/sys cannot be written, a few octets more are counted
                namespace.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
            namespace.run("ip", "link", "set", "dev", "lo", "up")
            made.append(namespace)
        yield tuple(made)


def lay_cable(one: tuple[Namespace | None, str], other: tuple[Namespace, str]) -> None:
    """Join two interfaces, each named with its namespace; None is where the test runs."""
    (namespace, interface), (peer_namespace, peer_interface) = one, other
    peer = ("peer", "name", peer_interface, "netns", peer_namespace.name)
    here = ("netns", namespace.name) if namespace is not None else ()
    run("ip", "link", "add", interface, *here, "type", "veth", *peer)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to leave, as a person would; a second time with force."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
            return
        process.kill()
        process.wait()


def unique(part: str) -> str:
    """A name that nobody else on this machine has; short enough for an interface."""
    return f"ht{secrets.token_hex(4)}{part}"[:15]


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError:
        return False
    return True
