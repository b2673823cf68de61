"""The pages of the diagnostics port about held configs: list, accept, reject.

    GET /configs · POST /configs/{sdkId}/accept · POST /configs/{sdkId}/reject ──► ConfigAdmin ──► JSON

An accepted config reaches every client, so they are for operators only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

import msgspec

from gateway.logger import component_logger
from gateway.telemetry.operator_access import Answer, error_body, refusal
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.web.server import Request

_log = component_logger("diag")

PATH: Final = "/configs"
_ONE = re.compile(r"/configs/([^/]{1,1000})/(accept|reject)")


class ConfigAdmin(Protocol):
    """Access to held configs; a held config is a dict for JSON."""

    def held_configs(self) -> Sequence[Mapping[str, Any]]:
        """Return all of them, in the order of the settings."""

    def accept_config(self, sdk_id: str) -> Mapping[str, Any] | None:
        """Publish that of an SDK and return it; None if none is held; raises KeyError for an unknown SDK."""

    def reject_config(self, sdk_id: str) -> Mapping[str, Any] | None:
        """Drop that of an SDK and return it; None if none is held; raises KeyError for an unknown SDK."""


class ConfigPages:
    """Answers requests to these pages; without ``admin`` there are none."""

    def __init__(self, admin: ConfigAdmin | None) -> None:
        self._admin = admin
        self.paths = () if admin is None else (PATH,)

    def answer(self, request: Request, authorized: bool | None) -> Answer | None:  # noqa: FBT001 - three states
        """Return None for the path of another page; ``authorized`` is as in ``OutboxPages.answer``."""
        path = request.path.decode("ascii", "replace")
        one = _ONE.fullmatch(path)
        if self._admin is None or (path != PATH and one is None):
            return None
        refused = refusal(request, authorized, b"GET" if one is None else b"POST")
        if refused is not None:
            return refused
        if one is None:
            return 200, msgspec.json.encode({"held": self._admin.held_configs()})
        return self._decide(self._admin, unquote(one[1]), one[2])

    def _decide(self, admin: ConfigAdmin, sdk_id: str, act: str) -> Answer:
        try:
            held = admin.accept_config(sdk_id) if act == "accept" else admin.reject_config(sdk_id)
        except KeyError:
            return 404, error_body(f"the settings have no SDK {printable(sdk_id)}")
        if held is None:
            return 409, error_body(f"no config of SDK {sdk_id} is held")
        text = "SDK {sdk_id}: {act} of the held config by a request to the diagnostics port"
        _log.info(text, sdk_id=sdk_id, act=act)
        return 200, msgspec.json.encode({f"{act}ed": held})
