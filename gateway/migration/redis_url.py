"""A Redis of another gateway as options of ``cache.redis``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.migration.values import Unusable

if TYPE_CHECKING:
    from gateway.migration.draft import Draft, Path

REDIS: Path = ("cache", "redis")
CONTENT = (
    "The gateway keeps configs of its own there, as ConfigCat's SDKs do, and reads nothing of the other gateway;"
    " their keys differ, so both can use the same database."
)


def redis_from_url(draft: Draft, url: str, source: str) -> None:
    """Set the options of Redis that a URL contains.

    :raises Unusable: if it is not the URL of a Redis over TCP
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        raise Unusable("not the URL of a Redis") from None
    if parts.scheme not in {"redis", "rediss", "tcp", "tls"} or not parts.hostname:
        raise Unusable("not the URL of a Redis over TCP")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    use_redis(draft, [f"{host}:{port}"], source)
    if parts.scheme in {"rediss", "tls"}:
        draft.set((*REDIS, "tls", "enabled"), value=True, source=source)
    for option, value in (("user", parts.username), ("password", parts.password)):
        if value:
            draft.set((*REDIS, option), unquote(value), source)
    number = parts.path.strip("/")
    if number.isdecimal() and int(number):
        draft.set((*REDIS, "db"), int(number), source)


def use_redis(draft: Draft, addresses: list[str], source: str) -> None:
    """Switch Redis on, with these addresses."""
    draft.set((*REDIS, "enabled"), value=True, source=source)
    draft.set((*REDIS, "addresses"), addresses, source)
    draft.remark(REDIS, CONTENT)
