"""What one fetch can come to: values, so that no caller has to catch an exception of the network.

source.fetch() ──► Fetched | NotModified | Failed ──► Sdk ──► Snapshot, log, status, Refreshed
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b

from attrs import frozen


class Kind(Enum):
    """Why a fetch failed; a closed set, fit for a metric's label."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    TLS = "tls"
    PROXY = "proxy"
    PROTOCOL = "protocol"
    STATUS = "status"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    ENCODING = "encoding"
    REDIRECT = "redirect"
    CONFIG = "config"
    FILE = "file"
    KEY = "key"
    STOPPED = "stopped"


@frozen
class Fetched:
    """A complete body; ``etag`` is the upstream's verbatim, or one made from the body."""

    body: bytes
    etag: str


@frozen
class NotModified:
    """The source still holds what it gave last time."""


@frozen
class Failed:
    """Nothing usable came.

    ``reason`` is one line for log and caller and holds no SDK key, no URL and no user name.
    ``record`` is the line for the status page where it differs from the source's usual one.
    """

    kind: Kind
    reason: str
    record: str | None = None


Outcome = Fetched | NotModified | Failed


@frozen
class Refreshed:
    """What a caller of ``Sdk.refresh`` gets.

    ``error`` is None, or the text that the refresh route answers with.
    ``changed`` says that this fetch brought a new config, which is in place and published already.
    """

    error: str | None = None
    changed: bool = False


def made_etag(body: bytes) -> str:
    """A weak ETag of the bytes, equal on every node: ``W/"<16 hex digits>"``."""
    return f'W/"{blake2b(body, digest_size=8).hexdigest()}"'
