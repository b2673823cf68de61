"""The API below ``/api/v1`` on the diagnostics port: what operators and the console see and do, as JSON.

    Status, Registry, Server ──► one function per route ──► struct ──► ConsoleApi ──► diagnostics port

The command line and the page are clients of this API; neither reaches into rooms.
"""

from gateway.console.api import ConsoleApi
from gateway.console.facade import Facade
from gateway.console.openapi import FILE
from gateway.console.route_table import make_api, openapi_document

__all__ = ("FILE", "ConsoleApi", "Facade", "make_api", "openapi_document")
