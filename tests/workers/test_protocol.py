"""Messages between leader and workers: framing however the bytes are split, and what each message survives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.export import Parcel
from gateway.settings import load
from gateway.workers import protocol as say
from gateway.workers.framing import Frames, TooLong, framed

MESSAGES = st.lists(st.binary(max_size=60), max_size=12)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut ``data`` at these places."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@given(MESSAGES, st.lists(st.integers(0, 900), max_size=30))
def test_messages_come_whole_and_in_order_however_they_are_split(messages: list[bytes], cuts: list[int]) -> None:
    """A socket may cut anywhere, also inside a length, and may join messages."""
    frames = Frames(60)
    data = b"".join(framed(message) for message in messages)
    came = [message for piece in pieces(data, cuts) for message in frames.feed(piece)]
    assert messages == came


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_too_long(data: bytes) -> None:
    """Nothing but ``TooLong`` is raised, and no message over the limit is given."""
    try:
        came = Frames(16).feed(data)
    except TooLong:
        return
    assert all(len(message) <= 16 for message in came)


def test_a_length_over_the_limit_is_refused_before_the_message_comes() -> None:
    """Nobody waits for, or keeps, what will not be taken."""
    frames = Frames(8)
    assert [b"12345678"] == frames.feed(framed(b"12345678"))
    with pytest.raises(TooLong, match="9 bytes, where 8 are the most"):
        frames.feed(framed(b"123456789")[:4])


def test_a_large_message_in_small_pieces_is_put_together() -> None:
    """A config of a megabyte comes in pieces of a socket's size."""
    body = bytes(range(256)) * 4096
    frames = Frames(len(body))
    whole = framed(body)
    came = [message for at in range(0, len(whole), 65536) for message in frames.feed(whole[at : at + 65536])]
    assert [body] == came


SETTINGS = load(
    """
    workers: auto
    log: {level: info, format: json}
    default_user_attributes: {Country: DE, Age: 3, Ratio: 0.5, Plans: [a, b]}
    sdks: {a: {key: k1, poll_interval: 7}, b: {key: k2, default_user_attributes: {x: [y]}, log: {level: debug}}}
    tls: {certificates: [{cert: c, key: k}]}
    http: {trusted_proxies: [10.0.0.0/8], api: {auth_headers: {X-A: b}}}
    """,
    {},
).settings
FLAG = ("shop", None)

DOWN = [
    say.Begin(1, SETTINGS),
    say.Apply(SETTINGS),
    say.Began("a", "key", {"s": "x", "n": 1.5, "l": ("a", "b")}),
    say.Config("a", 'W/"1"', b"\x00{}\xff"),
    say.Loaded("a"),
    say.Ended("a"),
    say.LogTo("/var/log/gateway.log"),
    say.Serve(),
    say.Others(3, {"::1": 2}),
    say.Others(0, {}, fresh=True),
    say.Page(b"{}"),
    say.Refreshed(7, None, True),
    say.Refreshed(8, "config fetch failed", False),
    say.Seen(9, True),
    say.Kept(10),
    say.Echo(4),
    say.Drain(),
]
UP = [
    say.Ready(),
    say.Unable("port 80 on all addresses cannot be opened: Permission denied"),
    say.Refresh(1, "a", True),
    say.Refresh(2, "a", False, b'{"changedBy":"Jane"}'),
    say.Accept(2, "a", b"\xff id", 1.5),
    say.Open(5, {"127.0.0.1": 5}),
    say.Tally(
        [(FLAG, 1)], [(FLAG, 1)], [(("shop", "banner"), 2)], {"address": 1}, {"stalled": 1}, [("shop", 0.5)],
        [say.Answers("/api/{sdkId}/eval", "POST", 200, [1, 0], 0.001)], [0.25],
    ),
    say.Evaluations(3, Parcel(b"{}\n{}", 2, [(60, b"{}", 5)], {"memory": 1})),
    say.Echo(4),
]  # fmt: skip


@pytest.mark.parametrize("message", DOWN, ids=lambda message: type(message).__name__)
def test_what_the_leader_says_is_what_a_worker_hears(message: say.Down) -> None:
    """Every message comes through unchanged, its types included."""
    heard = say.decode_down(say.encode(message))
    assert message == heard
    assert type(message) is type(heard)


@pytest.mark.parametrize("message", UP, ids=lambda message: type(message).__name__)
def test_what_a_worker_says_is_what_the_leader_hears(message: say.Up) -> None:
    """Every message comes through unchanged, its types included."""
    heard = say.decode_up(say.encode(message))
    assert message == heard
    assert type(message) is type(heard)


def test_all_messages_are_tried() -> None:
    """A message that is added is added to these tests too."""
    assert set(say.Down.__args__) == {type(message) for message in DOWN}
    assert set(say.Up.__args__) == {type(message) for message in UP}


@given(st.binary(max_size=60))
def test_garbage_is_told_apart_by_one_kind_of_error(data: bytes) -> None:
    """Whoever reads has one thing to catch."""
    for decode in (say.decode_down, say.decode_up):
        try:
            decode(data)
        except say.NotUnderstood:
            continue
