"""Find the flags in the bytes of a large config JSON a part at a time: the parser cannot pause.

From a place where a member of the JSON object begins, the parser accepts the following bytes, put into braces, only if
they are whole members.  So a place where a part may end can be guessed, and the parser decides.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.flags.steps import CHEAP

if TYPE_CHECKING:
    from collections.abc import Generator

PART_BYTES: Final = 256 * 1024  # between two pauses: some 600 flags, in 1.5 ms
PLACEHOLDER: Final = "\0the flags"  # the key that stands for the flags in the rest of a config JSON

_Members = dict[str, msgspec.Raw]
_MEMBERS = msgspec.json.Decoder(_Members)
_BRACE = re.compile(rb"[{}]")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_MEMBER = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_SCALAR = re.compile(rb"[^\[\]{}\",]+")


class Unexpected(Exception):
    """The JSON is malformed, or has another shape; a parser that reads all of it finds out which."""


def split_flags_in_steps(body: bytes, size: int = PART_BYTES) -> Generator[None, None, tuple[dict[str, bytes], bytes]]:
    """Return a generator that returns the members of ``f``, still encoded, and the JSON without them.

    The latter has an ``f`` of one member, ``PLACEHOLDER``, and is still to be parsed: another ``f`` may follow.  The
    flags are exactly those that the parser would find in the whole.

    :raises Unexpected: from a step
    """
    start = position = yield from _first_flag(body)
    flags: dict[str, bytes] = {}
    while body[position : position + 1] == b'"':
        end, members = _part(body, position, size)
        if members is None:
            end, members = yield from _exact_part(body, position, size)
        flags.update({key: bytes(raw) for key, raw in members.items()})
        position = _after_space(body, end)
        if body[position : position + 1] == b"}":
            return flags, b'%b"\\u0000%b":0%b' % (body[:start], PLACEHOLDER[1:].encode(), body[position:])
        if body[position : position + 1] != b",":
            break
        position = _after_space(body, position + 1)
        yield
    raise Unexpected


def _after_space(body: bytes, position: int) -> int:
    found = _SPACE.match(body, position)
    assert found is not None
    return found.end()


def _first_flag(body: bytes) -> Generator[None, None, int]:
    """Return the position behind the brace and the space with which the member ``f`` begins."""
    position = _after_space(body, 0)
    separator = b"{"
    while body[position : position + 1] == separator:
        member = _MEMBER.match(body, _after_space(body, position + 1))
        if member is None:
            break
        position = member.end()
        if member[1] == b"f" and body[position : position + 1] == b"{":
            return _after_space(body, position + 1)
        position = _after_space(body, (yield from _end_of_value(body, position)))
        separator = b","
    raise Unexpected


def _end_of_value(body: bytes, position: int) -> Generator[None, None, int]:
    scalar = _SCALAR.match(body, position)
    if scalar is not None:
        return scalar.end()
    depth = 0
    for number, token in enumerate(_TOKEN.finditer(body, position), 1):
        if number % CHEAP == 0:
            yield
        depth += _step(token[0])
        if depth <= 0:
            return token.end()
    raise Unexpected


def _step(token: bytes) -> int:
    """Return by how much a token changes the depth."""
    return 1 if token in {b"{", b"["} else -1 if token in {b"}", b"]"} else 0


def _part(body: bytes, position: int, size: int) -> tuple[int, _Members | None]:
    """Return the members from ``position`` on and where they end; None if they end elsewhere.

    Braces are counted as if no text contained one, which is fast.
    """
    end = position + size
    depth = body.count(b"{", position, end) - body.count(b"}", position, end)
    for number, brace in enumerate(_BRACE.finditer(body, end)):
        depth += 1 if brace[0] == b"{" else -1
        if depth <= 0:
            return brace.end(), _parsed(body, position, brace.end())
        if number > CHEAP:
            break
    return position, None


def _parsed(body: bytes, position: int, end: int) -> _Members | None:
    try:
        return _MEMBERS.decode(b"{%b}" % body[position:end])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _exact_part(body: bytes, position: int, size: int) -> Generator[None, None, tuple[int, _Members]]:
    """As ``_part``, slower, with regard to texts and to the end of the flags."""
    depth, end = 0, position
    for number, token in enumerate(_TOKEN.finditer(body, position), 1):
        if number % CHEAP == 0:
            yield
        depth += _step(token[0])
        end = token.end()
        if depth < 0:
            end -= 1
            break
        if depth == 0 and token[0] == b"}" and end - position >= size:
            break
    members = _parsed(body, position, end)
    if members is None:
        raise Unexpected
    return end, members
