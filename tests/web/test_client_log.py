"""Which clients were seen: sampled, bounded, the latest last."""

from __future__ import annotations

from twisted.internet.task import Clock

from gateway.web.client_log import AGENT_CHARACTERS, AGENTS, ASKED_FLAGS, PAUSE_SECONDS, UNKNOWN_FLAGS, ClientLog
from gateway.web.values import Call


def call(agent: str, sdk: str = "") -> Call:
    return Call("GET", "/", headers={b"user-agent": [agent.encode()], b"x-configcat-useragent": [sdk.encode()]})


def take(log: ClientLog, clock: Clock, one: Call) -> None:
    """Take a request as a server does, if the log is armed."""
    if log.armed:
        log.take(one)
    clock.advance(PAUSE_SECONDS)


def test_one_request_is_taken_per_pause() -> None:
    """An idle log has no timer."""
    clock = Clock()
    log = ClientLog(clock, clock.seconds)
    log.take(call("curl/8"))
    assert (False, 1) == (log.armed, len(clock.getDelayedCalls()))
    clock.advance(PAUSE_SECONDS)
    assert (True, []) == (log.armed, clock.getDelayedCalls())


def test_agents_are_counted_and_bounded() -> None:
    """The one that was not seen for the longest time is dropped; long texts are cut, other bytes replaced."""
    clock = Clock()
    log = ClientLog(clock, clock.seconds)
    for number in range(AGENTS):
        take(log, clock, call(f"agent/{number}"))
    take(log, clock, call("agent/0"))
    take(log, clock, call("x" * 1000, "ConfigCat-JS/a-9.5"))
    take(log, clock, Call("GET", "/", headers={b"user-agent": [b"\xff"]}))
    seen = log.seen().agents
    assert (AGENTS, "agent/3") == (len(seen), seen[0].user_agent)
    assert [("agent/0", "", 2), ("x" * AGENT_CHARACTERS, "ConfigCat-JS/a-9.5", 1), ("\ufffd", "", 1)] == [
        (each.user_agent, each.sdk, each.taken) for each in seen[-3:]
    ]


def test_flags_are_bounded() -> None:
    """Unknown ones by the latest, known ones by their number; a lone surrogate can be encoded."""
    log = ClientLog(Clock(), lambda: 5.0)
    for number in range(UNKNOWN_FLAGS + 1):
        log.unknown("shop", str(number))
    log.unknown("shop", "7")
    log.unknown("shop", "\ud800" + "x" * 1000)
    log.named["shop"].update(map(str, range(ASKED_FLAGS)))
    seen = log.seen()
    assert (UNKNOWN_FLAGS, "2", ("7", 2)) == (
        len(seen.unknown), seen.unknown[0].key, (seen.unknown[-2].key, seen.unknown[-2].requests),
    )  # fmt: skip
    assert seen.unknown[-1].key.startswith("?xx")
    assert ASKED_FLAGS == len(seen.asked["shop"])
    log.take(call("curl/8"))
    assert ASKED_FLAGS == len(log.named["shop"])
    log.named["shop"].add("one more")
    log.take(call("curl/8"))
    assert {"shop": []} == log.seen().asked
