"""What the web room needs of its neighbours, as Protocols: SDKs and metrics of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from gateway.flags import Attribute, Snapshot
    from gateway.upstream import Refreshed

RefusalReason = Literal["connections", "address", "files", "key"]


class Sdk(Protocol):
    """One configured SDK: upstream's, or a worker's replica of it."""

    @property
    def id(self) -> str:
        """The operator's name for it."""

    @property
    def key(self) -> str:
        """The SDK key; a secret."""

    @property
    def defaults(self) -> Mapping[str, Attribute]:
        """Global and SDK default user attributes, merged."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The current config; None while the SDK has no valid one."""

    @property
    def loading(self) -> bool:
        """Whether the first fetch has not ended, and no cached config is in use."""

    @property
    def cut_off(self) -> bool:
        """Whether changes that other nodes have stored cannot reach this one, as far as this process can know."""

    def when_loaded(self) -> Deferred[None]:
        """Return a Deferred that fires when ``loading`` ends, with or without a config; never fails."""

    def refresh(self, *, limited: bool = False, credit: bytes = b"") -> Deferred[Refreshed]:
        """Fetch once more, beginning after this call; ``limited`` calls share a bounded rate. Never fails.

        ``credit`` is the body of an authenticated call, which may name who changed the config.
        """


class Registry(Protocol):
    """All SDKs."""

    def by_id(self, sdk_id: str) -> Sdk | None:
        """Return the SDK with this id."""

    def by_key(self, key: str) -> Sdk | None:
        """Return the SDK with this key; None for the empty key."""


class WebMetrics(Protocol):
    """Counters of requests and refused streams."""

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a reply whose head was written after ``seconds``.

        ``route`` is the pattern of the route, never a path; ``""`` when no route matched.
        """

    def stream_refused(self, reason: RefusalReason) -> None:
        """Count a stream refused by a limit: that of all ``connections``, of one ``address`` or ``key``."""
