"""Connections to Redis: one server, a cluster, or the primary that Sentinel names; with TLS and a user.

Everything here blocks, so it runs in threads; ``redis`` is imported when a ``RedisClient`` is made, which a gateway
without Redis never does.
"""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from hashlib import sha1
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.settings import Redis

COMMAND_SECONDS: Final = 1.0  # for which a connection, and the answer to a command, is awaited
CONNECTION_SECONDS: Final = 600.0  # after which idle connections are opened again, so that a new address is found
DEFAULT_PORT: Final = 6379
_DENIED: Final = re.compile(r"NOPERM|can't run this command|can't access")
_VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class RedisFailed(Exception):
    """Redis did not run a command; the text is the reason in a few words, without address, user and password.

    ``refused`` is true if it has answered, so that other commands may succeed.
    """

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


@frozen
class Script:
    """A Lua script and its name at the server."""

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> Script:
        """Return the script with this text."""
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisClient:
    """Runs scripts and opens connections; may be used by several threads at once."""

    def __init__(self, settings: Redis) -> None:
        """Connect later: a server that cannot be reached is no obstacle."""
        import redis

        self._redis = redis
        self._settings = settings
        self.is_cluster = len(settings.addresses) > 1 and not settings.sentinel.name
        self._client: Any = None
        self._opened = 0.0

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Return the result of a script.

        :raises RedisFailed: with the reason
        """
        try:
            client = self._current()
            try:
                return client.evalsha(script.digest, len(keys), *keys, *arguments)
            except self._redis.exceptions.NoScriptError:
                return client.eval(script.text, len(keys), *keys, *arguments)
        except Exception as error:
            # A primary that became a replica refuses writes for ever: the next connection finds its successor.
            self.drop()
            raise RedisFailed(self.reason(error), refused=self.is_refusal(error)) from error

    def connection(self) -> Any:
        """Return a new open connection, which the caller disconnects: to the primary, or to one node of a cluster.

        :raises RedisFailed: with the reason
        """
        try:
            client = self._current()
            if self.is_cluster:
                client = client.get_redis_connection(client.get_random_primary_node())
            connection = client.connection_pool.make_connection()
            connection.connect()
        except Exception as error:
            raise RedisFailed(self.reason(error)) from error
        return connection

    def drop(self) -> None:
        """Close connections that are not in use; the next command opens one to an address that is looked up again."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # the connection is given up, whatever is wrong with it
                client.close()

    def is_refusal(self, error: Exception) -> bool:
        """Return whether the server has understood a command and refuses it, so that the connection is well."""
        return isinstance(error, self._redis.exceptions.ResponseError)

    def reason(self, error: Exception) -> str:
        """Return why a command failed, in a few words without address, user and password."""
        known = self._redis.exceptions
        reasons: tuple[tuple[type[Exception], str], ...] = (
            (known.AuthenticationError, "it refuses user or password"),
            (known.NoPermissionError, "the user may not run a command that is needed"),
            (known.ReadOnlyError, "it is a replica, which cannot be written"),
            (known.BusyLoadingError, "it loads its data"),
            (known.OutOfMemoryError, "its memory is full"),
            (known.MaxConnectionsError, "it has too many connections"),
            (known.TimeoutError, f"no answer within {COMMAND_SECONDS:g} s"),
            (ssl.SSLError, "the TLS handshake failed"),
            (known.ConnectionError, "the connection failed"),
            (known.RedisClusterException, "no node of the cluster can be reached"),
            (OSError, "the connection failed"),
        )
        if isinstance(error.__cause__ or error.__context__, ssl.SSLError):
            return "the TLS handshake failed"
        if isinstance(error, known.ResponseError) and _DENIED.search(str(error)):  # from inside a script
            return "the user may not run a command that is needed"
        for kind, words in reasons:
            if isinstance(error, kind):
                return words
        return f"unexpected error {type(error).__name__}"

    def _current(self) -> Any:
        if self._client is not None and monotonic() - self._opened > CONNECTION_SECONDS:
            self.drop()
        client = self._client
        if client is None:
            client, self._opened = self._open(), monotonic()
            self._client = client
        return client

    def _open(self) -> Any:
        redis, settings = self._redis, self._settings
        addresses = [_host_and_port(address) for address in settings.addresses]
        options: dict[str, Any] = {
            "socket_timeout": COMMAND_SECONDS,
            "socket_connect_timeout": COMMAND_SECONDS,
            "protocol": 2,  # with RESP3, calls of the server come between answers
            "driver_info": None,
            **self._tls(),
        }
        if settings.user:
            options["username"] = settings.user
        if settings.password:
            options["password"] = settings.password
        no_retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)  # the caller decides
        if settings.sentinel.name:
            sentinel = settings.sentinel
            own = {key: value for key, value in options.items() if key not in {"username", "password"}}
            if sentinel.password:
                own["password"] = sentinel.password
            if settings.tls.server_name and settings.tls.enabled:
                base = redis.sentinel.SentinelManagedSSLConnection
                options["connection_class"] = _with_name(base, settings.tls.server_name)
            found = redis.sentinel.Sentinel(addresses, sentinel_kwargs={**own, "retry": no_retry}, **options)
            return found.master_for(sentinel.name, db=settings.db, retry=no_retry)
        if self.is_cluster:
            nodes = [redis.cluster.ClusterNode(host, port) for host, port in addresses]
            # One retry: the first answer after a failover is the new address.
            retry = redis.retry.Retry(redis.backoff.NoBackoff(), 1)
            return redis.cluster.RedisCluster(startup_nodes=nodes, retry=retry, **options)
        host, port = addresses[0]
        if settings.tls.server_name and options.pop("ssl", False):
            base = redis.connection.SSLConnection
            options["connection_class"] = _with_name(base, settings.tls.server_name)
            where = {"host": host, "port": port, "db": settings.db, "retry": no_retry}
            return redis.Redis(connection_pool=redis.ConnectionPool(**where, **options))
        return redis.Redis(host=host, port=port, db=settings.db, retry=no_retry, **options)

    def _tls(self) -> dict[str, Any]:
        tls = self._settings.tls
        if not tls.enabled:
            return {}
        options: dict[str, Any] = {"ssl": True, "ssl_min_version": _VERSIONS[tls.min_version]}
        if tls.ciphers:
            options["ssl_ciphers"] = tls.ciphers
        if tls.certificates:
            options |= {"ssl_certfile": tls.certificates[0].cert, "ssl_keyfile": tls.certificates[0].key}
        return options


def _with_name(base: Any, name: str) -> Any:
    """Return a class of connections whose server has a certificate for ``name``."""

    class Named(base):  # type: ignore[misc]  # a class that is known at run time only
        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            host: str = getattr(self, "host")  # noqa: B009 - unknown to the type checker
            self.host = name
            try:
                return super()._wrap_socket_with_ssl(sock)
            finally:
                self.host = host

    return Named


def _host_and_port(address: str) -> tuple[str, int]:
    """Return both parts of ``host:port``, ``[IPv6 address]:port`` or a host alone."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return address.strip("[]"), DEFAULT_PORT
    return host.strip("[]"), int(port)
