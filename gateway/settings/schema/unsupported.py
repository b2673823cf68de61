"""Options of ConfigCat Proxy that are not supported yet: they are validated, and reported if set."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from gateway.settings.marks import note
from gateway.settings.schema.base import SHORT_INTERVAL, Log, Section, Tls


class KeepAlive(Section, frozen=True):
    """Limits of gRPC connections; 0 means the default of gRPC."""

    max_connection_idle: Annotated[float, note("Seconds after which an idle connection is closed.", ge=0)] = 0
    max_connection_age: Annotated[float, note("Seconds after which any connection is closed.", ge=0)] = 0
    max_connection_age_grace: Annotated[float, note("Seconds that calls may take to end before that.", ge=0)] = 0
    time: Annotated[float, note("Seconds of silence after which a ping is sent.", ge=0)] = 0
    timeout: Annotated[float, note("Seconds to wait for the answer to a ping.", ge=0)] = 0


class Grpc(Section, frozen=True):
    """The gRPC server."""

    enabled: Annotated[bool, note("Whether the gRPC server runs.")] = True
    port: Annotated[int, note("TCP port to listen on.", ge=1, le=65535, error="{section}: invalid port {found}")] = (
        50051
    )
    health_check_enabled: Annotated[bool, note("Whether the health service answers.")] = True
    server_reflection_enabled: Annotated[bool, note("Whether the reflection service answers.")] = False
    keep_alive: Annotated[KeepAlive, note("Limits of connections.")] = field(default_factory=KeepAlive)
    log: Annotated[Log, note("Log of the gRPC server.")] = field(default_factory=Log)


class Redis(Section, frozen=True):
    """A Redis server or cluster."""

    enabled: Annotated[bool, note("Whether this cache is used.")] = False
    addresses: Annotated[list[str], note("Host and port of each server; several form a cluster.")] = field(
        default_factory=lambda: ["localhost:6379"]
    )
    db: Annotated[int, note("Number of the database; not used with a cluster.", ge=0)] = 0
    user: Annotated[str, note("User name.")] = ""
    password: Annotated[str, note("Password.", hidden="all")] = ""
    tls: Annotated[Tls, note("TLS of the connections to the server.")] = field(default_factory=Tls)


class MongoDb(Section, frozen=True):
    """A MongoDB collection."""

    enabled: Annotated[bool, note("Whether this cache is used.")] = False
    url: Annotated[str, note("Connection URI.", hidden="url")] = ""
    database: Annotated[str, note("Name of the database.")] = "configcat_proxy"
    collection: Annotated[str, note("Name of the collection.")] = "cache"
    tls: Annotated[Tls, note("TLS of the connections to the server.")] = field(default_factory=Tls)


class DynamoDb(Section, frozen=True):
    """A DynamoDB table; credentials and region come from the AWS environment."""

    enabled: Annotated[bool, note("Whether this cache is used.")] = False
    url: Annotated[str, note("Endpoint to use instead of that of the region.", hidden="userinfo")] = ""
    table: Annotated[str, note("Name of the table, which must exist.")] = "configcat_proxy_cache"


class Cache(Section, frozen=True):
    """Shared caches of config JSON."""

    redis: Annotated[Redis, note("Redis.", restart=True, later="warn")] = field(default_factory=Redis)
    mongodb: Annotated[MongoDb, note("MongoDB.", restart=True, later="warn")] = field(default_factory=MongoDb)
    dynamodb: Annotated[DynamoDb, note("DynamoDB.", restart=True, later="warn")] = field(default_factory=DynamoDb)


class ProfileSdks(Section, frozen=True):
    """Options of the SDKs of a profile."""

    base_url: Annotated[str, note("Base URL to fetch from instead of the CDN.", hidden="userinfo")] = ""
    log: Annotated[Log, note("Log of these SDKs.")] = field(default_factory=Log)


class Profile(Section, frozen=True):
    """SDKs from a proxy profile."""

    key: Annotated[
        str, note("Key of the profile; if set, SDKs come from the profile.", hidden="key", later="error", quiet=("",))
    ] = ""
    secret: Annotated[str, note("Secret of the profile.", hidden="all")] = ""
    base_url: Annotated[str, note("Address of the management API.", hidden="userinfo")] = "https://api.configcat.com"
    poll_interval: Annotated[float, note("Seconds between reads of the profile; at least 60.")] = 300
    webhook_signing_key: Annotated[
        str, note("Key with which requests to `/hook/<id>` must be signed.", hidden="all")
    ] = ""
    webhook_signature_valid_for: Annotated[
        float, note("Seconds for which a signature is valid; at least 5 if a key is set.")
    ] = 300
    log: Annotated[Log, note("Log of the profile.")] = field(default_factory=Log)
    sdks: Annotated[ProfileSdks, note("Options of the SDKs of the profile.")] = field(default_factory=ProfileSdks)


class GlobalOffline(Section, frozen=True):
    """Serving every SDK from the cache."""

    enabled: Annotated[
        bool, note("Serve every SDK without its own `offline.enabled` from the cache.", later="error", quiet=(False,))
    ] = False
    cache_poll_interval: Annotated[
        float,
        note(
            "Seconds between reads of the cache.",
            ge=SHORT_INTERVAL,
            error="offline: cache poll interval must be greater than 1 seconds",
        ),
    ] = 5
    log: Annotated[Log, note("Log of the offline source.")] = field(default_factory=Log)
