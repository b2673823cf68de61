"""Split the bytes of a config JSON into pieces, so that an unchanged piece is not decoded again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import msgspec

from gateway.flags.config_split import PART_BYTES, PLACEHOLDER, Unexpected, split_flags_in_steps
from gateway.flags.steps import CHEAP, pieces

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

INT_MIN, INT_MAX = -(2**63), 2**63 - 1  # largest signed 64-bit integer
DEPTH_LIMIT = 64  # nested arrays and objects in one flag or segment; a real one has about 8
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_BYTE = re.compile(r"\(byte ([0-9]{1,18})\)$")  # how msgspec names the position of an error
_NEWLINE = b"\n"
_Pieces = dict[str, msgspec.Raw]


class ConfigError(Exception):
    """A config JSON cannot be used; ``reason`` is one line without parts of the config."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Root(msgspec.Struct):
    f: _Pieces | msgspec.UnsetType | None = msgspec.UNSET
    s: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    p: _Pieces | msgspec.UnsetType | None = msgspec.UNSET


_ROOT = msgspec.json.Decoder(_Root)


@attrs.frozen
class ConfigJson:
    """The parts of a config JSON; ``flags`` and ``segments`` still encoded."""

    flags: Mapping[str, bytes]
    segments: tuple[bytes, ...]
    preferences: Mapping[str, object]


def split_config_in_steps(body: bytes, part_bytes: int = PART_BYTES) -> Generator[None, None, ConfigJson]:
    """Split a body into its parts.

    :raises ConfigError: from a step, if it is no config JSON; to find out why takes 1.5 ms per 1,000 flags
    """
    if len(body) > part_bytes:
        found = yield from _split_large_in_steps(body, part_bytes)
        yield
        if found is not None:
            return found
    root = _root(body)
    yield
    flags: dict[str, bytes] = {}
    for piece in pieces((root.f or {}).items(), CHEAP):
        flags.update({key: bytes(raw) for key, raw in piece})
        yield
    return _parts(flags, root)


def _split_large_in_steps(body: bytes, part_bytes: int) -> Generator[None, None, ConfigJson | None]:
    """Return the parts of a body; None if only the parser as a whole can find them, or why there are none."""
    try:
        flags, rest = yield from split_flags_in_steps(body, part_bytes)
        yield
        root = _ROOT.decode(rest)
    except (Unexpected, ValueError, RecursionError):
        return None
    if not isinstance(root.f, dict) or root.f.keys() != {PLACEHOLDER}:
        return None
    return _parts(flags, root)


def _parts(flags: Mapping[str, bytes], root: _Root) -> ConfigJson:
    return ConfigJson(
        flags=flags,
        segments=tuple(bytes(raw) for raw in root.s or ()),
        preferences={key: decode_piece(bytes(raw)) for key, raw in (root.p or {}).items()},
    )


def _root(body: bytes) -> _Root:
    try:
        root = _ROOT.decode(body)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the config JSON has an unexpected shape: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the config JSON is not valid JSON{_place(body, str(error))}") from None
    if root.f is msgspec.UNSET and root.s is msgspec.UNSET and root.p is msgspec.UNSET:
        raise ConfigError("the config JSON has none of the members 'f', 's' and 'p'")
    # ConfigCat's schema requires 'p' and omits 'f' where there are no flags; null is never such a config.
    if root.f is None or (root.f is msgspec.UNSET and not isinstance(root.p, dict)):
        raise ConfigError("the config JSON has no flags: the member 'f' is null or missing; without flags it is {}")
    return root


def with_flag_in_steps(
    body: bytes, key: str, definition: bytes | None, part_bytes: int = PART_BYTES
) -> Generator[None, None, bytes]:
    """Return a generator that returns a config JSON with another definition of a flag, or without the flag for None.

    Other flags keep their bytes, so that loading it with the config as ``previous`` compiles this flag only.

    :raises msgspec.MsgspecError: from a step, if ``body`` is no config JSON
    :raises UnicodeError: from a step, if ``key`` cannot be encoded
    """
    root, flags = yield from _members_in_steps(body, part_bytes)
    if definition is None:
        flags.pop(key, None)
    else:
        flags[key] = definition
    parts = []
    for piece in pieces(flags.items(), CHEAP):
        parts.append(b",".join([b"%b:%b" % (msgspec.json.encode(name), raw) for name, raw in piece]))
        yield
    root["f"] = msgspec.Raw(b"{%b}" % b",".join(parts))
    return msgspec.json.encode(root)


def _members_in_steps(body: bytes, part_bytes: int) -> Generator[None, None, tuple[_Pieces, dict[str, bytes]]]:
    """Return the members of a config JSON, still encoded, and its flags, which replace the member ``f``."""
    if len(body) > part_bytes:
        try:
            flags, rest = yield from split_flags_in_steps(body, part_bytes)
            root = msgspec.json.decode(rest, type=_Pieces)
            if msgspec.json.decode(root["f"], type=_Pieces).keys() == {PLACEHOLDER}:
                return root, flags
        except (Unexpected, msgspec.MsgspecError):
            pass
    root = msgspec.json.decode(body, type=_Pieces)
    found: _Pieces = msgspec.json.decode(root["f"], type=_Pieces) if "f" in root else {}
    return root, {name: bytes(raw) for name, raw in found.items()}


def _place(body: bytes, error: str) -> str:
    """Return the line and column at which the parser stopped, as text; empty if unknown."""
    found = _BYTE.search(error)
    if found is None:
        return ": it ends too early" if error.startswith("Input data was truncated") else ""
    before = body[: int(found[1])]
    return f" at line {before.count(_NEWLINE) + 1}, column {len(before) - (before.rfind(_NEWLINE) + 1) + 1}"


def decode_piece(source: bytes) -> object:
    """Decode one piece into plain values; an integer that does not fit into 64 bits becomes a float.

    :raises ConfigError: if it is malformed or nested too deeply
    """
    try:
        value: object = msgspec.json.decode(source)
        # Only long pieces can be deep; hardly any real flag is long.
        if source.count(b"[") + source.count(b"{") > DEPTH_LIMIT or _LONG_NUMBER.search(source):
            value = _settled(value, DEPTH_LIMIT)
    except (ValueError, OverflowError, RecursionError):
        raise ConfigError("the config JSON has text or numbers that cannot be represented") from None
    return value


def _settled(value: object, levels: int) -> object:
    if levels < 0:
        raise ConfigError(f"the config JSON is nested more than {DEPTH_LIMIT} levels deep")
    if isinstance(value, dict):
        return {key: _settled(inner, levels - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_settled(inner, levels - 1) for inner in value]
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        return float(value)
    return value
