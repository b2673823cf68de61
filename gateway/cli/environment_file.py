"""Read a file of variables by the rules of systemd's ``EnvironmentFile=`` (systemd.exec(5))."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIZE_LIMIT = 1024 * 1024  # bytes; systemd's own limit is of this order, a key has about 60

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A quoted part, an escaped character, or plain text.
_PART = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\\'"]+)""", re.DOTALL)
# A line ends at a line feed that is neither quoted nor behind a backslash.
_LINE = re.compile(r"""(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\n\\'"])*""", re.DOTALL)


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
    while start < len(text):
        line = text[start : text.find("\n", start) if "\n" in text[start:] else len(text)]
        if not line.strip() or line.lstrip()[0] in "#;":
            start += len(line) + 1
            continue
        match = _LINE.match(text, start)
        assert match is not None
        number = text.count("\n", 0, start) + 1
        end = match.end()
        if end < len(text) and text[end] != "\n":
            raise EnvironmentFileError(f"line {number}: a quote is not closed")
        name, separator, value = match.group().partition("=")
        if not separator or not _NAME.fullmatch(name.strip()):
            raise EnvironmentFileError(f"line {number}: not of the form NAME=value")
        found[name.strip()] = _value(value.strip())
        start = end + 1
    return found


def _value(text: str) -> str:
    parts = []
    for single, double, escaped, plain in _PART.findall(text):
        if double:
            # Inside double quotes a backslash escapes only these characters and the end of the line.
            parts.append(re.sub(r'\\(["\\$`])|\\\n', lambda match: match[1] or "", double))
        else:
            parts.append(single or plain or ("" if escaped == "\n" else escaped))
    return "".join(parts)
