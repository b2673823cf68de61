"""A Twisted request on the Klein path: from its raw target to Klein, and from a ``Reply`` to its bytes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from twisted.web.http import datetimeToString
from twisted.web.server import Request

from gateway.clocks import wall_clock
from gateway.web.server.http1 import BODY_LIMIT
from gateway.web.server.request_target import Target, parse
from gateway.web.server.unrouted import BAD_TARGET, METHODS, WHOLE_SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.python.failure import Failure

    from gateway.web.values import HeaderLines, Reply


class KleinRequest(Request):
    """A request; a shutdown waits for it until the head of its answer is written or its client is gone."""

    defaultContentType = None
    site: Any  # a GatewaySite
    channel: Any
    content: Any
    transport: Any
    route = ""
    target = Target("/")
    is_stream = False  # whether the answer is an open event stream
    _began = 0.0
    _body_size = 0
    _answering = False

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; refuse the request beyond the limit."""
        self._body_size += len(data)
        if self._body_size <= BODY_LIMIT:
            super().handleContentChunk(data)
        else:
            self.channel.refuse(413)

    def process(self) -> None:
        """Route the request on its still escaped path."""
        self.site = self.channel.site
        self.site.answering += 1
        self._answering = True
        self._began = self.site.reactor.seconds()
        if self.method != self.method.upper():
            self.method = b"OTHER"  # methods are case-sensitive, and werkzeug would read "get" as GET
        self.target = target = parse(self.uri)
        self.responseHeaders.setRawHeaders(b"Date", [datetimeToString(wall_clock(self.site.reactor)())])
        if self.uri == b"*" and self.method == b"OPTIONS":
            self.finish_with(WHOLE_SERVER)
        elif not target.valid:
            self.finish_with(self.without_route(BAD_TARGET))
        elif target.redirect is not None:
            self.finish_with(self.site.routes.matcher.answer_unclean(self.method_text, target, self.fields()))
        else:
            self.prepath = []
            self.postpath = target.path.encode("ascii")[1:].split(b"/")
            self.render(self.site.routes.resource)

    def fields(self) -> dict[bytes, Sequence[bytes]]:
        """Return the header fields: lower-case names, and their values in order."""
        return {name.lower(): values for name, values in self.requestHeaders.getAllRawHeaders()}

    @property
    def method_text(self) -> str:
        """The method, which may have any bytes."""
        return self.method.decode("ascii", "replace")

    def without_route(self, reply: Reply) -> Reply:
        """Return ``reply``, to this request that has no route, with the headers of its section."""
        matcher = self.site.routes.matcher
        return cast("Reply", matcher.without_route(self.method_text, self.target, self.fields(), reply))

    def getRequestHostname(self) -> bytes:
        """Return a fixed name: routes do not depend on ``Host``, and Klein fails on malformed ones."""
        return b"localhost"

    def head(self, status: int, headers: HeaderLines) -> None:
        """Set the status and headers of the answer, and count it."""
        self._stop_waiting()
        if self.site.draining:
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            self.channel.persistent = False
        self.setResponseCode(status, HTTPStatus(status).phrase.encode())
        for name, value in headers:
            self.responseHeaders.addRawHeader(name, value)
        method = self.method_text
        seconds = self.site.reactor.seconds() - self._began
        self.site.metrics.answered(self.route, method if method in METHODS else "other", status, seconds)

    def reply(self, reply: Reply) -> bytes:
        """Set the head of ``reply`` and return the body to write."""
        self.head(reply.status, reply.headers)
        if reply.status not in (204, 304):
            self.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(reply.body)])
        return reply.body

    def connectionLost(self, reason: Failure) -> None:
        """Cancel the answer: its client is gone."""
        self._stop_waiting()
        super().connectionLost(reason)

    def finish_with(self, reply: Reply) -> None:
        """Answer with ``reply``, outside Klein."""
        self.write(self.reply(reply))
        self.finish()

    def _stop_waiting(self) -> None:
        """Leave the requests that a shutdown waits for."""
        if self._answering:
            self._answering = False
            self.site.answering -= 1
