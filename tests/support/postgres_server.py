"""A real PostgreSQL server for tests, as a user other than root, with data in a temporary folder.

``fsync`` is off where only the behaviour counts: a crash of the server alone loses nothing, since the kernel keeps what
was written.  Figures are measured with ``fsync`` on.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import psycopg

from eventually import eventually
from outside_tools import find_tool, missing

USERS = ("postgres", "nobody")  # as which root starts the server, which refuses to run as root
_names = count(1)


def binaries() -> Path:
    """Return the folder of the newest server's programs; without one the test is skipped, or fails if CI is set."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        missing("postgresql is not installed; `make test` installs it as root or with sudo")
    return (found[-1] if found else Path(str(on_path)).resolve()).parent


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """Use it as a context manager; it is ended by its process id."""

    def __init__(self, *, fsync: bool = False) -> None:
        """Find the programs."""
        self._bin = binaries()
        self._fsync = fsync
        self.home = Path(tempfile.mkdtemp(prefix="flaggateway-pg-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:
            name = next((each for each in USERS if _exists(each)), None)
            if name is None:
                missing("postgresql does not run as root, and there is no user postgres or nobody")
            entry = pwd.getpwnam(name)
            self.user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.home, entry.pw_uid, entry.pw_gid)

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", **options: str) -> str:
        """Return the URL of a database."""
        more = "&".join(f"{key}={value}" for key, value in options.items())
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}{'?' if more else ''}{more}"

    def __enter__(self) -> Self:
        """Create the data and start."""
        data = self.home / "data"
        subprocess.run(
            [self._bin / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            check=True, capture_output=True, cwd="/", **self.user,
        )  # fmt: skip
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it and delete the data."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.home,
            "fsync": "on" if self._fsync else "off", "max_connections": 60, "shared_buffers": "16MB",
            "autovacuum": "off", "log_min_messages": "fatal",
        }  # fmt: skip
        given = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.home / "data", *given],
                stdout=log, stderr=log, cwd="/", start_new_session=True, **self.user,
            )  # fmt: skip
        eventually(self._answers, lambda: (self.home / "log").read_text()[-2000:])

    def kill(self) -> None:
        """Crash it: every process of it is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        self._signal(process, signal.SIGKILL)
        process.wait()
        (self.home / "data" / "postmaster.pid").unlink(missing_ok=True)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Stop every process of the server for a while, as on a host that swaps."""
        assert self._process is not None
        self._signal(self._process, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(self._process, signal.SIGCONT)

    def execute(self, query: str, search_path: str = "public") -> list[tuple[Any, ...]]:
        """Return what a query returns."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"SET search_path TO {search_path}")
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def serve_tls(self, certificate: bytes, key: bytes) -> None:
        """Encrypt connections whose client wants it from now on, with a certificate and its key in PEM."""
        for name, text in (("server.crt", certificate), ("server.key", key)):
            path = self.home / "data" / name
            path.write_bytes(text)
            path.chmod(0o600)
            if self.user:
                os.chown(path, self.user["user"], self.user["group"])
        self._set_ssl("on")

    def end_tls(self) -> None:
        """Have new connections unencrypted again."""
        self._set_ssl("off")

    def _set_ssl(self, wanted: str) -> None:
        self.execute(f"ALTER SYSTEM SET ssl = {wanted}")
        self.execute("SELECT pg_reload_conf()")
        eventually(lambda: self.execute("SHOW ssl") == [(wanted,)])

    def new_schema(self) -> str:
        """Return a name for a schema that no other test uses."""
        return f"t{os.getpid()}_{next(_names)}"

    def _answers(self) -> bool:
        with suppress(psycopg.Error):
            return self.execute("SELECT 1") == [(1,)]
        return False

    def _signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        # The server's processes have groups of their own, so each one is named; the first one last at its end.
        for pid in [*_children(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in found.read_text().split()] if found.exists() else []


def _exists(user: str) -> bool:
    with suppress(KeyError):
        pwd.getpwnam(user)
        return True
    return False


class PgBouncer:
    """A pooler in transaction mode in front of a server; use it as a context manager."""

    def __init__(self, server: PostgresServer) -> None:
        """Find the program."""
        self._program = find_tool("pgbouncer")
        self._server = server
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the pooler."""
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        """Start it with two server connections, so that clients share them."""
        ini = self._server.home / "pgbouncer.ini"
        ini.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={self._server.port} user=tester\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nunix_socket_dir =\n"
        )
        user: dict[str, Any] = self._server.user
        self._process = subprocess.Popen(
            [self._program, "-q", ini], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user
        )
        eventually(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with suppress(psycopg.Error), psycopg.connect(self.url, prepare_threshold=None) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
        return False
