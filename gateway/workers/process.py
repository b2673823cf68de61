"""One worker as the leader sees it: its process, its link and its account, from start to end."""

from __future__ import annotations

import signal
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol

from gateway.logger import component_logger
from gateway.workers.framing import UP_LIMIT
from gateway.workers.link import Link, connect
from gateway.workers.protocol import decode_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.python.failure import Failure

    from gateway.workers.ledger import Ledger
    from gateway.workers.protocol import Up

_log = component_logger("gateway")

LINK_FD = 3  # where a worker finds its end of the socket pair
SILENCE_TICKS = 30  # ticks of a second without a word before a worker counts as hung; it tallies every second
ENDING_TICKS = 5  # ticks that a process may outlive its link
# What a whole group may get; for the leader.
HELD_BACK = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})


class Owner(Protocol):
    """Who is told what a member says."""

    def said(self, member: Member, message: Up) -> None:
        """A worker said something; also after its process has ended, for what was under way."""

    def gone(self, member: Member) -> None:
        """A worker's process and link are both gone; said once, and nothing after it."""


class Member(ProcessProtocol):
    """A worker process; ``number`` is its place, which its successor takes over."""

    def __init__(self, number: int, began: float, owner: Owner, ledger: Ledger) -> None:
        self.number = number
        self.began = began
        self.ledger = ledger
        self.ready = False
        self._owner = owner
        self._silent = 0
        self._linked = True
        self._running = True
        self.link: Link[Up] = Link(decode_up, UP_LIMIT, self._said, self._unlinked)

    def launch(self, reactor: Any, environ: Mapping[str, str]) -> None:
        """Start the process; raises ``OSError``, with nothing left open, when the system cannot.

        What is said over ``link`` from now on waits for the worker.
        """
        ours, theirs = socket.socketpair()
        with ExitStack() as failed, theirs, Path("/dev/null").open("rb") as nothing:
            failed.callback(ours.close)
            # Signals to the whole group may come before the worker can say that it ignores them.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
            try:
                reactor.spawnProcess(
                    self,
                    sys.executable,
                    # -P: no module comes from whatever directory the gateway was started in.
                    [sys.executable, "-P", "-m", "gateway.workers.worker"],
                    env=_environment(environ),
                    childFDs={0: nothing.fileno(), 1: 1, 2: 2, LINK_FD: theirs.fileno()},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            failed.pop_all()
        connect(reactor, ours, self.link)

    @property
    def pid(self) -> int:
        """The process's id; 0 when it has ended."""
        return getattr(self.transport, "pid", None) or 0

    def tick(self) -> None:
        """Another second has passed: a worker that is hung, or does not end, is killed."""
        self._silent += 1
        if self._silent > (SILENCE_TICKS if self._linked else ENDING_TICKS):
            _log.error("worker {number} does not answer and is killed", number=self.number)
            self._silent = 0
            self.kill()

    def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessExitedAlready):
            if self.transport is not None:
                self.transport.signalProcess("KILL")

    def processEnded(self, _reason: Failure) -> None:
        """Told by Twisted that the process was reaped."""
        self._running = False
        self._gone()

    def _said(self, message: Up) -> None:
        self._silent = 0
        self._owner.said(self, message)

    def _unlinked(self) -> None:
        self._linked = False
        self._silent = 0
        self.ready = False
        self._gone()

    def _gone(self) -> None:
        """Wait for both: the last tally may still be on its way when the process has ended."""
        if not self._running and not self._linked:
            self._owner.gone(self)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: ours, and the same modules from the same places."""
    return {**environ, "PYTHONPATH": ":".join(place for place in sys.path if place)}
