"""The metrics of a config cache that several gateways share."""

from gateway.telemetry.series import Counter, Family, Gauge, Histogram

LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class SharedCacheMetrics:
    """Without a shared cache there are no series."""

    def __init__(self) -> None:
        self._operations = Counter(
            "flaggateway_config_cache_operations", "Commands for the shared config cache.", ("operation", "outcome")
        )
        self._nodes = Gauge("flaggateway_cluster_nodes", "Gateways that share the config cache.", ())
        self._polls = Gauge(
            "flaggateway_config_poller", "Whether this gateway polls the upstream of the SDK.", ("sdk_id",)
        )
        self._lag = Histogram(
            "flaggateway_config_lag_seconds",
            "Time from the storing of a config by another node to its use by this one.",
            ("sdk_id",),
            LAG_BUCKETS,
        )

    @property
    def families(self) -> tuple[Family, ...]:
        """The metrics for the registry."""
        return (self._operations, self._nodes, self._polls, self._lag)

    def operation(self, operation: str, outcome: str) -> None:
        """Count a command."""
        self._operations.add((operation, outcome), 1)

    def nodes(self, count: int) -> None:
        """Set the number of nodes; 0 while the cache cannot be used."""
        self._nodes.set((), count)

    def polls(self, sdk_id: str, mine: bool) -> None:  # noqa: FBT001 - a gauge of 1 or 0
        """Set whether this node has the lease for polling, or polls because the cache cannot be used."""
        self._polls.set((sdk_id,), int(mine))

    def adopted(self, sdk_id: str, lag: float) -> None:
        """Note that a config of another node is used, ``lag`` seconds after it was stored."""
        self._lag.series((sdk_id,)).observe(lag)

    def sdk_removed(self, sdk_id: str) -> None:
        """Remove the series of an SDK."""
        self._lag.drop(sdk_id)
        self._polls.drop(sdk_id)
