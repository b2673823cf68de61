"""Options of the caches of config JSON, and of gateways that share one."""

from typing import Annotated

from msgspec import field

from gateway.settings.schema.base import SHORT_INTERVAL, Log, Section, Tls
from gateway.settings.schema.option import option
from gateway.settings.schema.sdk import CacheFile
from gateway.settings.schema.unsupported import DynamoDb, MongoDb


class Sentinel(Section, frozen=True):
    """The Sentinel processes that know which Redis server is the primary; not in ConfigCat Proxy."""

    name: Annotated[
        str,
        option(
            "Name of the primary at Sentinel; if set, `cache.redis.addresses` are those of Sentinel.",
            example="mymaster",
        ),
    ] = ""
    password: Annotated[str, option("Password of Sentinel, if it has one of its own.", hidden="all")] = ""


class Redis(Section, frozen=True):
    """A Redis server, a cluster, or a primary with Sentinel."""

    enabled: Annotated[bool, option("Whether this cache is used.")] = False
    addresses: Annotated[list[str], option("Host and port of each server; several form a cluster.")] = field(
        default_factory=lambda: ["localhost:6379"]
    )
    db: Annotated[int, option("Number of the database; not used with a cluster.", ge=0)] = 0
    user: Annotated[str, option("User name.")] = ""
    password: Annotated[str, option("Password.", hidden="all")] = ""
    sentinel: Annotated[Sentinel, option("The primary of a Redis with Sentinel.", not_in_configcat_proxy=True)] = (
        Sentinel()
    )
    tls: Annotated[
        Tls,
        option(
            "TLS of the connections to the server, whose certificate must be valid for its host name. "
            "`SSL_CERT_FILE` names further certificate authorities; the first certificate is that of the client."
        ),
    ] = Tls()


class Cache(Section, frozen=True):
    """Caches of config JSON."""

    file: Annotated[
        CacheFile,
        option(
            "The last good configs on disk; not used by SDKs that read a local file.",
            restart=True,
            not_in_configcat_proxy=True,
        ),
    ] = CacheFile()
    redis: Annotated[
        Redis,
        option(
            "Redis, through which several gateways, ConfigCat SDKs and ConfigCat Proxies share configs.", restart=True
        ),
    ] = Redis()
    mongodb: Annotated[MongoDb, option("MongoDB.", restart=True, unsupported="warn")] = MongoDb()
    dynamodb: Annotated[DynamoDb, option("DynamoDB.", restart=True, unsupported="warn")] = DynamoDb()


class Cluster(Section, frozen=True):
    """Gateways that share a cache; not in ConfigCat Proxy."""

    name: Annotated[
        str, option("Name of the cluster, with which the keys of its gateways begin in the shared cache.")
    ] = "flaggateway"
    node: Annotated[
        str,
        option(
            "Name of this gateway in the cluster, different from all others; empty means the host name, with a random "
            "ending where `outbox.url` is set."
        ),
    ] = ""


class GlobalOffline(Section, frozen=True):
    """Serving every SDK from the cache."""

    enabled: Annotated[bool, option("Serve every SDK without its own `offline.enabled` from the shared cache.")] = False
    cache_poll_interval: Annotated[
        float,
        option(
            "Seconds between reads of the cache; changes that are reported arrive at once.",
            ge=SHORT_INTERVAL,
            error="offline: cache poll interval must be greater than 1 seconds",
        ),
    ] = 5
    log: Annotated[Log, option("Log of the offline source.")] = Log()
