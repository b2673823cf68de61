"""A worker's picture of the leader's SDKs, as the web room asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from gateway.flags import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.flags import Snapshot
    from gateway.upstream import Refreshed
    from gateway.workers.protocol import Began, Config, Defaults

    Ask = Callable[[str, bool, bytes], Deferred[Refreshed]]


class MirrorSdk:
    """One SDK; ``ask`` has the leader refresh it: SDK id, ``limited`` and ``credit`` in, its answer out."""

    def __init__(self, sdk_id: str, key: str, defaults: Defaults, ask: Ask) -> None:
        self.id = sdk_id
        self.key = key
        self.defaults = defaults
        self.snapshot: Snapshot | None = None
        self.loading = True
        self._ask = ask
        self._waiting: list[Deferred[None]] = []

    def when_loaded(self) -> Deferred[None]:
        """Fires when the first fetch has ended; never errs, and cancelling disturbs nobody."""
        if not self.loading:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def refresh(self, *, limited: bool = False, credit: bytes = b"") -> Deferred[Refreshed]:
        """Have the leader fetch; a new config is in place here when the Deferred fires. Never errs."""
        return self._ask(self.id, limited, credit)

    def loaded(self) -> None:
        """The first fetch has ended; said again, it changes nothing."""
        self.loading = False
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)


class Mirror:
    """All SDKs, in the order of the settings where that matters: for a key that is used twice."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._sdks: dict[str, MirrorSdk] = {}
        self._keys: dict[str, MirrorSdk] = {}
        self._order: dict[str, int] = {}

    def by_id(self, sdk_id: str) -> MirrorSdk | None:
        """Return the SDK with this id."""
        return self._sdks.get(sdk_id)

    def by_key(self, key: str) -> MirrorSdk | None:
        """Return the SDK with this key; the empty key finds nothing, a key used twice the first SDK."""
        return self._keys.get(key)

    def arrange(self, order: Iterable[str]) -> None:
        """Take over the order of the settings, for the SDKs that are known and those to come."""
        self._order = {sdk_id: place for place, sdk_id in enumerate(order)}
        self._index()

    def began(self, said: Began) -> MirrorSdk:
        """Add an SDK, or change the defaults of one that is known; another key makes another SDK."""
        sdk = self._sdks.get(said.sdk_id)
        if sdk is not None and sdk.key == said.key:
            sdk.defaults = said.defaults
            return sdk
        sdk = self._sdks[said.sdk_id] = MirrorSdk(said.sdk_id, said.key, said.defaults, self._ask)
        self._index()
        return sdk

    def ended(self, sdk_id: str) -> None:
        """Forget an SDK, and let nobody wait for it."""
        sdk = self._sdks.pop(sdk_id, None)
        if sdk is not None:
            self._index()
            sdk.loaded()

    def config(self, said: Config) -> Snapshot | None:
        """Compile and keep a config; return it, or None for an SDK that is gone.

        Raises ``ConfigError``, with the last one kept.
        """
        sdk = self._sdks.get(said.sdk_id)
        if sdk is None:
            return None
        sdk.snapshot = load(said.body, said.etag, sdk.snapshot)
        return sdk.snapshot

    def _index(self) -> None:
        last = len(self._order)
        known = sorted(self._sdks.values(), key=lambda sdk: self._order.get(sdk.id, last), reverse=True)
        self._keys = {sdk.key: sdk for sdk in known if sdk.key}
