"""Groups of options that several parts of the schema share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct, field

from gateway.settings.marks import note

Level = Literal["debug", "info", "warn", "error"]
Attributes = dict[str, str | int | float | list[str]]

SHORT_INTERVAL = 1  # second; the shortest pause between two looks at a file or a cache.


class Section(Struct, frozen=True, kw_only=True):
    """Base of every group of options; compared by value.

    Frozen, but its lists and mappings are plain ones: nobody may change them, since several rooms hold the same.
    """


class Log(Section, frozen=True):
    """Log level of one component; ``load`` fills in the one it falls back to."""

    level: Annotated[Level | None, note("Lowest level that is logged; not set means that of `log.level`.")] = None


class RootLog(Section, frozen=True):
    """Log level of all components that do not say otherwise."""

    level: Annotated[Level, note("Lowest level that is logged by components without a level of their own.")] = "warn"
    format: Annotated[
        Literal["text", "json"],
        note("Lines for people, or one JSON object per line.", ours=True, restart=True),
    ] = "text"


class Certificate(Section, frozen=True):
    """One certificate chain and its private key, as files."""

    cert: Annotated[str, note("Path of the certificate chain in PEM.")] = ""
    key: Annotated[str, note("Path of the private key in PEM.")] = ""


class Tls(Section, frozen=True):
    """TLS of a server, or towards a cache."""

    enabled: Annotated[bool, note("Whether TLS is spoken.", restart=True)] = False
    min_version: Annotated[
        Literal["1.0", "1.1", "1.2", "1.3"], note("Oldest version of TLS that is accepted; 1.0 and 1.1 are unsafe.")
    ] = "1.2"
    server_name: Annotated[str, note("Host name that the certificate is for.")] = ""
    certificates: Annotated[
        list[Certificate],
        note(
            "Certificates, chosen by the name that a client asks for; the first one is the default.",
            example="[{cert: /etc/flaggateway/tls/cert.pem, key: /etc/flaggateway/tls/key.pem}]",
        ),
    ] = field(default_factory=list)


class BasicAuth(Section, frozen=True):
    """A user and a password; both or none."""

    user: Annotated[str, note("User name that callers must give.")] = ""
    password: Annotated[str, note("Password that callers must give.", hidden="all")] = ""
