"""The metrics of the history, as it reports them."""

from typing import Protocol


class HistoryMetrics(Protocol):
    """Called in the reactor thread; no method raises."""

    def recording(self, ok: bool) -> None:  # noqa: FBT001 - reads well in its two calls
        """Set whether the history can be written."""

    def stored(self, configs: int, size: int) -> None:
        """Set how many configs the file has, and the bytes of its pages in use."""
