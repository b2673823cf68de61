"""What an open console costs the clients: python -m bench.console

Two gateways of this checkout run at the same time; the console of the second one is open in three browsers.  Both
get the same load, one after the other, and the table shows the processor time of each and the median of the ratios of
the rounds, as ``bench.compare`` does.  Exit status 1 if a ratio is above ``LIMIT``.
"""

# ruff: noqa: RUF001, TID251  (mathematical signs are part of the printed table; this process has no reactor)

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import configs, machine, wrk
from bench.compare import ROUNDS, Rows, cost_of, in_turns, used
from bench.readers import Readers
from bench.request_rows import FLAGS, ROUTES
from bench.servers import ONE, Server
from bench.stream_rows import edited, tenth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT = 1.03
VIEWS = ("now", "streams", "changes")  # each in a browser of its own
STREAMS = 8_000  # as in the benchmark
STREAM_ROUNDS = 4  # each with two new servers
PUSHES = 3  # in each of them
LOADING = 10.0  # seconds until the pages are open and quiet


@contextlib.contextmanager
def browsers(server: Server, home: Path) -> Iterator[None]:
    """Have the console of ``server`` open in headless browsers.

    :raises RuntimeError: if Chromium is not installed, or ended by itself
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise RuntimeError("Chromium is not installed: apt-get install chromium")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    with contextlib.ExitStack() as stack:
        running = []
        for view in VIEWS:
            page = f"http://127.0.0.1:{server.diag_port}/#/{view}"
            command = [program, *options, f"--user-data-dir={home / view}", page]
            browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(browser.wait)
            stack.callback(browser.terminate)
            running.append(browser)
        time.sleep(LOADING)
        yield
        if any(browser.poll() is not None for browser in running):
            raise RuntimeError("a browser ended before the measurement did")


@contextlib.contextmanager
def pair(home: Path, config: bytes, *, guarded: bool = False) -> Iterator[list[Server]]:
    """Yield two equal servers; the console of the second one is open."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(ONE, home, config, guarded=guarded)) for _ in range(2)]
        stack.enter_context(browsers(servers[1], servers[1].home))
        yield servers


def measure(rows: Rows, home: Path) -> None:
    """Add requests, then streams: opened and pushed."""
    with pair(home, configs.config(FLAGS)) as servers:
        for number in range(ROUNDS):
            for route, (name, _) in ROUTES.items():
                rows.add(f"{name}, µs", *in_turns(servers, number, functools.partial(cost_of, route)))
    for turn in range(STREAM_ROUNDS):
        with pair(home, edited(FLAGS, 0, 0), guarded=True) as servers, contextlib.ExitStack() as stack:
            readers = {each: stack.enter_context(Readers(each.port)) for each in servers}
            rows.add("stream opened, µs", *in_turns(servers, turn, functools.partial(_open, readers)))
            for version in range(1, PUSHES + 1):
                cost = in_turns(servers, version, functools.partial(_push, readers, version))
                rows.add(f"change for all {STREAMS:,} streams, µs", *cost)


def _open(readers: Mapping[Server, Readers], server: Server) -> float:
    """Return the processor time of an opened stream in microseconds."""
    return used(server, functools.partial(readers[server].open, tenth(STREAMS))) / STREAMS


def _push(readers: Mapping[Server, Readers], version: int, server: Server) -> float:
    """Return the processor time of a change for all streams in microseconds."""
    put = functools.partial(server.put, edited(FLAGS, version, version))
    return used(server, functools.partial(readers[server].push, put, STREAMS))


def main() -> int:
    if not wrk.available():
        print("bench.console needs wrk: etc/setup/debian wrk", file=sys.stderr)
        return 2
    machine.raise_limit()
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        measure(rows, Path(folder))
    print(rows.table().replace("before | after | after ÷ before", "closed | open in three browsers | open ÷ closed"))
    slower = [name for name in rows.samples if rows.ratio(name) > LIMIT]
    print(f"\nmore than {LIMIT:g} ×: {', '.join(slower) or 'none'}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
