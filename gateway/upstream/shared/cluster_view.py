"""Which nodes share the cache, and which of them serve an older config than others.

    own report ──► the cache, every 5 s ──► reports of all nodes ──► status page, problems

Versions are those of the cache, and times are by its clock, so no node's clock matters.
"""

from __future__ import annotations

import json
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from gateway.deferreds import Repeating, fire_within
from gateway.logger import component_logger
from gateway.text import ProblemText, iso
from gateway.upstream.shared.interface import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime

    from gateway.upstream.shared.interface import Meeting, Meets

_log = component_logger("sdks")

REPORT_SECONDS: Final = 5.0
VALID_SECONDS: Final = 15.0  # after which a node without a report is gone
BEHIND_SECONDS: Final = 10.0  # a node that is behind for longer is a problem; usually it is milliseconds
DIFFERENT_SECONDS: Final = 60.0  # a rolling deployment has different settings for a while
NODES_SHOWN: Final = 100
TEXT_LIMIT: Final = 64  # characters of a text of another node


@frozen
class SdkReport:
    """The config of one SDK that a node serves.

    ``since`` is in Unix seconds by the clock of that node.  ``lag`` is the time in seconds, by the cache's clock, from
    when another node had stored a config to when this one used it, for the last such config; None before the first.
    """

    version: int
    polls: bool  # whether the node polls the upstream
    tag: str  # empty in the report of an earlier version of the gateway
    since: float | None
    lag: float | None


@frozen
class NodeReport:
    """What a node reports of itself; ``sdks`` has what it serves, by SDK."""

    node: str
    boot: str
    version: str
    started: float  # Unix seconds, by the clock of that node
    workers: int
    streams: int
    draining: bool
    settings: str
    sdks: Mapping[str, SdkReport]


class ClusterView:
    """The nodes of the cluster; all methods belong to the reactor thread.

    ``own`` returns the report of this node, ``wall`` Unix seconds; ``changed`` is called with the number of nodes.
    """

    def __init__(
        self,
        clock: IReactorTime,
        cache: Meets,
        own: Callable[[], dict[str, Any]],
        wall: Callable[[], float],
        changed: Callable[[int], None],
    ) -> None:
        self.nodes: list[NodeReport] = []
        self._clock = clock
        self._cache = cache
        self._own = own
        self._wall = wall
        self._changed = changed
        self._boot = token_hex(4)  # differs for two nodes of one name
        self._overwritten = 0  # times in a row that the report before was of another process
        self._since: dict[tuple[str, str], tuple[float, str]] = {}  # of what is seen: monotonic and shown time
        self._repeating = Repeating(clock, self._meet, _log, "the cluster could not be read")

    def start(self) -> None:
        """Report now, and every ``REPORT_SECONDS``."""
        self._meet()
        self._repeating.start(REPORT_SECONDS)

    def stop(self) -> Deferred[None]:
        """Take this node out of the cluster; fires when that is done, or after a second."""
        if not self._repeating.running:
            return succeed(None)
        self._repeating.stop()
        return fire_within(self._clock, self._cache.meet("", VALID_SECONDS), 1.0)

    def document(self) -> dict[str, Any]:
        """Return a new dict for JSON."""
        newest = self._newest()
        return {
            "node": self._cache.node,
            "nodes": [
                {
                    "node": node.node,
                    "version": node.version,
                    "started": iso(node.started),
                    "workers": node.workers,
                    "streams": node.streams,
                    "draining": node.draining,
                    "settings": node.settings,
                    "sdks": {
                        sdk_id: {
                            "version": sdk.version,
                            "polls": sdk.polls,
                            "config": sdk.tag,
                            "since": None if sdk.since is None else iso(sdk.since),
                            "lag_seconds": sdk.lag,
                            "behind_since": self._since.get((node.node, sdk_id), (0.0, None))[1],
                        }
                        for sdk_id, sdk in node.sdks.items()
                    },
                }
                for node in self.nodes
            ],
            "sdks": newest,
        }

    def problems(self) -> list[str]:
        """Return a sentence for each problem that an operator should know; its text is stable while it lasts."""
        found: list[str] = []
        now = self._clock.seconds()
        for (node, what), (since, shown) in self._since.items():
            if what == _SETTINGS:
                if now - since >= DIFFERENT_SECONDS:
                    text = f"the nodes of the cluster have different settings since {shown}; nodes: {node}"
                    found.append(ProblemText(text, "curl -s {diag}/status"))
            elif what == _NAME:
                text = f"two gateways have the node name {node}: set cluster.node to a different one on each"
                found.append(ProblemText(text, "flaggateway check"))
            elif now - since >= BEHIND_SECONDS:
                text = f"node {node} serves an older config of SDK {what} than other nodes since {shown}"
                found.append(ProblemText(text, "curl -s {diag}/status"))
        return found

    def _newest(self) -> dict[str, int]:
        newest: dict[str, int] = {}
        for node in self.nodes:
            for sdk_id, sdk in node.sdks.items():
                newest[sdk_id] = max(sdk.version, newest.get(sdk_id, 0))
        return newest

    def _meet(self) -> Deferred[None]:
        report = json.dumps({**self._own(), "boot": self._boot}, separators=(",", ":"))
        return self._cache.meet(report, VALID_SECONDS).addCallback(self._met)

    def _met(self, answer: Meeting | Unavailable) -> None:
        if isinstance(answer, Unavailable):
            self.nodes, self._since = [], {}  # without the cache there is no view, and no guess
        else:
            reports = (_report(node, text) for node, text in sorted(answer.reports.items()))
            self.nodes = [report for report in reports if report is not None][:NODES_SHOWN]
            before = _report(self._cache.node, answer.before)
            # After a restart the report of the run before is there once.
            self._overwritten = 0 if before is None or before.boot == self._boot else self._overwritten + 1
            self._compare()
        self._changed(len(self.nodes))

    def _compare(self) -> None:
        newest = self._newest()
        seen = {
            (node.node, sdk_id)
            for node in self.nodes
            for sdk_id, sdk in node.sdks.items()
            if sdk.version < newest[sdk_id]
        }
        if len({node.settings for node in self.nodes}) > 1:
            seen.add((", ".join(node.node for node in self.nodes[:5]), _SETTINGS))
        if self._overwritten > 1:
            seen.add((self._cache.node, _NAME))
        now = (self._clock.seconds(), iso(self._wall()))
        self._since = {each: self._since.get(each, now) for each in seen}


_SETTINGS: Final = "\x00settings"  # no SDK id
_NAME: Final = "\x00name"


def _report(node: str, text: str) -> NodeReport | None:
    """Return what another node has written; None for what cannot be read, as from a later version."""
    try:
        fields = json.loads(text)
        return NodeReport(
            node[:TEXT_LIMIT],
            str(fields["boot"])[:TEXT_LIMIT],
            str(fields["version"])[:TEXT_LIMIT],
            float(fields["started"]),
            int(fields["workers"]),
            int(fields["streams"]),
            bool(fields["draining"]),
            str(fields["settings"])[:TEXT_LIMIT],
            {str(sdk_id): _sdk_report(sdk) for sdk_id, sdk in fields["sdks"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _sdk_report(fields: dict[str, Any]) -> SdkReport:
    since, lag = fields.get("since"), fields.get("lag")
    return SdkReport(
        int(fields["v"]),
        bool(fields["polls"]),
        str(fields.get("tag", ""))[:TEXT_LIMIT],
        None if since is None else float(since),
        None if lag is None else round(float(lag), 3),
    )
