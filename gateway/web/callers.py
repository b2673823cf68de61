"""A caller with a key: what it may do, and what it does in this process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

BURST_SECONDS = 1.0  # a caller that was idle may send the requests of so many seconds at once


@define
class CallerState:
    """What outlives a reload: the open streams of a caller, and the requests that it may send."""

    streams: int = 0
    allowance: float = math.inf  # requests
    at: float = 0.0  # when ``allowance`` was computed


class StreamCounter(Protocol):
    """Counts open streams."""

    def opened(self, address: str) -> None:
        """Count a stream of ``address``."""

    def closed(self, address: str) -> None:
        """Stop counting a stream of ``address``."""


class CallerStreams:
    """Counts the streams of one caller, and among ``every``."""

    __slots__ = ("_every", "_name", "_states")

    def __init__(self, every: StreamCounter, states: Mapping[str, CallerState], name: str) -> None:
        self._every = every
        self._states = states
        self._name = name

    def opened(self, address: str) -> None:
        """See ``StreamCounter``."""
        self._states[self._name].streams += 1
        self._every.opened(address)

    def closed(self, address: str) -> None:
        """See ``StreamCounter``."""
        self._states[self._name].streams -= 1
        self._every.closed(address)


@frozen
class Caller:
    """A caller and what it may do; ``states`` makes the state of a name that it does not have."""

    name: str
    digests: tuple[bytes, ...] = field(repr=False)
    sdks: frozenset[str]  # empty: all
    routes: frozenset[str]
    rate: float
    max_streams: int
    _states: Mapping[str, CallerState]
    counter: CallerStreams

    @property
    def has_all_streams(self) -> bool:
        """Whether another stream of the caller would be too much for this process."""
        return 0 < self.max_streams <= self._states[self.name].streams

    def wait(self, now: float) -> float:
        """Return 0 and count a request, or return the seconds until one is permitted."""
        if not self.rate:
            return 0.0
        state, most = self._states[self.name], max(1.0, self.rate * BURST_SECONDS)
        state.allowance = min(most, state.allowance + max(0.0, now - state.at) * self.rate)
        state.at = now
        if state.allowance < 1:
            return (1 - state.allowance) / self.rate
        state.allowance -= 1
        return 0.0
