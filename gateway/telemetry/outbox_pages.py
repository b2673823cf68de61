"""The pages of the diagnostics port about deliveries and changes.

    GET /deliveries · GET /deliveries/{id} · POST /deliveries/{id}/retry · GET /changes ──► DeliveryAdmin ──► JSON

They show receivers and flags, so they are for operators only.
"""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, get_args
from urllib.parse import parse_qsl

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from gateway.logger import component_logger
from gateway.storage import MessageState

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.server import Request

_log = component_logger("diag")

Answer = tuple[int, bytes]  # status, JSON

STATES: Final = get_args(MessageState)
PATHS: Final = ("/changes", "/deliveries")
LIMIT: Final = 100  # entries of an answer by default
MOST: Final = 1000  # entries of one answer
TEXT_LIMIT: Final = 256  # characters of a parameter's value; names are shorter
FIELDS: Final = 10  # parameters of a query; the pages have at most five
_ONE = re.compile(r"/deliveries/([\w.-]{1,100})(/retry)?", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_NUMBER = re.compile(r"[0-9]{1,18}")  # below 2**63, the limit of SQLite's row numbers
_BLANK_SIGN = re.compile(r" (\d\d:?\d\d)$")  # "+" in a query is decoded to a blank, and is rarely written as %2B

NO_OUTBOX: Final = "no outbox is open: the settings have neither webhooks nor an exporter that needs one"
ELSEWHERE: Final = "set diag.auth_headers to read deliveries, changes and held configs from other machines"


class DeliveryAdmin(Protocol):
    """Access to an open outbox; every Deferred may fail with ``sqlite3.Error``."""

    def deliveries(
        self, *, endpoint: str | None, state: MessageState | None, since: float, before: int | None, limit: int
    ) -> Deferred[bytes]:
        """Return a page of the list as JSON, the newest first."""

    def delivery(self, message_id: str, *, whole: bool) -> Deferred[bytes | None]:
        """Return a message as JSON, with its body if ``whole``; None for an unknown id."""

    def changes(self, *, sdk_id: str | None, since: float, before: int | None, limit: int) -> Deferred[bytes]:
        """Return a page of the list as JSON, the newest first."""

    def retry(self, message_id: str) -> Deferred[tuple[int, tuple[str, ...]] | None]:
        """Make deliveries due; return their number, and why others of that id are not due; None for an unknown id."""


class RequestError(Exception):
    """The request is answered with the status ``code`` and the text of the error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class OutboxPages:
    """Answers requests to these pages; ``admin`` returns None while no outbox is open."""

    def __init__(self, admin: Callable[[], DeliveryAdmin | None]) -> None:
        self._admin = admin

    @property
    def open(self) -> bool:
        """Whether an outbox is open."""
        return self._admin() is not None

    def answer(self, request: Request, authorized: bool | None) -> Deferred[Answer] | None:  # noqa: FBT001 - three states
        """Return a Deferred that never fails, or None for the path of another page.

        ``authorized`` is None if the settings have no auth headers: then only requests from this machine are answered,
        without the bodies of messages.
        """
        path = request.path.decode("ascii", "replace")
        one = _ONE.fullmatch(path)
        if path not in PATHS and one is None:
            return None
        refused = refusal(request, authorized, b"POST" if one is not None and one[2] else b"GET")
        if refused is not None:
            return succeed(refused)
        answered = maybeDeferred(self._answer, path, one, request.uri.partition(b"?")[2], bool(authorized))
        return answered.addErrback(_error_answer)

    def _answer(
        self,
        path: str,
        one: re.Match[str] | None,
        query: bytes,
        whole: bool,  # noqa: FBT001 - called by maybeDeferred
    ) -> Deferred[Answer]:
        admin = self._admin()
        if admin is None:
            raise RequestError(404, NO_OUTBOX)
        if one is not None:
            _parameters(query, ())
            return _retry(admin, one[1]) if one[2] else _show(admin, one[1], whole=whole)
        if path == "/changes":
            given = _parameters(query, ("sdk", "since", "before", "limit"))
            listed = admin.changes(sdk_id=given.get("sdk"), **_window(given))
        else:
            given = _parameters(query, ("endpoint", "state", "since", "before", "limit"))
            listed = admin.deliveries(endpoint=given.get("endpoint"), state=_state(given), **_window(given))
        return listed.addCallback(lambda body: (200, body))


def _show(admin: DeliveryAdmin, message_id: str, *, whole: bool) -> Deferred[Answer]:
    def shown(body: bytes | None) -> Answer:
        return (200, body) if body is not None else (404, error_body(_unknown(message_id)))

    return admin.delivery(message_id, whole=whole).addCallback(shown)


def _retry(admin: DeliveryAdmin, message_id: str) -> Deferred[Answer]:
    def retried(result: tuple[int, tuple[str, ...]] | None) -> Answer:
        if result is None:
            return 404, error_body(_unknown(message_id))
        count, refused = result
        if not count:
            return 409, error_body(f"not sent again: {'; '.join(refused)}")
        _log.info(
            "message {message_id} will be sent again, by a request to the diagnostics port", message_id=message_id
        )
        return 200, msgspec.json.encode({"count": count, "refused": refused})

    return admin.retry(message_id).addCallback(retried)


def _unknown(message_id: str) -> str:
    return f"the outbox holds no message {message_id}"


def _parameters(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError:
        raise RequestError(
            400, f"the query cannot be read: UTF-8, percent-encoded, at most {FIELDS} parameters"
        ) from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise RequestError(400, f"unknown parameter '{name[:TEXT_LIMIT]}'; known: {', '.join(known) or 'none'}")
        if name in given:
            raise RequestError(400, f"the parameter '{name}' is given twice")
        if len(value) > TEXT_LIMIT:
            raise RequestError(400, f"the parameter '{name}' has more than {TEXT_LIMIT} characters")
        given[name] = value
    # Parameters without a value, as forms and scripts may send them, have no effect.
    return {name: value for name, value in given.items() if value}


def _state(given: dict[str, str]) -> MessageState | None:
    state = given.get("state")
    if state is not None and state not in STATES:
        raise RequestError(400, f"state '{state}' is not one of: {', '.join(STATES)}")
    return cast("MessageState | None", state)


def _window(given: dict[str, str]) -> dict[str, Any]:
    before = given.get("before")
    if before is not None and not _NUMBER.fullmatch(before):
        raise RequestError(400, "before is not a number that was given as next")
    limit = given.get("limit", str(LIMIT))
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MOST:
        raise RequestError(400, f"limit is not a number from 1 to {MOST}")
    since = 0.0 if "since" not in given else _moment(given["since"])
    return {"since": since, "before": None if before is None else int(before), "limit": int(limit)}


def _moment(text: str) -> float:
    """Return seconds since 1970 from such a number or from a date in ISO 8601, UTC by default."""
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(_BLANK_SIGN.sub(r"+\1", text))
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise RequestError(400, "since is neither a date such as 2026-05-01T12:00:00Z nor seconds since 1970") from None


def refusal(request: Request, authorized: bool | None, method: bytes) -> Answer | None:  # noqa: FBT001 - three states
    """Return the answer to a request that is not allowed, or has another method; None for one that may be answered."""
    if authorized is False:
        return 401, error_body("the headers of diag.auth_headers are needed")
    if authorized is None and not on_this_machine(request):
        return 403, error_body(ELSEWHERE)
    if request.method == method or (method == b"GET" and request.method == b"HEAD"):
        return None
    request.responseHeaders.setRawHeaders(b"Allow", [b"GET, HEAD" if method == b"GET" else method])
    return 405, error_body(f"{request.path.decode('ascii', 'replace')} is for {method.decode()}")


def on_this_machine(request: Request) -> bool:
    """Return whether the request is from this machine, and not from a web page in a browser on it.

    Such a page may use any name that resolves to this machine, but the browser sends its origin in ``Origin``.
    """
    address = request.getClientAddress()
    host, origin = (
        (request.requestHeaders.getRawHeaders(name) or [b""])[0].decode("latin-1") for name in (b"host", b"origin")
    )
    local = _is_loopback(getattr(address, "host", "")) and _names_this_machine(host)
    return local and (not origin or _names_this_machine(origin.partition("://")[2]))


def _names_this_machine(host: str) -> bool:
    """Return whether a host, with or without its port, names this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def error_body(text: str) -> bytes:
    """Return an error as JSON."""
    return msgspec.json.encode({"error": text})


def _error_answer(failure: Any) -> Answer:
    if failure.check(RequestError):
        return failure.value.code, error_body(str(failure.value))
    if failure.check(sqlite3.Error):
        return 503, error_body(f"the outbox cannot be read: {failure.getErrorMessage()}")
    _log.failure("answering a request about the outbox failed", failure=failure)
    return 500, error_body("internal error; the log has the details")
