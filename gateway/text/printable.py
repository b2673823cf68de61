"""Text that cannot forge a line of a log or disturb a terminal."""

import re

# C0, DEL, C1, line and paragraph separators, the marks that reverse the direction of text, and lone surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return ``text`` as one line of UTF-8: control characters become ``\n``, ``\x1b`` and so on."""
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def replace_unprintable(text: str) -> str:
    """Return ``text`` with a ``?`` for each character that ``str.isprintable`` refuses, invisible ones included."""
    return "".join(character if character.isprintable() else "?" for character in text)
