"""What any client may do by default, for operators who have not decided it: shown by ``check`` and at the start."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from gateway.settings.rules.general import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings.schema import Settings


def exposure_notes(settings: Settings) -> Iterator[Finding]:
    """Yield what clients of other machines may do without a proof; the path is the option that decides it."""
    http = settings.http
    if not http.enabled or _is_loopback(http.bind):
        return
    keyed = set(http.auth.routes or ("api", "ofrep", "sse")) if http.auth.keys else set()
    if http.sse.enabled and http.sse.users == "open" and "sse" not in keyed:
        text = "event streams are open: any client that reaches this port gets the values of any user that it names"
        yield Finding(("http", "sse", "users"), text, allowed="signed, or open to confirm it")
    cors = http.cdn_proxy.cors
    listed = cors.allowed_origins or cors.allowed_origins_regex.patterns
    if http.cdn_proxy.enabled and cors.enabled and not listed and "cdn_proxy" not in keyed:
        text = "targeting rules are public: pages of any origin may read the config JSON of an SDK key that they have"
        allowed = "a list of origins, or ['*'] to confirm it; or http.cdn_proxy.enabled: false"
        yield Finding(("http", "cdn_proxy", "cors", "allowed_origins"), text, allowed=allowed)


def _is_loopback(bind: str) -> bool:
    try:
        return bind == "localhost" or ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False
