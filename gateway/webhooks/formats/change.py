"""A change of one SDK's config, as it is recorded and told: what was, what is, when, and by whom.

old Snapshot, new Snapshot, body of the inbound hook ──► Change ──► messages in each format
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import msgspec

if TYPE_CHECKING:
    from gateway.flags import ChangeSet, Snapshot

NAME_LIMIT = 256  # characters of an author; more is no name
NOTES_LIMIT = 4096  # characters of change notes; more is cut
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")
_NAMED_ADDRESS = re.compile(r"([^<>]*)<\s*([^\s<>@]+@[^\s<>@]+)\s*>")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # line breaks and control characters


@attrs.frozen
class Author:
    """Who made a change, as far as it is known; an empty text is not known."""

    email: str = ""
    first_name: str = ""
    last_name: str = ""

    @property
    def shown(self) -> str:
        """The author in one line; never empty for an author made by ``author_from``."""
        return " ".join(part for part in (self.first_name, self.last_name) if part) or self.email


@attrs.frozen
class Change:
    """One recorded transition of an SDK's config; everything that is told about it is a function of this value."""

    sdk_id: str
    old: Snapshot
    new: Snapshot
    changes: ChangeSet
    author: Author | None
    notes: str
    at: float  # Unix seconds
    round: int  # how often this outbox has recorded this very transition, this time included


class _Credit(msgspec.Struct):
    changedBy: object = None  # the sender's spelling
    changeNotes: object = None


_CREDIT = msgspec.json.Decoder(_Credit)


def read_credit(body: bytes) -> tuple[Author | None, str]:
    """Return the author and the notes that an inbound hook's body names: None and "" where it names none.

    Never raises, and never invents.
    Only for calls that were authenticated: anybody can write a name. Senders paste names into their JSON unescaped,
    so a body that cannot be read is nothing unusual: it names nobody.
    """
    try:
        credit = _CREDIT.decode(body)
    except (ValueError, RecursionError):
        return None, ""
    author = author_from(credit.changedBy) if isinstance(credit.changedBy, str) else None
    notes = credit.changeNotes if isinstance(credit.changeNotes, str) else ""
    return author, notes.strip()[:NOTES_LIMIT]


def author_from(text: str) -> Author | None:
    """Return the author whom a text names: a name, an address, or both as ``name <address>``; None when it is blank."""
    line = _UNSEEN.sub(" ", text).strip()[:NAME_LIMIT].strip()
    if not line:
        return None
    if _ADDRESS.fullmatch(line):
        return Author(email=line)
    both = _NAMED_ADDRESS.fullmatch(line)
    name, email = (both[1].strip(), both[2]) if both else (line, "")
    first, _, last = name.partition(" ")
    return Author(email=email, first_name=first, last_name=last.strip())
