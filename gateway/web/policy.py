"""What all routes of a section share, built once from its settings: CORS, the operator's headers, authentication."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import field, frozen
from msgspec.structs import replace

from gateway.web.auth import BasicCredentials, HeaderAuth, client_address, is_in, parse_networks
from gateway.web.cors import (
    ALLOW_CREDENTIALS,
    LAST_EVENT_ID,
    ORIGIN_LIMIT,
    OriginRule,
    exposed_headers,
    preflight_headers,
)
from gateway.web.values import Reply, text

if TYPE_CHECKING:
    from gateway.settings import Api, CdnProxy, Cors, Http, Ofrep, Sse
    from gateway.web.auth import Network
    from gateway.web.values import AnyReply, Call, HeaderLines

UNAUTHORIZED = text(401, "Unauthorized")
FORBIDDEN = text(403, "Forbidden")
KNOWN_ORIGINS_LIMIT = 64  # origins whose headers are cached; when there are more, the cache starts again

# RFC 9110, 5.6.2: only a token can be the name of a field.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FRAMING = frozenset({b"connection", b"content-length", b"date", b"transfer-encoding", b"upgrade"})
# Headers that describe an answer's bytes; they win over an operator's header of the same name.
SET_BY_ANSWERS = frozenset(b"Content-Encoding Content-Type Etag X-Content-Type-Options".split())
# Headers that answers set for caches and proxies in between; an operator's header of the same name wins.
FOR_PROXIES = frozenset(b"Cache-Control X-Accel-Buffering".split())

AUTHORIZATION = "Authorization"  # of the user, where users are signed
CHALLENGE = "WWW-Authenticate"  # its value has the reason of a refusal
ALLOW_ORIGIN = b"Access-Control-Allow-Origin"
EXPOSE_HEADERS = b"Access-Control-Expose-Headers"
VARY_ORIGIN = (b"Vary", b"Origin")


@frozen
class Policy:
    """The rules of one section; an empty policy admits every call and adds no header."""

    cors: bool = False
    origins: OriginRule | None = None  # None: CORS is off, or the operator sets the header
    expose: HeaderLines = ()  # what scripts may read, and whether they may send credentials
    custom: HeaderLines = ()  # the operator's
    replaced: frozenset[bytes] = frozenset()  # names of answers' headers that the operator's replace
    overlapping: bool = False  # whether a custom header has the name of one that answers set
    request_headers: tuple[str, ...] = ()  # allowed by a preflight beyond the usual ones
    credentials: bool = False  # whether every reply allows credentials
    headers: HeaderAuth = field(factory=HeaderAuth)
    basic: BasicCredentials | None = None
    allowed: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    _common: dict[bytes, HeaderLines] = field(factory=dict, init=False, eq=False, repr=False)

    @property
    def authenticated(self) -> bool:
        """Whether an admitted call has shown a secret."""
        return bool(self.headers.required) or self.basic is not None

    def refusal(self, call: Call) -> Reply | None:
        """Return the reply to a call that is not admitted, None for one that is."""
        if self.allowed and not is_in(client_address(call, self.trusted_proxies), self.allowed):
            return FORBIDDEN
        if not self.headers.admits(call) or (self.basic is not None and not self.basic.admits(call)):
            return UNAUTHORIZED
        return None

    def common_headers(self, call: Call) -> HeaderLines:
        """Return the headers that every reply to ``call`` in this section carries."""
        if self.origins is None:
            return self.custom
        origin = call.header(b"origin")
        known = self._common.get(origin)
        if known is None:
            vary = (VARY_ORIGIN,) if self.origins.varies else ()
            known = ((ALLOW_ORIGIN, self.origins.allowed(origin)), *vary, *self.expose, *self.custom)
            if len(origin) <= ORIGIN_LIMIT:
                if len(self._common) >= KNOWN_ORIGINS_LIMIT:
                    self._common.clear()
                self._common[origin] = known
        return known

    def preflight(self, method: str) -> HeaderLines:
        """Return what an ``OPTIONS`` reply carries beyond the common headers; ``method`` is the route's main one."""
        if not self.cors:
            return ()
        overridden = {name for name, _ in self.custom}
        lines = preflight_headers(method, self.request_headers, credentials=self.credentials)
        return tuple(line for line in lines if line[0] not in overridden)

    def with_headers(self, reply: AnyReply, common: HeaderLines) -> AnyReply:
        """Return ``reply`` with the ``common`` headers in front of its own.

        Of equal names, the operator's header replaces ``FOR_PROXIES``, and the reply's own one wins over the others.
        """
        if self.overlapping:
            reply = replace(reply, headers=tuple(line for line in reply.headers if line[0] not in self.replaced))
            own = {name for name, _ in reply.headers if name in SET_BY_ANSWERS}
            common = tuple(line for line in common if line[0] not in own)
        return replace(reply, headers=common + reply.headers) if common else reply


def api_policy(section: Api, sdk_headers: tuple[str, ...]) -> Policy:
    """Return the policy of the evaluation API or OFREP; browsers may send ``sdk_headers``, which name an SDK."""
    allowed = (*section.auth_headers, *sdk_headers, *_token_header(section))
    return _with_cors(section.cors, section.headers, allowed, HeaderAuth.from_settings(section.auth_headers))


def public_policy(section: CdnProxy, key_headers: tuple[str, ...] = ()) -> Policy:
    """Return the policy of routes without authentication; ``key_headers`` hold the key of a caller, if it needs one."""
    return _with_cors(section.cors, section.headers, key_headers, HeaderAuth())


def stream_policy(section: Sse | Ofrep, key_headers: tuple[str, ...] = ()) -> Policy:
    """Return the policy of event streams, which have no authentication; the paths of OFREP streams hold a token."""
    return _with_cors(
        section.cors, section.headers, (LAST_EVENT_ID, *_token_header(section), *key_headers), HeaderAuth()
    )


def _token_header(section: Api | Sse) -> tuple[str, ...]:
    return (AUTHORIZATION,) if section.users == "signed" else ()


def script_policy(section: Sse) -> Policy:
    """Return the policy of the client for browsers: a page can import it before it has any secret."""
    return _with_cors(section.cors, section.headers, (), HeaderAuth())


def webhook_policy(http: Http) -> Policy:
    """Return the policy of the inbound webhook: networks, headers and Basic, without CORS and custom headers."""
    return Policy(
        headers=HeaderAuth.from_settings(http.webhook.auth_headers),
        basic=BasicCredentials.from_settings(http.webhook.auth),
        allowed=parse_networks(http.webhook.allowed_networks),
        trusted_proxies=parse_networks(http.trusted_proxies),
    )


def _with_cors(cors: Cors, headers: dict[str, str], request_headers: tuple[str, ...], auth: HeaderAuth) -> Policy:
    custom = _lines(headers)
    names = {name for name, _ in custom}
    exposed = (*headers, CHALLENGE) if AUTHORIZATION in request_headers else tuple(headers)
    lines: HeaderLines = ((EXPOSE_HEADERS, exposed_headers(exposed)),)
    if cors.allow_credentials:
        lines += ((ALLOW_CREDENTIALS, b"true"),)
    return Policy(
        cors=cors.enabled,
        origins=OriginRule.from_settings(cors) if cors.enabled and ALLOW_ORIGIN not in names else None,
        expose=tuple(line for line in lines if line[0] not in names) if cors.enabled else (),
        custom=custom,
        replaced=FOR_PROXIES & names,
        overlapping=not names.isdisjoint(SET_BY_ANSWERS | FOR_PROXIES),
        request_headers=(*request_headers, *cors.allowed_headers),
        credentials=cors.allow_credentials,
        headers=auth,
    )


def _lines(headers: dict[str, str]) -> HeaderLines:
    """Return the operator's headers in canonical case, without what would break the framing of a reply."""
    return tuple(
        (_canonical(name.encode()), " ".join(value.splitlines()).replace("\0", "").encode())
        for name, value in headers.items()
        if TOKEN.fullmatch(name) and name.lower().encode() not in FRAMING
    )


def _canonical(name: bytes) -> bytes:
    """Return a header name in the case that is sent: ``X-Sdk-Id``, ``Etag``."""
    return b"-".join(part.capitalize() for part in name.split(b"-"))
