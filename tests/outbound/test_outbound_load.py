"""Many changes for many endpoints, some of them dead or slow: the healthy ones get everything, soon and in bounds."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from gateway.flags import Snapshot, load
from gateway.outbound import Outbound
from gateway.settings import Endpoint, Outbox, Sdk, Settings
from receiver import Receiver

CHANGES = 60
HEALTHY, DEAD, SLOW = 6, 2, 1


def config(number: int) -> Snapshot:
    """A config whose one flag has this value."""
    body = {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}
    return load(json.dumps(body).encode(), f'"{number}"')


def endpoints(healthy: Receiver, slow: Receiver) -> list[Endpoint]:
    """All the endpoints."""
    return [
        *(Endpoint(name=f"well{n}", url=f"{healthy.url}/{n}", format="notifier", secret="s") for n in range(HEALTHY)),
        *(Endpoint(name=f"dead{n}", url="http://127.0.0.1:1/", format="notifier") for n in range(DEAD)),
        *(Endpoint(name=f"slow{n}", url=slow.url, format="notifier", timeout=0.5) for n in range(SLOW)),
    ]


@pytest.mark.timeout(90)
@pytest_twisted.ensureDeferred
async def test_dead_and_slow_endpoints_delay_nobody(tmp_path: Path) -> None:
    """Each healthy endpoint gets each change once, in one sequence without a hole."""
    from twisted.internet import reactor  # noqa: TID251 - real sockets and a real thread

    with Receiver() as healthy, Receiver(lambda _: "hang") as slow:
        settings = Settings(
            sdks={"one": Sdk(key="k")},
            webhooks=endpoints(healthy, slow),
            outbox=Outbox(path=str(tmp_path / "outbox.sqlite3")),
        )
        outbound = Outbound(
            reactor, settings, wall=reactor.seconds, rng=random.Random(1), environ={}, home=tmp_path, hostname="host"
        )
        await outbound.start()
        for number in range(CHANGES + 1):
            await outbound.record("one", config(number))
        for _ in range(600):
            if len(healthy.taken) >= CHANGES * HEALTHY:
                break
            await deferLater(reactor, 0.05)
        stopped: Deferred[None] = outbound.stop()
        await stopped
    for number in range(HEALTHY):
        calls = [call for call in healthy.taken if call.path.endswith(f"/{number}")]
        assert len({call.id for call in calls}) == len(calls) == CHANGES
        assert sorted(int(call.headers["x-flaggateway-sequence"]) for call in calls) == list(range(1, CHANGES + 1))
