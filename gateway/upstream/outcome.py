"""The results of a fetch as values, so that no caller has to catch a network exception, and their status records.

source.fetch() ──► Fetched | NotModified | Failed ──► Sdk ──► Snapshot, log, Reporter, Refreshed
"""

from enum import Enum
from hashlib import blake2b
from typing import Final

from attrs import frozen

# The texts of status records, which are ConfigCat Proxy's.
CDN_FETCHED: Final = "config fetched"
CDN_NOT_MODIFIED: Final = "config not modified"
CDN_FAILED: Final = "config fetch failed"
CDN_STATUS: Final = "unexpected response received: "  # the status line follows
FILE_RELOADED: Final = "file source reloaded"
FILE_NOT_MODIFIED: Final = "config from file not modified"
FILE_UNREADABLE: Final = "failed to read file"
FILE_UNPARSABLE: Final = "failed to parse JSON from file"
KEY_INVALID: Final = "SDK key is invalid"


class Kind(Enum):
    """Why a fetch failed; the values are metric labels."""

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
    """A complete body; ``etag`` is the upstream's verbatim, or ``etag_of`` the body."""

    body: bytes
    etag: str


@frozen
class NotModified:
    """The source still holds what it returned last time."""


@frozen
class Failed:
    """No usable body.

    ``reason`` is one line for log and caller and holds no SDK key, no URL and no user name.
    ``record`` is the status record where it differs from the source's usual one.
    """

    kind: Kind
    reason: str
    record: str | None = None


Outcome = Fetched | NotModified | Failed


@frozen
class Refreshed:
    """The result of ``Sdk.refresh``.

    ``error`` is None, or the text that the refresh route answers with.
    ``changed`` is true when this fetch brought a new config, which is already in place and published.
    """

    error: str | None = None
    changed: bool = False


def etag_of(body: bytes) -> str:
    """Return a weak ETag of the bytes, equal on every node: ``W/"<16 hex digits>"``."""
    return f'W/"{blake2b(body, digest_size=8).hexdigest()}"'
