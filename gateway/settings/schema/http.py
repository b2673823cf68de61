"""Options of the main HTTP server."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from gateway.settings.marks import note
from gateway.settings.schema.base import BasicAuth, Log, Section


class OriginRegex(Section, frozen=True):
    """Origins that are allowed by pattern."""

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
            "Origin that is answered when none matches; required with patterns.",
            example="https://example.com",
        ),
    ] = ""


class Cors(Section, frozen=True):
    """Cross-origin rules of one group of routes."""

    enabled: Annotated[bool, note("Whether browsers on other origins may call these routes.")] = True
    allowed_origins: Annotated[
        list[str],
        note("Origins that may call; none means every origin.", example="[https://app.example.com]"),
    ] = field(default_factory=list)
    allowed_origins_regex: Annotated[OriginRegex, note("Origins that are allowed by pattern.")] = field(
        default_factory=OriginRegex
    )


class Api(Section, frozen=True):
    """Routes that evaluate flags as JSON."""

    enabled: Annotated[bool, note("Whether these routes exist.")] = True
    headers: Annotated[
        dict[str, str], note("Headers that every reply of these routes carries.", example="{X-Served-By: flaggateway}")
    ] = field(default_factory=dict)
    auth_headers: Annotated[
        dict[str, str],
        note("Headers that a request must carry, with these values.", hidden="all", example="{X-API-KEY: change-me}"),
    ] = field(default_factory=dict)
    cors: Annotated[Cors, note("Cross-origin rules.")] = field(default_factory=Cors)


class Ofrep(Api, frozen=True):
    """Routes of the OpenFeature Remote Evaluation Protocol."""


class CdnProxy(Section, frozen=True):
    """Routes that hand config JSON to SDKs that evaluate by themselves."""

    enabled: Annotated[bool, note("Whether these routes exist.")] = True
    headers: Annotated[
        dict[str, str], note("Headers that every reply of these routes carries.", example="{X-Served-By: flaggateway}")
    ] = field(default_factory=dict)
    cors: Annotated[Cors, note("Cross-origin rules.")] = field(default_factory=Cors)


class Sse(Section, frozen=True):
    """Event streams of values."""

    enabled: Annotated[bool, note("Whether these routes exist.")] = True
    headers: Annotated[
        dict[str, str], note("Headers that every reply of these routes carries.", example="{X-Served-By: flaggateway}")
    ] = field(default_factory=dict)
    cors: Annotated[Cors, note("Cross-origin rules.")] = field(default_factory=Cors)
    log: Annotated[Log, note("Log of the event streams.")] = field(default_factory=Log)
    heart_beat_interval: Annotated[
        float,
        note(
            "Seconds between two comments on an idle stream, so that proxies keep it open; 0 sends none.",
            ge=0,
            env=("HEARTBEAT_INTERVAL", "HEART_BEAT_INTERVAL"),
        ),
    ] = 20
    stall_timeout: Annotated[
        float, note("Seconds after which a reader that takes nothing more is dropped.", gt=0, ours=True)
    ] = 60
    drain_window: Annotated[
        float,
        note(
            "Seconds over which streams are closed when the gateway stops, so that clients do not return all at once.",
            ge=0,
            ours=True,
        ),
    ] = 5
    max_connections: Annotated[int, note("Open streams at one time; 0 means no limit.", ge=0, ours=True)] = 0
    max_connections_per_address: Annotated[
        int, note("Open streams at one time of one caller's address; 0 means no limit.", ge=0, ours=True)
    ] = 0


class Webhook(Section, frozen=True):
    """The route that an upstream calls to say that a config has changed."""

    enabled: Annotated[bool, note("Whether this route exists.")] = True
    auth: Annotated[BasicAuth, note("Basic authentication of callers.")] = field(default_factory=BasicAuth)
    auth_headers: Annotated[
        dict[str, str],
        note("Headers that a request must carry, with these values.", hidden="all", example="{X-API-KEY: change-me}"),
    ] = field(default_factory=dict)
    allowed_networks: Annotated[
        list[str],
        note(
            "Networks that callers must come from; none means every network.",
            ours=True,
            example="[192.0.2.0/24, '2001:db8::/32']",
        ),
    ] = field(default_factory=list)


class Enabled(Section, frozen=True):
    """Something that is off unless asked for."""

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
        note("Address to listen on; empty means all.", ours=True, restart=True, example="127.0.0.1"),
    ] = ""
    trusted_proxies: Annotated[
        list[str],
        note(
            "Networks of reverse proxies whose word about the caller's address is taken.",
            ours=True,
            example="[10.0.0.0/8]",
        ),
    ] = field(default_factory=list)
    log: Annotated[Log, note("Log of the HTTP server.")] = field(default_factory=Log)
    status: Annotated[Enabled, note("The status page on the main port as well.")] = field(default_factory=Enabled)
    webhook: Annotated[Webhook, note("The route that an upstream calls when a config has changed.")] = field(
        default_factory=Webhook
    )
    cdn_proxy: Annotated[CdnProxy, note("Config JSON for SDKs that evaluate by themselves.")] = field(
        default_factory=CdnProxy
    )
    api: Annotated[Api, note("Evaluation of flags as JSON.")] = field(default_factory=Api)
    sse: Annotated[Sse, note("Event streams of values.")] = field(default_factory=Sse)
    ofrep: Annotated[Ofrep, note("The OpenFeature Remote Evaluation Protocol.")] = field(default_factory=Ofrep)
