"""Where the config of this node stands next to that of the shared cache; pure.

    Reading ──► Standing.read ──► take that config, ask the upstream, store ours again, or nothing
    fetch, put ──► fetched, stored ──┘

A config is *loose* while it came from the upstream and is not stored: its version says nothing then.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import define, field

from gateway.upstream.shared.interface import Place

if TYPE_CHECKING:
    from gateway.upstream.shared.interface import Reading


class Step(Enum):
    """What follows from a reading."""

    NOTHING = "nothing"
    TAKE = "take"  # the config of the cache is later
    ASK = "ask"  # neither is known to be later, so the upstream decides
    STORE = "store"  # the cache is empty, or another program has overwritten it with an earlier config


@define
class Standing:
    """Of one SDK.

    ``have`` is the place of the config that the SDK got last, ``seen`` that of the cache when it was last read or
    written.  ``sound`` is false while the cache has an older config than the one at ``seen``.
    """

    have: Place | None = field(default=None, init=False)
    seen: Place | None = field(default=None, init=False)
    sound: bool = field(default=False, init=False)
    _loose: bool = field(default=False, init=False)
    _unusable: Place | None = field(default=None, init=False)
    _undecided: Place | None = field(default=None, init=False)  # about which the upstream could not be asked

    @property
    def version(self) -> int:
        """The highest version that this node has seen for its config; 0 without one."""
        return 0 if self.have is None else self.have.version

    def read(self, reading: Reading) -> Step:
        """Take note of what the cache has, and return what follows."""
        place, have = reading.place, self.have
        self.seen, self.sound = place, place is not None and not reading.stale
        can_take = reading.found is not None and reading.found.place != self._unusable
        if have is None:
            return Step.TAKE if can_take else Step.NOTHING
        if place is None:
            return Step.STORE
        if reading.stale:  # overwritten by a program that was behind; perhaps this node is, too
            return Step.ASK if self._loose or have.version < place.version else Step.STORE
        if place.etag == have.etag:
            self.have, self._loose = Place(max(have.version, place.version), have.etag, place.fetched_at), False
            return Step.NOTHING
        if self._loose or place.version <= have.version:
            # A lower version is not the earlier config for sure: a cache that was lost counts from the beginning again.
            return Step.NOTHING if place == self._undecided else Step.ASK
        return Step.TAKE if can_take else Step.NOTHING

    def holds(self, etag: str) -> bool:
        """Return whether the cache had the config of this ETag when it was last read or written."""
        return self.sound and self.seen is not None and self.seen.etag == etag

    def confirm(self) -> None:
        """Note that this node has the config at ``seen``; the version does not fall."""
        if self.seen is not None:
            self.have = Place(max(self.version, self.seen.version), self.seen.etag, self.seen.fetched_at)
        self._loose = False

    def fetched(self, etag: str, at: int) -> None:
        """Note that the upstream has brought a config, which is about to be stored."""
        self.have, self._loose = Place(self.version, etag, at), True

    def stored(self, place: Place) -> bool:
        """Note that a config is stored; return whether it is the one that this node has."""
        self.seen, self.sound = place, True
        if self.have is None or self.have.etag != place.etag:
            return False
        self.have, self._loose = place, False
        return True

    def took(self, place: Place) -> None:
        """Note that the SDK uses a config of the cache."""
        self.have, self._loose = place, False

    def refused(self, place: Place) -> None:
        """Note that the SDK cannot use a config of the cache."""
        self._unusable = place

    def ask_failed(self) -> None:
        """Note that the upstream could not be asked: what the cache gets from now on decides."""
        if self._loose and self.seen is not None:
            self._loose = False
            if self.have is not None:
                self.have = Place(max(self.version, self.seen.version), self.have.etag, 0)
        self._undecided = self.seen

    def placed(self, etag: str) -> int | None:
        """Return the version of the config of this ETag, if this node has it and it is stored."""
        return None if self.have is None or self._loose or self.have.etag != etag else self.have.version
