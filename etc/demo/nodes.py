"""``make run NODES=3``: gateways that share a Redis, an outbox on PostgreSQL and an upstream; Ctrl-C ends all of it.

Redis and PostgreSQL run on free loopback ports, as a user other than root, with data in a temporary folder.  Every
process is ended by its id, those included that are still there when this program is killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

RUN: Final = Path(".run")
BIN: Final = Path(sys.executable).parent
KEY: Final = "configcat-sdk-1/demo-demo-demo-demo-de/demo-demo-demo-demo-de"  # the upstream accepts any of this form
MOST_NODES: Final = 9
STEP: Final = 0.1  # seconds between two looks at the processes
START_SECONDS: Final = 120.0  # an idle machine takes about five
STOP_SECONDS: Final = 20.0
OTHER_USERS: Final = ("postgres", "nobody")  # as which root starts the servers
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

TEXT: Final = """
{count} gateways share a Redis (port {redis}), an outbox on PostgreSQL (port {postgres}) and one upstream, which serves
.run/config.json:

{table}

Paste these into another terminal, in this directory:

1. Evaluate a flag for a user at the first node:

   curl -s http://localhost:{first}/api/demo/eval -d '{user}'

2. Stream that flag for that user from the last node (Ctrl-C ends it):

   curl -N http://localhost:{last}/sse/demo/eval/$(printf '{user}' | base64 -w0)

3. While it streams, change the flag from a third terminal; the new value appears in the stream of the other node:

   sed -i 's/"d": 39.0/"d": 29.0/' .run/config.json

4. Show the signed webhooks that the demo's receiver got, each one once:

   cat .run/received.log

5. Kill the first node; the others go on, and take over what it did within 15 s:

   kill -9 $(cat .run/nodes/a/pid)

Stop everything with Ctrl-C here.
"""
USER: Final = '{"key":"freeShippingFrom","user":{"Identifier":"zoe","Country":"France"}}'


class Failed(Exception):
    """The demo cannot go on; the text is for the user."""


class Stopped(Exception):
    """The demo was asked to end during its start."""


class Demo:
    """The processes of the demo, in the order of their start."""

    def __init__(self, ports: list[tuple[int, int]]) -> None:
        """Take the ports of the nodes: gateway, diagnostics."""
        self._ports = ports
        self._stop = Event()
        self._servers: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._nodes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._reported: set[int] = set()
        self._user = _other_user() if os.geteuid() == 0 else None
        self._home = Path(tempfile.mkdtemp(prefix="flaggateway-demo-"))
        if self._user is not None:
            os.chown(self._home, self._user.pw_uid, self._user.pw_gid)

    def run(self, redis_server: str, postgres: Path) -> None:
        """Start everything, wait for a signal or the end of all nodes, and end everything."""
        for number in SIGNALS:
            signal.signal(number, lambda *_: self._stop.set())
        try:
            redis, database = self._start_servers(redis_server, postgres)
            upstream = self._start_helper("cdn", "--file", str(RUN / "config.json")).strip()
            receiver = self._start_helper("receiver", "--secret", _demo_settings()["webhooks"][0]["secret"]).split()[-1]
            for index, (port, diag_port) in enumerate(self._ports):
                name = chr(ord("a") + index)
                settings = _settings(name, port, diag_port, int(upstream), int(receiver), redis, database)
                self._start_node(name, settings)
            for (name, process), (_, diag_port) in zip(self._nodes, self._ports, strict=True):
                self._wait(partial(_ready, diag_port), process, f"Node {name}")
            print(_text(self._ports, redis, database), flush=True)
            while not self._stop.wait(STEP):
                self._watch()
        finally:
            self._end()

    def _start_servers(self, redis_server: str, postgres: Path) -> tuple[int, int]:
        redis, database = _free_port(), _free_port()
        options = ["--bind", "127.0.0.1", "--port", str(redis), "--dir", str(self._home), "--save", ""]
        server = self._start_server("redis", redis_server, *options)
        self._wait(lambda: _answers_ping(redis), server, "Redis", self._home / "redis.log")
        data = self._home / "data"
        made = subprocess.run(
            [*self._as_other(), postgres / "initdb", "-D", data, "-U", "demo", "-A", "trust", "-E", "UTF8",
             "--no-locale"],
            cwd=self._home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            start_new_session=True,
        )  # fmt: skip
        if made.returncode != 0:
            raise Failed(f"PostgreSQL's initdb failed:\n{made.stdout.decode('utf-8', 'replace')}")
        options = ["-D", str(data), "-p", str(database), "-k", str(self._home), "-c", "listen_addresses=127.0.0.1"]
        server = self._start_server("postgres", str(postgres / "postgres"), *options)
        self._wait(lambda: _answers_query(database), server, "PostgreSQL", self._home / "postgres.log")
        return redis, database

    def _start_server(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self._home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*self._as_other(), *command], cwd=self._home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._servers.append((name, process))
        return process

    def _start_helper(self, name: str, *options: str) -> str:
        """Start the upstream or the receiver of webhooks; return its first line, which has its port."""
        path = RUN / ("received.log" if name == "receiver" else f"{name}.log")
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*_ending_with_this(), sys.executable, "-P", "-m", f"gateway.testing.{name}", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._servers.append((name, process))
        self._wait(lambda: b"\n" in path.read_bytes(), process, f"The {name} of the demo", path)
        return path.read_text("utf-8").splitlines()[0]

    def _start_node(self, name: str, settings: dict[str, Any]) -> None:
        home = RUN / "nodes" / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "flaggateway.yml").write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
        # Options in the caller's environment must not change the demo.
        env = {key: value for key, value in os.environ.items() if not key.startswith("CONFIGCAT_")}
        process = subprocess.Popen(
            [*_ending_with_this(), str(BIN / "twistd"), "--nodaemon", "--pidfile=", "--logfile=-", "flaggateway",
             "--config", str(home / "flaggateway.yml")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env=env | {"XDG_STATE_HOME": str((home / "state").resolve())},
        )  # fmt: skip
        (home / "pid").write_text(f"{process.pid}\n", "utf-8")
        self._nodes.append((name, process))
        assert process.stdout is not None
        Thread(target=_copy, args=(name, process.stdout), daemon=True).start()

    def _wait(
        self, condition: Callable[[], bool], process: subprocess.Popen[bytes], what: str, log: Path | None = None
    ) -> None:
        """Wait until a process is ready; without success fail with the end of its log."""
        for _ in range(int(START_SECONDS / STEP)):
            if self._stop.is_set():
                raise Stopped
            if condition():
                return
            if process.poll() is not None:
                break
            self._stop.wait(STEP)
        end = "" if log is None else "".join(f"\n{line}" for line in log.read_text("utf-8").splitlines()[-10:])
        raise Failed(f"{what} did not start.{end}")

    def _watch(self) -> None:
        """Report each process that has ended; the demo ends with its last node."""
        for name, process in (*self._servers, *self._nodes):
            if process.poll() is not None and process.pid not in self._reported:
                self._reported.add(process.pid)
                kind = "Node " if (name, process) in self._nodes else ""
                print(f"{kind}{name} has ended with {process.returncode}; the rest of the demo goes on.", flush=True)
        if all(process.poll() is not None for _, process in self._nodes):
            raise Failed("All nodes have ended.")

    def _end(self) -> None:
        """End what still runs: the nodes together, then what they use."""
        _end_all([process for _, process in self._nodes], signal.SIGTERM)
        # SIGINT ends PostgreSQL without waiting for its clients.
        _end_all([process for _, process in self._servers], signal.SIGINT)
        shutil.rmtree(self._home, ignore_errors=True)

    def _as_other(self) -> list[str]:
        """Return the beginning of a command that runs as a user other than root and ends with this process."""
        if self._user is None:
            return _ending_with_this()
        user = [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        return [*_ending_with_this()[:-1], *user, "--"]


def _ending_with_this() -> list[str]:
    return ["setpriv", "--pdeathsig", "KILL", "--"]


def _end_all(processes: list[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _copy(name: str, lines: IO[bytes]) -> None:
    """Print the log of a node with its name in front of each line."""
    for line in lines:
        sys.stdout.write(f"{name} | {line.decode('utf-8', 'replace')}")
        sys.stdout.flush()


def _demo_settings() -> dict[str, Any]:
    return dict(yaml.safe_load(Path("etc/demo/flaggateway.yml").read_text("utf-8")))


def _settings(
    name: str, port: int, diag_port: int, upstream: int, receiver: int, redis: int, database: int
) -> dict[str, Any]:
    """Return the settings of a node: those of the demo with one node, and what the nodes share."""
    settings = _demo_settings()
    settings["sdks"]["demo"] = {"key": KEY, "base_url": f"http://127.0.0.1:{upstream}", "poll_interval": 1}
    settings["webhooks"][0]["url"] = f"http://127.0.0.1:{receiver}/"
    settings["cache"] = {"redis": {"enabled": True, "addresses": [f"127.0.0.1:{redis}"]}}
    settings["cluster"] = {"node": name}
    settings["outbox"] = {"url": f"postgresql://demo@127.0.0.1:{database}/postgres"}
    settings["http"] = {"port": port, "sse": {"drain_window": 1}}
    settings["diag"] = {"port": diag_port}
    return settings


def _text(ports: list[tuple[int, int]], redis: int, database: int) -> str:
    rows = ["node  gateway                 console"]
    for index, (port, diag_port) in enumerate(ports):
        rows.append(f"{chr(ord('a') + index):<5} {f'http://localhost:{port}':<23} http://localhost:{diag_port}/")
    return TEXT.format(
        count=len(ports), redis=redis, postgres=database, table="\n".join(rows),
        first=ports[0][0], last=ports[-1][0], user=USER,
    )  # fmt: skip


def _ready(port: int) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError), direct.open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _answers_ping(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False


def _answers_query(port: int) -> bool:
    import psycopg

    with suppress(psycopg.Error), psycopg.connect(f"postgresql://demo@127.0.0.1:{port}/postgres") as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _other_user() -> pwd.struct_passwd:
    for name in OTHER_USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise Failed("PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody.")


def _node_ports(count: int, port: int, diag_port: int) -> list[tuple[int, int]]:
    """Return the ports of all nodes: those of the first one, and for each further one the next that are free."""
    found = [(port, diag_port)]
    taken = {port, diag_port}
    for _ in range(count - 1):
        pair = []
        for wanted in found[-1]:
            pair.append(next(each for each in range(wanted + 1, 65536) if each not in taken and _is_free(each)))
            taken.add(pair[-1])
        found.append((pair[0], pair[1]))
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind(("", port))
            return True
    return False


def _programs() -> tuple[str, Path]:
    """Return the path of redis-server and the folder of PostgreSQL's programs."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    redis = shutil.which("redis-server", path=path)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    other = shutil.which("initdb", path=path)
    initdb = found[-1] if found else None if other is None else Path(other).resolve()
    missing = [name for name, there in (("redis-server", redis), ("postgresql", initdb)) if there is None]
    if redis is None or initdb is None:
        raise Failed(
            f"Several nodes need Redis and PostgreSQL; not installed: {' and '.join(missing)}. Install them with\n"
            f"    apt-get install {' '.join(missing)}\n"
            "or start one node, which needs neither:\n"
            "    make run"
        )
    return redis, initdb.parent


def main() -> None:
    """Run the demo with the nodes and ports of the environment."""
    text = os.environ.get("NODES", "")
    if text not in map(str, range(2, MOST_NODES + 1)):
        raise Failed(f"NODES={text} is not a number from 1 to {MOST_NODES}.")
    programs = _programs()
    ports = _node_ports(int(text), int(os.environ["PORT"]), int(os.environ["DIAG_PORT"]))
    Demo(ports).run(*programs)


if __name__ == "__main__":
    try:
        main()
    except Stopped:
        sys.exit(0)
    except Failed as failed:
        sys.exit(str(failed))
