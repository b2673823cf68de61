"""The webhooks of the settings as a whole, over a real file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.task import deferLater

from courier_scene import BROKEN, FINE
from gateway.flags import Snapshot, load
from gateway.settings import Endpoint, Sdk, Settings
from gateway.storage import Database
from gateway.webhooks import Webhooks
from gateway.webhooks.delivery.endpoint_health import FAILING_LONG
from outbox_memory import FakeSender, WebhookCounts


def config(number: int) -> Snapshot:
    """Return a config whose one flag has this value."""
    body = {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}
    return load(json.dumps(body).encode(), f'"{number}"')


@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_fails_for_ten_minutes_is_a_problem(tmp_path: Path, logged_errors: Any) -> None:
    """Not earlier, and a success ends it."""
    from twisted.internet import reactor  # noqa: TID251 - a real thread and a real file

    ahead = [0.0]
    sender = FakeSender(lambda *_: BROKEN)
    hook = Endpoint(name="ops", url="http://ops/", format="notifier")
    settings = Settings(sdks={"one": Sdk(key="k")}, webhooks=[hook])
    database = Database(reactor, tmp_path / "outbox.sqlite3")
    webhooks = Webhooks(
        reactor,
        settings,
        wall=lambda: reactor.seconds() + ahead[0],
        rng=random.Random(1),
        hostname="host",
        metrics=WebhookCounts(),
        sender=lambda *_: sender,
    )
    database.open()
    await webhooks.configure(settings, database)
    for number in range(2):
        await webhooks.record("one", config(number))
    for _ in range(600):
        if sender.sent:
            break
        await deferLater(reactor, 0.05)
    assert [] == webhooks.problems()
    ahead[0] = FAILING_LONG + 10
    (problem,) = webhooks.problems()
    assert problem.startswith("endpoint ops has accepted no message since 20")
    assert (problem,) == tuple(webhooks.problems())
    sender.answer = lambda *_: FINE
    await webhooks.record("one", config(2))
    for _ in range(600):
        if not webhooks.problems():
            break
        await deferLater(reactor, 0.05)
    assert [] == webhooks.problems()
    await webhooks.stop()
    await database.close()
