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


class Cluster(Struct, frozen=True):
    """The gateways that share a config cache; no nodes while it cannot be used."""

    node: Annotated[str, Meta(description="The name of this gateway.")]
    nodes: list[ClusterNode]


def describe_cluster(shown: dict[str, Any]) -> Cluster:
    """Return the part ``gateway.cluster`` of the status page as structs."""
    nodes = [
        ClusterNode(**(node | {"sdks": [NodeSdk(id=sdk_id, **sdk) for sdk_id, sdk in node["sdks"].items()]}))
        for node in shown["nodes"]
    ]
    return Cluster(shown["node"], nodes)
