"""A worker's copy of the leader's SDKs, with the interface of the registry that the web room uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.flags import Snapshot
    from gateway.upstream import Refreshed
    from gateway.workers.protocol import AddSdk, Defaults

    RequestRefresh = Callable[[str, bool, bytes], Deferred[Refreshed]]  # SDK id, ``limited``, ``credit``


class SdkReplica:
    """One SDK; ``request_refresh`` has the leader fetch its config."""

    def __init__(self, sdk_id: str, key: str, defaults: Defaults, request_refresh: RequestRefresh) -> None:
        self.id = sdk_id
        self.key = key
        self.defaults = defaults
        self.snapshot: Snapshot | None = None
        self.loading = True
        self.cut_off = False  # the result of a refresh has it
        self._request_refresh = request_refresh
        self._waiting: list[Deferred[None]] = []

    def when_loaded(self) -> Deferred[None]:
        """Return a Deferred that fires when the first fetch has ended; it never fails, and may be cancelled."""
        if not self.loading:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def refresh(self, *, limited: bool = False, credit: bytes = b"") -> Deferred[Refreshed]:
        """Have the leader fetch; when the Deferred fires, a new config is in place here. It never fails."""
        return self._request_refresh(self.id, limited, credit)

    def first_fetch_ended(self) -> None:
        """Fire what waits for the first fetch; a second call changes nothing."""
        self.loading = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)


class RegistryReplica:
    """All SDKs.  ``set_order`` gives the order of the settings, which decides when two SDKs have the same key."""

    def __init__(self, request_refresh: RequestRefresh) -> None:
        self._request_refresh = request_refresh
        self._sdks: dict[str, SdkReplica] = {}
        self._by_key: dict[str, SdkReplica] = {}
        self._order: dict[str, int] = {}

    def by_id(self, sdk_id: str) -> SdkReplica | None:
        """Return the SDK with this id."""
        return self._sdks.get(sdk_id)

    def by_key(self, key: str) -> SdkReplica | None:
        """Return the SDK with this key: the first in the settings of those that have it, none for the empty key."""
        return self._by_key.get(key)

    def set_order(self, sdk_ids: Iterable[str]) -> None:
        """Take over the order of the settings, for current SDKs and for those that are added later."""
        self._order = {sdk_id: place for place, sdk_id in enumerate(sdk_ids)}
        self._index()

    def add(self, message: AddSdk) -> SdkReplica:
        """Add an SDK, or change the defaults of a known one; a new key makes a new SDK."""
        sdk = self._sdks.get(message.sdk_id)
        if sdk is not None and sdk.key == message.key:
            sdk.defaults = message.defaults
            return sdk
        sdk = SdkReplica(message.sdk_id, message.key, message.defaults, self._request_refresh)
        self._sdks[message.sdk_id] = sdk
        self._index()
        return sdk

    def remove(self, sdk_id: str) -> None:
        """Remove an SDK, and fire what waits for its first fetch."""
        sdk = self._sdks.pop(sdk_id, None)
        if sdk is not None:
            self._index()
            sdk.first_fetch_ended()

    def current(self, sdk: SdkReplica) -> bool:
        """Return whether an SDK was neither removed nor replaced by one with another key."""
        return self._sdks.get(sdk.id) is sdk

    def _index(self) -> None:
        last = len(self._order)
        known = sorted(self._sdks.values(), key=lambda sdk: self._order.get(sdk.id, last), reverse=True)
        self._by_key = {sdk.key: sdk for sdk in known if sdk.key}
