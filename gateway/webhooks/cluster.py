"""This node among those that share an outbox: which endpoints it delivers to, and what it does for all of them.

renew, once a second ──► leases of endpoints ──► Courier.assign
                    └──► lease of the upkeep ──► Maintenance, and ``on_agreed`` once all nodes have the same settings
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred

from gateway.deferreds import Repeating, fire_within
from gateway.logger import component_logger
from gateway.storage import STORE_ERRORS, LeaseLost
from gateway.text import ProblemText, iso
from gateway.webhooks.store import leases
from gateway.webhooks.store.leases import NodeState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from gateway.storage import Connection, OutboxStore, SharedStore
    from gateway.webhooks.delivery.courier import Courier
    from gateway.webhooks.metrics import WebhookMetrics
    from gateway.webhooks.store.leases import Holder, Renewed
    from gateway.webhooks.store.outbox import Outbox

_log = component_logger("gateway")

RENEW_SECONDS: Final = 1.0  # between two renewals, each of which also looks for what other nodes have added
GUARD: Final = 0.8  # of a lease's lifetime, in which attempts begin: the rest is for clocks that run differently
AGREE_SECONDS: Final = 1200.0  # after which a node with other settings no longer holds up what depends on settings
UNSERVED_SECONDS: Final = 10.0  # without a node that delivers to an endpoint, after which it is a problem
LEAVE_SECONDS: Final = 2.0  # for giving up the leases at the stop; without an answer they run out


@define
class Cluster:
    """Call ``configure`` at each change of settings, ``start`` once, and ``leave`` when the courier has stopped.

    ``on_agreed`` is called by the one node that does the upkeep, when all nodes have its settings.
    """

    _clock: IReactorTime
    _store: OutboxStore
    _shared: SharedStore
    _on_agreed: Callable[[], Deferred[None]]
    _host: str
    _version: str
    _metrics: WebhookMetrics
    courier: Courier = field(init=False)
    outbox: Outbox = field(init=False)
    error: str = field(default="", init=False)  # why the leases cannot be renewed; empty while they can
    upkeep: bool = field(default=False, init=False)  # whether this node does it
    nodes: Mapping[str, NodeState] = field(factory=dict, init=False)  # as of the last renewal
    _holders: Mapping[str, Holder] = field(factory=dict, init=False)  # the same
    _upkeep_by: str = field(default="", init=False)
    _unserved: dict[str, tuple[float, str]] = field(factory=dict, init=False)  # since: monotonic and shown time
    _endpoints: list[str] = field(factory=list, init=False)
    _digest: str = field(default="", init=False)
    _held: dict[str, int] = field(factory=dict, init=False)  # endpoint: epoch
    _until: float = field(default=0.0, init=False)  # of the reactor's clock: attempts may begin before
    _leaving: bool = field(default=False, init=False)
    _handed: frozenset[str] = field(default=frozenset(), init=False)  # endpoints that another node takes over
    _given: set[str] = field(factory=set, init=False)  # endpoints that were handed over since the last renewal
    agreed: bool = field(default=False, init=False)  # ``on_agreed`` was called for these settings
    _disagreed: float | None = field(default=None, init=False)  # since when, of the reactor's clock
    _loop: Repeating = field(init=False)

    @_loop.default
    def _make_loop(self) -> Repeating:
        return Repeating(self._clock, self._renewed, _log, "renewing the leases of endpoints failed")

    def start(self) -> None:
        """Begin to renew."""
        self._shared.listen(self._look)
        self._clock.callLater(0, self._renewed)
        self._loop.start(RENEW_SECONDS)

    def configure(self, endpoints: Sequence[str], digest: str) -> None:
        """Take the endpoints of the settings, and their digest."""
        self._endpoints, self._digest = list(endpoints), digest
        self.agreed, self._disagreed = False, None

    def may_send(self, endpoint: str) -> bool:
        """Return whether an attempt may begin: not after a pause in which another node may have taken over."""
        return endpoint in self._held and self._clock.seconds() < self._until

    def fence(self, endpoint: str) -> Callable[[Connection], None]:
        """See ``Outbox``."""
        node, epoch = self._shared.node, self._held.get(endpoint)

        def check(connection: Connection) -> None:
            if epoch is None:
                raise LeaseLost(endpoint)
            leases.check(connection, endpoint, node, epoch)

        return check

    def drain(self) -> None:
        """Take no further lease: the node is about to stop."""
        self._leaving = True

    def leave(self) -> Deferred[None]:
        """Give up all leases, so that other nodes take over at once; fires after ``LEAVE_SECONDS`` at the latest."""
        self._loop.stop()
        self._held, self._until = {}, 0.0
        node = self._shared.node
        left = self._store.run(lambda connection: leases.give_up(connection, node))
        return fire_within(self._clock, left.addErrback(lambda _: None), LEAVE_SECONDS)

    def problems(self) -> list[str]:
        """Return a sentence per problem."""
        found: list[str] = []
        if len({each.settings for each in self.nodes.values()}) > 1 and self._disagreed is not None:
            found.append("the nodes that share the outbox have different settings")
        now = self._clock.seconds()
        for name, (since, shown) in self._unserved.items():
            if now - since >= UNSERVED_SECONDS:
                text = f"no gateway delivers to endpoint {name} since {shown}"
                found.append(ProblemText(text, "curl -s {diag}/status"))
        return found

    def document(self) -> dict[str, Any]:
        """Return who delivers to which endpoint as a new dict for JSON, as of the last renewal."""
        return {
            "node": self._shared.node,
            "nodes": [
                {"node": name, "host": state.host, "version": state.version, "draining": state.draining}
                for name, state in self.nodes.items()
            ],
            "upkeep": self._upkeep_by or None,
            "leases": {
                name: {"node": holder.node or None, "epoch": holder.epoch} for name, holder in self._holders.items()
            },
        }

    def _look(self) -> None:
        if not self._leaving:
            self.courier.wake_all()

    def _renewed(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._renew())

    async def _renew(self) -> None:
        asked = self._clock.seconds()
        state = NodeState(
            self._digest, self._endpoints, sorted(self._held), self._host, self._version, draining=self._leaving
        )
        node, ttl = self._shared.node, self._shared.ttl
        try:
            result = await self._store.run(lambda connection: leases.renew(connection, node, state, ttl))
        except STORE_ERRORS as error:
            self.error = str(error) or "unknown"
            return
        self.error = ""
        if self._leaving:
            return
        self._shared.set_wall(result.now, asked)
        gained = set(result.held) - set(self._held)
        self._count_changes(result)
        self._held, self._until = dict(result.held), asked + GUARD * ttl
        self.upkeep, self.nodes = result.upkeep, result.nodes
        self.courier.assign(set(self._held) - self._handed)
        if gained:
            await self._take_over(gained)
        self.courier.wake_all()
        if result.surplus and not self._handed:
            self._hand_over(result.surplus)
        self._settle(result.settings)

    def _count_changes(self, result: Renewed) -> None:
        """Count what this node has gained and lost since the last renewal, and note endpoints without a node."""
        for name, epoch in result.held.items():
            if self._held.get(name) != epoch:  # also a lease that ran out, and that no other node has taken meanwhile
                self._metrics.lease_changed(name, "taken")
        lost = [name for name, epoch in self._held.items() if result.held.get(name) != epoch and name in result.holders]
        for name in lost:
            handed = name in self._handed or name in self._given
            self._metrics.lease_changed(name, "handed_over" if handed else "lost")
            if not handed:
                _log.warn(
                    "the lease of endpoint {endpoint} ran out, {holder} delivers to it now: this gateway stood still, "
                    "or PostgreSQL did not answer",
                    endpoint=name,
                    holder="this node again" if name in result.held else result.holders[name].node or "no node",
                )
        self._given -= set(lost)
        self._holders, self._upkeep_by = result.holders, result.upkeep_by
        for name in self._endpoints:
            self._metrics.delivers(name, name in result.held)
        now = (self._clock.seconds(), iso(self._shared.wall()))
        unserved = [name for name, holder in result.holders.items() if not holder.node]
        self._unserved = {name: self._unserved.get(name, now) for name in unserved}

    async def _take_over(self, gained: Collection[str]) -> None:
        _log.info("this node delivers to {endpoints} now", endpoints=", ".join(sorted(gained)))
        try:
            self.courier.restore_failing(await self.outbox.failing())
        except STORE_ERRORS as error:
            _log.debug("reading since when endpoints fail was refused: {reason}", reason=str(error))

    def _hand_over(self, names: Sequence[str]) -> None:
        """Finish what is in flight to these endpoints, then free them for another node."""
        self._handed = frozenset(names)
        _log.info("another node delivers to {endpoints} from now on", endpoints=", ".join(sorted(names)))
        ended = self.courier.assign(set(self._held) - self._handed)
        node = self._shared.node

        def give_up(_: object) -> Deferred[None]:
            return self._store.run(lambda connection: leases.give_up(connection, node, names))

        def over(_: object) -> None:
            self._given |= self._handed
            self._handed = frozenset()

        # Until then the renewals keep the leases; a queue that is stopped takes nothing.
        ended.addCallback(give_up).addErrback(lambda _: None).addCallback(over)

    def _settle(self, digests: Collection[str]) -> None:
        """Call ``on_agreed`` once per settings, when no recent node has others, or one has had them for very long."""
        now = self._clock.seconds()
        if all(each == self._digest for each in digests):
            self._disagreed = None
        elif self._disagreed is None:
            self._disagreed = now
        waiting = self._disagreed is not None and now - self._disagreed < AGREE_SECONDS
        if self.upkeep and not waiting and not self.agreed:
            self.agreed = True
            self._on_agreed().addErrback(self._not_settled)

    def _not_settled(self, failure: Any) -> Any:
        self.agreed = False  # the next renewal tries again
        return None if failure.check(*STORE_ERRORS) else failure
