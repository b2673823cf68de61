"""Who may use the pages for operators, how their queries are read, and the form of their errors.

Who a caller is decides ``callers.py``; a page of another site is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import msgspec

from gateway.telemetry.caller import OPERATE
from gateway.telemetry.callers import header

if TYPE_CHECKING:
    from twisted.web.server import Request

    from gateway.telemetry.caller import Caller, Role

Answer = tuple[int, bytes]  # status, JSON

TEXT_LIMIT: Final = 256  # characters of a parameter's value; names are shorter
FIELDS: Final = 10  # parameters of a query; the pages have at most five
OTHER_SITE: Final = "the request comes from a page of another site"
SAME_SITE: Final = frozenset({"same-origin", "none"})  # of Sec-Fetch-Site: our own page, or the user
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_BLANK_SIGN = re.compile(r" (\d\d:?\d\d)$")  # "+" in a query is decoded to a blank, and is rarely written as %2B


class RequestError(Exception):
    """The request is answered with the status ``code`` and the text of the error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def read_parameters(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters of a query that have a value; ``known`` names those that it may have.

    :raises RequestError: with 400 for a query that cannot be read, and for unknown or repeated parameters
    """
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


def read_moment(text: str) -> float:
    """Return seconds since 1970 from such a number or from a date in ISO 8601, UTC by default.

    :raises RequestError: with 400 for any other text
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(_BLANK_SIGN.sub(r"+\1", text))
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise RequestError(400, "since is neither a date such as 2026-05-01T12:00:00Z nor seconds since 1970") from None


def refusal(request: Request, caller: Caller, method: bytes, role: Role = "view") -> Answer | None:
    """Return the answer to a request that is not allowed, or has another method; None for one that may be answered.

    ``role`` is what the caller needs for this page.
    """
    if caller.denial is not None:
        caller.denial.announce(request)
        return caller.denial.code, error_body(caller.denial.text)
    if method == b"POST" and _is_cross_site(request):
        return 403, error_body(OTHER_SITE)
    lacking = caller.lacks_operate if role == OPERATE else None
    if lacking is not None:
        return 403, error_body(lacking)
    if request.method == method or (method == b"GET" and request.method == b"HEAD"):
        return None
    request.responseHeaders.setRawHeaders(b"Allow", [b"GET, HEAD" if method == b"GET" else method])
    return 405, error_body(f"{request.path.decode('ascii', 'replace')} is for {method.decode()}")


def _is_cross_site(request: Request) -> bool:
    """Return whether a page of another site has made a browser send the request, with the browser's credentials.

    Browsers send ``Sec-Fetch-Site`` to trustworthy origins, and ``Origin`` with each POST; other clients send neither.
    The first is decisive, since a proxy in front may change ``Host``.
    """
    site = header(request, b"sec-fetch-site")
    if site:
        return site not in SAME_SITE
    origin = header(request, b"origin")
    return bool(origin) and origin.partition("://")[2].lower() != header(request, b"host").lower()


def error_body(text: str) -> bytes:
    """Return an error as JSON."""
    return msgspec.json.encode({"error": text})
