"""Who sends a request to the diagnostics port, and what the sender may do.

    diag.auth_headers ─┐
    diag.users ────────┼──► Callers.identify ──► Caller ──► refusal (operator_access.py), routes
    this machine ──────┘

Without ``diag.auth_headers`` and ``diag.users`` only callers on the same machine may use the guarded pages.
"""

from __future__ import annotations

import binascii
import hmac
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from gateway.telemetry.caller import CHALLENGE, LOCAL, Caller, Denial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred
    from twisted.web.server import Request

    from gateway.settings import Diag
    from gateway.telemetry.logins import Logins

ELSEWHERE: Final = (
    "set diag.users or diag.auth_headers to read deliveries, changes and held configs from other machines"
)

WITH_HEADERS: Final = Caller("operate", proven=True)
_ELSEWHERE: Final = Caller(denial=Denial(403, ELSEWHERE))
_NO_HEADERS: Final = Caller(denial=Denial(401, "the headers of diag.auth_headers are needed"))
_NO_LOGIN: Final = Caller(denial=Denial(401, "log in as a user of diag.users", CHALLENGE))


class Callers:
    """Identifies callers by the settings of the diagnostics port."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._headers: Mapping[str, str] = {}
        self._given: tuple[object, ...] = ()

    @property
    def has_users(self) -> bool:
        """Whether a browser can log in."""
        return self._logins.has_users

    @property
    def protected(self) -> bool:
        """Whether there are users or headers, so that each guarded page needs them."""
        return bool(self._headers) or self.has_users

    def reconfigure(self, diag: Diag) -> bool:
        """Apply the settings, and return whether they differ; earlier logins are then forgotten."""
        given = (diag.auth_headers, diag.users, sorted(diag.operators))
        changed, self._given = given != self._given, given
        if changed:
            self._headers = dict(diag.auth_headers)
            self._logins.reconfigure(diag.users, diag.operators)
        return changed

    def identify(self, request: Request) -> Caller | Deferred[Caller]:
        """Return the caller, or a Deferred that never fails while a password is verified."""
        if self._headers and self._has_headers(request):
            return WITH_HEADERS
        if self.has_users:
            given = basic_credentials(header(request, b"authorization"))
            return _NO_LOGIN if given is None else self._logins.check(*given, client_network(request))
        if self._headers:
            return _NO_HEADERS
        return LOCAL if on_this_machine(request) else _ELSEWHERE

    def _has_headers(self, request: Request) -> bool:
        """Compare all headers, without stopping at the first difference."""
        right = True
        for name, value in self._headers.items():
            given = (request.requestHeaders.getRawHeaders(name.encode()) or [b""])[0]
            right &= hmac.compare_digest(given, value.encode())
        return right


def basic_credentials(field: str) -> tuple[str, str] | None:
    """Return name and password of an ``Authorization`` field; None if it has none (RFC 7617)."""
    scheme, _, encoded = field.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = binascii.a2b_base64(encoded.strip(" "), strict_mode=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


def on_this_machine(request: Request) -> bool:
    """Return whether the request is from this machine, and not from a web page in a browser on it.

    Such a page may use any name that resolves to this machine, but the browser sends its origin in ``Origin``.
    """
    address = request.getClientAddress()
    host, origin = header(request, b"host"), header(request, b"origin")
    local = _is_loopback(getattr(address, "host", "")) and _names_this_machine(host)
    return local and (not origin or _names_this_machine(origin.partition("://")[2]))


def client_network(request: Request) -> str:
    """Return the address of the caller; of an IPv6 address the part that one network shares."""
    host = str(getattr(request.getClientAddress(), "host", ""))
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    mapped = address.ipv4_mapped
    return str(IPv6Address(int(address) >> 64 << 64)) if mapped is None else str(mapped)


def header(request: Request, name: bytes) -> str:
    """Return the first header with this name; empty without one."""
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
