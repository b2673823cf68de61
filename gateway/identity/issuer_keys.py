"""The key sets of issuers that one process has; they outlive a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.identity.keys import VerificationKey


class IssuerKeys:
    """Keeps the latest usable key set of each address; ``refresh`` has them fetched again.

    The Deferred of ``refresh`` fires when ``use`` has been called with what was fetched, at once if nothing will be;
    it never fails.
    """

    def __init__(self, refresh: Callable[[], Deferred[None]] = lambda: succeed(None)) -> None:
        self.refresh = refresh
        self.version = 0  # changes whenever a key set does
        self.bodies: dict[str, bytes] = {}
        self._read: dict[tuple[str, str | None], tuple[VerificationKey, ...]] = {}

    def use(self, url: str, body: bytes) -> None:
        """Use the key set in ``body`` as that of ``url``.

        :raises ValueError: if it is not a usable key set; the previous one stays.
        """
        from gateway.identity.keys import read_key_set

        if self.bodies.get(url) == body:
            return
        read_key_set(body)
        self.bodies[url] = body
        self._read.clear()
        self.version += 1

    def keys(self, url: str, only: str | None) -> tuple[VerificationKey, ...] | None:
        """Return the keys at ``url``, with ``only`` those of this algorithm; None if there was never a key set."""
        from gateway.identity.keys import UnusableKey, read_key_set

        body = self.bodies.get(url)
        if body is None:
            return None
        if (url, only) not in self._read:
            try:
                self._read[url, only] = read_key_set(body, only)
            except UnusableKey:  # none of that algorithm
                self._read[url, only] = ()
        return self._read[url, only]
