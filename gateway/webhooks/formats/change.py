"""A change of one SDK's config: the snapshots before and after, when it happened, and who made it.

old Snapshot, new Snapshot, body of the inbound hook ──► Change ──► messages in each format
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import msgspec

if TYPE_CHECKING:
    from gateway.flags import ConfigDiff, Snapshot

NAME_LIMIT = 256  # characters of an author
NOTES_LIMIT = 4096  # characters of change notes
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")
_NAMED_ADDRESS = re.compile(r"([^<>]*)<\s*([^\s<>@]+@[^\s<>@]+)\s*>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # line breaks included


@attrs.frozen
class Author:
    """Who made a change; an unknown part is empty."""

    email: str = ""
    first_name: str = ""
    last_name: str = ""

    @property
    def display_name(self) -> str:
        """The author in one line; never empty for an author made by ``parse_author``."""
        return " ".join(part for part in (self.first_name, self.last_name) if part) or self.email


@attrs.frozen
class Change:
    """One recorded transition of an SDK's config; all messages about it are functions of this value."""

    sdk_id: str
    old: Snapshot
    new: Snapshot
    changes: ConfigDiff
    author: Author | None
    notes: str
    at: float  # Unix seconds
    round: int  # how many times this outbox has recorded this transition, this time included


class _Attribution(msgspec.Struct):
    changedBy: object = None  # the sender's spelling
    changeNotes: object = None


_decode = msgspec.json.Decoder(_Attribution).decode


def parse_attribution(body: bytes) -> tuple[Author | None, str]:
    """Return the author and the notes in the body of an inbound hook; None and "" where they are missing.

    Never raises: senders paste names into their JSON unescaped, so invalid bodies are common.
    Only for authenticated calls, since the author is not verified.
    """
    try:
        found = _decode(body)
    except (ValueError, RecursionError):
        return None, ""
    author = parse_author(found.changedBy) if isinstance(found.changedBy, str) else None
    notes = found.changeNotes if isinstance(found.changeNotes, str) else ""
    return author, notes.strip()[:NOTES_LIMIT]


def attribution_body(author: Author | None, notes: str) -> str:
    """Return the body of a hook from which ``parse_attribution`` reads this; empty without both."""
    if author is None and not notes:
        return ""
    name = "" if author is None else " ".join(part for part in (author.first_name, author.last_name) if part)
    who = "" if author is None else f"{name} <{author.email}>" if name and author.email else name or author.email
    return msgspec.json.encode({"changedBy": who, "changeNotes": notes[:NOTES_LIMIT]}).decode()


def parse_author(text: str) -> Author | None:
    """Return the author from a name, an email address, or ``name <address>``; None when ``text`` is blank."""
    line = _CONTROL.sub(" ", text).strip()[:NAME_LIMIT].strip()
    if not line:
        return None
    if _ADDRESS.fullmatch(line):
        return Author(email=line)
    both = _NAMED_ADDRESS.fullmatch(line)
    name, email = (both[1].strip(), both[2]) if both else (line, "")
    first, _, last = name.partition(" ")
    return Author(email=email, first_name=first, last_name=last.strip())
