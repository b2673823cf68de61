"""The table of all routes, which both servers read.

Patterns: ``{name}`` is one segment, ``{name...}`` is the rest of the path.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from gateway.web.answers import api, client_file, config_file, hook, ofrep, sse, status, stream_urls

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.web.context import Context
    from gateway.web.values import Call, EventualReply

    Answer = Callable[[Context, Call], EventualReply]


class Group(Enum):
    """Routes that are enabled together and share a policy."""

    CDN = "cdn_proxy"
    API = "api"
    OFREP = "ofrep"
    OFREP_STREAM = "ofrep streams"
    SSE = "sse"
    CLIENT = "client for browsers"
    HOOK = "webhook"
    HOOK_TEST = "webhook test"
    STATUS = "status"


@frozen
class Route:
    """One pattern, its methods and its answer; ``HEAD`` is implied by ``GET``."""

    pattern: str
    group: Group
    methods: tuple[str, ...]
    answer: Answer
    gzip: bool = False
    names_user: bool = False  # whether the request names the user, who may have to be proved
    proves: bool = False  # whether the path is a proof, which was issued to a caller that had given one

    @property
    def allow(self) -> bytes:
        """The value of ``Allow`` in a 405 reply."""
        every = {*self.methods, "HEAD"} if "GET" in self.methods else set(self.methods)
        return ", ".join(sorted(every)).encode()


GET = ("GET", "OPTIONS")
POST = ("POST", "OPTIONS")
GET_OR_POST = ("GET", "POST")

ROUTES: tuple[Route, ...] = (
    Route("/configuration-files", Group.CDN, GET, config_file.config_file, gzip=True),
    Route("/configuration-files/{path...}", Group.CDN, GET, config_file.config_file, gzip=True),
    Route("/api/eval", Group.API, POST, api.evaluate, gzip=True, names_user=True),
    Route("/api/{sdkId}/eval", Group.API, POST, api.evaluate, gzip=True, names_user=True),
    Route("/api/eval-all", Group.API, POST, api.evaluate_all, gzip=True, names_user=True),
    Route("/api/{sdkId}/eval-all", Group.API, POST, api.evaluate_all, gzip=True, names_user=True),
    Route("/api/keys", Group.API, GET, api.keys, gzip=True),
    Route("/api/{sdkId}/keys", Group.API, GET, api.keys, gzip=True),
    Route("/api/refresh", Group.API, POST, api.refresh),
    Route("/api/{sdkId}/refresh", Group.API, POST, api.refresh),
    Route("/api/icanhascoffee", Group.API, GET, api.coffee),
    Route("/ofrep/v1/evaluate/flags", Group.OFREP, POST, ofrep.evaluate_all, gzip=True, names_user=True),
    Route("/ofrep/v1/evaluate/flags/{key}", Group.OFREP, POST, ofrep.evaluate, gzip=True, names_user=True),
    Route("/ofrep/v1/streams/{sdkId}/{token}", Group.OFREP_STREAM, GET, ofrep.stream),
    Route("/sse/eval/k", Group.SSE, GET, sse.stream_one, names_user=True),
    Route("/sse/eval/k/{data...}", Group.SSE, GET, sse.stream_one, names_user=True),
    Route("/sse/eval-all/k", Group.SSE, GET, sse.stream_all, names_user=True),
    Route("/sse/eval-all/k/{data...}", Group.SSE, GET, sse.stream_all, names_user=True),
    Route("/sse/{sdkId}/eval", Group.SSE, GET, sse.stream_one, names_user=True),
    Route("/sse/{sdkId}/eval/{data...}", Group.SSE, GET, sse.stream_one, names_user=True),
    Route("/sse/{sdkId}/eval-all", Group.SSE, GET, sse.stream_all, names_user=True),
    Route("/sse/{sdkId}/eval-all/{data...}", Group.SSE, GET, sse.stream_all, names_user=True),
    Route("/sse/streams/k", Group.SSE, POST, stream_urls.create, names_user=True),
    Route("/sse/{sdkId}/streams", Group.SSE, POST, stream_urls.create, names_user=True),
    Route("/client.js", Group.CLIENT, GET, client_file.newest, gzip=True),
    Route("/client/{file}", Group.CLIENT, GET, client_file.named, gzip=True),
    Route("/sse/{sdkId}/streams/{token}", Group.SSE, GET, stream_urls.stream, proves=True),
    Route("/hook", Group.HOOK, GET_OR_POST, hook.hook),
    Route("/hook/{sdkId}", Group.HOOK, GET_OR_POST, hook.hook),
    Route("/hook-test", Group.HOOK_TEST, GET_OR_POST, hook.hook_test),
    Route("/status", Group.STATUS, GET, status.status, gzip=True),
)
