"""Routes on which a token proves the user: finding it, refusing (RFC 6750), and waiting for a new key of the issuer.

    call ──► token ──► Verifier ──► the route's answer, with the identity in the call
               └── none, or not valid ──► 401

A route of users who are ``open`` is not wrapped, so that it costs nothing there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen
from msgspec.structs import replace

from gateway.clocks import wall_clock
from gateway.identity import InvalidToken, UnknownKey
from gateway.web.answers.sse import later, read_query, stream_error
from gateway.web.values import Reply, StreamReply, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.identity import IssuerKeys, TokenVerifier
    from gateway.settings import Cors
    from gateway.web.context import Context
    from gateway.web.cors import OriginRule
    from gateway.web.values import AnyReply, Call, EventualReply

    Answer = Callable[[Context, Call], EventualReply]

COOKIE = b"__Host-flags"  # browsers accept a cookie of this prefix from a secure origin only, and for no other host
NO_TOKEN = "a token is required"  # noqa: S105 - the text of a refusal
OTHER_SITE = "the cookie was sent by a page of another site"
WAITING_LIMIT = 1_000  # requests that wait for a key set at one time; further ones are refused at once
RETRY_AFTER = (b"Retry-After", b"10")
SAME_SITE = frozenset({b"same-origin", b"none"})  # of Sec-Fetch-Site; none is the address bar


@frozen
class CookieOrigins:
    """The origins whose pages may use the cookie: the gateway's own, and those that CORS lists."""

    own: bytes  # of http.public_url; empty if it is not set
    listed: OriginRule | None

    @classmethod
    def from_settings(cls, cors: Cors, public_url: str) -> CookieOrigins:
        """Return the rule of a section; ``allowed_origins: []`` and ``*`` are no list."""
        from gateway.web.cors import OriginRule

        parts = urlsplit(public_url)
        own = f"{parts.scheme}://{parts.netloc}".encode() if public_url else b""
        is_list = cors.enabled and bool(cors.allowed_origins or cors.allowed_origins_regex.patterns)
        return cls(own, OriginRule.from_settings(cors) if is_list else None)

    def admit(self, call: Call) -> bool:
        """Return whether a browser sent the cookie for a page that may use it.

        Browsers send ``Origin`` with requests to other origins, and ``Sec-Fetch-Site`` to trustworthy ones; clients
        that send neither are no browsers, or such from before 2023, which send no ``Origin`` to the own origin.
        """
        origin = call.header(b"origin")
        if not origin:
            return call.header(b"sec-fetch-site") in {*SAME_SITE, b""}
        if origin.lower() == self.own or origin.partition(b"://")[2].lower() == call.header(b"host").lower():
            return True
        return origin != b"*" and self.listed is not None and self.listed.allowed(origin) == origin


@frozen
class SignedUsers:
    """What the routes of one section need to verify tokens."""

    verifier: TokenVerifier
    issuers: IssuerKeys
    origins: CookieOrigins
    streams: bool  # whether an EventSource may be the client, which cannot send headers

    def require(self, answer: Answer) -> Answer:
        """Return ``answer`` for calls with a valid token only, with the identity in the call."""

        def verified(context: Context, call: Call) -> EventualReply:
            try:
                token = self._token(call)
            except InvalidToken as error:
                return self._refused(error)
            if not token:
                return self._refused(InvalidToken(NO_TOKEN))
            try:
                identity = self.verifier.verify(token, wall_clock(context.clock)())
            except UnknownKey as error:
                return self._with_new_keys(answer, context, call, token, error)
            except InvalidToken as error:
                return self._refused(error)
            return answer(context, replace(call, identity=identity))

        return verified

    def _token(self, call: Call) -> bytes:
        """Return the token of a call, of several the first: header, query, cookie; empty without one.

        :raises InvalidToken: when a page of another site made the browser send the cookie.
        """
        scheme, _, token = call.header(b"authorization").partition(b" ")
        if scheme.lower() == b"bearer":
            return token.strip()
        if self.streams and call.query and call.method in {"GET", "HEAD"}:
            found = read_query(call).get("token")
            if found:
                return found.encode("utf-8", "replace")
        token = _cookie(call)
        if token and not self.origins.admit(call):
            raise InvalidToken(OTHER_SITE)
        return token

    def _with_new_keys(
        self, answer: Answer, context: Context, call: Call, token: bytes, error: UnknownKey
    ) -> EventualReply:
        """Answer when the key sets have been fetched again; at once where nothing can be fetched."""
        state = context.state
        if state.waiting_for_keys >= WAITING_LIMIT:
            return self._temporary(context, call) if self.verifier.incomplete else self._refused(error)
        return self._when_fetched(answer, context, call, token)

    async def _when_fetched(self, answer: Answer, context: Context, call: Call, token: bytes) -> AnyReply:
        context.state.waiting_for_keys += 1
        try:
            await self.issuers.refresh()
        finally:
            context.state.waiting_for_keys -= 1
        try:
            identity = self.verifier.verify(token, wall_clock(context.clock)())
        except UnknownKey as error:
            return self._temporary(context, call) if self.verifier.incomplete else self._refused(error)
        except InvalidToken as error:
            return self._refused(error)
        outcome = answer(context, replace(call, identity=identity))
        return outcome if isinstance(outcome, (Reply, StreamReply)) else await outcome

    def _refused(self, error: InvalidToken) -> Reply:
        """Return 401; an EventSource gets it too, since the state lasts until there is another token."""
        challenge = b'Bearer error="invalid_token", error_description="%b"' % str(error).encode()
        reply = text(401, f"unauthorized: {error}")
        reply = replace(reply, headers=(*reply.headers, (b"Www-Authenticate", challenge)))
        return stream_error(reply) if self.streams else reply

    def _temporary(self, context: Context, call: Call) -> Reply:
        """Return the reply while the issuer's keys have never been fetched: the token may be valid."""
        reply = text(503, "the keys of the issuer are not there yet; please check the logs for more details")
        reply = replace(reply, headers=(*reply.headers, RETRY_AFTER))
        return later(context, call, reply, "the keys of the issuer are not there yet") if self.streams else reply


def _cookie(call: Call) -> bytes:
    """Return the value of our cookie; HTTP/2 clients may send each cookie in a field of its own."""
    for line in call.headers.get(b"cookie", ()):
        for part in line.split(b";"):
            name, _, value = part.strip().partition(b"=")
            if name == COOKIE:
                return value
    return b""
