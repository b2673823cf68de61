"""Who delivers to which endpoint, in the tables ``nodes`` and ``leases`` of PostgreSQL; functions of a connection.

Only the database's clock is used.  A lease has an epoch, which counts its holders: results of an attempt are recorded
only under the epoch in which it began, so a node that was stopped for a while writes nothing over its successor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from attrs import field, frozen

from gateway.storage import LeaseLost

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gateway.storage import Connection

UPKEEP: Final = "upkeep"  # the lease of what one node does for all: purges, requests of operators
GONE_SECONDS: Final = 86400  # after which the row of a node that died is deleted
# For how long the settings of a node count that has ended: a node of a rolling deploy that starts again, or fails, must
# not let the others think that all have their settings.
DEPLOY_SECONDS: Final = 600
UNWANTED: Final = 3  # lifetimes of a lease after which any node may take it, however many it has

_ENDPOINT: Final = "endpoint:"

# With the seconds that are left of each.
_LEASES: Final = "SELECT name, node, epoch, extract(epoch from until - clock_timestamp())::float8 FROM leases"


class NodeState(msgspec.Struct, frozen=True):
    """What a node writes about itself for the others."""

    settings: str  # a digest: nodes with different settings do not judge each other's messages
    endpoints: list[str] = []
    leases: list[str] = []  # endpoints that it delivers to
    host: str = ""
    version: str = ""
    draining: bool = False


@frozen
class Holder:
    """Who delivers to an endpoint: a node, empty while none does, and the number of holders so far."""

    node: str
    epoch: int


@frozen
class Renewed:
    """The leases after a renewal."""

    now: float  # the database's time, Unix seconds
    held: Mapping[str, int]  # endpoints of this node, and their epochs
    surplus: Sequence[str]  # of them, those that another node should take over
    upkeep: bool
    nodes: Mapping[str, NodeState] = field(factory=dict)  # that were seen within the lifetime of a lease
    settings: frozenset[str] = frozenset()  # digests of the nodes that were seen within ``DEPLOY_SECONDS``
    holders: Mapping[str, Holder] = field(factory=dict)  # of the endpoints of all nodes that were seen
    upkeep_by: str = ""  # the node that does the upkeep


def lease_of(endpoint: str) -> str:
    """Return the name of an endpoint's lease."""
    return f"{_ENDPOINT}{endpoint}"


def renew(connection: Connection, node: str, state: NodeState, ttl: float) -> Renewed:
    """Write ``state``, renew what ``node`` holds, and take what is free, up to its share of the endpoints."""
    (now,) = connection.execute("SELECT extract(epoch from clock_timestamp())::float8").fetchone()
    connection.execute(
        "INSERT INTO nodes (node, seen, state) VALUES (?, clock_timestamp(), ?)"
        " ON CONFLICT (node) DO UPDATE SET seen = excluded.seen, state = excluded.state",
        (node, msgspec.json.encode(state).decode()),
    )
    connection.execute("DELETE FROM nodes WHERE seen < clock_timestamp() - make_interval(secs => ?)", (GONE_SECONDS,))
    recent = _nodes(connection, DEPLOY_SECONDS)
    nodes = _nodes(connection, ttl)
    connection.execute(
        "UPDATE leases SET until = clock_timestamp() + make_interval(secs => ?)"
        " WHERE node = ? AND until > clock_timestamp()",
        (ttl, node),
    )
    connection.executemany(  # so that it is known since when a lease is free
        "INSERT INTO leases (name, node, epoch, until) VALUES (?, '', 0, clock_timestamp()) ON CONFLICT DO NOTHING",
        [(name,) for name in (*map(lease_of, state.endpoints), UPKEEP)],
    )
    rows = connection.execute(_LEASES).fetchall()
    leases = {name: (holder, epoch, left) for name, holder, epoch, left in rows}
    mine = {name: epoch for name, (holder, epoch, left) in leases.items() if holder == node and left > 0}
    working = [each for each in nodes.values() if not each.draining]
    limit = _share(state, len(working))
    held = {name: mine[lease_of(name)] for name in state.endpoints if lease_of(name) in mine}
    if not state.draining:
        for name in state.endpoints:
            _, _, left = leases[lease_of(name)]
            if name not in held and left <= 0 and (len(held) < limit or left < -UNWANTED * ttl):
                epoch = _take(connection, lease_of(name), node, ttl)
                held.update({} if epoch is None else {name: epoch})
        if UPKEEP not in mine and _take(connection, UPKEEP, node, ttl) is not None:
            mine[UPKEEP] = 0
    upkeep_by, _, left = leases[UPKEEP]
    return Renewed(
        now,
        held,
        _surplus(node, nodes, list(held), limit),
        UPKEEP in mine,
        nodes,
        frozenset(each.settings for each in recent.values()),
        _holders(leases, nodes.values(), held, node),
        node if UPKEEP in mine else upkeep_by if left > 0 else "",
    )


def _holders(
    leases: Mapping[str, tuple[str, int, float]], nodes: Collection[NodeState], held: Mapping[str, int], node: str
) -> dict[str, Holder]:
    """Return the holder of each endpoint that any of the nodes has."""
    found: dict[str, Holder] = {}
    for name in sorted({name for state in nodes for name in state.endpoints}):
        holder, epoch, left = leases.get(lease_of(name), ("", 0, 0.0))
        found[name] = Holder(node, held[name]) if name in held else Holder(holder if left > 0 else "", epoch)
    return found


def _nodes(connection: Connection, seconds: float) -> dict[str, NodeState]:
    rows = connection.execute(
        "SELECT node, state FROM nodes WHERE seen > clock_timestamp() - make_interval(secs => ?) ORDER BY node",
        (seconds,),
    ).fetchall()
    return {name: msgspec.json.decode(text, type=NodeState) for name, text in rows}


def _share(state: NodeState, nodes: int) -> int:
    return -(-len(state.endpoints) // max(nodes, 1))


def _take(connection: Connection, name: str, node: str, ttl: float) -> int | None:
    """Return the epoch of a lease that was free and is ours now; None if another node was faster."""
    row = connection.execute(
        "INSERT INTO leases (name, node, epoch, until)"
        " VALUES (?, ?, 1, clock_timestamp() + make_interval(secs => ?))"
        " ON CONFLICT (name) DO UPDATE SET node = excluded.node, epoch = leases.epoch + 1, until = excluded.until"
        " WHERE leases.until <= clock_timestamp() RETURNING epoch",
        (name, node, ttl),
    ).fetchone()
    return None if row is None else int(row[0])


def _surplus(node: str, nodes: Mapping[str, NodeState], held: Sequence[str], limit: int) -> list[str]:
    """Return which of ``held`` another node has room for, if they are more than our share."""
    spare: list[str] = []
    for name in held[limit:]:
        for other, state in nodes.items():
            room = _share(state, len(nodes)) - len(state.leases)
            if other != node and not state.draining and name in state.endpoints and room > 0:
                spare.append(name)
                break
    return spare


def check(connection: Connection, endpoint: str, node: str, epoch: int) -> None:
    """Check that ``node`` still holds the lease of an endpoint, and keep it so until the transaction ends.

    :raises LeaseLost: if it does not
    """
    found = connection.execute(
        "SELECT 1 FROM leases WHERE name = ? AND node = ? AND epoch = ? AND until > clock_timestamp() FOR SHARE",
        (lease_of(endpoint), node, epoch),
    ).fetchone()
    if found is None:
        raise LeaseLost(endpoint)


def give_up(connection: Connection, node: str, endpoints: Collection[str] | None = None) -> None:
    """Free the leases of these endpoints for other nodes; without ``endpoints`` all of ``node``, which leaves."""
    if endpoints is None:
        connection.execute("UPDATE leases SET until = clock_timestamp() WHERE node = ?", (node,))
        gone = "UPDATE nodes SET seen = clock_timestamp() - make_interval(secs => 60) WHERE node = ?"
        connection.execute(gone, (node,))
    else:
        names = [(lease_of(name), node) for name in endpoints]
        connection.executemany("UPDATE leases SET until = clock_timestamp() WHERE name = ? AND node = ?", names)
    connection.announce()
