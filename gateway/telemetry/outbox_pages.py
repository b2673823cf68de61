"""The pages of the diagnostics port about deliveries and changes.

    GET /deliveries · GET /deliveries/{id} · POST /deliveries/{id}/retry · GET /changes ──► DeliveryAdmin ──► JSON

They show receivers and flags, so they are for operators only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, get_args

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from gateway.logger import component_logger
from gateway.storage import STORE_ERRORS, MessageState
from gateway.telemetry.caller import OPERATE
from gateway.telemetry.operator_access import (
    Answer,
    RequestError,
    error_body,
    read_moment,
    read_parameters,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.server import Request

    from gateway.telemetry.caller import Caller

_log = component_logger("diag")

STATES: Final = get_args(MessageState)
PATHS: Final = ("/changes", "/deliveries")
LIMIT: Final = 100  # entries of an answer by default
MOST: Final = 1000  # entries of one answer
_ONE = re.compile(r"/deliveries/([\w.-]{1,100})(/retry)?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}")  # below 2**63, the limit of SQLite's row numbers

NO_OUTBOX: Final = "no outbox is open: the settings have neither webhooks nor an exporter that needs one"


class DeliveryAdmin(Protocol):
    """Access to an open outbox; every Deferred may fail with one of ``STORE_ERRORS``."""

    def deliveries(
        self, *, endpoint: str | None, state: MessageState | None, since: float, before: int | None, limit: int
    ) -> Deferred[bytes]:
        """Return a page of the list as JSON, the newest first."""

    def delivery(self, message_id: str, *, whole: bool) -> Deferred[bytes | None]:
        """Return a message as JSON, with its body if ``whole``; None for an unknown id."""

    def changes(self, *, sdk_id: str | None, since: float, before: int | None, limit: int) -> Deferred[bytes]:
        """Return a page of the list as JSON, the newest first."""

    def deliveries_of_change(self, number: int) -> Deferred[bytes]:
        """Return the deliveries about a change per endpoint, as a JSON list."""

    def retry(self, message_id: str) -> Deferred[tuple[int, tuple[str, ...]] | None]:
        """Make deliveries due; return their number, and why others of that id are not due; None for an unknown id."""

    def test(self, endpoint: str) -> Deferred[bool]:
        """Have a test message sent to an endpoint; False for an unknown one."""


class OutboxPages:
    """Answers requests to these pages; ``admin`` returns None while no outbox is open."""

    def __init__(self, admin: Callable[[], DeliveryAdmin | None]) -> None:
        self._admin = admin

    @property
    def open(self) -> bool:
        """Whether an outbox is open."""
        return self._admin() is not None

    def of_change(self, number: int) -> Deferred[bytes | None]:
        """Return the deliveries about a change per endpoint as a JSON list; None if they cannot be read.  Never fails.

        Its failures are problems of the outbox, which the status page shows.
        """
        admin = self._admin()
        if admin is None:
            return succeed(None)
        return maybeDeferred(admin.deliveries_of_change, number).addErrback(_unreadable)

    def test(self, endpoint: str, caller: Caller) -> Deferred[Answer]:
        """Have a test message sent to an endpoint; the Deferred never fails."""
        return maybeDeferred(self._test, endpoint, caller).addErrback(_error_answer)

    def _test(self, endpoint: str, caller: Caller) -> Deferred[Answer]:
        admin = self._admin()
        if admin is None:
            raise RequestError(404, NO_OUTBOX)

        def requested(known: bool) -> Answer:  # noqa: FBT001 - called by the Deferred
            if not known:
                return 404, error_body(f"the settings have no webhook {endpoint[:100]!r}")
            _log.info("a test is sent to endpoint {endpoint}, by {by}", endpoint=endpoint, by=caller.described)
            return 200, msgspec.json.encode({"endpoint": endpoint})

        return admin.test(endpoint).addCallback(requested)

    def answer(self, request: Request, caller: Caller) -> Deferred[Answer] | None:
        """Return a Deferred that never fails, or None for the path of another page.

        A caller that is identified by its address alone is answered without the bodies of messages; a retry needs the
        role ``operate``.
        """
        path = request.path.decode("ascii", "replace")
        one = _ONE.fullmatch(path)
        if path not in PATHS and one is None:
            return None
        retry = one is not None and bool(one[2])
        refused = refusal(request, caller, b"POST", OPERATE) if retry else refusal(request, caller, b"GET")
        if refused is not None:
            return succeed(refused)
        return self.fetch(path, request.uri.partition(b"?")[2], caller)

    def fetch(self, path: str, query: bytes, caller: Caller) -> Deferred[Answer]:
        """Return the answer to a request that is allowed; it never fails."""
        one = _ONE.fullmatch(path)
        if path not in PATHS and one is None:
            return succeed((404, error_body("this is no id of a message")))
        return maybeDeferred(self._answer, path, one, query, caller).addErrback(_error_answer)

    def _answer(self, path: str, one: re.Match[str] | None, query: bytes, caller: Caller) -> Deferred[Answer]:
        admin = self._admin()
        if admin is None:
            raise RequestError(404, NO_OUTBOX)
        if one is not None:
            read_parameters(query, ())
            return _retry(admin, one[1], caller) if one[2] else _show(admin, one[1], whole=caller.proven)
        if path == "/changes":
            given = read_parameters(query, ("sdk", "since", "before", "limit"))
            listed = admin.changes(sdk_id=given.get("sdk"), **_window(given))
        else:
            given = read_parameters(query, ("endpoint", "state", "since", "before", "limit"))
            listed = admin.deliveries(endpoint=given.get("endpoint"), state=_state(given), **_window(given))
        return listed.addCallback(lambda body: (200, body))


def _show(admin: DeliveryAdmin, message_id: str, *, whole: bool) -> Deferred[Answer]:
    def shown(body: bytes | None) -> Answer:
        return (200, body) if body is not None else (404, error_body(_unknown(message_id)))

    return admin.delivery(message_id, whole=whole).addCallback(shown)


def _retry(admin: DeliveryAdmin, message_id: str, caller: Caller) -> Deferred[Answer]:
    def retried(result: tuple[int, tuple[str, ...]] | None) -> Answer:
        if result is None:
            return 404, error_body(_unknown(message_id))
        count, refused = result
        if not count:
            return 409, error_body(f"not sent again: {'; '.join(refused)}")
        _log.info("message {message_id} will be sent again, by {by}", message_id=message_id, by=caller.described)
        return 200, msgspec.json.encode({"count": count, "refused": refused})

    return admin.retry(message_id).addCallback(retried)


def _unknown(message_id: str) -> str:
    return f"the outbox holds no message {message_id}"


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
    since = 0.0 if "since" not in given else read_moment(given["since"])
    return {"since": since, "before": None if before is None else int(before), "limit": int(limit)}


def _unreadable(failure: Any) -> None:
    if not failure.check(*STORE_ERRORS):
        _log.failure("reading the deliveries about a change failed", failure=failure)


def _error_answer(failure: Any) -> Answer:
    if failure.check(RequestError):
        return failure.value.code, error_body(str(failure.value))
    if failure.check(*STORE_ERRORS):
        return 503, error_body(f"the outbox cannot be read: {failure.getErrorMessage()}")
    _log.failure("answering a request about the outbox failed", failure=failure)
    return 500, error_body("internal error; the log has the details")
