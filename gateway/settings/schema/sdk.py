"""Options of each served SDK, and of the way its config JSON is fetched."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from gateway.settings.marks import note
from gateway.settings.schema.base import SHORT_INTERVAL, Attributes, Log, Section


class LocalFile(Section, frozen=True):
    """Config JSON from a file."""

    file_path: Annotated[
        str, note("Path of a config JSON file to serve.", example="/etc/flaggateway/production.json")
    ] = ""
    polling: Annotated[bool, note("Look at the file at intervals instead of waiting for the kernel's word.")] = False
    poll_interval: Annotated[float, note("Seconds between two looks; at least 1 where polling is on.")] = 5


class SdkOffline(Section, frozen=True):
    """Serving an SDK without calls to its upstream."""

    enabled: Annotated[
        bool | None, note("Serve from a file or a cache, and never call the upstream; not set means `offline.enabled`.")
    ] = None
    use_cache: Annotated[bool, note("Serve what the shared cache holds.", later="error", quiet=(False,))] = False
    cache_poll_interval: Annotated[
        float,
        note(
            "Seconds between two looks into the cache.",
            ge=SHORT_INTERVAL,
            later="warn",
            error="sdk-{id}: cache poll interval must be greater than 1 seconds",
        ),
    ] = 5
    local: Annotated[LocalFile, note("Serve a file.")] = field(default_factory=LocalFile)
    log: Annotated[Log, note("Log of the offline source.")] = field(default_factory=Log)


class Sdk(Section, frozen=True):
    """One served config."""

    key: Annotated[
        str,
        note(
            "SDK key of the config; clients may use it as an address too. It is usually given by `CONFIGCAT_SDKS`.",
            hidden="key",
        ),
    ] = ""
    base_url: Annotated[
        str,
        note(
            "Address to fetch from instead of the CDN's.",
            hidden="userinfo",
            example="https://cdn.example.com",
        ),
    ] = ""
    poll_interval: Annotated[float, note("Seconds between two fetches; 0 or less means 60.")] = 60
    data_governance: Annotated[
        Literal["global", "eu"],
        note(
            "Which CDN to fetch from: the one of all regions, or that of the European Union.",
            error="sdk-{id}: invalid data governance value, it must be 'global' or 'eu'",
        ),
    ] = "global"
    webhook_signing_key: Annotated[
        str, note("Key that calls of `/hook/<id>` must be signed with; empty means not signed.", hidden="all")
    ] = ""
    webhook_signature_valid_for: Annotated[
        float, note("Seconds for which a signature is valid; at least 5 where a key is set.")
    ] = 300
    default_user_attributes: Annotated[
        Attributes,
        note(
            "User attributes of this SDK's requests that do not carry them.",
            error="'{key}' has an invalid type, only 'string', 'number', and 'string[]' types are allowed",
            example="{Country: DE, Plans: [free, pro]}",
        ),
    ] = field(default_factory=dict)
    log: Annotated[Log, note("Log of this SDK.")] = field(default_factory=Log)
    offline: Annotated[SdkOffline, note("Serving this SDK without calls to its upstream.")] = field(
        default_factory=SdkOffline
    )
    environment_id: Annotated[
        int | None,
        note(
            "Number of this SDK in environment and audit log web hooks; not set means assigned.",
            ours=True,
        ),
    ] = None


class HttpProxy(Section, frozen=True):
    """A forward proxy."""

    url: Annotated[
        str,
        note(
            "Address of a forward proxy for calls to upstreams; "
            "empty means what `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.",
            hidden="userinfo",
            example="http://proxy.example.com:3128",
        ),
    ] = ""


class Upstream(Section, frozen=True):
    """Ours: how the gateway fetches config JSON."""

    timeout: Annotated[float, note("Seconds that one fetch may take in all.", gt=0)] = 30
    connect_timeout: Annotated[float, note("Seconds that a connection may take to open.", gt=0)] = 10
    max_bytes: Annotated[
        int, note("Largest config JSON that is accepted, in bytes, counted after decompression.", ge=1024)
    ] = 64 * 1024 * 1024
    ca_file: Annotated[
        str,
        note(
            "PEM file of certificate authorities to trust beside the system's.",
            example="/etc/flaggateway/tls/ca.pem",
        ),
    ] = ""
