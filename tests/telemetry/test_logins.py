"""Logins to the diagnostics port: what is remembered, what is bounded, and what a reload forgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.telemetry import Caller
from gateway.telemetry.login_metrics import LoginMetrics
from gateway.telemetry.logins import AT_ONCE, BURST, FAILED, TOO_MANY, VERIFIED, WAITING, WRONG, Logins
from passwords import cheap_hash

USERS = {"anna": cheap_hash("right horse"), "vera": cheap_hash("battery staple"), "Jörg": cheap_hash("Grüße, Jörg")}
ANNA = Caller("operate", "anna", proven=True)
VERA = Caller("view", "vera", proven=True)


class Thread:
    """Stands for the threads: holds the work until ``run``."""

    def __init__(self) -> None:
        self.works: list[tuple[Callable[[], bool], Deferred[bool]]] = []
        self.count = 0

    def __call__(self, work: Callable[[], bool]) -> Deferred[bool]:
        self.count += 1
        done: Deferred[bool] = Deferred()
        self.works.append((work, done))
        return done

    def run(self) -> None:
        """Do all work, also what it starts."""
        while self.works:
            work, done = self.works.pop(0)
            done.callback(work())


class Door:
    """Logins with their clock and thread."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.thread = Thread()
        self.metrics = LoginMetrics()
        self.logins = Logins(self.clock, self.thread, self.metrics)
        self.logins.reconfigure(USERS, ["anna"])

    def enter(self, name: str, password: str, network: str = "192.0.2.1") -> Caller:
        """Return the caller, once the thread has worked."""
        answer = self.begin(name, password, network)
        self.thread.run()
        return self.result(answer)

    def begin(self, name: str, password: str, network: str = "192.0.2.1") -> Any:
        """Return what the check returns."""
        return self.logins.check(name, password, network)

    def result(self, answer: Any) -> Caller:
        """Return the result of a check."""
        if isinstance(answer, Caller):
            return answer
        found: list[Caller] = []
        answer.addCallback(found.append)
        (caller,) = found
        return caller


@pytest.fixture
def door() -> Door:
    """Return logins with three users."""
    return Door()


def test_a_user_has_the_role_of_the_settings(door: Door) -> None:
    """Only those in ``diag.operators`` may operate; names and passwords are compared as characters, not as bytes."""
    assert [ANNA, VERA] == [door.enter("anna", "right horse"), door.enter("vera", "battery staple")]
    assert Caller("view", "Jörg", proven=True) == door.enter("Jo\u0308rg", "Gru\u0308ße, Jörg")
    assert [WRONG] * 4 == [
        door.enter("anna", "battery staple"),
        door.enter("bert", "right horse"),
        door.enter("Anna", "right horse"),
        door.enter("anna", "x" * 2000),
    ]


def test_an_unknown_name_costs_what_a_known_one_costs(door: Door) -> None:
    """One computation each, with the parameters of some user, so that the time does not show which names exist."""
    for name in ("anna", "bert", "nobody", ""):
        before = door.thread.count
        assert WRONG == door.enter(name, "wrong password")
        assert before + 1 == door.thread.count


def test_a_verified_login_is_remembered_and_a_wrong_one_is_not(door: Door) -> None:
    """The second request of a browser takes no time; nothing that is kept contains the password."""
    door.enter("anna", "right horse")
    assert (ANNA, 1) == (door.begin("anna", "right horse"), door.thread.count)
    door.enter("anna", "wrong horse")
    door.enter("anna", "wrong horse")
    assert 3 == door.thread.count
    assert "horse" not in repr(vars(door.logins))


def test_requests_with_one_login_wait_for_one_computation(door: Door) -> None:
    """A browser sends several requests at once."""
    answers = [door.begin("anna", "right horse") for _ in range(8)]
    door.thread.run()
    assert ([ANNA] * 8, 1) == ([door.result(each) for each in answers], door.thread.count)


def test_computations_are_bounded(door: Door) -> None:
    """Two at a time, and a short line; what is beyond is refused with 429 at once, and nothing is computed for it."""
    answers = [door.begin("anna", f"wrong {number}", f"192.0.2.{number}") for number in range(WAITING + 3)]
    assert AT_ONCE == len(door.thread.works)
    assert [TOO_MANY] * 3 == answers[WAITING:]
    door.thread.run()
    assert [WRONG] * WAITING == [door.result(each) for each in answers[:WAITING]]
    assert WAITING == door.thread.count
    assert (429, ("Retry-After", "1")) == (TOO_MANY.denial.code, TOO_MANY.denial.header)


def test_wrong_logins_of_one_network_are_bounded(door: Door) -> None:
    """After ten wrong ones one more per second; other networks, and logins that were verified, are not affected."""
    door.enter("anna", "right horse")
    for number in range(BURST):
        assert WRONG == door.enter("anna", f"wrong {number}")
    assert TOO_MANY == door.enter("vera", "battery staple")
    assert ANNA == door.enter("anna", "right horse")
    assert VERA == door.enter("vera", "battery staple", "2001:db8::")
    door.clock.advance(1.0)
    assert [WRONG, TOO_MANY] == [door.enter("anna", "wrong again"), door.enter("anna", "and again")]
    door.clock.advance(1000.0)
    assert [WRONG] * BURST + [TOO_MANY] == [door.enter("anna", f"later {number}") for number in range(BURST + 1)]


def test_right_logins_cost_no_budget(door: Door) -> None:
    """Users behind one proxy share its address."""
    for number in range(3 * BURST):
        door.logins.reconfigure(USERS | {f"user{number}": USERS["anna"]}, [])
        assert f"user{number}" == door.enter(f"user{number}", "right horse").user


def test_a_reload_forgets_earlier_logins(door: Door) -> None:
    """A removed user, another password and another role apply at once; also to a check that is under way."""
    door.enter("anna", "right horse")
    door.enter("vera", "battery staple")
    running = door.begin("Jörg", "Grüße, Jörg")
    door.logins.reconfigure({"anna": cheap_hash("another horse"), "vera": USERS["vera"]}, ["vera"])
    door.thread.run()
    assert WRONG == door.result(running)
    assert [WRONG, Caller("operate", "vera", proven=True)] == [
        door.enter("anna", "right horse"),
        door.enter("vera", "battery staple"),
    ]
    running = door.begin("anna", "another horse")
    door.logins.reconfigure({}, [])
    door.thread.run()
    assert (WRONG, False) == (door.result(running), door.logins.has_users)


def test_the_memory_of_logins_is_bounded(door: Door) -> None:
    """The least recently used login is verified again."""
    users = {f"user{number}": USERS["anna"] for number in range(VERIFIED + 1)}
    door.logins = Logins(door.clock, lambda _: _fired(True), door.metrics)
    door.logins.reconfigure(users, [])
    for name in users:
        assert name == door.enter(name, "right horse").user
    assert VERIFIED == len(door.logins._verified)
    door.logins._in_thread = door.thread
    assert isinstance(door.begin("user1", "right horse"), Caller)
    assert isinstance(door.begin("user0", "right horse"), Deferred)


def test_a_failure_of_the_thread_is_logged(door: Door, logged_errors: Any) -> None:
    """The caller gets 503, and the next one is not affected."""
    answer = door.begin("anna", "right horse")
    door.thread.works.pop()[1].errback(MemoryError("no memory"))
    assert FAILED == door.result(answer)
    assert 1 == len(logged_errors.flush())
    assert ANNA == door.enter("anna", "right horse")


def _fired(value: bool) -> Deferred[bool]:
    done: Deferred[bool] = Deferred()
    done.callback(value)
    return done
