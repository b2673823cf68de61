"""Read a file of variables by the rules of systemd's ``EnvironmentFile=`` (systemd.exec(5))."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT = 1024 * 1024  # bytes; systemd's own limit is of this order, a key has about 60

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK_OR_COMMENT = re.compile(r"(?:\s|[#;][^\r\n]*)*")
_ASSIGNED = re.compile(r"([^=\r\n]*)(=?)")
# Quotes count at the beginning of a value only: in NAME={"a": "b"} they are part of it.
_QUOTED = re.compile(r"""[ \t]*(?:'([^']*)'|"((?:[^"\\]|\\.)*)")""", re.DOTALL)
_PLAIN = re.compile(r"[ \t]*((?:[^\r\n\\]|\\.)*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)|[ \t]+\Z", re.DOTALL)  # white space at the end counts only if it is escaped
_ESCAPED_IN_QUOTES = re.compile(r'\\(["\\$`\n])')  # a backslash before another character stays


class EnvironmentFileError(ValueError):
    """A line of the file is faulty; the text names the line and no value."""


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables that the file sets; of several lines with one name the last counts.

    :raises OSError: if the file cannot be read.
    :raises EnvironmentFileError: if it is too large, no UTF-8, or has a line that systemd would not accept.
    """
    with path.open("rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise EnvironmentFileError(f"larger than {SIZE_LIMIT} bytes")
    try:
        return parse_environment(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise EnvironmentFileError("not UTF-8") from None


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables of ``text``.

    :raises EnvironmentFileError: see ``read_environment``.
    """
    found: dict[str, str] = {}
    start = 0
    while (start := _end(_BLANK_OR_COMMENT, text, start)) < len(text):
        number = text.count("\n", 0, start) + 1
        assigned = _ASSIGNED.match(text, start)
        assert assigned is not None
        name = assigned[1].strip()
        if not assigned[2] or not _NAME.fullmatch(name):
            raise EnvironmentFileError(f"line {number}: not of the form NAME=value")
        parts = []
        start = assigned.end()
        while quoted := _QUOTED.match(text, start):
            single, double = quoted.groups()
            parts.append(_ESCAPED_IN_QUOTES.sub(_unescaped, double) if single is None else single)
            start = quoted.end()
        plain = _PLAIN.match(text, start)
        assert plain is not None
        if plain[1].startswith(("'", '"')):
            raise EnvironmentFileError(f"line {number}: a quote is not closed")
        found[name] = "".join(parts) + _ESCAPED.sub(_unescaped, plain[1])
        start = plain.end()
    return found


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _unescaped(match: re.Match[str]) -> str:
    """Return the character behind the backslash; an escaped end of the line is left out."""
    return "" if match[1] in {None, "\n"} else match[1]
