"""Twisted protocols that read requests and write answers, on three paths of one port.

    connection ──► FastHttp ──Call──► answer ──► Reply ──► bytes, or StreamReply ──► FastStream ──► hub
                      ├── HTTP/2, which TLS has negotiated ──► Http2Connection ──Call──► answer
                      └── a request that is not simple ──► BoundedHttp1 ──► KleinRequest ──► Klein ──► answer

Importing this facade installs no reactor.  ``gateway.web.server.site``, which imports klein and with it a reactor, is
imported explicitly, after the reactor is chosen.
"""

from gateway.web.server.epoll import ConnectionEpoll, connection_epoll, separate_epoll
from gateway.web.server.fast_http import FastHttpFactory
from gateway.web.server.socket_options import configure_listener
from gateway.web.server.tls import Certificates, TlsError, build_context
from gateway.web.server.write_batch import PlainWriter, TlsWriter

__all__ = (
    "Certificates",
    "ConnectionEpoll",
    "FastHttpFactory",
    "PlainWriter",
    "TlsError",
    "TlsWriter",
    "build_context",
    "configure_listener",
    "connection_epoll",
    "separate_epoll",
)
