"""The request side: the routes, their answers as functions of values, and the servers that carry requests to them.

    connection ──► server ──Call──► Dispatcher: policy ► answer ──Reply──► server, or StreamReply ──► hub of streams

The folder ``answers`` has a function for each route, ``server`` the Twisted protocols, with a facade of its own.
Only ``gateway.web.server.site`` imports klein, which installs a reactor.
"""

from gateway.web.client_log import ClientLog
from gateway.web.context import Context, OpenStreams, RecentCallIds, WebState
from gateway.web.dispatch import build_dispatcher
from gateway.web.ports import Registry, Sdk, WebMetrics
from gateway.web.user_sample import UserSample

__all__ = (
    "ClientLog",
    "Context",
    "OpenStreams",
    "RecentCallIds",
    "Registry",
    "Sdk",
    "UserSample",
    "WebMetrics",
    "WebState",
    "build_dispatcher",
)
