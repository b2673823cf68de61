"""A log that nothing reads, and one on a full disk: the gateway serves as before."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eventually import eventually
from gateway_process import GatewayProcess
from streams import Streams, stream_path
from worker_processes import holder, sample, workers

Start = Callable[..., GatewayProcess]

BURST = 500  # requests on one connection, of which each logs a line of some 200 bytes
FULL = 3000  # of such lines are more than the pipe and a queue of 256 KiB, beside as much in writing, hold
DROPPED = "flaggateway_log_lines_dropped_total"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return the ends of a pipe of one page: (reading end, writing end)."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def streams() -> Iterator[Streams]:
    """Return a group of streams, which is closed at the end."""
    group = Streams()
    yield group
    group.close()


def write(path: Path, value: int) -> None:
    """Write a config with one flag."""
    path.with_suffix(".new").write_text(json.dumps({"f": {"on": {"t": 2, "v": {"i": value}}}}), "utf-8")
    path.with_suffix(".new").rename(path)


def settings(path: Path, count: int) -> dict[str, Any]:
    """Return settings that log each request."""
    return {
        "sdks": {"shop": {"key": "k", "offline": {"enabled": True, "local": {"file_path": str(path)}}}},
        "workers": count,
        "log": {"level": "debug", "format": "json"},
        "http": {"log": {"level": "debug"}, "sse": {"drain_window": 0}},
    }


def evaluate(gateway: GatewayProcess, times: int) -> None:
    """Send evaluations on one connection without waiting between them; check that each is answered."""
    with connected(gateway) as connection:
        ask(connection, times)


def connected(gateway: GatewayProcess) -> socket.socket:
    """Return a connection to the gateway."""
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=30)


def ask(connection: socket.socket, times: int) -> None:
    """Send evaluations without waiting between them; check that each is answered."""
    body = b'{"key":"on"}'
    head = f"POST /api/shop/eval HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    connection.sendall((head + body) * times)
    answers = b""
    while answers.count(b"HTTP/1.1 200 ") < times:
        data = connection.recv(1 << 16)
        assert data, answers[-500:]
        answers += data


def drop_lines_everywhere(gateway: GatewayProcess) -> None:
    """Send so many requests to each process that serves that it drops lines."""
    for pid in workers(gateway) or [gateway.pid]:
        with ExitStack() as stack:
            connection = stack.enter_context(connected(gateway))
            ask(connection, 1)  # a process that answers has accepted the connection
            while holder(connection, [pid]) != pid:
                connection = stack.enter_context(connected(gateway))
                ask(connection, 1)
            for _ in range(FULL // BURST):
                ask(connection, BURST)
    eventually(lambda: sample(gateway, DROPPED) > 0)


def read(descriptor: int, until: Callable[[bytes], bool]) -> bytes:
    """Read until ``until`` accepts what was read."""
    data = b""
    while not until(data):
        assert select.select([descriptor], [], [], 30)[0], data[-1000:]
        data += os.read(descriptor, 1 << 20)
    return data


@pytest.mark.parametrize("count", [1, 2])
def test_a_pipe_that_nothing_reads_stops_nothing(
    gateway_process: Start, tmp_path: Path, pipe: tuple[int, int], streams: Streams, count: int
) -> None:
    """Evaluations, streams and probes go on; once the pipe is read, a line has the number of those that were lost."""
    config = tmp_path / "config.json"
    write(config, 0)
    gateway = gateway_process(settings(config, count), output=pipe[1])
    drop_lines_everywhere(gateway)
    for _ in range(8):
        streams.open(gateway.port, stream_path("shop", key="on"))
    streams.read_until(lambda: all(stream.payloads for stream in streams.all), 30)
    write(config, 1)
    streams.read_until(lambda: all(stream.payloads[-1]["value"] == 1 for stream in streams.all), 30)
    for path in ("/livez", "/readyz", "/status"):
        assert 200 == gateway.get(path, diag=True)[0]
    serving = {1, 2} if count == 2 else {None}

    def complete(data: bytes) -> bool:
        lines = [json.loads(line) for line in data.splitlines(keepends=True) if line.endswith(b"}\n")]
        found.extend(line for line in lines if "log lines were dropped here" in line["message"])
        return serving <= {line.get("worker") for line in found}

    found: list[dict[str, Any]] = []
    read(pipe[0], complete)
    assert all(line["dropped"] > 0 for line in found)
    evaluate(gateway, 1)
    assert b"answered 200" in read(pipe[0], lambda data: data.endswith(b"}\n"))
    gateway.kill()


def test_a_gateway_with_an_unread_log_stops_in_order(
    gateway_process: Start, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    """Its exit does not wait for the reader."""
    config = tmp_path / "config.json"
    write(config, 0)
    gateway = gateway_process(settings(config, 2), output=pipe[1])
    evaluate(gateway, BURST)
    assert 0 == gateway.stop()


def test_the_last_lines_are_not_lost(gateway_process: Start, tmp_path: Path, pipe: tuple[int, int]) -> None:
    """The end waits for a slow reader; what a library prints in a worker is a log line, which cannot block it."""
    config = tmp_path / "config.json"
    write(config, 0)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading\n"
        "if '-m' in sys.orig_argv:\n"
        "    def chatter():\n"
        "        while not hasattr(sys.stderr, 'log'):\n"
        "            threading.Event().wait(0.02)\n"
        "        print('from a library', file=sys.stderr)\n"
        "    threading.Thread(target=chatter, daemon=True).start()\n"
    )
    gateway = gateway_process(settings(config, 2), output=pipe[1], env={"PYTHONPATH": str(tmp_path)})
    read(pipe[0], lambda data: data.count(b'"component":"stderr","message":"from a library"') == 2)
    evaluate(gateway, BURST)
    os.kill(gateway.pid, signal.SIGTERM)
    text = read(pipe[0], lambda data: b"shutdown complete" in data)
    assert BURST == text.count(b"POST /api/{sdkId}/eval answered 200")
    assert 0 == gateway.wait()


def test_a_log_on_a_full_disk_stops_nothing(gateway_process: Start, tmp_path: Path) -> None:
    """Lines wait for room; a new file, which SIGUSR1 opens, gets them."""
    config, log = tmp_path / "config.json", tmp_path / "log"
    write(config, 0)
    log.symlink_to("/dev/full")
    gateway = gateway_process(settings(config, 2), twistd_options=(f"--logfile={log}",))
    evaluate(gateway, BURST)
    assert 200 == gateway.get("/livez", diag=True)[0]
    log.unlink()
    os.kill(gateway.pid, signal.SIGUSR1)
    eventually(lambda: BURST == log.read_text("utf-8").count("POST /api/{sdkId}/eval answered 200"))
    assert "server listening on port" in log.read_text("utf-8")
    assert 0 == sample(gateway, DROPPED)
    assert 0 == gateway.stop()
    assert "shutdown complete" in log.read_text("utf-8")
