"""The statements of the outbox, which are in SQLite's SQL, in PostgreSQL's; pure."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HINT = re.compile(r" INDEXED BY \w+")
_LENGTH = re.compile(r"length\(CAST\((\w+) AS BLOB\)\)")
_PARAMETER = re.compile(r"\?")
STATEMENTS: Final = 500  # that are kept translated; the outbox has some fifty

# PostgreSQL's text takes no NUL, and the key of a flag may hold one.
_ESCAPE, _NUL, _SELF = "\x1a", "\x1a0", "\x1a1"


@lru_cache(maxsize=STATEMENTS)
def to_postgres(sql: str) -> str:
    """Return a statement with numbered parameters, and without SQLite's hints."""
    numbers = count(1)
    sql = _LENGTH.sub(r"octet_length(\1)", _HINT.sub("", sql))
    return _PARAMETER.sub(lambda _: f"${next(numbers)}", sql)


def escaped(parameters: Sequence[Any]) -> Sequence[Any]:
    """Return parameters that PostgreSQL takes; ``restored`` is the way back."""
    return [_escaped(each) if isinstance(each, str) else each for each in parameters]


def _escaped(text: str) -> str:
    return text.replace(_ESCAPE, _SELF).replace("\0", _NUL) if "\0" in text or _ESCAPE in text else text


def restored(text: str) -> str:
    """Return a text of the database as it was before ``escaped``."""
    return text.replace(_NUL, "\0").replace(_SELF, _ESCAPE) if _ESCAPE in text else text
