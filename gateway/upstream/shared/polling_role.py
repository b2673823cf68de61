"""Whether this node polls the upstream of an SDK: the lease, and the two reasons to leave it or a poll to others; pure.

Reading ──► the lease is ours ──► polls            a poll failed ──► abstains: another node may reach the upstream
another node fetches for a caller ──► holds: that node learns who made the change
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from gateway.upstream.shared.interface import Reading

ABSTAIN_SECONDS: Final = 10.0  # after a poll that failed, another node may poll
HOLD_SECONDS: Final = 2.0  # for which a poll waits when another node fetches for a caller, who may name an author


@define
class PollingRole:
    """Of one SDK; a node that ``may_poll`` has an upstream.  Times are of the reactor's clock.

    ``polls`` is whether this node polls; ``poller`` is the node that does, empty if that is unknown.
    """

    may_poll: bool
    polls: bool = field(default=False, init=False)
    poller: str = field(default="", init=False)
    reached: bool = field(default=False, init=False)  # whether the last read of the cache succeeded
    _abstain_until: float = field(default=float("-inf"), init=False)
    _hold_until: float = field(default=float("-inf"), init=False)

    def wants_lease(self, now: float) -> bool:
        """Return whether a read of the cache should take or renew the lease."""
        return self.may_poll and now >= self._abstain_until

    def read(self, reading: Reading) -> bool:
        """Take note of who polls; return whether this node does from now on in place of another one."""
        first, self.reached = not self.reached, True
        had, self.polls = self.polls, reading.mine and self.may_poll
        self.poller = reading.poller
        return self.polls and not had and not first

    def unreachable(self) -> None:
        """Note that the cache cannot be read: each node polls for itself."""
        self.reached, self.polls, self.poller = False, self.may_poll, ""

    def polls_now(self) -> bool:
        """Return whether a poll that is due is this node's."""
        return self.polls or not self.reached or not self.poller

    def hold(self, now: float) -> None:
        """Leave the next fetch to another node."""
        self._hold_until = now + HOLD_SECONDS

    def held_for(self, now: float) -> float:
        """Return for how many seconds a poll that is due has to wait; not above 0 if it need not."""
        return self._hold_until - now

    def poll_failed(self, now: float) -> bool:
        """Return whether the lease is to be given up, so that another node polls, which may reach the upstream."""
        if not (self.polls and self.reached):
            return False
        self.polls, self.poller = False, ""
        self._abstain_until = now + ABSTAIN_SECONDS
        return True
