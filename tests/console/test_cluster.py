"""The cluster in the overview: the parts of the status page as structs."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.console.cluster import describe_cluster

SDK = {
    "version": 7,
    "polls": True,
    "config": "0123456789abcdef",
    "since": None,
    "lag_seconds": 0.004,
    "behind_since": None,
}
NODE = {"node": "a", "version": "1", "started": "x", "workers": 2, "streams": 3, "draining": False, "settings": "s"}
CLUSTER: dict[str, Any] = {"node": "a", "nodes": [NODE | {"sdks": {"shop": SDK}}], "sdks": {"shop": 7}}
OUTBOX = {
    "node": "a-1",
    "nodes": [],
    "upkeep": None,
    "leases": {"ops": {"node": "a-1", "epoch": 2}, "crm": {"node": None, "epoch": 0}},
}


def test_nodes_and_leases_are_lists() -> None:
    """With the SDK ids and endpoint names in them."""
    shown = msgspec.to_builtins(describe_cluster(CLUSTER, OUTBOX))
    assert [NODE | {"sdks": [{"id": "shop"} | SDK]}] == shown["nodes"]
    wanted = [{"endpoint": "ops", "node": "a-1", "epoch": 2}, {"endpoint": "crm", "node": None, "epoch": 0}]
    assert wanted == shown["leases"]


def test_without_a_shared_outbox_there_are_no_leases() -> None:
    """Each node delivers by itself then."""
    assert [] == describe_cluster(CLUSTER, None).leases
