"""Formats ``slack``, ``teams`` and ``discord``: one readable message per change.

Names, values and notes come from people who may not know, or know too well, what the service makes of a ``*`` or a
``<!channel>``: each dress sees to it that none of it is taken for markup or calls anybody.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gateway.webhooks.formats.summary import Span, story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.webhooks.formats.change import Change
    from gateway.webhooks.formats.summary import Line

SLACK_LIMIT = 4000  # characters; Slack advises that many and cuts far beyond
DISCORD_LIMIT = 2000  # UTF-16 units; Discord refuses longer content
TEAMS_LIMIT = 24 * 1024  # bytes of all lines, encoded; Teams refuses messages of more than 28 KB
MORE_ROOM = 120  # of the same units; kept for the last line, "… and 12345 more"
_TICK = "\u02cb"  # looks like the mark that ends code, and is none

T = TypeVar("T")
_INVISIBLE = "\u2060"  # word joiner: keeps a mark from being markup, and shows nothing

_SLACK_MARKS = re.compile(r"([*_~`])")
_DISCORD_MARKS = re.compile(r"([\\*_~`|>#\-\[\]()<:@.+])")


def slack(lines: Iterable[Line]) -> bytes:
    """Return a message for an incoming web hook of Slack."""
    text = "\n".join(_bounded(lines, _slack_line, SLACK_LIMIT, len))
    return msgspec.json.encode({"text": text, "unfurl_links": False, "unfurl_media": False})


def _slack_line(line: Line) -> str:
    return "".join(map(_slack_span, line))


def _slack_span(span: Span) -> str:
    text = span.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if span.style == "code":
        # Inside code only the closing mark has a meaning, and Slack has no way to escape it.
        return f"`{text.replace('`', _TICK)}`"
    text = _SLACK_MARKS.sub(rf"{_INVISIBLE}\1{_INVISIBLE}", text)
    return f"*{text}*" if span.style == "strong" else text


def discord(lines: Iterable[Line]) -> bytes:
    """Return a message for a web hook of Discord; it mentions nobody, whatever it says."""
    content = "\n".join(_bounded(lines, _discord_line, DISCORD_LIMIT, _units))
    return msgspec.json.encode({"content": content, "allowed_mentions": {"parse": list[str]()}})


def _discord_line(line: Line) -> str:
    return "".join(map(_discord_span, line))


def _discord_span(span: Span) -> str:
    if span.style == "code":
        return f"`{span.text.replace('`', _TICK)}`"
    if span.style == "plain":
        return span.text
    text = _DISCORD_MARKS.sub(r"\\\1", span.text)
    return f"**{text}**" if span.style == "strong" else text


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def teams(lines: Iterable[Line]) -> bytes:
    """Return a message for a workflow of Microsoft Teams: an adaptive card of text runs, which know no markup."""
    body = _bounded(lines, _teams_line, TEAMS_LIMIT, lambda block: len(msgspec.json.encode(block)))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return msgspec.json.encode({"type": "message", "attachments": [attachment]})


def _teams_line(line: Line) -> dict[str, object]:
    return {"type": "RichTextBlock", "inlines": [_run(span) for span in line]}


def _run(span: Span) -> dict[str, object]:
    run: dict[str, object] = {"type": "TextRun", "text": span.text}
    if span.style == "strong":
        run["weight"] = "Bolder"
    if span.style == "code":
        run["fontType"] = "Monospace"
    return run


def _bounded(lines: Iterable[Line], dress: Callable[[Line], T], limit: int, size: Callable[[T], int]) -> list[T]:
    """Return the first lines, dressed, that fit; when some do not, a last one says how many are missing.

    From the first that does not fit on, all are missing, short ones too: a message with gaps would mislead.
    """
    kept: list[T] = []
    room, missing = limit - MORE_ROOM, 0
    for line in lines:
        dressed = dress(line)
        room -= size(dressed) + 1
        if room < 0:
            missing += 1
        else:
            kept.append(dressed)
    if missing:
        kept.append(dress((Span(f"… and {missing} more"),)))
    return kept


DRESSES: dict[str, Callable[[Iterable[Line]], bytes]] = {"slack": slack, "teams": teams, "discord": discord}


def encode(style: str, change: Change) -> bytes:
    """Return the message about a change for the service ``style``."""
    return DRESSES[style](story(change))
