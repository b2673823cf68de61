"""The one table of routes. Every carrier walks it; a route exists nowhere else.

Patterns: ``{name}`` is one segment, ``{name...}`` is the rest of the path.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from gateway.web.answers import api, ofrep, status
from gateway.web.answers import config_file as cdn
from gateway.web.answers import hook as webhook
from gateway.web.answers import ofrep_streams as ofrepstream
from gateway.web.answers import sse as events

if TYPE_CHECKING:
    from gateway.web.values import Answer


class Group(Enum):
    """Routes that are switched on and off, and share headers and auth."""

    CDN = "cdn_proxy"
    API = "api"
    OFREP = "ofrep"
    OFREP_STREAM = "ofrep streams"
    SSE = "sse"
    HOOK = "webhook"
    HOOK_TEST = "webhook test"
    STATUS = "status"


@frozen
class Route:
    """One pattern, what it answers to, and how.

    ``methods`` leaves out ``HEAD``, which every ``GET`` route answers too.
    """

    pattern: str
    group: Group
    methods: tuple[str, ...]
    answer: Answer
    gzip: bool = False

    @property
    def allow(self) -> bytes:
        """The value of ``Allow`` in a 405 answer."""
        every = {*self.methods, "HEAD"} if "GET" in self.methods else set(self.methods)
        return ", ".join(sorted(every)).encode()


GET = ("GET", "OPTIONS")
POST = ("POST", "OPTIONS")
CALLED = ("GET", "POST")

ROUTES: tuple[Route, ...] = (
    Route("/configuration-files", Group.CDN, GET, cdn.config_file, gzip=True),
    Route("/configuration-files/{path...}", Group.CDN, GET, cdn.config_file, gzip=True),
    Route("/api/eval", Group.API, POST, api.evaluate, gzip=True),
    Route("/api/{sdkId}/eval", Group.API, POST, api.evaluate, gzip=True),
    Route("/api/eval-all", Group.API, POST, api.evaluate_all, gzip=True),
    Route("/api/{sdkId}/eval-all", Group.API, POST, api.evaluate_all, gzip=True),
    Route("/api/keys", Group.API, GET, api.keys, gzip=True),
    Route("/api/{sdkId}/keys", Group.API, GET, api.keys, gzip=True),
    Route("/api/refresh", Group.API, POST, api.refresh),
    Route("/api/{sdkId}/refresh", Group.API, POST, api.refresh),
    Route("/api/icanhascoffee", Group.API, GET, api.coffee),
    Route("/ofrep/v1/evaluate/flags", Group.OFREP, POST, ofrep.evaluate_all, gzip=True),
    Route("/ofrep/v1/evaluate/flags/{key}", Group.OFREP, POST, ofrep.evaluate, gzip=True),
    Route("/ofrep/v1/streams/{sdkId}/{token}", Group.OFREP_STREAM, GET, ofrepstream.stream),
    Route("/sse/eval/k", Group.SSE, GET, events.stream_one),
    Route("/sse/eval/k/{data...}", Group.SSE, GET, events.stream_one),
    Route("/sse/eval-all/k", Group.SSE, GET, events.stream_all),
    Route("/sse/eval-all/k/{data...}", Group.SSE, GET, events.stream_all),
    Route("/sse/{sdkId}/eval", Group.SSE, GET, events.stream_one),
    Route("/sse/{sdkId}/eval/{data...}", Group.SSE, GET, events.stream_one),
    Route("/sse/{sdkId}/eval-all", Group.SSE, GET, events.stream_all),
    Route("/sse/{sdkId}/eval-all/{data...}", Group.SSE, GET, events.stream_all),
    Route("/hook", Group.HOOK, CALLED, webhook.hook),
    Route("/hook/{sdkId}", Group.HOOK, CALLED, webhook.hook),
    Route("/hook-test", Group.HOOK_TEST, CALLED, webhook.hook_test),
    Route("/status", Group.STATUS, GET, status.status, gzip=True),
)
