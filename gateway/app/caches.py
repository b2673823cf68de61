"""The config caches that the settings ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.threads import deferToThreadPool

from gateway.storage import config_cache_path
from gateway.upstream import FileCache, RedisCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.threadpool import ThreadPool

    from gateway.settings import Settings


def file_cache(settings: Settings, reactor: Any, threads: ThreadPool, wall: Callable[[], float]) -> FileCache | None:
    """Return the cache of the last good configs on disk; None where it is switched off, or has no directory."""
    options = settings.cache.file
    path = config_cache_path(options.path, os.environ, Path.home()) if options.enabled else None
    if path is None:
        return None
    return FileCache(path, lambda work: deferToThreadPool(reactor, threads, work), wall)


def shared_cache(settings: Settings, reactor: Any, host: str) -> RedisCache | None:
    """Return the cache that several gateways share, which is not started yet; None where none is configured."""
    if not settings.cache.redis.enabled:
        return None
    cluster = settings.cluster
    return RedisCache(reactor, settings.cache.redis, name=cluster.name, node=cluster.node or host)
