"""The set of workers: starts them, restarts those that end, and sends messages to all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred

from gateway.deferreds import call_each
from gateway.logger import component_logger
from gateway.text import ProblemText, log_command
from gateway.workers.process import WorkerProcess
from gateway.workers.protocol import Echo, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from gateway.workers.process import IProcessReactor
    from gateway.workers.protocol import ToLeader, ToWorker
    from gateway.workers.relay import MetricsReceiver

_log = component_logger("gateway")

SHORT_LIFE_SECONDS = 10.0  # a worker that ends within this time is replaced after a growing pause
FIRST_PAUSE = 0.1  # seconds; each further pause is twice as long
LONGEST_PAUSE = 10.0  # seconds: a persistent fault costs six starts a minute
FULL_LOG_SECONDS = 60.0  # between two log lines about workers that have few files left
OPEN_TICKS = 30  # seconds for which the port waits for the other workers, once one is ready
SETTLE_SECONDS = 5.0  # the longest wait for workers to handle what was sent to them


class PoolOwner(Protocol):
    """Provides the state that workers start with, and handles their messages."""

    def new_metrics(self) -> MetricsReceiver:
        """Return the receiver of a new worker's metrics."""

    def initial_messages(self, worker: WorkerProcess) -> Iterable[ToWorker]:
        """Return the messages with which a new worker begins."""

    def on_message(self, worker: WorkerProcess, message: ToLeader) -> None:
        """Handle a message of a worker."""

    def on_end(self, worker: WorkerProcess) -> None:
        """Handle the end of a worker, before it is replaced."""


@define
class WorkerPool:
    """``count`` workers, numbered from 1, from ``start`` until ``stop_replacing``.

    The port is opened once all workers are ready, so that the first one does not get the clients of all.  The kernel
    spreads connections over one socket for each number, which stays open while its worker is replaced: those that wait
    in it are accepted by another worker until then, and none is reset.
    """

    _reactor: IProcessReactor
    _owner: PoolOwner
    _count: int
    _environ: Mapping[str, str]
    _listeners: Sequence[socket.socket]  # on the main port, of each worker
    workers: dict[int, WorkerProcess] = field(factory=dict)
    complete: bool = False  # whether all workers have been listening at the same time
    ends: int = 0  # workers that ended before ``stop_replacing``
    _short_lives: dict[int, int] = field(factory=dict)  # by number: how many workers in a row ended early
    _restarts: dict[int, IDelayedCall] = field(factory=dict)
    _replacing: bool = True
    _open: bool = False  # whether workers have been ordered to accept
    _full_from: float = 0.0  # when the next log line about a full worker may follow
    _waited: int = 0  # ticks since the first worker was ready, until then
    _echoes: dict[int, tuple[Deferred[None], set[int]]] = field(factory=dict)  # the workers that have not replied
    _last_echo: int = 0

    @property
    def serving(self) -> bool:
        """Whether all workers have been listening once, and one is now."""
        return self.complete and any(worker.listening for worker in self.workers.values())

    def start(self) -> None:
        """Start all workers."""
        for number in range(1, self._count + 1):
            self._launch(number)

    def stop_replacing(self) -> None:
        """Stop replacing workers that end."""
        self._replacing = False
        for call in self._restarts.values():
            call.cancel()
        self._restarts.clear()

    def kill(self) -> None:
        """Kill the workers that still run."""
        for worker in self.workers.values():
            worker.kill()

    def tick(self) -> None:
        """Check the workers; called each second."""
        call_each([worker.tick for worker in self.workers.values()], _log, "the check of a worker")
        if not self._open:
            self._waited += any(worker.ready for worker in self.workers.values())
        self._distribute()

    def problems(self) -> list[str]:
        """Return a sentence for each worker that does not answer; its text is stable while that lasts."""
        return [
            ProblemText(
                f"worker {worker.number} does not answer: its streams and calls wait until it goes on or is replaced",
                log_command(f"worker {worker.number} "),
            )
            for worker in self.workers.values()
            if worker.unresponsive
        ]

    def broadcast(self, message: ToWorker) -> None:
        """Send a message, encoded once, to every worker."""
        if self.workers:
            data = encode(message)
            for worker in self.workers.values():
                worker.link.send_encoded(data)

    def settled(self, seconds: float = SETTLE_SECONDS) -> Deferred[None]:
        """Return a Deferred that fires when all current workers have handled what was sent, or after ``seconds``.

        It never fails.  A worker that ends is not waited for.
        """
        self._last_echo += 1
        number = self._last_echo
        done: Deferred[None] = Deferred(lambda _: self._finish_echo(number))
        done.addTimeout(seconds, self._reactor)
        self._echoes[number] = (done, set(self.workers))
        self.broadcast(Echo(number))
        if not self.workers:
            self._finish_echo(number)
        return done

    def ready(self, worker: WorkerProcess) -> None:
        """Note that a worker can accept connections."""
        worker.ready = True
        self._distribute()

    def full(self, worker: WorkerProcess, full: bool) -> None:  # noqa: FBT001 - the field of a message
        """Note whether a worker has few files left."""
        worker.full = full
        now = self._reactor.seconds()
        if full and now >= self._full_from:
            self._full_from = now + FULL_LOG_SECONDS
            _log.warn(
                "worker {number} has few files left: new connections go to workers that have more; raise the limit of"
                " open files (LimitNOFILE), or use more workers",
                number=worker.number,
            )
        self._distribute()

    def listening(self, worker: WorkerProcess) -> bool:
        """Note that a worker serves; return whether this is the first moment at which all do."""
        worker.listening = True
        if self.complete or sum(each.listening for each in self.workers.values()) < self._count:
            return False
        self.complete = True
        return True

    def _distribute(self) -> None:
        """Order each worker that is ready to accept the connections of its socket, and of those that do not serve.

        Where no worker answers, connections wait: the machine may only be busy.  A full worker accepts none while
        another one has files left; without such a one, each accepts until its limit is reached.
        """
        if not self._replacing:  # they drain
            return
        ready = {worker.number: worker for worker in self.workers.values() if worker.ready}
        self._open = self._open or len(ready) == self._count or bool(ready and (self.ends or self._waited > OPEN_TICKS))
        if self._open:
            answering = {number: worker for number, worker in ready.items() if not worker.unresponsive}
            numbers = substitutes(self._count, [n for n, worker in answering.items() if not worker.full] or answering)
            handed = {number for each in numbers.values() for number in each}
            for number, worker in ready.items():
                own = () if worker.full and number in handed else (number,)
                worker.accept((*own, *numbers.get(number, ())))

    def _received(self, worker: WorkerProcess, message: ToLeader) -> None:
        if isinstance(message, Echo):
            self._echoed(message.number, worker.number)
        else:
            self._owner.on_message(worker, message)

    def _ended(self, worker: WorkerProcess) -> None:
        del self.workers[worker.number]
        self._owner.on_end(worker)
        for number in list(self._echoes):
            self._echoed(number, worker.number)
        if self._replacing:
            self.ends += 1
            short = self._reactor.seconds() - worker.started < SHORT_LIFE_SECONDS
            in_a_row = self._short_lives[worker.number] = self._short_lives.get(worker.number, 0) + 1 if short else 0
            self._restart(worker.number, pause(in_a_row))
            self._distribute()

    def _restart(self, number: int, seconds: float) -> None:
        _log.error("worker {number} has ended; a new one starts in {seconds:g} s", number=number, seconds=seconds)
        self._restarts[number] = self._reactor.callLater(seconds, self._launch, number)

    def _launch(self, number: int) -> None:
        self._restarts.pop(number, None)
        try:
            metrics = self._owner.new_metrics()
            started = self._reactor.seconds()
            worker = WorkerProcess(number, started, self._listeners, metrics, self._received, self._ended)
            worker.launch(self._reactor, self._environ)
        except OSError as error:
            _log.error("worker {number} cannot be started: {reason}", number=number, reason=str(error))
            self._restart(number, LONGEST_PAUSE)
            return
        self.workers[number] = worker
        for message in self._owner.initial_messages(worker):
            worker.link.send(message)

    def _echoed(self, number: int, worker: int) -> None:
        """Handle that a worker has replied to an echo, or has ended."""
        if number in self._echoes:
            waiting_for = self._echoes[number][1]
            waiting_for.discard(worker)
            if not waiting_for:
                self._finish_echo(number)

    def _finish_echo(self, number: int) -> None:
        done, _ = self._echoes.pop(number)
        done.callback(None)


def substitutes(count: int, answering: Collection[int]) -> dict[int, list[int]]:
    """Return which of the numbers 1 to ``count`` have no worker that answers, by the one that follows and answers.

    One for each, so that two processes do not wake for one connection.
    """
    found: dict[int, list[int]] = {}
    for number in range(1, count + 1):
        ring = ((number + step) % count + 1 for step in range(count - 1))
        substitute = next((each for each in ring if each in answering), None)
        if number not in answering and substitute is not None:
            found.setdefault(substitute, []).append(number)
    return found


def pause(short_lives: int) -> float:
    """Return the seconds until a worker is replaced, after so many in a row have ended early."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(short_lives - 1, 10)) if short_lives else 0.0
