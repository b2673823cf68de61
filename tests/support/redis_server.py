"""A real redis-server on a free loopback port, as a user without rights, with temporary data; ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from eventually import eventually
from gateway_process import unused_port
from outside_tools import find_tool

STOP_SECONDS = 20.0
HIGHEST_PORT = 55_535  # the nodes of a cluster use the port that is 10,000 higher too


class RedisServer:
    """A server; ``start`` after ``kill`` starts it again on the same port, empty unless ``keep`` is true."""

    def __init__(self, *options: str, keep: bool = False, tls: bool = False, **client_options: object) -> None:
        """Take further command line options, and those of ``client``; ``tls`` has the port speak nothing else."""
        self._program = find_tool("redis-server")
        self.port = next(port for port in iter(unused_port, None) if port <= HIGHEST_PORT)
        # Not below a folder of pytest, which another user may not enter.
        self.home = Path(tempfile.mkdtemp(prefix="flaggateway-redis-"))
        self._keep = keep
        self._options = options
        self._arguments: list[str] = []  # before the options
        self._tls = tls
        self._client_options = client_options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """A new client of the test's own."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=30, protocol=2, **self._client_options)

    def start(self) -> None:
        """Start, and wait until it answers."""
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        if user is not None:
            for path in (self.home, *self.home.iterdir()):
                shutil.chown(path, user.pw_uid, user.pw_gid)
        options = ["--bind", "127.0.0.1", "--dir", str(self.home), "--logfile", str(self.home / "log")]
        port = ["--port", "0", "--tls-port", str(self.port)] if self._tls else ["--port", str(self.port)]
        if not self._arguments:
            options += ["--save", "", "--appendonly", "yes" if self._keep else "no"]
        self._process = subprocess.Popen(
            [self._program, *self._arguments, *port, *options, *self._options],
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )
        eventually(self.answers, self.log)

    def answers(self) -> bool:
        """Whether it answers a PING."""
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with suppress(redis.exceptions.ConnectionError), self.client() as client:
            return bool(client.ping())
        return False

    def log(self) -> str:
        log = self.home / "log"
        return log.read_text("utf-8", "replace") if log.exists() else "no log"

    def kill(self) -> None:
        """End it at once; what it had in memory is lost."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def hang(self) -> None:
        """Have it accept connections and answer nothing, until ``resume``."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, and delete its data."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def redis_server(
    *options: str, keep: bool = False, tls: bool = False, **client_options: object
) -> Iterator[RedisServer]:
    """Run a server; without redis-server the test is skipped loudly, or fails where ``CI`` is set."""
    server = RedisServer(*options, keep=keep, tls=tls, **client_options)
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextmanager
def sentinels(primary: RedisServer, name: str, count: int) -> Iterator[list[str]]:
    """Run Sentinel processes that watch a primary; yield their addresses once each of them knows the others."""
    running = [_Sentinel(primary, name, count // 2 + 1) for _ in range(count)]
    try:
        for sentinel in running:
            sentinel.start()
        for sentinel in running:
            eventually(lambda: sentinel.others(name) == count - 1, sentinel.log, limit=60)  # noqa: B023
        yield [sentinel.address for sentinel in running]
    finally:
        for sentinel in running:
            sentinel.close()


class _Sentinel(RedisServer):
    def __init__(self, primary: RedisServer, name: str, quorum: int) -> None:
        super().__init__()
        conf = self.home / "sentinel.conf"
        conf.write_text(
            f"sentinel monitor {name} 127.0.0.1 {primary.port} {quorum}\n"
            f"sentinel down-after-milliseconds {name} 1000\n"
            f"sentinel failover-timeout {name} 3000\n"
        )
        self._arguments = [str(conf), "--sentinel"]

    def others(self, name: str) -> int:
        with self.client() as client:
            return int(client.sentinel_master(name)["num-other-sentinels"])
