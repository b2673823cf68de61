"""Groups of options that several parts of the schema share."""

from typing import Annotated, Literal

from msgspec import Struct

from gateway.settings.schema.option import option

Level = Literal["debug", "info", "warn", "error"]
Attributes = dict[str, str | int | float | list[str]]

SHORT_INTERVAL = 1  # second; the shortest interval at which a file or a cache is read
ATTRIBUTE_ERROR = "'{key}' has an invalid type, only 'string', 'number', and 'string[]' types are allowed"


class Section(Struct, frozen=True, kw_only=True):
    """Base of every group of options; compared by value.

    Its lists and mappings are shared by several rooms and must not be changed.
    """


class Log(Section, frozen=True):
    """Log level of one component; ``load`` replaces None by the level that applies."""

    level: Annotated[Level | None, option("Lowest level that is logged; defaults to `log.level`.")] = None


class RootLog(Section, frozen=True):
    """Log level of all components without a level of their own."""

    level: Annotated[Level, option("Lowest level that is logged by components without a level of their own.")] = "warn"
    format: Annotated[
        Literal["text", "json"],
        option("Lines for people, or one JSON object per line.", not_in_configcat_proxy=True, restart=True),
    ] = "text"


class Certificate(Section, frozen=True):
    """One certificate chain and its private key, as files."""

    cert: Annotated[str, option("Path of the certificate chain in PEM.")] = ""
    key: Annotated[str, option("Path of the private key in PEM.")] = ""


class Tls(Section, frozen=True):
    """TLS of a server, or of the connections to a cache."""

    enabled: Annotated[bool, option("Whether TLS is on.", restart=True)] = False
    min_version: Annotated[
        Literal["1.0", "1.1", "1.2", "1.3"], option("Oldest version of TLS that is accepted; 1.0 and 1.1 are unsafe.")
    ] = "1.2"
    ciphers: Annotated[
        str,
        option(
            "Cipher suites of TLS 1.2 as an OpenSSL list; empty means Mozilla's intermediate list, which has forward"
            " secrecy and no CBC. With a `min_version` below 1.2 empty means OpenSSL's default, because older versions"
            " have no other suites. TLS 1.3 has suites of its own.",
            example="ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
        ),
    ] = ""
    server_name: Annotated[str, option("Host name of the certificate.")] = ""
    certificates: Annotated[
        list[Certificate],
        option(
            "Certificates, chosen by the server name that a client sends; the first one is the default.",
            example="[{cert: /etc/flaggateway/tls/cert.pem, key: /etc/flaggateway/tls/key.pem}]",
        ),
    ] = []


class BasicAuth(Section, frozen=True):
    """A user name and a password; both or neither."""

    user: Annotated[str, option("User name that callers must send.")] = ""
    password: Annotated[str, option("Password that callers must send.", hidden="all")] = ""
