"""One worker as the leader sees it: its process and its link, from start to end."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import socketpair
from typing import TYPE_CHECKING

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorProcess, IReactorSocket, IReactorTime
from twisted.internet.protocol import ProcessProtocol

from gateway.logger import component_logger
from gateway.workers.link import TO_LEADER_LIMIT, Link, connect
from gateway.workers.protocol import Accept, to_leader

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from twisted.python.failure import Failure

    from gateway.workers.protocol import ToLeader
    from gateway.workers.relay import MetricsReceiver

_log = component_logger("gateway")

LINK_FD = 3  # the descriptor of the worker's end of the socket pair
LISTENER_FD = 4  # the descriptor of the first of the sockets on the main port; those of all workers follow
# Seconds without a message of a worker, which reports every second.  They are ticks of the leader's own timer, so time
# in which the leader itself did not run does not count.
QUIET_TICKS = 5  # after which it is reported and another worker accepts its connections, too: it may only be busy
SILENCE_TICKS = 15  # after which it is killed: its open connections hang
START_TICKS = 120  # the same before it is ready: a kill would only make a start on a busy host longer
EXIT_TICKS = 5  # seconds that a process may outlive its link
# A signal to the process group reaches the workers too, but only the leader acts on it.
GROUP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})


class IProcessReactor(IReactorTime, IReactorProcess, IReactorSocket):
    """A reactor that can start workers."""


class WorkerProcess(ProcessProtocol):
    """A worker process; ``number`` (from 1) passes to its replacement, ``started`` is the reactor's time in seconds.

    ``on_message`` may be called after the process has ended, but not after ``on_end``, which is called once.
    ``listeners`` are the sockets of all workers on the main port: each worker has all of them open, so that connections
    that wait for one which does not serve can be accepted by another one.
    """

    def __init__(
        self,
        number: int,
        started: float,
        listeners: Sequence[socket.socket],
        metrics: MetricsReceiver,
        on_message: Callable[[WorkerProcess, ToLeader], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        self.number = number
        self.started = started
        self.metrics = metrics
        self.ready = False  # whether it can accept connections
        self.listening = False  # whether it has begun to
        self.full = False  # whether it has few files left for more
        self._listeners = listeners
        self._accepts: tuple[int, ...] = ()
        self._on_message = on_message
        self._on_end = on_end
        self._silent_ticks = 0
        self._linked = True
        self._running = True
        self.link: Link[ToLeader] = Link(to_leader, TO_LEADER_LIMIT, self._received, self._link_lost)

    def launch(self, reactor: IProcessReactor, environ: Mapping[str, str]) -> None:
        """Start the process; messages sent over ``link`` from now on wait for it.

        :raises OSError: if the system cannot start it
        """
        ours, theirs = socketpair()
        with ExitStack() as failed, theirs, Path("/dev/null").open("rb") as nothing:
            failed.callback(ours.close)
            # A signal to the group may arrive before the worker has begun to ignore it.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
            try:
                reactor.spawnProcess(
                    self,
                    sys.executable,
                    # -P: import no module from the directory in which the gateway was started.
                    [sys.executable, "-P", "-m", "gateway.workers.worker"],
                    env=_environment(environ),
                    childFDs={
                        0: nothing.fileno(),
                        1: 1,
                        2: 2,
                        LINK_FD: theirs.fileno(),
                        **{LISTENER_FD + place: each.fileno() for place, each in enumerate(self._listeners)},
                    },
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            failed.pop_all()
        connect(reactor, ours, self.link)

    @property
    def pid(self) -> int:
        """The process id; 0 after the process has ended."""
        return getattr(self.transport, "pid", None) or 0

    @property
    def unresponsive(self) -> bool:
        """Whether a worker that was ready has sent nothing for ``QUIET_TICKS``."""
        return self.ready and self._silent_ticks > QUIET_TICKS

    def accept(self, numbers: tuple[int, ...]) -> None:
        """Have it accept the connections of the sockets of the workers with these numbers, and of no others."""
        if numbers != self._accepts:
            self._accepts = numbers
            self.link.send(Accept(numbers))

    def tick(self) -> None:
        """Kill a worker that hangs or does not exit; called each second."""
        self._silent_ticks += 1
        limit = (SILENCE_TICKS if self.ready else START_TICKS) if self._linked else EXIT_TICKS
        if self.ready and self._silent_ticks == QUIET_TICKS + 1:
            _log.error(
                "worker {number} (process {pid}) has not answered for {quiet} s; another worker accepts its new"
                " connections if one answers, and calls on open connections wait; it is killed after {kill} s and"
                " replaced: see whether the process is stopped, swapped out or busy",
                number=self.number,
                pid=self.pid,
                quiet=QUIET_TICKS,
                kill=SILENCE_TICKS,
            )
        if self._silent_ticks > limit:
            _log.error("worker {number} does not respond and is killed", number=self.number)
            self._silent_ticks = 0
            self.kill()

    def kill(self) -> None:
        """Kill the process."""
        with suppress(ProcessExitedAlready):
            if self.transport is not None:
                self.transport.signalProcess("KILL")

    def processEnded(self, _reason: Failure) -> None:
        """Handle that Twisted has reaped the process."""
        self._running = False
        self._ended()

    def _received(self, message: ToLeader) -> None:
        self._silent_ticks = 0
        self._on_message(self, message)

    def _link_lost(self) -> None:
        self._linked = False
        self._silent_ticks = 0
        self.ready = self.listening = False
        self._ended()

    def _ended(self) -> None:
        """Wait for both ends: the last report may still be in the link when the process has ended."""
        if not self._running and not self._linked:
            self._on_end(self)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: ours, with the same module path."""
    return {**environ, "PYTHONPATH": ":".join(place for place in sys.path if place)}
