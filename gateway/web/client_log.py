"""Which clients send requests, and which flags they name: a sample of the requests, and exact sets of flags.

answers ── armed? ──► take ──► user agents, the latest seen            (a timer arms it again)
single flags ──► named, unknown ──► sets of keys

A request costs one look at ``armed``, at most 100 a second are taken, and an idle process has no timer.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final

from gateway.telemetry import SeenAgent, SeenClients, SeenKey, UnknownFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from gateway.web.values import Call

PAUSE_SECONDS: Final = 0.01  # after a request was taken
AGENTS: Final = 200  # the one that was not seen for the longest time is dropped
AGENT_CHARACTERS: Final = 200
UNKNOWN_FLAGS: Final = 500  # as for agents; clients can name anything
KEY_CHARACTERS: Final = 255  # of an unknown flag; ConfigCat's own limit
ASKED_FLAGS: Final = 50_000  # per SDK, then it begins again: flags that come and go must not grow the memory


class ClientLog:
    """Takes requests, unless ``sampling`` is False; ``wall`` returns Unix seconds."""

    def __init__(self, clock: IReactorTime, wall: Callable[[], float], *, sampling: bool = True) -> None:
        self.armed = sampling  # whether the next request is taken
        self._clock = clock
        self._wall = wall
        self._agents: OrderedDict[tuple[bytes, bytes], SeenAgent] = OrderedDict()  # the latest seen last
        self._keys: dict[tuple[str, int], SeenKey] = {}  # of all callers since the start: as many as in the settings
        self._unknown: OrderedDict[tuple[str, str], UnknownFlag] = OrderedDict()
        self.named: defaultdict[str, set[str]] = defaultdict(set)
        """By SDK the flags that requests named and the config had; answers add to it, which costs less than a call."""

    def take(self, call: Call) -> None:
        """Take a request, and pause."""
        self.armed = False
        for keys in self.named.values():
            if len(keys) > ASKED_FLAGS:
                keys.clear()
        self._clock.callLater(PAUSE_SECONDS, self._arm)
        key = call.header(b"user-agent")[:AGENT_CHARACTERS], call.header(b"x-configcat-useragent")[:AGENT_CHARACTERS]
        seen = self._agents.get(key)
        if seen is None:
            agent, sdk = (each.decode("utf-8", "replace") for each in key)
            seen = self._agents[key] = SeenAgent(agent, sdk, 0, 0.0)
            if len(self._agents) > AGENTS:
                self._agents.popitem(last=False)
        seen.taken += 1
        seen.last = self._wall()
        self._agents.move_to_end(key)

    def key_used(self, caller: str, number: int) -> None:
        """Note that a caller has used its key; ``number`` 1 is its second one."""
        use = self._keys.get((caller, number))
        if use is None:
            use = self._keys[caller, number] = SeenKey(caller, number, 0, 0.0)
        use.requests += 1
        use.last = self._wall()

    def unknown(self, sdk_id: str, key: str) -> None:
        """Note that a request named a flag which the config does not have."""
        name = sdk_id, key[:KEY_CHARACTERS]
        seen = self._unknown.get(name)
        if seen is None:
            seen = self._unknown[name] = UnknownFlag(sdk_id, _encodable(name[1]), 0, 0.0)
            if len(self._unknown) > UNKNOWN_FLAGS:
                self._unknown.popitem(last=False)
        seen.requests += 1
        seen.last = self._wall()
        self._unknown.move_to_end(name)

    def seen(self) -> SeenClients:
        """Return what was seen, the latest last."""
        asked = {sdk_id: [_encodable(key) for key in keys] for sdk_id, keys in self.named.items()}
        return SeenClients(list(self._agents.values()), list(self._unknown.values()), asked, list(self._keys.values()))

    def _arm(self) -> None:
        self.armed = True


def _encodable(key: str) -> str:
    """Return a key without lone surrogates, which JSON can express and UTF-8 cannot."""
    return key.encode("utf-8", "replace").decode()
