"""The main port and the streams of one process.

    Registry ──► Server ──► hubs (gateway.streams), site (gateway.web.server) ──► clients

Importing this facade does not install a reactor; building a ``LocalServer`` does.
"""

from gateway.serving.forecast import FORECAST_SECONDS, FORESEE_SECONDS
from gateway.serving.listening import ALL_ADDRESSES, BACKLOG, listen, listen_error, listen_error_text
from gateway.serving.server import LocalServer, Server

__all__ = (
    "ALL_ADDRESSES",
    "BACKLOG",
    "FORECAST_SECONDS",
    "FORESEE_SECONDS",
    "LocalServer",
    "Server",
    "listen",
    "listen_error",
    "listen_error_text",
)
