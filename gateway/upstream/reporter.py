"""Where fetches are told: the status page and the metrics implement this Protocol."""

from __future__ import annotations

from typing import Protocol

CDN_FETCHED = "config fetched"
CDN_NOT_MODIFIED = "config not modified"
CDN_FAILED = "config fetch failed"
CDN_STATUS = "unexpected response received: "  # the status line follows
FILE_RELOADED = "file source reloaded"
FILE_NOT_MODIFIED = "config from file not modified"
FILE_UNREADABLE = "failed to read file"
FILE_UNPARSABLE = "failed to parse JSON from file"
KEY_INVALID = "SDK key is invalid"


class Reporter(Protocol):
    """Told of each fetch, in the reactor thread, after its result is in place; must not raise."""

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001
        """One status record; *message* is one of this module's texts and holds no secret."""

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """One measurement; *outcome* is ``changed``, ``not_modified`` or the value of a ``Kind``."""


class NoReporter:
    """Tells nobody."""

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001
        """Forget it."""

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """Forget it."""
