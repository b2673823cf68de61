"""Options of ConfigCat Proxy that are not supported yet: they are validated, and reported if set."""

from typing import Annotated

from gateway.settings.schema.base import Log, Section, Tls
from gateway.settings.schema.option import option


class KeepAlive(Section, frozen=True):
    """Limits of gRPC connections; 0 means the default of gRPC."""

    max_connection_idle: Annotated[float, option("Seconds after which an idle connection is closed.", ge=0)] = 0
    max_connection_age: Annotated[float, option("Seconds after which any connection is closed.", ge=0)] = 0
    max_connection_age_grace: Annotated[float, option("Seconds that calls may take to end before that.", ge=0)] = 0
    time: Annotated[float, option("Seconds of silence after which a ping is sent.", ge=0)] = 0
    timeout: Annotated[float, option("Seconds to wait for the answer to a ping.", ge=0)] = 0


class Grpc(Section, frozen=True):
    """The gRPC server."""

    enabled: Annotated[bool, option("Whether the gRPC server runs.")] = True
    port: Annotated[int, option("TCP port to listen on.", ge=1, le=65535, error="{section}: invalid port {found}")] = (
        50051
    )
    health_check_enabled: Annotated[bool, option("Whether the health service answers.")] = True
    server_reflection_enabled: Annotated[bool, option("Whether the reflection service answers.")] = False
    keep_alive: Annotated[KeepAlive, option("Limits of connections.")] = KeepAlive()
    log: Annotated[Log, option("Log of the gRPC server.")] = Log()


class MongoDb(Section, frozen=True):
    """A MongoDB collection."""

    enabled: Annotated[bool, option("Whether this cache is used.")] = False
    url: Annotated[str, option("Connection URI.", hidden="url")] = ""
    database: Annotated[str, option("Name of the database.")] = "configcat_proxy"
    collection: Annotated[str, option("Name of the collection.")] = "cache"
    tls: Annotated[Tls, option("TLS of the connections to the server.")] = Tls()


class DynamoDb(Section, frozen=True):
    """A DynamoDB table; credentials and region come from the AWS environment."""

    enabled: Annotated[bool, option("Whether this cache is used.")] = False
    url: Annotated[str, option("Endpoint to use instead of that of the region.", hidden="userinfo")] = ""
    table: Annotated[str, option("Name of the table, which must exist.")] = "configcat_proxy_cache"


class ProfileSdks(Section, frozen=True):
    """Options of the SDKs of a profile."""

    base_url: Annotated[str, option("Base URL to fetch from instead of the CDN.", hidden="userinfo")] = ""
    log: Annotated[Log, option("Log of these SDKs.")] = Log()


class Profile(Section, frozen=True):
    """SDKs from a proxy profile."""

    key: Annotated[
        str,
        option(
            "Key of the profile; if set, SDKs come from the profile.",
            hidden="key",
            unsupported="error",
            supported_values=("",),
        ),
    ] = ""
    secret: Annotated[str, option("Secret of the profile.", hidden="all")] = ""
    base_url: Annotated[str, option("Address of the management API.", hidden="userinfo")] = "https://api.configcat.com"
    poll_interval: Annotated[float, option("Seconds between reads of the profile; at least 60.")] = 300
    webhook_signing_key: Annotated[
        str, option("Key with which requests to `/hook/<id>` must be signed.", hidden="all")
    ] = ""
    webhook_signature_valid_for: Annotated[
        float, option("Seconds for which a signature is valid; at least 5 if a key is set.")
    ] = 300
    log: Annotated[Log, option("Log of the profile.")] = Log()
    sdks: Annotated[ProfileSdks, option("Options of the SDKs of the profile.")] = ProfileSdks()
