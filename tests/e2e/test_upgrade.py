"""The files of each released version, opened by this one: nothing is lost, and what waited is sent."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdn_stand_in import CdnStandIn
from eventually import eventually
from gateway.settings import load
from gateway_process import GatewayProcess, unused_port
from receiver import Receiver
from released_data import DATA, SECRET, VALUES, Addresses, banner, settings, state, unpack
from shop import shop

VERSIONS = sorted(folder.name for folder in DATA.iterdir() if (folder / "manifest.json").exists())
pytestmark = pytest.mark.timeout(300)  # seconds; the machine may be busy


def test_there_are_data_of_each_release() -> None:
    """Each version of CHANGELOG.md has a folder; `python -m released_data` makes it."""
    changelog = (DATA.parents[1] / "CHANGELOG.md").read_text("utf-8")
    released = [line.split()[1] for line in changelog.splitlines() if line.startswith("## ")]
    assert released
    assert set(released) <= set(VERSIONS)


def test_the_data_are_small() -> None:
    """A few kilobytes for each release, so that they can stay in git for ever."""
    for version in VERSIONS:
        assert sum(file.stat().st_size for file in (DATA / version).rglob("*") if file.is_file()) < 40_000


@contextmanager
def upgraded(version: str, home: Path) -> Iterator[tuple[GatewayProcess, dict[str, Any], Receiver, Receiver]]:
    """A gateway on the data of a release; its upstream is down if the data contain the last config."""
    manifest = unpack(version, home)
    with ExitStack() as stack:
        webhooks, events = stack.enter_context(Receiver()), stack.enter_context(Receiver())
        upstream = f"http://127.0.0.1:{unused_port()}"
        if not any(name.startswith("configs/") for name in manifest["files"]):
            upstream = stack.enter_context(CdnStandIn(shop(manifest["value"]))).url
        gateway = GatewayProcess(settings(Addresses(upstream, webhooks.url, events.url)), home)
        gateway.start()
        stack.callback(gateway.kill)
        yield gateway, manifest, webhooks, events
        assert 0 == gateway.stop(), gateway.logs()


@pytest.mark.parametrize("version", VERSIONS)
def test_this_version_continues_with_the_files_of_an_older_one(version: str, tmp_path: Path) -> None:
    """Flags are served; messages arrive once, in order and signed; events arrive; earlier configs can be read."""
    with upgraded(version, tmp_path) as (gateway, manifest, webhooks, events):
        eventually(lambda: banner(gateway) == manifest["value"], gateway.logs)
        expected = [identity for identity, _ in manifest["messages"]]
        assert expected
        eventually(lambda: len(webhooks.taken) >= len(expected), gateway.logs)
        assert expected == [call.id for call in webhooks.taken]
        for call, (_, kind) in zip(webhooks.taken, manifest["messages"], strict=True):
            signature = "sha256=" + hmac.new(SECRET.encode(), call.body, "sha256").hexdigest()
            assert (kind, signature) == (json.loads(call.body)["type"], call.headers["x-hub-signature-256"])
        eventually(lambda: len(users(events)) >= manifest["evaluations"], gateway.logs)
        assert [f"user-{number}" for number in range(manifest["evaluations"])] == users(events)
        changes = json.loads(gateway.get("/changes", diag=True)[1])["changes"]
        assert len({identity for identity, _ in manifest["messages"]}) >= len(changes) > 0
        if "history.sqlite3" in manifest["files"]:
            kept = json.loads(gateway.get("/api/v1/configs/shop", diag=True)[1])["configs"]
            bodies = [gateway.get(f"/api/v1/configs/shop/{each['config']}", diag=True)[1].decode() for each in kept]
            assert all(any(value in body for body in bodies) for value in VALUES)
    assert "Traceback" not in gateway.logs()
    assert (state(tmp_path) / "outbox.sqlite3").exists()


def users(receiver: Receiver) -> list[str]:
    """The users of the events that arrived."""
    batches = [json.loads(call.body) for call in receiver.taken]
    return [event["userKey"] for batch in batches for event in batch["events"] if event["key"] == "limit"]


SAMPLE_OF_VERSION_0_2 = DATA / "0.2.0" / "flaggateway.yml"


def test_each_option_of_version_0_2_is_still_valid() -> None:
    """The sample file of that release, with every option switched on: none is unknown, and none has another form."""
    lines = SAMPLE_OF_VERSION_0_2.read_text("utf-8").splitlines()
    text = "\n".join(line[1:] for line in lines if line.startswith("#") and not line.startswith(("##", "# yaml")))
    loaded = load(text, {})
    assert [] == [str(warning) for warning in loaded.warnings if "unknown" in warning.text]
    assert [] == [
        str(each) for each in loaded.problems if "required" not in each.text and "configured" not in each.text
    ]
