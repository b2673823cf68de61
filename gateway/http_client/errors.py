"""The one classification of network exceptions: which library raises what, and why a request failed.

Each direction has one table of words for these values: ``attempt`` for posts, ``gateway.upstream.cdn_source`` for GETs.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from OpenSSL.SSL import Error as TlsError
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as RequestTimeout
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionLost,
    DNSLookupError,
    UnsupportedAddressFamily,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss

from gateway.http_client.address_guard import AddressRefused
from gateway.http_client.bounded_body import BadEncoding, TooLarge, Truncated
from gateway.http_client.connect_tunnel import TunnelRefused
from gateway.twisted_private import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterator


class NetworkError(Enum):
    """Why a request failed, in either direction."""

    TOO_LARGE = auto()
    BAD_ENCODING = auto()
    TRUNCATED = auto()
    ADDRESS_REFUSED = auto()
    PROXY = auto()
    WRONG_HOST = auto()  # the certificate is for another host name
    TLS = auto()
    TIMED_OUT = auto()
    CANCELLED = auto()
    UNKNOWN_HOST = auto()
    ADDRESS_FAMILY = auto()
    CONNECT = auto()
    NOT_HTTP = auto()
    SCHEME = auto()
    LOST = auto()
    BAD_URL = auto()
    UNEXPECTED = auto()


# The first row that fits any cause of an error counts, so the special rows stand above what comes along with them:
# a failed handshake, for example, is a lost connection as well.
_ROWS: Final[tuple[tuple[tuple[type[BaseException], ...], NetworkError], ...]] = (
    ((TooLarge,), NetworkError.TOO_LARGE),
    ((BadEncoding,), NetworkError.BAD_ENCODING),
    ((Truncated,), NetworkError.TRUNCATED),
    ((AddressRefused,), NetworkError.ADDRESS_REFUSED),
    ((TunnelRefused,), NetworkError.PROXY),
    ((CertificateError, VerificationError), NetworkError.WRONG_HOST),
    ((TlsError,), NetworkError.TLS),
    ((ConnectTimeout, RequestTimeout), NetworkError.TIMED_OUT),
    ((CancelledError, ConnectingCancelledError), NetworkError.CANCELLED),
    ((DNSLookupError,), NetworkError.UNKNOWN_HOST),
    ((UnsupportedAddressFamily,), NetworkError.ADDRESS_FAMILY),
    ((ConnectError,), NetworkError.CONNECT),
    ((ParseError,), NetworkError.NOT_HTTP),
    ((SchemeNotSupported,), NetworkError.SCHEME),
    ((ConnectionLost, PotentialDataLoss), NetworkError.LOST),
    ((ResponseNeverReceived, RequestTransmissionFailed, ResponseFailed), NetworkError.LOST),
    ((ValueError,), NetworkError.BAD_URL),  # of all URL parsers
)


def classify(error: BaseException) -> tuple[NetworkError, str]:
    """Return why a request failed, and a detail for its text that holds no URL and no secret.

    The detail is the reason of a refused address or tunnel, else the name of the exception's type.
    """
    causes = list(_causes(error))
    for types, found in _ROWS:
        for cause in causes:
            if isinstance(cause, types):
                own_text = isinstance(cause, (AddressRefused, TunnelRefused))
                return found, str(cause) if own_text else type(error).__name__
    return NetworkError.UNEXPECTED, type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for reason in getattr(error, "reasons", ()):  # of twisted.web.client's wrappers of several Failures
        yield from _causes(reason.value)
