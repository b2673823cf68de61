"""Formats ``slack``, ``teams`` and ``discord``: one readable message per change.

Keys, values and notes may contain markup such as ``*`` or ``<!channel>``: each encoder escapes it, so that it neither
formats the message nor notifies users of the service.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gateway.webhooks.formats.summary import Span, summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.webhooks.formats.change import Change
    from gateway.webhooks.formats.summary import Line

T = TypeVar("T")

SLACK_LIMIT = 4000  # characters; Slack recommends that maximum, and truncates far longer texts
DISCORD_LIMIT = 2000  # UTF-16 units; Discord refuses longer content
TEAMS_LIMIT = 24 * 1024  # bytes of all encoded lines; Teams refuses messages of more than 28 KB
LAST_LINE = 120  # of the same units, reserved for the last line, "… and 12345 more"
_BACKTICK = "\u02cb"  # looks like the mark that ends code, but has no meaning
_INVISIBLE = "\u2060"  # word joiner: separates a mark from its text, so that it is no markup

_SLACK_MARKS = re.compile(r"([*_~`])")
_DISCORD_MARKS = re.compile(r"([\\*_~`|>#\-\[\]()<:@.+])")


def encode(service: str, change: Change) -> bytes:
    """Return the message about a change for ``slack``, ``teams`` or ``discord``."""
    return ENCODERS[service](summarize(change))


def slack(lines: Iterable[Line]) -> bytes:
    """Return a message for an incoming webhook of Slack."""
    text = "\n".join(_bounded(lines, _slack_line, SLACK_LIMIT, len))
    return msgspec.json.encode({"text": text, "unfurl_links": False, "unfurl_media": False})


def _slack_line(line: Line) -> str:
    return "".join(map(_slack_span, line))


def _slack_span(span: Span) -> str:
    text = span.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if span.style == "code":
        # Inside code only the closing mark has a meaning, and Slack has no escape for it.
        return f"`{text.replace('`', _BACKTICK)}`"
    text = _SLACK_MARKS.sub(rf"{_INVISIBLE}\1{_INVISIBLE}", text)
    return f"*{text}*" if span.style == "strong" else text


def discord(lines: Iterable[Line]) -> bytes:
    """Return a message for a webhook of Discord, without mentions."""
    content = "\n".join(_bounded(lines, _discord_line, DISCORD_LIMIT, _utf16_units))
    return msgspec.json.encode({"content": content, "allowed_mentions": {"parse": list[str]()}})


def _discord_line(line: Line) -> str:
    return "".join(map(_discord_span, line))


def _discord_span(span: Span) -> str:
    if span.style == "code":
        return f"`{span.text.replace('`', _BACKTICK)}`"
    if span.style == "plain":
        return span.text
    text = _DISCORD_MARKS.sub(r"\\\1", span.text)
    return f"**{text}**" if span.style == "strong" else text


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def teams(lines: Iterable[Line]) -> bytes:
    """Return a message for a workflow of Microsoft Teams: an adaptive card of text runs, which have no markup."""
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
    return {"type": "RichTextBlock", "inlines": [_text_run(span) for span in line]}


def _text_run(span: Span) -> dict[str, object]:
    run: dict[str, object] = {"type": "TextRun", "text": span.text}
    if span.style == "strong":
        run["weight"] = "Bolder"
    if span.style == "code":
        run["fontType"] = "Monospace"
    return run


def _bounded(lines: Iterable[Line], render: Callable[[Line], T], limit: int, size: Callable[[T], int]) -> list[T]:
    """Return the first rendered lines that fit; if some do not, a last line has their number.

    After the first line that does not fit, shorter ones are left out too: a message with gaps would mislead.
    """
    kept: list[T] = []
    room, missing = limit - LAST_LINE, 0
    for line in lines:
        rendered = render(line)
        room -= size(rendered) + 1
        if room < 0:
            missing += 1
        else:
            kept.append(rendered)
    if missing:
        kept.append(render((Span(f"… and {missing} more"),)))
    return kept


ENCODERS: dict[str, Callable[[Iterable[Line]], bytes]] = {"slack": slack, "teams": teams, "discord": discord}
