"""A sample of recently evaluated users, for predictions of what a config would change.

    answers ── armed? ──► take ──► newest users, up to a limit          (a timer arms it again)

An answer costs the sample one look at ``armed``, and at most 100 users a second are taken; an idle process has no
timer.  Users are kept with their attributes, in memory only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import User

PAUSE_SECONDS: Final = 0.01  # after a user was taken; at any load some 1 µs per 10 ms
USER_CHARACTERS: Final = 1024  # of names and values; a larger user is not taken, so that memory is bounded


class UserSample:
    """The latest ``limit`` different users of all SDKs that were taken; with 0 none is."""

    def __init__(self, clock: IReactorTime, limit: int = 0) -> None:
        self.armed = False  # whether the next user is taken
        self._clock = clock
        self._limit = 0
        self._users: dict[tuple[str, User], None] = {}  # the oldest first
        self._pausing = False
        self.resize(limit)

    def resize(self, limit: int) -> None:
        """Keep at most ``limit`` users from now on; the oldest are dropped."""
        self._limit = limit
        while len(self._users) > limit:
            del self._users[next(iter(self._users))]
        self.armed = limit > 0 and not self._pausing

    def take(self, sdk_id: str, user: User | None) -> None:
        """Take a user of an SDK as the newest one, if it is not too large, and pause."""
        self.armed = False
        self._pausing = True
        self._clock.callLater(PAUSE_SECONDS, self._arm)
        if user is None or _characters(user) > USER_CHARACTERS:
            return
        key = (sdk_id, user)
        self._users.pop(key, None)
        self._users[key] = None
        if len(self._users) > self._limit:
            del self._users[next(iter(self._users))]

    def users(self, sdk_id: str) -> list[User]:
        """Return the users of an SDK, the oldest first."""
        return [user for sdk, user in self._users if sdk == sdk_id]

    def _arm(self) -> None:
        self._pausing = False
        self.armed = self._limit > 0


def _characters(user: User) -> int:
    return sum(len(name) + len(text) for name, text in user.text.items())
