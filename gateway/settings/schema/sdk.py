"""Options of each served SDK and of fetching its config JSON."""

from typing import Annotated, Literal

from msgspec import Meta

from gateway.settings.schema.base import ATTRIBUTE_ERROR, SHORT_INTERVAL, Attributes, Log, Section
from gateway.settings.schema.option import option


class LocalFile(Section, frozen=True):
    """Config JSON from a file."""

    file_path: Annotated[
        str, option("Path of a config JSON file to serve.", example="/etc/flaggateway/production.json")
    ] = ""
    polling: Annotated[bool, option("Check the file at intervals instead of using inotify.")] = False
    poll_interval: Annotated[float, option("Seconds between checks of the file; at least 1 if polling is on.")] = 5


class SdkOffline(Section, frozen=True):
    """Serving an SDK without requests to its upstream."""

    enabled: Annotated[
        bool | None,
        option("Serve from a file or a cache without requests to the upstream; defaults to `offline.enabled`."),
    ] = None
    use_cache: Annotated[bool, option("Serve the config of the shared cache, without requests to the upstream.")] = (
        False
    )
    cache_poll_interval: Annotated[
        float,
        option(
            "Seconds between reads of the cache; changes that are reported arrive at once.",
            ge=SHORT_INTERVAL,
            error="sdk-{id}: cache poll interval must be greater than 1 seconds",
        ),
    ] = 5
    local: Annotated[LocalFile, option("Serve a file.")] = LocalFile()
    log: Annotated[Log, option("Log of the offline source.")] = Log()


Percent = Annotated[float, Meta(ge=0, le=100)]


class Guard(Section, frozen=True):
    """When a new config is held instead of being served; not in ConfigCat Proxy."""

    max_removed_percent: Annotated[
        Percent | None,
        option(
            "Hold a config in which more than this percentage of the flags in use vanish; 100 never holds. "
            "By default one in which all of 5 or more flags vanish.",
            example="20",
        ),
    ] = None
    max_failing_percent: Annotated[
        Percent | None,
        option(
            "Hold a config in which more than this percentage of the flags in use begin to fail; 100 never holds. "
            "By default one in which all of 5 or more flags fail.",
            example="10",
        ),
    ] = None
    max_impact_percent: Annotated[
        Percent | None,
        option(
            "Hold a config that changes what more than this percentage of the users with open streams see; none is "
            "held with fewer than 20 users. By default there is no limit.",
            example="50",
        ),
    ] = None


class Sdk(Section, frozen=True):
    """One served config."""

    key: Annotated[
        str,
        option(
            "SDK key of the config, which clients may use in place of the SDK id. Usually set by `CONFIGCAT_SDKS`.",
            hidden="key",
        ),
    ] = ""
    base_url: Annotated[
        str, option("Base URL to fetch from instead of the CDN.", hidden="userinfo", example="https://cdn.example.com")
    ] = ""
    poll_interval: Annotated[float, option("Seconds between fetches; 0 or less means 60.")] = 60
    data_governance: Annotated[
        Literal["global", "eu"],
        option(
            "CDN to fetch from: `global`, or `eu` for the European Union.",
            error="sdk-{id}: invalid data governance value, it must be 'global' or 'eu'",
        ),
    ] = "global"
    webhook_signing_key: Annotated[
        str,
        option(
            "Key with which requests to `/hook/<id>` must be signed; empty means no signature is required.",
            hidden="all",
        ),
    ] = ""
    webhook_signature_valid_for: Annotated[
        float, option("Seconds for which a signature is valid; at least 5 if a key is set.")
    ] = 300
    default_user_attributes: Annotated[
        Attributes,
        option(
            "User attributes for requests of this SDK that do not set them.",
            error=ATTRIBUTE_ERROR,
            example="{Country: DE, Plans: [free, pro]}",
        ),
    ] = {}
    log: Annotated[Log, option("Log of this SDK.")] = Log()
    offline: Annotated[SdkOffline, option("Serving this SDK without requests to its upstream.")] = SdkOffline()
    guard: Annotated[
        Guard,
        option("Limits for a new config of this SDK; default to `upstream.guard`.", not_in_configcat_proxy=True),
    ] = Guard()
    environment_id: Annotated[
        int | None,
        option(
            "Number of this SDK in webhooks of the formats `environment` and `audit_log`; assigned if not set.",
            not_in_configcat_proxy=True,
        ),
    ] = None


class HttpProxy(Section, frozen=True):
    """A forward proxy."""

    url: Annotated[
        str,
        option(
            "URL of a forward proxy for requests to upstreams; "
            "if empty, `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` decide.",
            hidden="userinfo",
            example="http://proxy.example.com:3128",
        ),
    ] = ""


class CacheFile(Section, frozen=True):
    """The last good config of each SDK on disk; not in ConfigCat Proxy."""

    enabled: Annotated[
        bool,
        option("Keep the last good config of each SDK on disk, and serve it after a start until a fetch succeeds."),
    ] = True
    path: Annotated[
        str,
        option(
            "Directory of these configs; empty means `configs` in the state directory. It is created if it is missing.",
            example="/var/lib/flaggateway/configs",
        ),
    ] = ""


class Upstream(Section, frozen=True):
    """Fetching of config JSON; not in ConfigCat Proxy."""

    timeout: Annotated[float, option("Seconds that one whole fetch may take.", gt=0)] = 30
    connect_timeout: Annotated[float, option("Seconds that a connection may take to open.", gt=0)] = 10
    max_bytes: Annotated[int, option("Largest accepted config JSON in bytes, also after decompression.", ge=1024)] = (
        64 * 1024 * 1024
    )
    ca_file: Annotated[
        str,
        option(
            "PEM file of certificate authorities to trust in addition to those of the system.",
            example="/etc/flaggateway/tls/ca.pem",
        ),
    ] = ""
    guard: Annotated[Guard, option("Limits for new configs: one beyond them is held until it is accepted.")] = Guard()
