"""The results of a fetch as values, so that no caller has to catch a network exception, and their status records.

source.fetch() ──► Fetched | NotModified | Failed ──► Sdk ──► Snapshot, log, Reporter, Refreshed
"""

from enum import Enum
from hashlib import blake2b
from typing import Final

from attrs import field, frozen

from gateway.text import without_bom

# The texts of status records, which are ConfigCat Proxy's; those of failures are followed by cause and place.
CDN_FETCHED: Final = "config fetched"
CDN_NOT_MODIFIED: Final = "config not modified"
CDN_FAILED: Final = "config fetch failed"
CDN_STATUS: Final = "unexpected response received"
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
    CACHE = "cache"
    STOPPED = "stopped"


@frozen
class Fetched:
    """A complete body; ``etag`` is the upstream's verbatim, or ``etag_of`` the body.

    A byte order mark is removed: the body is served to SDKs, several of which cannot read it.
    ``accepted`` is true for a config that another node of the cluster has checked, and uses.
    """

    body: bytes = field(converter=without_bom)
    etag: str
    accepted: bool = False


@frozen
class NotModified:
    """The source still holds what it returned last time."""


@frozen
class Failed:
    """No usable body.

    ``reason`` is one line for the caller of a refresh, in the words of ConfigCat Proxy.
    ``record`` is the beginning of the status record where it differs from the source's usual one.
    ``cause`` is the reason in a few words, for log and status page, where the place stands beside it.
    None of them holds an SDK key, a URL, a host or a user name.
    """

    kind: Kind
    reason: str
    record: str | None = None
    cause: str = field()

    @cause.default
    def _cause(self) -> str:
        return self.reason


Outcome = Fetched | NotModified | Failed


@frozen
class Refreshed:
    """The result of ``Sdk.refresh``.

    ``error`` is None, or the text that the refresh route answers with.
    ``changed`` is true when this fetch brought a new config, which is already in place and published.
    ``cut_off`` is true if the fetch failed while changes that other nodes store could not reach this one.
    """

    error: str | None = None
    changed: bool = False
    cut_off: bool = False


def etag_of(body: bytes) -> str:
    """Return a weak ETag of the bytes, equal on every node: ``W/"<16 hex digits>"``."""
    return f'W/"{blake2b(body, digest_size=8).hexdigest()}"'
