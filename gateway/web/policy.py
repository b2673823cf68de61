"""What every route of a section shares: CORS, the operator's headers, auth. Built once from settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import field, frozen
from msgspec.structs import replace

from gateway.web.auth import Basic, HeaderAuth, caller, inside, networks
from gateway.web.cors import ORIGIN_LIMIT, Origins, exposed, preflight
from gateway.web.values import Reply, text

if TYPE_CHECKING:
    from gateway.settings import Api, CdnProxy, Cors, Http, Ofrep, Sse
    from gateway.web.auth import Network
    from gateway.web.values import Answered, Call, HeaderLines

UNAUTHORIZED = text(401, "Unauthorized")
FORBIDDEN = text(403, "Forbidden")
KNOWN_LIMIT = 64  # origins whose headers are remembered; when there are more, all are forgotten

# RFC 9110, 5.6.2: what is no token cannot be the name of a field.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FRAMING = frozenset({b"connection", b"content-length", b"date", b"transfer-encoding", b"upgrade"})
ANSWERS_OWN = frozenset(
    {
        b"cache-control",
        b"content-encoding",
        b"content-type",
        b"etag",
        b"vary",
        b"x-accel-buffering",
        b"x-content-type-options",
    }
)
"""Headers that answers set themselves; they win over an operator's header of the same name."""

ALLOW_ORIGIN = b"Access-Control-Allow-Origin"
VARY_ORIGIN = (b"Vary", b"Origin")


@frozen
class Policy:
    """The rules of one section; an empty one lets everything through and adds nothing."""

    cors: bool = False
    origins: Origins | None = None  # None: no origin is named, as CORS is off or the operator names one
    expose: HeaderLines = ()
    custom: HeaderLines = ()  # the operator's
    overlapping: bool = False  # whether one of those has the name of a header that answers set
    request_headers: tuple[str, ...] = ()  # that a preflight allows beyond the usual ones
    headers: HeaderAuth = field(factory=HeaderAuth)
    basic: Basic | None = None
    allowed: tuple[Network, ...] = ()
    trusted: tuple[Network, ...] = ()
    _common: dict[bytes, HeaderLines] = field(factory=dict, init=False, eq=False, repr=False)

    @property
    def authenticated(self) -> bool:
        """Whether a call that passed has shown a secret."""
        return bool(self.headers.required) or self.basic is not None

    def refusal(self, call: Call) -> Reply | None:
        """Return the answer to a call that may not pass, else None."""
        if self.allowed and not inside(caller(call, self.trusted), self.allowed):
            return FORBIDDEN
        if not self.headers.admits(call) or (self.basic is not None and not self.basic.admits(call)):
            return UNAUTHORIZED
        return None

    def common(self, call: Call) -> HeaderLines:
        """Return the headers that every answer to ``call`` in this section carries."""
        if self.origins is None:
            return self.custom
        origin = call.header(b"origin")
        known = self._common.get(origin)
        if known is None:
            known = self._allowing(self.origins, origin)
            if len(origin) <= ORIGIN_LIMIT:
                if len(self._common) >= KNOWN_LIMIT:
                    self._common.clear()
                self._common[origin] = known
        return known

    def _allowing(self, origins: Origins, origin: bytes) -> HeaderLines:
        allow = (ALLOW_ORIGIN, origins.allowed(origin))
        if origins.varies:
            return (allow, VARY_ORIGIN, *self.expose, *self.custom)
        return (allow, *self.expose, *self.custom)

    def preflight(self, method: str) -> HeaderLines:
        """Return what an ``OPTIONS`` answer carries beyond ``common``, for a route whose main method is ``method``."""
        if not self.cors:
            return ()
        overridden = {name for name, _ in self.custom}
        return tuple(line for line in preflight(method, self.request_headers) if line[0] not in overridden)

    def dress(self, reply: Answered, common: HeaderLines) -> Answered:
        """Return ``reply`` with the section's ``common`` headers in front of its own, which win over equal names."""
        if self.overlapping:
            own = {name for name, _ in reply.headers}
            common = tuple(line for line in common if line[0] not in own or line == VARY_ORIGIN)
        if not common:
            return reply
        return replace(reply, headers=common + reply.headers)


def for_api(section: Api, sdk_headers: tuple[str, ...]) -> Policy:
    """Return the rules of the evaluation API or OFREP; ``sdk_headers`` name an SDK and so may be sent by browsers."""
    asked = (*section.auth_headers, *sdk_headers)
    return _with_cors(section.cors, section.headers, asked, HeaderAuth.of(section.auth_headers))


def for_open(section: CdnProxy | Sse | Ofrep) -> Policy:
    """Return the rules of routes without authentication; OFREP's streams carry their authority in the path."""
    return _with_cors(section.cors, section.headers, (), HeaderAuth())


def for_webhook(http: Http) -> Policy:
    """Return the rules of the inbound webhook: networks, headers, Basic; no CORS and no headers of the operator's."""
    return Policy(
        headers=HeaderAuth.of(http.webhook.auth_headers),
        basic=Basic.of(http.webhook.auth),
        allowed=networks(http.webhook.allowed_networks),
        trusted=networks(http.trusted_proxies),
    )


def canonical(name: bytes) -> bytes:
    """Return a header name in the case it has on the wire: ``X-Sdk-Id``, ``Etag``."""
    return b"-".join(part.capitalize() for part in name.split(b"-"))


def _with_cors(cors: Cors, headers: dict[str, str], asked: tuple[str, ...], auth: HeaderAuth) -> Policy:
    custom = _lines(headers)
    names = {name for name, _ in custom}
    expose = (b"Access-Control-Expose-Headers", exposed(tuple(headers)))
    return Policy(
        cors=cors.enabled,
        origins=Origins.of(cors) if cors.enabled and ALLOW_ORIGIN not in names else None,
        expose=(expose,) if cors.enabled and expose[0] not in names else (),
        custom=custom,
        overlapping=not ANSWERS_OWN.isdisjoint(name.lower() for name in names),
        request_headers=asked,
        headers=auth,
    )


def _lines(headers: dict[str, str]) -> HeaderLines:
    """Return the operator's headers as lines; what would break the framing of an answer is left out."""
    return tuple(
        (canonical(name.encode()), " ".join(value.splitlines()).replace("\0", "").encode())
        for name, value in headers.items()
        if TOKEN.fullmatch(name) and name.lower().encode() not in FRAMING
    )
