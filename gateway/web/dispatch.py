"""The enabled routes with their policies under one state of the settings, and how a call is answered.

    BoundRoute.answer: CORS and headers ► OPTIONS ► authentication ► the route's answer ► gzip

Immutable but for the caches and the state in ``Context``; a reload builds another dispatcher, which the site swaps in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from gateway.identity import open_verifier
from gateway.web.auth import parse_networks
from gateway.web.caller_keys import HEADER_NAME, NEEDED, CallerKeys
from gateway.web.compress import gzipped, wants_gzip
from gateway.web.context import Context, StreamLimits
from gateway.web.policy import Policy, api_policy, public_policy, script_policy, stream_policy, webhook_policy
from gateway.web.public_url import PublicUrl
from gateway.web.routes import ROUTES, Group, Route
from gateway.web.signed_users import CookieOrigins, SignedUsers
from gateway.web.stream_token import StreamTokens
from gateway.web.stream_url import StreamUrls
from gateway.web.values import Reply, StreamReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.settings import Api, Http, Ofrep, Settings, Sse
    from gateway.web.values import AnyReply, Call, EventualReply, HeaderLines, PendingReply

NOT_FOR_SDKS = frozenset({"hook", "hook-test", "status"})  # first segments of paths that no script needs
ANY_OTHER = "api"  # the section of a path outside all sections, as where a client has a wrong base URL


@frozen
class BoundRoute:
    """A route under the policy of its section."""

    route: Route
    policy: Policy
    context: Context
    preflight: HeaderLines

    def answer(self, call: Call) -> EventualReply:
        """Return the reply to ``call``, whose method is one of the route's or ``HEAD``."""
        clients = self.context.clients
        if clients.armed:
            clients.take(call)
        common = self.policy.common_headers(call)
        if call.method == "OPTIONS":
            return Reply(204, common + self.preflight)
        refusal = self.policy.refusal(call)
        if refusal is not None:
            return self.policy.with_headers(refusal, common)
        outcome = self.route.answer(self.context, call)
        if isinstance(outcome, (Reply, StreamReply)):
            return self._complete(call, outcome, common)
        return self._when_ready(call, outcome, common)

    def with_common_headers(self, call: Call, reply: Reply) -> Reply:
        """Return a reply to ``call`` that is not the route's own, with what every reply in its section carries."""
        return _in_section(self.policy, call, reply)

    async def _when_ready(self, call: Call, outcome: PendingReply, common: HeaderLines) -> AnyReply:
        return self._complete(call, await outcome, common)

    def _complete(self, call: Call, reply: AnyReply, common: HeaderLines) -> AnyReply:
        if self.route.gzip and isinstance(reply, Reply) and wants_gzip(call) and not _is_encoded(reply):
            reply = gzipped(reply)
        return self.policy.with_headers(reply, common)


@frozen
class Dispatcher:
    """The enabled routes, and the policy of each section by the first segment of its paths, enabled or not."""

    routes: tuple[BoundRoute, ...]
    context: Context
    sections: Mapping[str, Policy]

    def without_route(self, call: Call, reply: Reply) -> Reply:
        """Return ``reply`` to a call that has no route, with the headers of the section of its path.

        Without CORS headers a script in a browser sees neither status nor text, only that the request failed.  A
        preflight is allowed, because the browser does not send the request itself otherwise.
        """
        word = call.path[1:].partition("/")[0]
        if call.path[:1] != "/" or word in NOT_FOR_SDKS:
            return reply
        policy = self.sections.get(word, self.sections[ANY_OTHER])
        wanted = call.header(b"access-control-request-method") and call.header(b"origin")
        if policy.cors and call.method == "OPTIONS" and wanted:
            reply = Reply(204, policy.preflight("GET,POST"))
        return _in_section(policy, call, reply)


def build_dispatcher(context: Context, settings: Settings) -> Dispatcher:
    """Return the routes under ``settings``; changes nothing that is shared, ``context.state`` included.

    What ``Context`` derives from settings is filled in here.

    :raises IdentityError: when a key that tokens are checked with cannot be used.
    :raises ValueError: for what validation has excluded: an origin pattern that is not RE2, a text that is no network.
    """
    http, exporter = settings.http, settings.exporter
    collector = context.collector if exporter.on else None
    webhook = webhook_policy(http)
    ofrep_streams = http.ofrep.enabled and http.sse.enabled
    signed = _signed_users(settings, context)
    keys, own_secret = CallerKeys.from_settings(http.auth, context), context.state.own_secret
    tokens = None
    if ofrep_streams:
        proof = _proof(http, own_secret, keys, http.ofrep)
        tokens = StreamTokens.from_settings(http.ofrep.auth_headers, http.sse.url_secret, proof)
    proof = _proof(http, own_secret, keys, http.sse)
    context = evolve(
        context,
        sdks=settings.sdks,
        webhook_authenticated=webhook.authenticated,
        refresh_authenticated=bool(http.api.auth_headers) or (keys is not None and "api" in keys.needed),
        trusted_proxies=parse_networks(http.trusted_proxies),
        limits=StreamLimits(http.sse.max_connections, http.sse.max_connections_per_address),
        on_evaluated=None if collector is None else collector.record,
        on_all_evaluated=None if collector is None or not exporter.bulk else collector.record_all,
        stream_tokens=tokens,
        stream_urls=StreamUrls.from_settings(http.sse.url_secret, http.sse.url_lifetime, proof),
        callers=keys,
        public_url=PublicUrl.from_settings(http.public_url, http.max_stream_url, parse_networks(http.trusted_proxies)),
        other_attributes=http.ofrep.other_attributes,
    )
    if keys is not None:
        keys.use(context)
    policies = _policies(http, webhook)
    sections = {
        "configuration-files": public_policy(http.cdn_proxy, _key_headers(http, "cdn_proxy")),
        "api": _api_policy(http),
        "ofrep": _ofrep_policy(http),
        "client": script_policy(http.sse),
        "sse": stream_policy(http.sse, _key_headers(http, "sse")),
    }
    routes = tuple(
        BoundRoute(_proved(route, signed, keys), policy, context, policy.preflight(route.methods[0]))
        for route in ROUTES
        if (policy := policies.get(route.group)) is not None
    )
    return Dispatcher(routes, context, sections)


def _signed_users(settings: Settings, context: Context) -> dict[Group, SignedUsers]:
    """Return what verifies the users of each group of routes where they are signed."""
    http = settings.http
    sections: dict[Group, Api | Sse] = {Group.API: http.api, Group.OFREP: http.ofrep, Group.SSE: http.sse}
    verifier = open_verifier(settings.identity, context.state.issuers)
    if verifier is None:
        return {}
    issuers, url = context.state.issuers, http.public_url
    return {
        group: SignedUsers(verifier, issuers, CookieOrigins.from_settings(section.cors, url), group is Group.SSE)
        for group, section in sections.items()
        if section.users == "signed"
    }


def _proof(http: Http, own_secret: bytes, keys: CallerKeys | None, section: Sse | Ofrep) -> tuple[bytes, ...] | None:
    """Return what seals the stream URLs of a section that needs a token or a key; None for one that needs neither."""
    signed = section.users == "signed"
    keyed = keys is not None and ("sse" if section is http.sse else "ofrep") in keys.needed
    if not signed and not keyed:
        return None
    secret = http.sse.url_secret.encode() or own_secret
    return secret, b"signed" if signed else b"", b"keyed" if keyed else b""


def _proved(route: Route, signed: Mapping[Group, SignedUsers], keys: CallerKeys | None) -> Route:
    """Return the route, with an answer that requires a key or a token, or both, where it needs them.

    The URLs of streams are a proof themselves, which was given for both.
    """
    users = signed.get(route.group) if route.names_user else None
    if users is not None:
        route = evolve(route, answer=users.require(route.answer))
    if keys is not None and route.group.value in keys.needed and not route.proves:
        route = evolve(route, answer=keys.require(route.group.value, route.answer))
    return route


def _policies(http: Http, webhook: Policy) -> dict[Group, Policy]:
    """Return the policy of each enabled group of routes."""
    policies: dict[Group, Policy] = {}
    if http.cdn_proxy.enabled:
        policies[Group.CDN] = public_policy(http.cdn_proxy, _key_headers(http, "cdn_proxy"))
    if http.api.enabled:
        policies[Group.API] = _api_policy(http)
    if http.ofrep.enabled:
        policies[Group.OFREP] = _ofrep_policy(http)
    if http.sse.enabled:
        policies[Group.CLIENT] = script_policy(http.sse)
        policies[Group.SSE] = stream_policy(http.sse, _key_headers(http, "sse"))
        if http.ofrep.enabled:
            policies[Group.OFREP_STREAM] = stream_policy(http.ofrep)
    if http.webhook.enabled:
        policies[Group.HOOK] = webhook
        policies[Group.HOOK_TEST] = Policy()  # open: it only shows that calls arrive
    if http.status.enabled:
        policies[Group.STATUS] = Policy()
    return policies


def _api_policy(http: Http) -> Policy:
    return api_policy(http.api, ("X-ConfigCat-SdkKey", *_key_headers(http, "api")))


def _ofrep_policy(http: Http) -> Policy:
    return api_policy(http.ofrep, ("X-ConfigCat-SdkId", "X-ConfigCat-SdkKey", *_key_headers(http, "ofrep")))


def _key_headers(http: Http, group: str) -> tuple[str, ...]:
    """Return the header that scripts must be allowed to send, where callers need keys."""
    return (HEADER_NAME,) if http.auth.keys and group in (http.auth.routes or NEEDED) else ()


def _in_section(policy: Policy, call: Call, reply: Reply) -> Reply:
    complete = policy.with_headers(reply, policy.common_headers(call))
    assert isinstance(complete, Reply)
    return complete


def _is_encoded(reply: Reply) -> bool:
    return any(name == b"Content-Encoding" for name, _ in reply.headers)
