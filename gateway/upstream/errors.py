"""Exceptions of the network, told apart: the one place that knows which library raises what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from OpenSSL.SSL import Error as TlsError
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.web.client import ResponseFailed
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss

from gateway.http_client.bounded_body import BadEncoding, TooLarge, Truncated
from gateway.http_client.connect_tunnel import TunnelRefused
from gateway.twisted_private import ParseError, RequestTransmissionFailed, ResponseNeverReceived
from gateway.upstream.outcome import Failed, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first line that fits any of an error's causes counts, so what is special stands above what comes along with it.
_TABLE: tuple[tuple[tuple[type[BaseException], ...], Kind, str], ...] = (
    ((TooLarge,), Kind.TOO_LARGE, "the config JSON is larger than upstream.max_bytes"),
    ((BadEncoding,), Kind.ENCODING, "the config JSON cannot be decompressed"),
    ((Truncated,), Kind.TRUNCATED, "the config JSON ended early"),
    ((CertificateError, VerificationError), Kind.TLS, "the upstream's certificate is for another host"),
    ((TlsError,), Kind.TLS, "the TLS handshake with the upstream failed"),
    ((ConnectTimeout,), Kind.TIMEOUT, "the connection timed out"),
    ((DNSLookupError,), Kind.CONNECT, "the host name cannot be resolved"),
    ((ConnectError,), Kind.CONNECT, "the connection failed"),
    ((ParseError,), Kind.PROTOCOL, "the upstream does not speak HTTP"),
    ((SchemeNotSupported,), Kind.PROTOCOL, "only http and https upstreams are supported"),
    ((CancelledError,), Kind.STOPPED, "the fetch was given up"),
    ((ConnectionLost, PotentialDataLoss), Kind.CONNECT, "the connection was lost"),
    ((ResponseNeverReceived, RequestTransmissionFailed, ResponseFailed), Kind.CONNECT, "the connection was lost"),
    ((ValueError,), Kind.REDIRECT, "the upstream redirects to an address that cannot be read"),  # of all URL parsers
)


def explained(error: BaseException) -> Failed:
    """*error* as a value; what nobody foresaw is told by its type only, since its text could hold a URL."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, TunnelRefused):
            return Failed(Kind.PROXY, _sentence(cause.reason))
    for types, kind, reason in _TABLE:
        if any(isinstance(cause, types) for cause in causes):
            return Failed(kind, _sentence(reason))
    return Failed(Kind.PROTOCOL, _sentence(type(error).__name__))


def _sentence(reason: str) -> str:
    return f"unexpected error occurred while trying to fetch config JSON: {reason}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for reason in getattr(error, "reasons", ()):
        yield from _causes(reason.value)
