"""Which forward proxy, if any, a request goes through (pure; the environment is an argument)."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PORTS: Final = {"http": 80, "https": 443}


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
    """Parse ``http://user:password@host:port``; the scheme may be missing.

    :raises BadProxy: when ``url`` is not of that form
    """
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


@frozen
class ProxyRules:
    """The proxy of each request: ``fixed`` for all of them, else by scheme and host; equal rules choose alike."""

    fixed: Proxy | None
    by_scheme: Mapping[str, Proxy | None]
    exceptions: tuple[str, ...]

    @classmethod
    def from_settings(cls, url: str, environ: Mapping[str, str], warn: Callable[[str, str], None]) -> ProxyRules:
        """Use ``url`` for every request if it can be used, else the environment.

        The environment's rules are those of ConfigCat Proxy's HTTP clients: HTTP_PROXY, HTTPS_PROXY and NO_PROXY,
        also in lower case, and no proxy for loopback.  A URL that cannot be used is ignored after ``warn(where, why)``.
        """
        fixed = _usable("http_proxy.url", url, warn)
        if fixed is not None:
            return cls(fixed, {}, ())
        by_scheme = {
            scheme: _usable(f"{scheme.upper()}_PROXY", _variable(environ, f"{scheme}_proxy"), warn) for scheme in _PORTS
        }
        rules = (rule.strip().lower() for rule in _variable(environ, "no_proxy").split(","))
        return cls(None, by_scheme, tuple(rule for rule in rules if rule))

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for a request; None for a direct connection."""
        if self.fixed is not None:
            return self.fixed
        if _is_loopback(host) or any(_matches(rule, host.lower().rstrip("."), port) for rule in self.exceptions):
            return None
        return self.by_scheme.get(scheme)


def _usable(where: str, url: str, warn: Callable[[str, str], None]) -> Proxy | None:
    if not url:
        return None
    try:
        return parse_proxy(url)
    except BadProxy as bad:
        warn(where, str(bad))
        return None


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper(), "") or environ.get(name, "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _matches(rule: str, host: str, port: int) -> bool:
    if rule == "*" or _in_network(rule, host):
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
