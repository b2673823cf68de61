"""The gateways that share a config cache, as the overview shows them."""

from typing import Annotated, Any

from msgspec import Meta, Struct


class NodeSdk(Struct, frozen=True):
    """The config of one SDK that a node serves."""

    id: str
    version: Annotated[int, Meta(description="The higher one is the later config.")]
    polls: Annotated[bool, Meta(description="Whether this node polls the upstream.")]
    config: Annotated[str, Meta(description="Tag of the config; empty if the node is of an earlier version.")]
    since: Annotated[str | None, Meta(description="Since when the node serves it, by its own clock.")]
    lag_seconds: Annotated[
        float | None,
        Meta(description="How long after another node its last config from there was in use; null before the first."),
    ]
    behind_since: Annotated[str | None, Meta(description="Since when another node has a later config.")]


class ClusterNode(Struct, frozen=True):
    """A gateway that shares the config cache, as it has reported itself within the last 15 seconds."""

    node: str
    version: str
    started: str
    workers: int
    streams: int
    draining: bool
    settings: Annotated[str, Meta(description="Digest of the settings that all nodes should have in common.")]
    sdks: list[NodeSdk]


class Lease(Struct, frozen=True):
    """Which gateway delivers to a webhook endpoint of a shared outbox."""

    endpoint: str
    node: Annotated[str | None, Meta(description="Null while none does.")]
    epoch: Annotated[int, Meta(description="How often a gateway has taken the endpoint so far.")]


class Cluster(Struct, frozen=True):
    """The gateways that share a config cache; no nodes while it cannot be used."""

    node: Annotated[str, Meta(description="The name of this gateway.")]
    nodes: list[ClusterNode]
    leases: Annotated[list[Lease], Meta(description="Those of the shared outbox; none without one.")]


def describe_cluster(shown: dict[str, Any], outbox: dict[str, Any] | None) -> Cluster:
    """Return the parts ``gateway.cluster`` and ``gateway.outbox`` of the status page as structs."""
    nodes = [
        ClusterNode(**(node | {"sdks": [NodeSdk(id=sdk_id, **sdk) for sdk_id, sdk in node["sdks"].items()]}))
        for node in shown["nodes"]
    ]
    leases = [] if outbox is None else [Lease(name, **each) for name, each in outbox["leases"].items()]
    return Cluster(shown["node"], nodes, leases)
