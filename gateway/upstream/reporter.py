"""What the SDKs report of their fetches."""

from typing import Protocol


class Reporter(Protocol):
    """Reports fetches on the status page and in the metrics; its methods must not raise.

    They are called in the reactor thread, before a new config is published.
    """

    def record(self, sdk_id: str, ok: bool, message: str) -> None:  # noqa: FBT001 - one of three columns
        """Add one status record; ``message`` is a text of ``outcome`` and holds no secret."""

    def fetched(self, sdk_id: str, outcome: str, seconds: float) -> None:
        """Count one fetch; ``outcome`` is ``changed``, ``not_modified`` or the value of a ``Kind``."""

    def confirmed(self, sdk_id: str) -> None:
        """Note that the source still has the config of its last fetch, without another fetch."""

    def stale(self, sdk_id: str, fetched_at: float | None) -> None:
        """Show that an SDK serves the cached config of that fetch, in Unix seconds; None when a fetch has succeeded."""
