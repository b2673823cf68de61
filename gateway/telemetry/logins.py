"""Logins to the diagnostics port: names and passwords against the hashes of ``diag.users``.

    name, password ──► cache of verified ones ──► waiting line ──► scrypt in a thread ──► Caller

A hash takes a third of a second and 32 MiB on purpose, so everything about it is bounded: two are computed at a time,
and each network has a budget of wrong ones.  Passwords are in no cache, log, metric or error.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from twisted.internet.defer import Deferred, DeferredSemaphore

from gateway.logger import component_logger
from gateway.telemetry.caller import CHALLENGE, Caller, Denial
from gateway.text import PASSWORD_BYTES, PasswordHash, read_password_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from gateway.telemetry.login_metrics import LoginMetrics

    InThread = Callable[[Callable[[], bool]], Deferred[bool]]

_log = component_logger("diag")

AT_ONCE: Final = 2  # computations, each in its thread
WAITING: Final = 16  # different logins that are computed or wait; some three seconds of work
VERIFIED: Final = 100  # logins in the cache; the least recently used is dropped
BURST: Final = 10  # wrong logins of a network at once
PER_SECOND: Final = 1.0  # further ones
NETWORKS: Final = 1_000  # whose wrong logins are counted; the oldest is dropped
QUIET: Final = 60.0  # seconds between two lines of the log about wrong logins

WRONG: Final = Caller(denial=Denial(401, "wrong user name or password", CHALLENGE))
TOO_MANY: Final = Caller(denial=Denial(429, "too many wrong or simultaneous logins, try again", ("Retry-After", "1")))
FAILED: Final = Caller(denial=Denial(503, "the password cannot be verified now; the log has the details"))


class Logins:
    """Verifies passwords; all methods belong to the reactor thread, and ``in_thread`` calls a function in another."""

    def __init__(self, clock: IReactorTime, in_thread: InThread, metrics: LoginMetrics) -> None:
        self._in_thread = in_thread
        self._metrics = metrics
        self._users: dict[str, PasswordHash] = {}
        self._operators: frozenset[str] = frozenset()
        self._secret = secrets.token_bytes(32)  # of this process: keys of the cache are useless elsewhere
        self._verified: OrderedDict[bytes, Caller] = OrderedDict()
        self._pending: dict[bytes, list[Deferred[Caller]]] = {}
        self._slots = DeferredSemaphore(AT_ONCE)
        self._budget = FailureBudget(clock)
        self._generation = 0

    @property
    def has_users(self) -> bool:
        """Whether any user is configured."""
        return bool(self._users)

    def reconfigure(self, users: Mapping[str, str], operators: Collection[str]) -> None:
        """Replace the users and forget all earlier logins; the hashes were checked with the settings."""
        self._generation += 1
        self._verified.clear()
        self._users = {normalize("NFC", name): read_password_hash(text) for name, text in users.items()}
        self._operators = frozenset(normalize("NFC", name) for name in operators)

    def check(self, name: str, password: str, network: str) -> Caller | Deferred[Caller]:
        """Return the caller, at once for a login that was verified before; the Deferred never fails."""
        name = normalize("NFC", name)
        if len(password.encode()) > PASSWORD_BYTES:
            return WRONG
        key = hmac.digest(self._secret, f"{name}\0{password}".encode(), "sha256")
        known = self._verified.get(key)
        if known is not None:
            self._verified.move_to_end(key)
            return known
        answer: Deferred[Caller] = Deferred()
        if key in self._pending:
            self._pending[key].append(answer)
            return answer
        # What is not verified counts as wrong until it is: many at once would be unbounded otherwise.
        if len(self._pending) >= WAITING or not self._budget.take(network):
            self._metrics.count("limited")
            return TOO_MANY
        self._pending[key] = [answer]
        self._verify(key, name, password, network)
        return answer

    def _verify(self, key: bytes, name: str, password: str, network: str) -> None:
        """Compute the hash, and answer everyone who waits for it."""
        generation = self._generation
        # For an unknown name the hash of some user, always the same one: it takes as long, and matches nothing.
        others = list(self._users.values())
        number = int.from_bytes(hmac.digest(self._secret, name.encode(), "sha256")[:8], "big")
        kept = self._users.get(name)
        compared = kept or others[number % len(others)]

        def ended(matches: bool) -> None:  # noqa: FBT001 - the result of a thread
            if generation != self._generation and self._users:
                self._verify(key, name, password, network)
                return
            caller = WRONG
            if matches and kept is not None and self._users:
                caller = Caller("operate" if name in self._operators else "view", name, proven=True)
                self._remember(key, caller)
                self._budget.give_back(network)
                self._metrics.count("verified")
            else:
                self._budget.note_failure(network)
                self._metrics.count("wrong")
            answer(caller)

        def failed(failure: Failure) -> None:
            _log.failure("verifying a password of diag.users failed", failure=failure)
            answer(FAILED)

        def answer(caller: Caller) -> None:
            for waiter in self._pending.pop(key):
                waiter.callback(caller)

        self._slots.run(self._in_thread, lambda: compared.matches(password)).addCallbacks(ended, failed)

    def _remember(self, key: bytes, caller: Caller) -> None:
        self._verified[key] = caller
        if len(self._verified) > VERIFIED:
            self._verified.popitem(last=False)


class FailureBudget:
    """How many wrong logins each network may send: ``BURST`` at once, and ``PER_SECOND`` more."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was so
        self._failures = 0  # since the last line of the log
        self._logged: float | None = None

    def take(self, network: str) -> bool:
        """Take one; return whether there was one left."""
        left = self._current(network)
        if left < 1:
            return False
        self._keep(network, left - 1)
        return True

    def give_back(self, network: str) -> None:
        """Return what was taken for a login that was right."""
        self._keep(network, min(float(BURST), self._current(network) + 1))

    def note_failure(self, network: str) -> None:
        """Log a wrong login, once in ``QUIET`` seconds; without the name, which may be a mistyped password."""
        self._failures += 1
        now = self._clock.seconds()
        if self._logged is None or now - self._logged >= QUIET:
            text = "wrong logins to the diagnostics port: {count}, the latest from {network}"
            _log.warn(text, count=self._failures, network=network)
            self._failures, self._logged = 0, now

    def _current(self, network: str) -> float:
        now = self._clock.seconds()
        left, at = self._left.get(network, (float(BURST), now))
        return min(float(BURST), left + (now - at) * PER_SECOND)

    def _keep(self, network: str, left: float) -> None:
        self._left[network] = (left, self._clock.seconds())
        self._left.move_to_end(network)
        if len(self._left) > NETWORKS:
            self._left.popitem(last=False)
