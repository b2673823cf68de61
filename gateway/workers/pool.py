"""Which workers there are: starts them, replaces those that die, and says the same to all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred

from gateway.logger import component_logger
from gateway.workers.framing import framed
from gateway.workers.process import Member
from gateway.workers.protocol import Echo, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.internet.interfaces import IDelayedCall

    from gateway.workers.ledger import Ledger
    from gateway.workers.protocol import Down, Up

_log = component_logger("gateway")

YOUNG_SECONDS = 10.0  # a worker that dies younger than this is replaced after a growing pause
FIRST_PAUSE = 0.1  # seconds; then twice as long each time
LONGEST_PAUSE = 10.0  # seconds; what is broken for longer is still tried six times a minute
SETTLE_SECONDS = 5.0  # how long is waited for every worker to have done what it was told


class Leader(Protocol):
    """Who decides what workers are told."""

    def account(self) -> Ledger:
        """Return an account for a new worker."""

    def greeting(self, member: Member) -> Iterable[Down]:
        """Return everything that a new worker has to know, in order."""

    def said(self, member: Member, message: Up) -> None:
        """A worker said something."""

    def gone(self, member: Member) -> None:
        """A worker is gone."""


@define
class Roll:
    """``count`` workers, numbered from 1, from ``start`` until ``dismiss``."""

    _reactor: Any
    _leader: Leader
    _count: int
    _environ: Mapping[str, str]
    members: dict[int, Member] = field(factory=dict)
    complete: bool = False  # whether all have been ready at one time
    ends: int = 0  # workers that ended before they were dismissed
    _failures: dict[int, int] = field(factory=dict)
    _returns: dict[int, IDelayedCall] = field(factory=dict)
    _dismissed: bool = False
    _echoes: dict[int, tuple[Deferred[None], set[int]]] = field(factory=dict)
    _echo: int = 0

    @property
    def serving(self) -> bool:
        """Whether all have been ready, and one is now."""
        return self.complete and any(member.ready for member in self.members.values())

    def start(self) -> None:
        """Start all of them."""
        for number in range(1, self._count + 1):
            self._launch(number)

    def dismiss(self) -> None:
        """Replace nobody any more."""
        self._dismissed = True
        for call in self._returns.values():
            call.cancel()
        self._returns.clear()

    def kill(self) -> None:
        """End those that are left, at once."""
        for member in self.members.values():
            member.kill()

    def tick(self) -> None:
        """Another second has passed."""
        for member in list(self.members.values()):
            member.tick()

    def tell(self, message: Down) -> None:
        """Say the same to every worker, encoded once."""
        if self.members:
            data = framed(encode(message))
            for member in self.members.values():
                member.link.send_framed(data)

    def settled(self) -> Deferred[None]:
        """Fires when each of the workers of now has done what it was told, or is gone, or after 5 s; never errs."""
        self._echo += 1
        number = self._echo
        done: Deferred[None] = Deferred(lambda _: self._echoed(number, None))
        done.addTimeout(SETTLE_SECONDS, self._reactor)
        self._echoes[number] = (done, set(self.members))
        self.tell(Echo(number))
        self._echoed(number, 0)  # fires at once where there is no worker
        return done

    def said(self, member: Member, message: Up) -> None:
        """Take echoes; the rest is for the leader."""
        if isinstance(message, Echo):
            self._echoed(message.number, member.number)
        else:
            self._leader.said(member, message)

    def gone(self, member: Member) -> None:
        """Take a worker off, and have it replaced."""
        del self.members[member.number]
        self._leader.gone(member)
        for number in list(self._echoes):
            self._echoed(number, member.number)
        if not self._dismissed:
            self.ends += 1
            young = self._reactor.seconds() - member.began < YOUNG_SECONDS
            failures = self._failures[member.number] = self._failures.get(member.number, 0) + 1 if young else 0
            self._return(member.number, pause(failures))

    def ready(self, member: Member) -> bool:
        """A worker serves; return whether that is the first time that all do."""
        member.ready = True
        if self.complete or sum(each.ready for each in self.members.values()) < self._count:
            return False
        self.complete = True
        return True

    def _return(self, number: int, seconds: float) -> None:
        _log.error("worker {number} has ended; another one starts in {seconds:g} s", number=number, seconds=seconds)
        self._returns[number] = self._reactor.callLater(seconds, self._launch, number)

    def _launch(self, number: int) -> None:
        self._returns.pop(number, None)
        member = Member(number, self._reactor.seconds(), self, self._leader.account())
        try:
            member.launch(self._reactor, self._environ)
        except OSError as error:
            _log.error("worker {number} cannot be started: {reason}", number=number, reason=str(error))
            self._return(number, LONGEST_PAUSE)
            return
        self.members[number] = member
        for message in self._leader.greeting(member):
            member.link.send(message)

    def _echoed(self, number: int, worker: int | None) -> None:
        """A worker has done what came before the echo; None stands for all of them, 0 for nobody."""
        if number not in self._echoes:
            return
        done, waited = self._echoes[number]
        waited.discard(worker or 0)
        if worker is None or not waited:
            del self._echoes[number]
            done.callback(None)


def pause(failures: int) -> float:
    """Return after how many seconds a worker is replaced that is the ``failures``-th in a row to die young."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)) if failures else 0.0
