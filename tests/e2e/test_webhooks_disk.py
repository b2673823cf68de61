"""With a full disk or a locked database flags are served, nothing recorded is lost, and recording resumes by itself."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from standardwebhooks import Webhook

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from receiver import Call, Receiver
from sick_disk import Locked, OutOfPages, SmallDisk
from worker_processes import sample

SECRET = "whsec_" + b64encode(b"disk" * 8).decode()
ALLOWED = {"X-Test": "yes"}  # refreshes of callers without credentials are limited to one per second
SOON = 10.0  # seconds for a fetch and an evaluation on a busy machine; the disk does not answer until the end

# Where no file system can be mounted, SQLite's own limit takes the place of the full disk.
FULL = [SmallDisk] if SmallDisk.possible() else [OutOfPages]
KINDS = [Locked, *(FULL if os.environ.get("HYPOTHESIS_PROFILE") != "nightly" else dict.fromkeys([*FULL, OutOfPages]))]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def config(number: int) -> dict[str, Any]:
    """A config that grows, so that it does not fit where the one before was."""
    filler = {f"filler{n}": {"t": 1, "v": {"s": "x" * 400}, "i": "x"} for n in range(number * 20)}
    return {"p": {"s": "salt"}, "f": filler | {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}


def serve(gateway: GatewayProcess, cdn: CdnStandIn, number: int) -> str:
    """Change the flag and evaluate it; return the user's name, which the exporter sends."""
    cdn.set(config(number))
    assert gateway.post("/api/shop/refresh", headers=ALLOWED)[0] == 200
    user = f"user-{number}"
    request = json.dumps({"key": "number", "user": {"Identifier": user}}).encode()
    assert json.loads(gateway.post("/api/shop/eval", request, headers=ALLOWED)[1])["value"] == number
    return user


def changes(calls: list[Call]) -> Iterator[tuple[int, int]]:
    """The values before and after, of every message about the flag, verified."""
    for call in calls:
        data = Webhook(SECRET).verify(call.body, call.headers)["data"]
        if data["key"] == "number":
            yield data["oldValue"]["v"]["i"], data["newValue"]["v"]["i"]


def exported(batches: list[Call]) -> list[str]:
    """The users whose evaluations arrived."""
    return [event["userKey"] for batch in batches for event in json.loads(batch.body)["events"]]


def status(gateway: GatewayProcess) -> dict[str, Any]:
    """The status page."""
    return json.loads(gateway.get("/status", diag=True)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_flags_go_on_nothing_recorded_is_lost_and_it_ends_by_itself(kind: type[GatewayProcess], tmp_path: Path) -> None:
    """What could not be recorded is delivered later as one change, and every evaluation is exported."""
    with CdnStandIn(config(0)) as cdn, Receiver(lambda _: 503) as receiver, Receiver() as batches:
        gateway = kind({}, tmp_path)
        gateway.settings = {
            "sdks": {"shop": {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": 3600}},
            "http": {"api": {"auth_headers": ALLOWED}},
            "outbox": {"path": str(gateway.database)},
            "webhooks": [{"name": "ops", "url": receiver.url, "secret": SECRET, "events": ["FLAG_UPDATED"]}],
            "exporter": {"endpoint_url": batches.url, "flush_interval": 500},
        }
        gateway.start()
        try:
            users = [serve(gateway, cdn, 1)]
            eventually(lambda: receiver.calls)  # recorded, and refused: it waits on disk for its next attempt
            receiver.behave = lambda _: 204  # the next attempt is made while the disk is full, or later
            with gateway.trouble():
                for number in (2, 3, 4):
                    began = monotonic()
                    users.append(serve(gateway, cdn, number))
                    assert monotonic() - began < SOON
                eventually(lambda: status(gateway)["status"] == "degraded", lambda: status(gateway))
                eventually(lambda: "the outbox cannot be written" in str(status(gateway)), lambda: status(gateway))
                eventually(lambda: sample(gateway, "flaggateway_outbox_recording") == 0)
                refused = "the outbox cannot be written, changes are delivered once it can be"
                eventually(lambda: refused in gateway.logs(), gateway.logs)
                assert gateway.get("/readyz", diag=True)[0] == 200
            eventually(lambda: status(gateway)["status"] == "healthy", lambda: status(gateway))
            eventually(lambda: sample(gateway, "flaggateway_outbox_recording") == 1)
            eventually(lambda: "the outbox can be written again" in gateway.logs(), gateway.logs)
            eventually(lambda: {new for _, new in changes(receiver.taken)} >= {1, 4}, gateway.logs)
            eventually(lambda: exported(batches.taken) == users, lambda: exported(batches.taken))
            assert gateway.stop() == 0
        finally:
            gateway.kill()
    delivered = sorted(changes(receiver.taken))
    assert delivered[0] == (0, 1)
    assert all(before[1] == after[0] for before, after in pairwise(delivered))
    assert len({call.id for call in receiver.taken}) == len(receiver.taken)
