"""The API below ``/api/v1`` on the diagnostics port: what operators and the console see and do, as JSON.

    Status, Registry, Server ──► one function per route ──► struct ──► ConsoleApi ──► diagnostics port

The command line and the page are clients of this API; neither reaches into rooms.
"""

from gateway.console.api import ConsoleApi
from gateway.console.configs import compare_configs, config_use
from gateway.console.console import Console
from gateway.console.events import Feed
from gateway.console.facade import Facade
from gateway.console.openapi import FILE
from gateway.console.reaches import Reaches
from gateway.console.route_table import openapi_document
from gateway.console.series import Ring
from gateway.console.user_streams import UserStreams

__all__ = (
    "FILE",
    "Console",
    "ConsoleApi",
    "Facade",
    "Feed",
    "Reaches",
    "Ring",
    "UserStreams",
    "compare_configs",
    "config_use",
    "openapi_document",
)
