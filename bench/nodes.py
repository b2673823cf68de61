"""How fast and how reliable several gateways are together: python -m bench.nodes [--quick]

Starts a Redis, a PostgreSQL with ``fsync`` on, and three gateways, which needs the Debian packages redis-server and
postgresql.  Prints a table with what is measured and what it must be.  About four minutes; with ``--quick`` one.
``python -m bench.shared_outbox`` measures the speed of one gateway with PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from random import Random
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import psycopg

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess, pause
from outbox_nodes import ALLOWED, CONCURRENCY, OutboxNodes, stopped, wait
from postgres_server import PostgresServer
from redis_server import redis_server
from shop import GERMAN, shop
from streams import Streams, stream_path

PATH = stream_path("shop", GERMAN, "banner")
EVAL = json.dumps({"key": "banner", "user": GERMAN}).encode()
WAIT = 60.0
SENT = ("eval", "evalsha", "ping", "subscribe", "client|id", "client|tracking", "select")  # scripts count as one


class Fleet:
    """Gateways that share a Redis, behind one CDN."""

    def __init__(self, home, redis, cdn, stack):
        self.redis = redis
        self.cdn = cdn
        self.nodes = []
        self._home = home
        self._stack = stack

    def node(self, name, *, shared=True, disk=False, poll=3600):
        """Return a gateway that is not started."""
        home = self._home / name
        home.mkdir(exist_ok=True)
        settings = {
            "sdks": {"shop": {"key": SDK_KEY, "base_url": self.cdn.url, "poll_interval": poll}},
            "http": {"sse": {"drain_window": 0}, "api": {"auth_headers": ALLOWED}},
            "cache": {"redis": {"enabled": shared, "addresses": [self.redis.address]}, "file": {"enabled": disk}},
            "cluster": {"node": name},
        }
        node = GatewayProcess(settings, home)
        self._stack.callback(node.kill)
        return node

    def start(self, count):
        for name in "abc"[:count]:
            self.nodes.append(self.node(name))
            self.nodes[-1].start()

    def publish(self, value, node):
        self.cdn.set(shop(value))
        code, body = node.post("/api/shop/refresh", headers=ALLOWED)
        assert code == 200, body


def delays(fleet, count):
    """Return, for changes that one node fetches, how long after the request clients have them: own, of other nodes."""
    own, others = [], []
    streams = Streams()
    clients = [streams.open(node.port, PATH) for node in fleet.nodes]
    streams.read_until(lambda: all(client.payloads for client in clients), WAIT)
    for number in range(count):
        value = f"change {number}"
        began = time.monotonic()
        request = Thread(target=fleet.publish, args=(value, fleet.nodes[0]))
        request.start()
        streams.read_until(lambda value=value: all(client.payloads[-1]["value"] == value for client in clients), WAIT)
        request.join()
        own.append(clients[0].arrivals[-1] - began)
        others += [client.arrivals[-1] - began for client in clients[1:]]
        pause(0.1)
    streams.close()
    return own, others


def hops(fleet, seconds):
    """Return the values that a client is shown that goes from node to node while the config changes."""
    values, last, rng = [], "", Random(7)
    fleet.publish("value 0", fleet.nodes[0])
    for node in fleet.nodes:
        eventually(lambda node=node: b'"value 0"' in node.post("/api/shop/eval", EVAL, headers=ALLOWED)[1], limit=WAIT)
    streams = Streams()
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
        fleet.publish(f"value {number}", rng.choice(fleet.nodes))
        for _ in range(3):
            headers = f"Last-Event-ID: {last}\r\n" if last else ""
            stream = streams.open(rng.choice(fleet.nodes).port, PATH, headers=headers)
            streams.read_until(lambda stream=stream: stream.payloads, WAIT)
            values += [int(payload["value"].split()[1]) for payload in stream.payloads]
            last = stream.ids[-1]
            streams.forget(stream)
    streams.close()
    return values


def idle_commands(fleet, seconds):
    """Return how many commands a node sends Redis per second, and how many it causes with those inside of scripts."""

    def count():
        with fleet.redis.client() as client:
            found = client.info("commandstats")
        sent = sum(found[f"cmdstat_{name}"]["calls"] for name in SENT if f"cmdstat_{name}" in found)
        own = found.get("cmdstat_info", {"calls": 0})["calls"]
        return sent, sum(each["calls"] for each in found.values()) - own

    before, began = count(), time.monotonic()
    pause(seconds)
    per_second = len(fleet.nodes) * (time.monotonic() - began)
    return [(after - first) / per_second for first, after in zip(before, count(), strict=True)]


def first_answer(node):
    """Start a gateway and return the time until it answers an evaluation, in seconds."""
    began = time.monotonic()
    start = Thread(target=node.start)
    start.start()
    while not node.port or not answered(node):
        assert time.monotonic() - began < WAIT, node.logs()
        pause(0.01)
    took = time.monotonic() - began
    start.join()
    return took


def answered(node):
    try:
        return node.post("/api/shop/eval", EVAL, headers=ALLOWED)[0] == 200
    except OSError:
        return False


def starts(fleet, count, *, shared):
    """Return the times of first answers with the upstream down and the config in Redis, or on the own disk."""
    node = fleet.node("shared" if shared else "disk", shared=shared, disk=not shared)
    fleet.cdn.down = False
    node.start()
    node.stop()
    fleet.cdn.down = True
    found = []
    for _ in range(count):
        found.append(first_answer(node))
        node.stop()
    fleet.cdn.down = False
    return found


def outbox(server, home, count, fault):
    """Make changes, during a fault too; return how many were recorded, delivered and repeated, and the silence."""
    home.mkdir()
    with OutboxNodes(server, home) as scene:
        thread = Thread(target=fault, args=(scene,))
        for value in range(1, count + 1):
            if value == count // 2:
                thread.start()
            scene.change(value, *[node for node in scene.running() if not is_stopped(node)])
            eventually(lambda value=value: is_recorded(scene, value), scene.logs, limit=WAIT)
        thread.join()
        eventually(scene.all_delivered, scene.logs, limit=WAIT)
        recorded = scene.rows("SELECT count(*) FROM changes")[0][0]
        delivered = sum(len({call.id for call in each.taken}) for each in scene.receivers.values())
        return recorded, delivered, sum(scene.repeats().values()), scene.silence()


def is_recorded(scene, value):
    try:
        return scene.recorded(value)
    except psycopg.Error:  # the server is away
        return False


def is_stopped(node):
    return Path(f"/proc/{node.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "T"


def kill(scene):
    scene.nodes[0].kill()


def stop(scene):
    with stopped(scene.nodes[0]):
        wait(8)


def crash(scene):
    scene.server.kill()
    wait(4)
    scene.server.start()


def row(what, found, wanted):
    print(f"| {what} | {found} | {wanted} |", flush=True)


def milliseconds(values):
    cuts = statistics.quantiles(values, n=100)
    return f"{1000 * statistics.median(values):.1f} ms, {1000 * cuts[98]:.1f} ms"


def configs(home, quick):
    """Print the rows of the config cache."""
    with redis_server() as redis, CdnStandIn(shop("before")) as cdn, ExitStack() as stack:
        fleet = Fleet(home, redis, cdn, stack)
        fleet.start(3)
        own, others = delays(fleet, 20 if quick else 50)
        row("change → client of another node, p50 and p99", milliseconds(others), "p99 ≤ 50 ms")
        row("change → client of the node that fetched it, p50 and p99", milliseconds(own), "")
        seconds = 5 if quick else 30
        values = hops(fleet, seconds)
        backwards = sum(after < before for before, after in pairwise(values))
        row(f"client that hops for {seconds} s: values, older after newer", f"{len(values)}, {backwards}", "0 older")
        sent, run = idle_commands(fleet, seconds)
        row("Redis commands of an idle node with one SDK", f"{sent:.2f}/s ({run:.2f} with those in scripts)", "≤ 2/s")
        for node in fleet.nodes:
            node.stop()
        for shared, where in ((True, "in Redis"), (False, "on disk")):
            took = starts(fleet, 3 if quick else 7, shared=shared)
            shown = f"{statistics.median(took):.2f} s, {max(took):.2f} s"
            row(f"start with the upstream down, config {where}: first answer, median and longest", shown, "≤ 3 s")


def deliveries(home, quick):
    """Print the rows of the outbox."""
    count = 30 if quick else 300
    limit = 5 * CONCURRENCY
    with PostgresServer(fsync=True) as server:
        for fault, what, silence in (
            (kill, "one node killed", 2),
            (stop, "one node stopped for 8 s", 2),
            (crash, "PostgreSQL killed for 4 s", 8),
        ):
            recorded, delivered, repeats, longest = outbox(server, home / fault.__name__, count, fault)
            row(
                f"{count} changes, 5 endpoints, {what}: recorded, delivered, repeated, silence",
                f"{recorded}, {delivered}, {repeats}, {longest:.1f} s",
                f"{count}, {5 * count}, ≤ {limit}, ≤ {silence} s",
            )


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer changes and shorter times")
    quick = parser.parse_args().quick
    print(f"Load average before: {os.getloadavg()[0]:.1f}\n")
    print("| three nodes on one machine | measured | must be |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        configs(Path(folder), quick)
        deliveries(Path(folder), quick)
    print(f"\nLoad average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
