"""Configs that several gateways share: the interface of the cache, Redis as one, and the source that uses it."""

from gateway.upstream.shared.cluster_view import ClusterView
from gateway.upstream.shared.interface import Place, SharedCache
from gateway.upstream.shared.redis_cache import RedisCache
from gateway.upstream.shared.source import SharedSource

__all__ = ("ClusterView", "Place", "RedisCache", "SharedCache", "SharedSource")
