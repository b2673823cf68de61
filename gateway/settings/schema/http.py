"""Options of the main HTTP server."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from gateway.settings.marks import note
from gateway.settings.schema.base import BasicAuth, Log, Section


class OriginRegex(Section, frozen=True):
    """Origins allowed by pattern."""

    patterns: Annotated[
        list[str],
        note(
            "Regular expressions (RE2 syntax) that an origin may match.",
            example=r"['https://.*\.example\.com']",
        ),
    ] = field(default_factory=list)
    if_no_match: Annotated[
        str,
        note(
            "Origin that is answered if no pattern matches; required with patterns.",
            example="https://example.com",
        ),
    ] = ""


class Cors(Section, frozen=True):
    """Cross-origin rules of one group of routes."""

    enabled: Annotated[bool, note("Whether browsers on other origins may call these routes.")] = True
    allowed_origins: Annotated[
        list[str],
        note("Origins that may call these routes; empty means every origin.", example="[https://app.example.com]"),
    ] = field(default_factory=list)
    allowed_origins_regex: Annotated[OriginRegex, note("Origins allowed by pattern.")] = field(
        default_factory=OriginRegex
    )


class Api(Section, frozen=True):
    """Routes that evaluate flags as JSON."""

    enabled: Annotated[bool, note("Whether these routes exist.")] = True
    headers: Annotated[
        dict[str, str], note("Headers added to every response of these routes.", example="{X-Served-By: flaggateway}")
    ] = field(default_factory=dict)
    auth_headers: Annotated[
        dict[str, str],
        note("Headers and values that a request must have.", hidden="all", example="{X-API-KEY: change-me}"),
    ] = field(default_factory=dict)
    cors: Annotated[Cors, note("Cross-origin rules.")] = field(default_factory=Cors)


class Ofrep(Api, frozen=True):
    """Routes of the OpenFeature Remote Evaluation Protocol."""


class CdnProxy(Section, frozen=True):
    """Routes that serve the config JSON to SDKs that evaluate flags themselves."""

    enabled: Annotated[bool, note("Whether these routes exist.")] = True
    headers: Annotated[
        dict[str, str], note("Headers added to every response of these routes.", example="{X-Served-By: flaggateway}")
    ] = field(default_factory=dict)
    cors: Annotated[Cors, note("Cross-origin rules.")] = field(default_factory=Cors)


class Sse(Section, frozen=True):
    """Event streams of values."""

    enabled: Annotated[bool, note("Whether these routes exist.")] = True
    headers: Annotated[
        dict[str, str], note("Headers added to every response of these routes.", example="{X-Served-By: flaggateway}")
    ] = field(default_factory=dict)
    cors: Annotated[Cors, note("Cross-origin rules.")] = field(default_factory=Cors)
    log: Annotated[Log, note("Log of the event streams.")] = field(default_factory=Log)
    heart_beat_interval: Annotated[
        float,
        note(
            "Seconds between comments on an idle stream, so that proxies keep it open; 0 turns them off.",
            ge=0,
            env=("HEARTBEAT_INTERVAL", "HEART_BEAT_INTERVAL"),
        ),
    ] = 20
    stall_timeout: Annotated[
        float, note("Seconds after which a stream whose client reads nothing is closed.", gt=0, ours=True)
    ] = 60
    drain_window: Annotated[
        float,
        note(
            "Seconds over which streams are closed at a stop, so that clients do not all reconnect at once.",
            ge=0,
            ours=True,
        ),
    ] = 5
    max_connections: Annotated[int, note("Maximum number of open streams; 0 means no limit.", ge=0, ours=True)] = 0
    max_connections_per_address: Annotated[
        int, note("Maximum number of open streams per client address; 0 means no limit.", ge=0, ours=True)
    ] = 0


class Webhook(Section, frozen=True):
    """The route that an upstream calls when a config has changed."""

    enabled: Annotated[bool, note("Whether this route exists.")] = True
    auth: Annotated[BasicAuth, note("Basic authentication of callers.")] = field(default_factory=BasicAuth)
    auth_headers: Annotated[
        dict[str, str],
        note("Headers and values that a request must have.", hidden="all", example="{X-API-KEY: change-me}"),
    ] = field(default_factory=dict)
    allowed_networks: Annotated[
        list[str],
        note(
            "Networks that callers must belong to; empty means every network.",
            ours=True,
            example="[192.0.2.0/24, '2001:db8::/32']",
        ),
    ] = field(default_factory=list)


class Enabled(Section, frozen=True):
    """A part that is off by default."""

    enabled: Annotated[bool, note("Whether it is on.")] = False


class Http(Section, frozen=True):
    """The main HTTP server."""

    enabled: Annotated[bool, note("Whether the main HTTP server runs.", restart=True)] = True
    port: Annotated[
        int,
        note("TCP port to listen on.", ge=1, le=65535, restart=True, error="{section}: invalid port {found}"),
    ] = 8050
    bind: Annotated[
        str,
        note("Address to listen on; empty means all addresses.", ours=True, restart=True, example="127.0.0.1"),
    ] = ""
    trusted_proxies: Annotated[
        list[str],
        note(
            "Networks of reverse proxies whose `X-Forwarded-For` header is trusted.",
            ours=True,
            example="[10.0.0.0/8]",
        ),
    ] = field(default_factory=list)
    log: Annotated[Log, note("Log of the HTTP server.")] = field(default_factory=Log)
    status: Annotated[Enabled, note("The status page on the main port as well.")] = field(default_factory=Enabled)
    webhook: Annotated[Webhook, note("The route that an upstream calls when a config has changed.")] = field(
        default_factory=Webhook
    )
    cdn_proxy: Annotated[CdnProxy, note("The config JSON for SDKs that evaluate flags themselves.")] = field(
        default_factory=CdnProxy
    )
    api: Annotated[Api, note("Evaluation of flags as JSON.")] = field(default_factory=Api)
    sse: Annotated[Sse, note("Event streams of values.")] = field(default_factory=Sse)
    ofrep: Annotated[Ofrep, note("The OpenFeature Remote Evaluation Protocol.")] = field(default_factory=Ofrep)
