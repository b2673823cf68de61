"""Several real gateways with one outbox on PostgreSQL, one CDN, and a receiver per endpoint in five formats."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from postgres_server import PostgresServer
from receiver import Call, Receiver

FORMATS = ("envelope", "notifier", "environment", "audit_log", "slack")
CONCURRENCY = 8
ALLOWED = {"X-Test": "yes"}  # refreshes of callers without credentials are limited to one per second


def config(value: int) -> dict[str, Any]:
    """A config whose one flag ``flag`` has this value."""
    return {"p": {"s": "salt"}, "f": {"flag": {"t": 2, "v": {"i": value}, "i": f"v{value}"}}}


class OutboxNodes:
    """Use it as a context manager; ``nodes`` are the gateways, ``receivers`` the endpoints by name."""

    def __init__(self, server: PostgresServer, home: Path, count: int = 3, formats: tuple[str, ...] = FORMATS) -> None:
        """Begin with nothing running, in a schema of its own."""
        self.server = server
        self.schema = server.new_schema()
        self.cdn = CdnStandIn(config(0))
        self.receivers = {name: Receiver() for name in formats}
        self.outbox: dict[str, Any] = {"url": server.url(), "schema": self.schema}
        self.nodes: list[GatewayProcess] = []
        for number in range(count):
            (home / f"node{number}").mkdir()
            self.nodes.append(GatewayProcess({}, home / f"node{number}"))
        self._stack = ExitStack()

    def settings(self, *names: str) -> dict[str, Any]:
        """Settings with these endpoints, by default all."""
        return {
            "sdks": {"shop": {"key": SDK_KEY, "base_url": self.cdn.url, "poll_interval": 3600}},
            "http": {"api": {"auth_headers": ALLOWED}},
            "outbox": dict(self.outbox),
            "history": {"keep": 0},
            "webhooks": [
                {"name": name, "url": self.receivers[name].url, "format": name, "concurrency": CONCURRENCY}
                | ({"events": ["FLAG_UPDATED"]} if name == "envelope" else {})  # one message per change
                for name in names or self.receivers
            ],
        }

    def __enter__(self) -> Self:
        """Start everything; the first node creates the tables."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        for part in (self.cdn, *self.receivers.values()):
            self._stack.enter_context(part)
        for node in self.nodes:
            self._stack.callback(node.kill)
            node.settings = self.settings()
        starts = [Thread(target=node.start) for node in self.nodes]
        for start in starts:
            start.start()
        for start in starts:
            start.join()
        self.wait_for_leases()
        eventually(lambda: self.rows("SELECT etag FROM configs") == [(self.cdn.etag,)], self.logs)

    def __exit__(self, *why: object) -> None:
        """End everything."""
        self._stack.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query on the outbox returns; none while the tables do not exist."""
        if self.server.execute(f"SELECT to_regclass('{self.schema}.about')") == [(None,)]:
            return []
        return self.server.execute(query, search_path=self.schema)

    def holders(self) -> dict[str, str]:
        """Return who delivers to each endpoint now."""
        query = "SELECT name, node FROM leases WHERE name LIKE 'endpoint:%' AND until > clock_timestamp()"
        return {name.removeprefix("endpoint:"): node for name, node in self.rows(query)}

    def live(self) -> list[str]:
        """Return the nodes that have renewed their leases within three seconds."""
        query = "SELECT node FROM nodes WHERE seen > clock_timestamp() - make_interval(secs => 3)"
        return [node for (node,) in self.rows(query)]

    def wait_for_leases(self, nodes: int | None = None) -> None:
        """Wait until every endpoint has a node, and each of ``nodes`` (all) nodes an endpoint."""
        wanted = min(len(self.nodes) if nodes is None else nodes, len(self.receivers))

        def spread() -> bool:
            held = self.holders()
            return set(held) == set(self.receivers) and len(set(held.values())) == wanted

        eventually(spread, lambda: f"{self.holders()}\n{self.logs()}", limit=60)

    def logs(self) -> str:
        """Return the ends of the logs."""
        return "\n".join(node.logs()[-1500:] for node in self.nodes)

    def running(self) -> list[GatewayProcess]:
        """Return the nodes that have not ended."""
        return [node for node in self.nodes if node.returncode is None]

    def change(self, value: int, *nodes: GatewayProcess) -> None:
        """Change the flag, and let these nodes (all) fetch it at once; one that is stopped is not waited for."""
        self.cdn.set(config(value))
        calls = [Thread(target=_refresh, args=(node,), daemon=True) for node in nodes or self.running()]
        for call in calls:
            call.start()
        until = time.monotonic() + 1.0
        for call in calls:
            call.join(max(until - time.monotonic(), 0))

    def recorded(self, value: int) -> bool:
        """Whether the change to ``value`` is recorded."""
        return self.rows(f'SELECT 1 FROM changes WHERE detail LIKE \'%"i":"v{value}"%\' LIMIT 1') != []

    def all_delivered(self) -> bool:
        """Whether nothing waits; postponed messages are made due."""
        self.rows("UPDATE messages SET due = 0 WHERE state = 'pending' AND tries > 0 RETURNING 1")
        return self.rows("SELECT count(*) FROM messages WHERE state IN ('pending', 'failed')") == [(0,)]

    def repeats(self) -> Counter[str]:
        """Return by endpoint how many calls came more than once with an id."""
        return Counter(
            {name: len(each.taken) - len({c.id for c in each.taken}) for name, each in self.receivers.items()}
        )

    def silence(self) -> float:
        """Return the longest time between two calls to any endpoint, in seconds."""
        times = sorted(call.at for receiver in self.receivers.values() for call in receiver.taken)
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def bodies_differ(self) -> list[str]:
        """Return the ids that came with different bodies."""
        bodies: dict[tuple[str, str], set[bytes]] = {}
        for name, receiver in self.receivers.items():
            for call in receiver.taken:
                bodies.setdefault((name, call.id), set()).add(call.body)
        return [str(key) for key, found in bodies.items() if len(found) > 1]


def _refresh(node: GatewayProcess) -> None:
    try:
        node.post("/api/shop/refresh", headers=ALLOWED)
    except OSError:
        return


@contextmanager
def stopped(process: GatewayProcess) -> Iterator[None]:
    """Stop a gateway for a while, as on a host that swaps."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


@contextmanager
def in_background(work: Callable[[], object]) -> Iterator[None]:
    """Run ``work`` in a thread while the block runs, and wait for its end."""
    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def wait(seconds: float) -> None:
    """Wait while a fault lasts: its length is the input of the test."""
    Event().wait(seconds)


__all__ = ("ALLOWED", "CONCURRENCY", "Call", "OutboxNodes", "in_background", "stopped", "wait")
