"""How fast one gateway records and delivers with an outbox on PostgreSQL: python -m bench.shared_outbox [CHANGES]

Starts a server with ``fsync`` on and temporary data, which needs the Debian package postgresql.  The real recorder,
courier and store work in this process; receivers answer at once, without a network, so it is the database that is
measured.  Prints one line per figure.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater

from gateway.flags import load
from gateway.http_client import Attempt
from gateway.settings import Endpoint, Sdk, Settings
from gateway.storage import open_shared
from gateway.twisted_private import use_monotonic_timers
from gateway.webhooks import Webhooks
from gateway.webhooks import recorder as recorder_module
from outbox_memory import FakeSender, WebhookCounts
from outbox_nodes import config
from postgres_server import PostgresServer

FORMATS = ("envelope", "notifier", "environment", "audit_log", "slack")
ROUND_TRIPS = 200


def settings() -> Settings:
    """Five endpoints."""
    endpoints = [Endpoint(name=each, url=f"http://{each}/", format=each) for each in FORMATS]
    return Settings(sdks={"one": Sdk(key="k")}, webhooks=endpoints)


async def measure(server: PostgresServer, count: int) -> None:
    """Print the figures."""
    recorder_module.RECORD_SECONDS = 60.0  # the records are timed, not the patience
    store = open_shared(reactor, server.url(), listen_url="", schema="bench", name="bench")
    round_trips = []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        await store.run(lambda connection: connection.execute("SELECT 1").fetchone())
        round_trips.append(time.perf_counter() - began)
    closed = [False]
    sender = FakeSender(lambda _h, _b: Attempt(503, "", 0.0) if closed[0] else Attempt(204, "", 0.0))
    webhooks = Webhooks(
        reactor, settings(), wall=time.time, rng=random.Random(1), hostname="bench", metrics=WebhookCounts(),
        sender=lambda _reactor, _route: sender,
    )  # fmt: skip
    await webhooks.configure(settings(), store)
    configs = [load(json.dumps(config(number)).encode(), f'"{number}"') for number in range(2 * count + 1)]
    await webhooks.record("one", configs[0])
    while len(webhooks._running.cluster._held) < len(FORMATS):
        await deferLater(reactor, 0.1)
    took = []
    for each in configs[1 : count + 1]:
        began = time.perf_counter()
        await webhooks.record("one", each)
        took.append(time.perf_counter() - began)
    await delivered(store)
    # Nothing is delivered while many changes are recorded at once; then all of it is.
    cluster = webhooks._running.cluster
    may_send, cluster_type = type(cluster).may_send, type(cluster)
    cluster_type.may_send = lambda _self, _endpoint: False
    before = await messages(store, "TRUE")
    began = time.perf_counter()
    await DeferredList([webhooks.record("one", each) for each in configs[count + 1 :]])
    seconds = time.perf_counter() - began
    made = await messages(store, "TRUE") - before
    cluster_type.may_send = may_send
    began = time.perf_counter()
    webhooks._running.courier.wake_all()
    await delivered(store)
    deliveries = time.perf_counter() - began
    quantiles = statistics.quantiles(took, n=100)
    print(f"a transaction of one statement: median {1000 * statistics.median(round_trips):.1f} ms")
    print(f"one change at a time: median {1000 * statistics.median(took):.1f} ms, p99 {1000 * quantiles[98]:.1f} ms")
    print(f"many changes at once: {count / seconds:.0f} changes/s, {made / seconds:.0f} messages/s recorded")
    print(f"{made} messages: {made / deliveries:.0f}/s delivered by one gateway")
    await webhooks.stop()
    await store.close()


async def messages(store: object, where: str) -> int:
    """Return how many messages there are."""
    query = f"SELECT count(*) FROM messages WHERE {where}"
    return (await store.run(lambda connection: connection.execute(query).fetchone()))[0]


async def delivered(store: object) -> None:
    """Wait until nothing is pending."""
    while await messages(store, "state = 'pending'"):
        await deferLater(reactor, 0.05)


def main() -> None:
    """Run."""
    use_monotonic_timers(reactor)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with PostgresServer(fsync=True) as server:

        def begin() -> None:
            done: Deferred[None] = ensureDeferred(measure(server, count))
            done.addErrback(lambda failure: failure.printTraceback()).addBoth(lambda _: reactor.stop())

        reactor.callWhenRunning(begin)
        reactor.run()


if __name__ == "__main__":
    main()
