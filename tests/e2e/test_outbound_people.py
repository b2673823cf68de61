"""A real gateway and the people around it: who is named, what the diagnostics port shows, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from receiver import Receiver

Start = Callable[..., GatewayProcess]


def config(number: int) -> dict[str, Any]:
    """A config whose one flag has this value."""
    return {"p": {"s": "salt"}, "f": {"number": {"t": 2, "v": {"i": number}, "i": f"v{number}"}}}


def settings(cdn: CdnStandIn, database: Path, *webhooks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The settings of a gateway with these receivers; only hooks and refreshes make it fetch."""
    return {
        "sdks": {"shop": {"key": SDK_KEY, "base_url": cdn.url, "poll_interval": 3600}},
        "outbox": {"path": str(database)},
        "webhooks": list(webhooks),
    } | more


@pytest.mark.parametrize("workers", [1, 2])
def test_the_author_in_an_authenticated_hook_is_told(gateway_process: Start, tmp_path: Path, workers: int) -> None:
    """Whichever process takes the hook; the next change, which a refresh finds, is nobody's."""
    with CdnStandIn(config(0)) as cdn, Receiver() as receiver:
        ops = {"name": "ops", "url": receiver.url, "events": ["FLAG_UPDATED"]}
        more = {"workers": workers, "http": {"webhook": {"auth_headers": {"X-Auth": "let-me-in"}}}}
        gateway = gateway_process(settings(cdn, tmp_path / "outbox.sqlite3", ops, **more))
        cdn.set(config(1))
        said = json.dumps({"changedBy": "Jane Doe", "changeNotes": "summer sale"}).encode()
        assert 200 == gateway.post("/hook/shop", said, headers={"X-Auth": "let-me-in"})[0]
        eventually(lambda: len(receiver.taken) == 1)
        cdn.set(config(2))
        assert 200 == gateway.post("/api/shop/refresh")[0]
        eventually(lambda: len(receiver.taken) == 2)
    told = [json.loads(call.body)["data"] for call in receiver.taken]
    assert [("Jane Doe", "summer sale"), (None, "")] == [(each["changedBy"], each["changeNotes"]) for each in told]
