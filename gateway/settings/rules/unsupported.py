"""Rules of the options that are not built yet: a file that the replaced system refuses is refused here too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.settings.rules.general import SHORTEST_VALIDITY, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings.schema.root import Otlp, Settings

SHORTEST_PROFILE_INTERVAL: Final = 60  # seconds; the limit of the replaced system.
_PROTOCOLS: Final = ("http", "https", "grpc")


def later_errors(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with options whose feature does not exist yet."""
    yield from _profile(settings)
    yield from _otlp(("diag", "metrics", "otlp"), settings.diag.metrics.otlp)
    yield from _otlp(("diag", "traces", "otlp"), settings.diag.traces.otlp)
    cache = settings.cache
    if cache.redis.enabled and not cache.redis.addresses:
        yield Finding(("cache", "redis", "addresses"), "redis: at least 1 server address required")
    if cache.mongodb.enabled and not cache.mongodb.url:
        yield Finding(("cache", "mongodb", "url"), "mongodb: invalid connection uri")
    cached = cache.redis.enabled or cache.mongodb.enabled or cache.dynamodb.enabled
    if settings.offline.enabled and not cached:
        yield Finding(("offline", "enabled"), "offline: global offline mode enabled, but no cache is configured")


def _profile(settings: Settings) -> Iterator[Finding]:
    profile = settings.profile
    if not profile.key:
        return
    if not profile.secret and not settings.offline.enabled:
        yield Finding(("profile", "secret"), "profile: proxy is in online mode without a profile secret")
    if profile.poll_interval < SHORTEST_PROFILE_INTERVAL:
        text = "profile: auto configuration poll interval cannot be less than 60 seconds"
        yield Finding(("profile", "poll_interval"), text, found=f"{profile.poll_interval:g}")
    if profile.webhook_signing_key and profile.webhook_signature_valid_for < SHORTEST_VALIDITY:
        text = "profile: webhook signature validity check must be greater than 5 seconds"
        path = ("profile", "webhook_signature_valid_for")
        yield Finding(path, text, found=f"{profile.webhook_signature_valid_for:g}")


def _otlp(path: tuple[str, ...], otlp: Otlp) -> Iterator[Finding]:
    if otlp.enabled and otlp.protocol not in _PROTOCOLS:
        text = f"diag: invalid otlp protocol {otlp.protocol[:20]} (only 'http', 'https', or 'grpc' allowed)"
        yield Finding((*path, "protocol"), text)
