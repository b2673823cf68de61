"""The request side: answers as functions of values, and what carries requests to them.

    connection ──► Channel ──► WebRequest ──► Klein ──Call──► answer ──Reply | StreamReply──► back, or to a hub

This facade is pure and importable anywhere. Only ``gateway.web.server.site`` (``make_site``) imports
klein, which installs Twisted's reactor, so only the tap does that, explicitly, after the reactor is chosen.
"""

from gateway.web.context import Context, OpenStreams, RecentCallIds, WebState
from gateway.web.dispatch import build_dispatcher
from gateway.web.ports import Hub, Registry, Sdk, Subscriber, WebMetrics
from gateway.web.values import Call, Reply, StreamReply

__all__ = (
    "Call",
    "Context",
    "Hub",
    "OpenStreams",
    "RecentCallIds",
    "Registry",
    "Reply",
    "Sdk",
    "StreamReply",
    "Subscriber",
    "WebMetrics",
    "WebState",
    "build_dispatcher",
)
