"""Who may use the pages for operators, how their queries are read, and the form of their errors.

Requests with ``diag.auth_headers``, or from this machine if there are none; a page of another site is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import msgspec

if TYPE_CHECKING:
    from twisted.web.server import Request

Answer = tuple[int, bytes]  # status, JSON

TEXT_LIMIT: Final = 256  # characters of a parameter's value; names are shorter
FIELDS: Final = 10  # parameters of a query; the pages have at most five
ELSEWHERE: Final = "set diag.auth_headers to read deliveries, changes and held configs from other machines"
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


def refusal(request: Request, authorized: bool | None, method: bytes) -> Answer | None:  # noqa: FBT001 - three states
    """Return the answer to a request that is not allowed, or has another method; None for one that may be answered."""
    if authorized is False:
        return 401, error_body("the headers of diag.auth_headers are needed")
    if authorized is None and not on_this_machine(request):
        return 403, error_body(ELSEWHERE)
    if method == b"POST" and _is_cross_site(request):
        return 403, error_body(OTHER_SITE)
    if request.method == method or (method == b"GET" and request.method == b"HEAD"):
        return None
    request.responseHeaders.setRawHeaders(b"Allow", [b"GET, HEAD" if method == b"GET" else method])
    return 405, error_body(f"{request.path.decode('ascii', 'replace')} is for {method.decode()}")


def _is_cross_site(request: Request) -> bool:
    """Return whether a page of another site has made a browser send the request, with the browser's credentials.

    Browsers send ``Sec-Fetch-Site`` to trustworthy origins, and ``Origin`` with each POST; other clients send neither.
    The first is decisive, since a proxy in front may change ``Host``.
    """
    site = _header(request, b"sec-fetch-site")
    if site:
        return site not in SAME_SITE
    origin = _header(request, b"origin")
    return bool(origin) and origin.partition("://")[2].lower() != _header(request, b"host").lower()


def on_this_machine(request: Request) -> bool:
    """Return whether the request is from this machine, and not from a web page in a browser on it.

    Such a page may use any name that resolves to this machine, but the browser sends its origin in ``Origin``.
    """
    address = request.getClientAddress()
    host, origin = _header(request, b"host"), _header(request, b"origin")
    local = _is_loopback(getattr(address, "host", "")) and _names_this_machine(host)
    return local and (not origin or _names_this_machine(origin.partition("://")[2]))


def _header(request: Request, name: bytes) -> str:
    return (request.requestHeaders.getRawHeaders(name) or [b""])[0].decode("latin-1")


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
