"""Configs that several gateways share: the interface of the cache, its kinds, and the source that uses it.

SharedSource ──► SharedCache: RedisCache, PostgresCache, or MirroredCache: PostgreSQL decides, Redis gets a copy
"""

from gateway.upstream.shared.cluster_view import ClusterView
from gateway.upstream.shared.interface import Meets, Place, SharedCache
from gateway.upstream.shared.mirrored_cache import MirroredCache
from gateway.upstream.shared.postgres_cache import PostgresCache
from gateway.upstream.shared.redis_cache import RedisCache
from gateway.upstream.shared.source import SharedSource

__all__ = (
    "ClusterView",
    "Meets",
    "MirroredCache",
    "Place",
    "PostgresCache",
    "RedisCache",
    "SharedCache",
    "SharedSource",
)
