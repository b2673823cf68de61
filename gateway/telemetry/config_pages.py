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
from gateway.telemetry.caller import OPERATE
from gateway.telemetry.operator_access import Answer, error_body, refusal
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.web.server import Request

    from gateway.telemetry.caller import Caller

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

    def answer(self, request: Request, caller: Caller) -> Answer | None:
        """Return None for the path of another page; a decision needs the role ``operate``."""
        path = request.path.decode("ascii", "replace")
        one = _ONE.fullmatch(path)
        if self._admin is None or (path != PATH and one is None):
            return None
        refused = refusal(request, caller, b"GET") if one is None else refusal(request, caller, b"POST", OPERATE)
        if refused is not None:
            return refused
        if one is None:
            return 200, msgspec.json.encode({"held": self._admin.held_configs()})
        return self._decide(self._admin, unquote(one[1]), one[2], caller)

    def _decide(self, admin: ConfigAdmin, sdk_id: str, act: str, caller: Caller) -> Answer:
        try:
            held = admin.accept_config(sdk_id) if act == "accept" else admin.reject_config(sdk_id)
        except KeyError:
            return 404, error_body(f"the settings have no SDK {printable(sdk_id)}")
        if held is None:
            return 409, error_body(f"no config of SDK {sdk_id} is held")
        _log.info("SDK {sdk_id}: {act} of the held config by {by}", sdk_id=sdk_id, act=act, by=caller.described)
        return 200, msgspec.json.encode({f"{act}ed": held})
