"""The pages of the diagnostics port about deliveries and changes.

    GET /deliveries · GET /deliveries/{id} · POST /deliveries/{id}/retry · GET /changes ──► Desk ──► JSON

They say whom the gateway serves and what its flags are, so they are for operators only.
"""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, get_args
from urllib.parse import parse_qsl

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred

from gateway.logger import component_logger
from gateway.storage import MessageState

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.server import Request

_log = component_logger("diag")

Answer = tuple[int, bytes]  # status, JSON

STATES: Final = get_args(MessageState)
PATHS: Final = ("/changes", "/deliveries")
LIMIT: Final = 100  # entries where the caller does not say
MOST: Final = 1000  # entries of one answer
TEXT_LIMIT: Final = 256  # characters of a parameter's value; names are shorter
FIELDS: Final = 10  # parameters; more are none of ours
_ONE = re.compile(r"/deliveries/([\w.-]{1,100})(/retry)?", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_NUMBER = re.compile(r"[0-9]{1,18}")  # below 2**63, which is as much as SQLite's row numbers have
_BLANK_SIGN = re.compile(r" (\d\d:?\d\d)$")  # a + in a query is a blank, and people do not write %2B

NO_OUTBOX: Final = "no outbox is open: the settings have no web hook, and nothing else that is recorded"
ELSEWHERE: Final = "set diag.auth_headers to look at deliveries and changes from other machines"


class Desk(Protocol):
    """Who answers about an open outbox; every Deferred errs with ``sqlite3.Error`` when there is no answer now."""

    def deliveries(
        self, *, endpoint: str | None, state: MessageState | None, since: float, before: int | None, limit: int
    ) -> Deferred[bytes]:
        """Return a part of the list as JSON, the newest first."""

    def delivery(self, message_id: str, *, whole: bool) -> Deferred[bytes | None]:
        """Return one message as JSON, None for an unknown id; without ``whole`` not what it says."""

    def changes(self, *, sdk_id: str | None, since: float, before: int | None, limit: int) -> Deferred[bytes]:
        """Return a part of the list as JSON, the newest first."""

    def retry(self, message_id: str) -> Deferred[tuple[int, tuple[str, ...]] | None]:
        """Make deliveries due; return how many, and why others with that id are not; None for an unknown id."""


class Refused(Exception):
    """The call cannot be answered; ``code`` is the status, the text says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class OutboxPages:
    """Answers calls of these pages; ``desk`` returns None while no outbox is open."""

    def __init__(self, desk: Callable[[], Desk | None]) -> None:
        self._desk = desk

    @property
    def open(self) -> bool:
        """Whether there is anything to see."""
        return self._desk() is not None

    def answer(self, request: Request, admitted: bool | None) -> Deferred[Answer] | None:  # noqa: FBT001
        """Return an answer that never errs, or None for a path that is none of ours.

        ``admitted`` tells whether the caller has shown the auth headers, None that there are none to show: then only
        this machine is answered, and not what messages say.
        """
        path = request.path.decode("ascii", "replace")
        one = _ONE.fullmatch(path)
        if path not in PATHS and one is None:
            return None
        if admitted is False:
            return _told(401, "the headers of diag.auth_headers are needed")
        if admitted is None and not on_this_machine(request):
            return _told(403, ELSEWHERE)
        allowed = b"POST" if one is not None and one[2] else b"GET"
        if request.method != allowed and not (allowed == b"GET" and request.method == b"HEAD"):
            request.responseHeaders.setRawHeaders(b"Allow", [allowed if allowed == b"POST" else b"GET, HEAD"])
            return _told(405, f"{path} is for {allowed.decode()}")
        answered = maybeDeferred(self._answer, path, one, request.uri.partition(b"?")[2], bool(admitted))
        return answered.addErrback(_unable)

    def _answer(self, path: str, one: re.Match[str] | None, query: bytes, whole: bool) -> Deferred[Answer]:  # noqa: FBT001
        desk = self._desk()
        if desk is None:
            raise Refused(404, NO_OUTBOX)
        if one is not None:
            _parameters(query, ())
            return _retry(desk, one[1]) if one[2] else _show(desk, one[1], whole=whole)
        if path == "/changes":
            asked = _parameters(query, ("sdk", "since", "before", "limit"))
            listed = desk.changes(sdk_id=asked.get("sdk"), **_window(asked))
        else:
            asked = _parameters(query, ("endpoint", "state", "since", "before", "limit"))
            listed = desk.deliveries(endpoint=asked.get("endpoint"), state=_state(asked), **_window(asked))
        return listed.addCallback(lambda body: (200, body))


def _show(desk: Desk, message_id: str, *, whole: bool) -> Deferred[Answer]:
    def shown(body: bytes | None) -> Answer:
        return (200, body) if body is not None else (404, _error(_unknown(message_id)))

    return desk.delivery(message_id, whole=whole).addCallback(shown)


def _retry(desk: Desk, message_id: str) -> Deferred[Answer]:
    def retried(result: tuple[int, tuple[str, ...]] | None) -> Answer:
        if result is None:
            return 404, _error(_unknown(message_id))
        count, refused = result
        if not count:
            return 409, _error(f"not sent again: {'; '.join(refused)}")
        _log.info("message {message} is made due by a call of the diagnostics port", message=message_id)
        return 200, msgspec.json.encode({"count": count, "refused": refused})

    return desk.retry(message_id).addCallback(retried)


def _unknown(message_id: str) -> str:
    return f"the outbox holds no message {message_id}"


def _parameters(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError:
        raise Refused(400, f"the query cannot be read: UTF-8, percent-encoded, at most {FIELDS} parameters") from None
    asked: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise Refused(400, f"there is no parameter '{name[:TEXT_LIMIT]}'; there are: {', '.join(known) or 'none'}")
        if name in asked:
            raise Refused(400, f"the parameter '{name}' is given twice")
        if len(value) > TEXT_LIMIT:
            raise Refused(400, f"the parameter '{name}' has more than {TEXT_LIMIT} characters")
        asked[name] = value
    # What has no value narrows nothing, as a form or a script leaves it.
    return {name: value for name, value in asked.items() if value}


def _state(asked: dict[str, str]) -> MessageState | None:
    state = asked.get("state")
    if state is not None and state not in STATES:
        raise Refused(400, f"state '{state}' is not one of: {', '.join(STATES)}")
    return cast("MessageState | None", state)


def _window(asked: dict[str, str]) -> dict[str, Any]:
    before = asked.get("before")
    if before is not None and not _NUMBER.fullmatch(before):
        raise Refused(400, "before is not a number that was given as next")
    limit = asked.get("limit", str(LIMIT))
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MOST:
        raise Refused(400, f"limit is not a number from 1 to {MOST}")
    since = 0.0 if "since" not in asked else _moment(asked["since"])
    return {"since": since, "before": None if before is None else int(before), "limit": int(limit)}


def _moment(text: str) -> float:
    """Read seconds since 1970, or a date in ISO 8601, in UTC unless it says otherwise."""
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(_BLANK_SIGN.sub(r"+\1", text))
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(400, "since is neither a date such as 2026-05-01T12:00:00Z nor seconds since 1970") from None


def on_this_machine(request: Request) -> bool:
    """Whether the call comes from this machine, and not from somebody's page in a browser on it.

    Such a page may call any name that leads here, or this machine by its own name, but says in ``Origin`` whose it is.
    """
    address = request.getClientAddress()
    host, origin = (
        (request.requestHeaders.getRawHeaders(name) or [b""])[0].decode("latin-1") for name in (b"host", b"origin")
    )
    local = _is_loopback(getattr(address, "host", "")) and _is_ours(host)
    return local and (not origin or _is_ours(origin.partition("://")[2]))


def _is_ours(host: str) -> bool:
    """Whether a host, with or without its port, names this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _told(code: int, text: str) -> Deferred[Answer]:
    done: Deferred[Answer] = Deferred()
    done.callback((code, _error(text)))
    return done


def _error(text: str) -> bytes:
    return msgspec.json.encode({"error": text})


def _unable(failure: Any) -> Answer:
    if failure.check(Refused):
        return failure.value.code, _error(str(failure.value))
    if failure.check(sqlite3.Error):
        return 503, _error(f"the outbox gives no answer now: {failure.getErrorMessage()}")
    _log.failure("a page of the outbox could not be made", failure=failure)
    return 500, _error("the page could not be made; the log has the details")
