"""Log events as lines: text in the format of ConfigCat Proxy, or one JSON object each.

    Logger ──► event ──► component and level ──► render ──► redact, escape ──► LogWriter ──► standard output

All levels go to one stream, as systemd and container runtimes expect, so that lines stay in order.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import time  # noqa: TID251 - Twisted sets the time of every other event in the same way
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from twisted.logger import ILogObserver, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.telemetry.log_levels import component, level_of
from gateway.text import iso, printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.logger import LogEvent

    from gateway.telemetry.log_levels import LogLevels

MESSAGE_LIMIT = 8 * 1024  # characters of one message or traceback; journald cuts a line at 48 KiB
FIELD_LIMIT = 1024  # characters of one event field in JSON
FIELD_COUNT = 32  # event fields in JSON; our own events have under ten
SCAN_LIMIT = 64 * 1024  # characters that are searched for secrets; the rest is cut first
CUT = "...[cut]"

_TAGS = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "error",
}
_WORDS = {**_TAGS, LogLevel.warn: "warn"}
# Keys that twisted.logger and the older twisted.python.log add to events.
_INTERNAL = frozenset({"format", "message", "time", "system", "isError", "failure", "why", "printed", "report"})
_OWN = frozenset({"time", "level", "component", "message", "failure"})


Form = Literal["text", "json"]


def log_observer(form: Form, levels: LogLevels, write: Callable[[str], None], worker: int = 0) -> ILogObserver:
    """Return the observer for the application; it never raises, and calls ``write`` with whole lines, without feeds.

    ``worker`` is the number of this worker process, which JSON lines contain; 0 in the leading process.
    An event with ``report=True`` is written at any level, without a tag, as ConfigCat Proxy does at start and stop.
    ``levels`` may be changed by a reload.
    """
    return LineObserver(_renderer(form), levels, write, _fields(worker))


def dropped_line(form: Form, count: int, worker: int = 0) -> str:
    """Return the line that stands for ``count`` lines that were dropped."""
    event = {
        "log_time": time(),
        "log_format": "{dropped} log lines were dropped here: the reader of the log, or its disk, was too slow",
        "dropped": count,
    }
    return str(_renderer(form)({**event, **_fields(worker)}, "gateway", LogLevel.warn))


@implementer(ILogObserver)
class LineObserver:
    """Writes the events that ``levels`` allows."""

    def __init__(self, render: Any, levels: LogLevels, write: Callable[[str], None], fields: dict[str, int]) -> None:
        self._render = render
        self._levels = levels
        self._write = write
        self._fields = fields

    def __call__(self, event: LogEvent) -> None:
        """Write one event, or the name of the error if it cannot be rendered."""
        try:
            name = component(event)
            level = level_of(event)
            if not event.get("report") and not self._levels.allows(name, level):
                return
            line = self._render({**event, **self._fields} if self._fields else event, name, level)
        except Exception as error:  # noqa: BLE001 - a log call must never break its caller
            line = f"a log event could not be rendered: {type(error).__name__}"
        self._write(line)


def _renderer(form: Form) -> Callable[[LogEvent, str, Any], str]:
    return _text if form == "text" else _json


def _fields(worker: int) -> dict[str, int]:
    return {"worker": worker} if worker else {}


def _text(event: LogEvent, name: str, level: Any) -> str:
    """Return ``YYYY/MM/DD HH:MM:SS [level] <component> message`` in UTC, a traceback indented below it."""
    tag = "" if event.get("report") else f"[{_TAGS[level]}] "
    head = f"{_moment(event):%Y/%m/%d %H:%M:%S} {tag}<{printable(redact(name))}> {printable(_message(event))}"
    # Indented, so that the text of an exception cannot look like another log line.
    trace = _traceback(event)
    return "\n".join([head, *(f"    {printable(line)}" for line in trace.splitlines())])


def _json(event: LogEvent, name: str, level: Any) -> str:
    """Return one JSON object: time, level, component, message, the fields of the event, the traceback of a failure."""
    line: dict[str, object] = {
        "time": iso(event.get("log_time") or 0.0),
        "level": _WORDS[level],
        "component": _encodable(redact(name)),
        "message": _encodable(_message(event)),
    }
    own = [key for key in event if not key.startswith("log_") and key not in _INTERNAL]
    for key in own[:FIELD_COUNT]:
        shown = _encodable(_limited(key, FIELD_LIMIT))
        line[f"{shown}_" if shown in _OWN else shown] = _field(event[key])
    trace = _traceback(event)
    if trace:
        line["failure"] = _encodable(trace)
    return msgspec.json.encode(line).decode()


def _moment(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time") or 0.0, UTC)


def _message(event: LogEvent) -> str:
    return _limited(formatEvent(event), MESSAGE_LIMIT)


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return _limited(failure.getTraceback().rstrip(), MESSAGE_LIMIT) if isinstance(failure, Failure) else ""


def _field(value: object) -> object:
    """Return a value that JSON has, or its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return _encodable(_limited(value if isinstance(value, str) else repr(value), FIELD_LIMIT))


def _limited(text: str, limit: int) -> str:
    """Redact, then cut: half a key would not be recognised as one."""
    text = redact(text[:SCAN_LIMIT])
    return text if len(text) <= limit else text[:limit] + CUT


def _encodable(text: str) -> str:
    """Return ``text`` without lone surrogates, which have no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
