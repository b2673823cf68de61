"""The metrics of the history of configs."""

from gateway.telemetry.series import Family, Gauge


class ConfigHistoryMetrics:
    """The ``HistoryMetrics`` of ``gateway.history``; without a history there are no series."""

    def __init__(self) -> None:
        self._recording = Gauge("flaggateway_history_recording", "Whether the history can be written.", ())
        self._configs = Gauge("flaggateway_history_configs", "Configs in the history.", ())
        self._bytes = Gauge("flaggateway_history_bytes", "Size of the history.", ())

    @property
    def families(self) -> tuple[Family, ...]:
        """The metrics for the registry."""
        return (self._recording, self._configs, self._bytes)

    def recording(self, ok: bool) -> None:  # noqa: FBT001 - the Protocol's signature
        """Set whether the history can be written."""
        self._recording.set((), int(ok))

    def stored(self, configs: int, size: int) -> None:
        """Set how many configs the file has, and the bytes of its pages in use."""
        self._configs.set((), configs)
        self._bytes.set((), size)
