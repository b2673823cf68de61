"""The config caches that the settings name, and the cluster of gateways that share one."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from gateway.clocks import wall_clock
from gateway.settings import masked
from gateway.storage import config_cache_path
from gateway.upstream import ClusterView, FileCache, MirroredCache, PostgresCache, RedisCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.threadpool import ThreadPool

    from gateway.serving import Server
    from gateway.settings import Settings
    from gateway.storage import OutboxStore
    from gateway.telemetry import Metrics, ProcessStatus, Status
    from gateway.upstream import Meets, Registry, Sdk, SharedCache

# Command and what ConfigCat Proxy calls it in the records of its cache.
_RECORDED: Final = {"look": "read", "put": "write", "touch": "write", "mirror": "write"}
_COPY_EFFECT: Final = "ConfigCat SDKs and ConfigCat Proxies that read it get no changes, clients of this node do"
_COMPARED: Final = ("sdks", "default_user_attributes", "upstream", "webhooks", "project", "offline")


def file_cache(settings: Settings, reactor: Any, threads: ThreadPool, wall: Callable[[], float]) -> FileCache | None:
    """Return the cache of the last good configs on disk; None where it is switched off, or has no directory."""
    options = settings.cache.file
    path = config_cache_path(options.path, os.environ, Path.home()) if options.enabled else None
    if path is None:
        return None
    return FileCache(path, lambda work: deferToThreadPool(reactor, threads, work), wall)


class SharedConfigs:
    """The cache that several gateways share, and what they know of each other; ``cache`` is None without one.

    One engine decides the order of configs: PostgreSQL where ``outbox.url`` is set, so that changes, messages and
    configs have one order, else Redis.  With both, Redis gets a copy for ConfigCat SDKs and ConfigCat Proxies.
    ``followed`` is what SDKs without an upstream read: Redis, if there is one, into which their leaders write.
    """

    def __init__(self, reactor: Any, settings: Settings, host: str, metrics: Metrics, status: Status) -> None:
        self.cache: SharedCache | None = None
        self.followed: SharedCache | None = None
        self._meets: Meets | None = None
        self._redis: RedisCache | None = None
        self._postgres: PostgresCache | None = None
        self._view: ClusterView | None = None
        self._reactor = reactor
        self._metrics = metrics.shared_cache
        self._status = status
        self._lags: dict[str, float] = {}  # of the last config of each SDK that came from another node
        self._choose(settings, host)

    def _choose(self, settings: Settings, host: str) -> None:
        node = settings.cluster.node
        if settings.outbox.url:
            # Several gateways of one host have worked with one outbox before it held their configs.
            name = node or f"{host}-{token_hex(4)}"
            self.cache = self._meets = self._postgres = PostgresCache(self._reactor, node=name, counted=self._counted)
        if settings.cache.redis.enabled:
            effect = {"effect": _COPY_EFFECT} if self._postgres is not None else {}
            self._redis = self.followed = RedisCache(
                self._reactor, settings.cache.redis, name=settings.cluster.name, node=node or host,
                counted=self._counted, **effect,
            )  # fmt: skip
            if self._postgres is None:
                self.cache = self._meets = self._redis
            else:
                self.cache = MirroredCache(self._postgres, self._redis)

    def adopted(self, sdk_id: str, lag: float) -> None:
        """Note that a config that another node has stored is used, ``lag`` seconds later."""
        self._lags[sdk_id] = lag
        self._metrics.adopted(sdk_id, lag)

    def start(self, database: OutboxStore | None) -> None:
        """Connect, in the background; ``database`` is that of ``outbox.url``."""
        if self._redis is not None:
            self._redis.start()
        if self._postgres is not None and database is not None and database.shared is not None:
            self._postgres.start(database.shared)

    def show(self, registry: Registry, server: Server, process: ProcessStatus, changed: Callable[[], None]) -> None:
        """Report this node to the others, and show them; ``changed`` is called when problems may have changed."""
        if self._meets is None:
            return

        def met(count: int) -> None:
            self._metrics.nodes(count)
            for sdk_id, source in registry.sharing.items():
                self._metrics.polls(sdk_id, source.polls)
            changed()

        def own() -> dict[str, Any]:
            return {
                "version": process.version,
                "started": process.started,
                "workers": len(server.workers()) or 1,
                "streams": server.stream_count,
                "draining": not server.serving,
                "settings": _digest(registry.settings),
                "sdks": {
                    sdk_id: {"v": source.have.version, "polls": source.polls, "lag": self._lags.get(sdk_id)}
                    | _config(registry.by_id(sdk_id))
                    for sdk_id, source in registry.sharing.items()
                    if source.have is not None
                },
            }

        self._view = ClusterView(self._reactor, self._meets, own, wall_clock(self._reactor), met)
        self._status.cluster = self._view.document
        self._view.start()

    def leave(self) -> Deferred[None]:
        """Take this node out of the cluster; fires within a second."""
        return succeed(None) if self._view is None else self._view.stop()

    def stop(self) -> None:
        """Close the connections to Redis, and use the database no more."""
        if self._redis is not None:
            self._redis.stop()
        if self._postgres is not None:
            self._postgres.stop()

    def problems(self) -> list[str]:
        """Return a sentence for each problem of the cluster; those of the cache itself are the registry's."""
        return [] if self._view is None else self._view.problems()

    def _counted(self, operation: str, outcome: str) -> None:
        self._metrics.operation(operation, outcome)
        if operation in _RECORDED:
            ok = outcome != "failed"
            self._status.cache_record(ok, f"cache {_RECORDED[operation]} {'succeeded' if ok else 'failed'}")


def _config(sdk: Sdk | None) -> dict[str, Any]:
    """Return which config an SDK serves, and since when."""
    current = None if sdk is None else sdk.guard.current
    return {} if current is None else {"tag": current.snapshot.tag, "since": current.at}


def _digest(settings: Settings) -> str:
    """Return a text that differs for settings whose difference would make nodes answer differently."""
    shown = masked(settings)
    text = json.dumps({name: shown[name] for name in _COMPARED}, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:12]
