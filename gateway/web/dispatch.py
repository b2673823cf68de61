"""The web side for one state of the settings: the enabled routes with their policies, and how a call is answered.

    BoundRoute.answer: CORS and headers ► OPTIONS ► auth ► the route's answer ► gzip

Immutable but for what ``Context`` remembers; a reload builds a new one and the site swaps it in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from gateway.web import policy
from gateway.web.answers.stream_token import StreamTokens
from gateway.web.auth import networks
from gateway.web.compress import gzipped, wants_gzip
from gateway.web.context import Context, StreamLimits
from gateway.web.policy import Policy
from gateway.web.routes import ROUTES, Group, Route
from gateway.web.values import Reply, StreamReply

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.settings import Settings
    from gateway.web.values import Answered, Call, HeaderLines, Outcome


@frozen
class BoundRoute:
    """A route under the policy of its section."""

    route: Route
    policy: Policy
    context: Context
    preflight: HeaderLines

    def answer(self, call: Call) -> Outcome:
        """Return the answer to ``call``, whose method is one of the route's or ``HEAD``."""
        common = self.policy.common(call)
        if call.method == "OPTIONS":
            return Reply(204, common + self.preflight)
        refusal = self.policy.refusal(call)
        if refusal is not None:
            return self.policy.dress(refusal, common)
        outcome = self.route.answer(self.context, call)
        if isinstance(outcome, (Reply, StreamReply)):
            return self._finished(call, outcome, common)
        return self._later(call, outcome, common)

    async def _later(self, call: Call, outcome: Awaitable[Answered], common: HeaderLines) -> Answered:
        return self._finished(call, await outcome, common)

    def _finished(self, call: Call, answered: Answered, common: HeaderLines) -> Answered:
        if self.route.gzip and isinstance(answered, Reply) and wants_gzip(call) and not _encoded(answered):
            answered = gzipped(answered)
        return self.policy.dress(answered, common)


@frozen
class Dispatcher:
    """The enabled routes."""

    routes: tuple[BoundRoute, ...]
    context: Context


def build_dispatcher(context: Context, settings: Settings) -> Dispatcher:
    """Return the web side for ``settings``; ``context`` brings the world, its settings' parts are filled in here.

    Raises ValueError for what validation has excluded: an origin pattern that is not RE2, a network that is none.
    """
    http = settings.http
    hook = policy.for_webhook(http)
    collector = context.collector if settings.exporter.on else None
    context = evolve(
        context,
        sdks=settings.sdks,
        webhook_authenticated=hook.authenticated,
        refresh_authenticated=bool(http.api.auth_headers),
        trusted_proxies=networks(http.trusted_proxies),
        limits=StreamLimits(http.sse.max_connections, http.sse.max_connections_per_address),
        on_evaluated=None if collector is None else collector.record,
        on_all_evaluated=None if collector is None or not settings.exporter.bulk else collector.record_all,
        stream_tokens=StreamTokens.of(http.ofrep.auth_headers) if http.ofrep.enabled and http.sse.enabled else None,
    )
    policies: dict[Group, Policy] = {}
    if http.cdn_proxy.enabled:
        policies[Group.CDN] = policy.for_open(http.cdn_proxy)
    if http.api.enabled:
        policies[Group.API] = policy.for_api(http.api, ("X-ConfigCat-SdkKey",))
    if http.ofrep.enabled:
        policies[Group.OFREP] = policy.for_api(http.ofrep, ("X-ConfigCat-SdkId", "X-ConfigCat-SdkKey"))
    if http.sse.enabled:
        policies[Group.SSE] = policy.for_open(http.sse)
    if context.stream_tokens is not None:
        policies[Group.OFREP_STREAM] = policy.for_open(http.ofrep)
    if http.webhook.enabled:
        policies[Group.HOOK] = hook
        policies[Group.HOOK_TEST] = Policy()  # open to all: it does nothing, and shows that calls arrive
    if http.status.enabled:
        policies[Group.STATUS] = Policy()
    bound = tuple(
        BoundRoute(route, rules, context, rules.preflight(route.methods[0]))
        for route in ROUTES
        if (rules := policies.get(route.group)) is not None
    )
    return Dispatcher(bound, context)


def _encoded(reply: Reply) -> bool:
    return any(name == b"Content-Encoding" for name, _ in reply.headers)
