"""Which forward proxy, if any, a request goes through (pure; the environment is an argument)."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PORTS = {"http": 80, "https": 443}


@frozen
class Proxy:
    """A forward proxy; ``authorization`` is the value of Proxy-Authorization, or empty."""

    host: str
    port: int
    tls: bool = False
    authorization: bytes = field(default=b"", repr=False)


class BadProxy(ValueError):
    """A proxy URL cannot be used; the text holds neither the URL nor its password."""


def parse_proxy(url: str) -> Proxy:
    """Read ``http://user:password@host:port``; a scheme may be missing.  Raises ``BadProxy``."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise BadProxy("the proxy URL cannot be parsed") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadProxy("the proxy URL must be http://host:port or https://host:port")
    authorization = b""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(pair.encode())
    return Proxy(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https", authorization)


def route(
    configured: str, environ: Mapping[str, str], complain: Callable[[str, str], None]
) -> Callable[[str, str, int], Proxy | None]:
    """A function of scheme, host and port that gives the proxy to use, or None for a direct connection.

    A usable *configured* URL serves every request; else HTTP_PROXY, HTTPS_PROXY and NO_PROXY of *environ*
    (lower case too) decide, and loopback is always direct, as with the standard clients of the peer.
    Unusable URLs are ignored after ``complain(where, why)``.
    """
    fixed = _try("http_proxy.url", configured, complain)
    if fixed is not None:
        return lambda _scheme, _host, _port: fixed
    by_scheme = {
        scheme: _try(f"{scheme.upper()}_PROXY", _either(environ, f"{scheme}_proxy"), complain) for scheme in _PORTS
    }
    exceptions = [rule.strip().lower() for rule in _either(environ, "no_proxy").split(",") if rule.strip()]

    def choose(scheme: str, host: str, port: int) -> Proxy | None:
        if _loopback(host) or any(_excepts(rule, host.lower().rstrip("."), port) for rule in exceptions):
            return None
        return by_scheme.get(scheme)

    return choose


def _try(where: str, url: str, complain: Callable[[str, str], None]) -> Proxy | None:
    if not url:
        return None
    try:
        return parse_proxy(url)
    except BadProxy as bad:
        complain(where, str(bad))
        return None


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper(), "") or environ.get(name, "")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _excepts(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    if _in_network(rule, host):
        return True
    # A port may follow one colon, or brackets; more colons are an IPv6 address.
    name, _, wanted_port = rule.rpartition(":") if rule.count(":") == 1 or rule.startswith("[") else (rule, "", "")
    if wanted_port and wanted_port != str(port):
        return False
    name = name.strip("[]").removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def _in_network(rule: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(rule, strict=False)
    except ValueError:
        return False
