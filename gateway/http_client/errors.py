"""The one classification of network exceptions: which library raises what, and why a request failed.

Each direction has one table of words for these values: ``attempt`` for posts, ``gateway.upstream.cdn_source`` for GETs.
"""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING, cast

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
from gateway.http_client.refused_certificate import REASON, add_reason
from gateway.twisted_private import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from OpenSSL import SSL
    from twisted.python.failure import Failure


class NetworkError(Enum):
    """Why a request failed, in either direction; the values are the exceptions that mean it.

    The first member that fits any cause of an error counts, so the special ones stand above what comes along with
    them: a failed handshake, for example, is a lost connection as well.
    """

    TOO_LARGE = (TooLarge,)
    BAD_ENCODING = (BadEncoding,)
    TRUNCATED = (Truncated,)
    ADDRESS_REFUSED = (AddressRefused,)
    PROXY = (TunnelRefused,)
    WRONG_HOST = (CertificateError, VerificationError)  # the certificate is for another host name
    TLS = (TlsError,)
    TIMED_OUT = (ConnectTimeout, RequestTimeout)
    CANCELLED = (CancelledError, ConnectingCancelledError)
    UNKNOWN_HOST = (DNSLookupError,)
    ADDRESS_FAMILY = (UnsupportedAddressFamily,)
    CONNECT = (ConnectError,)
    NOT_HTTP = (ParseError,)
    SCHEME = (SchemeNotSupported,)
    LOST = (ConnectionLost, PotentialDataLoss, ResponseNeverReceived, RequestTransmissionFailed, ResponseFailed)
    BAD_URL = (ValueError,)  # of all URL parsers
    UNEXPECTED = ()


def classify(error: BaseException) -> tuple[NetworkError, str]:
    """Return why a request failed, and a detail for its text that holds no URL and no secret.

    The detail is the reason of a refused address or tunnel, the operating system's text of a failed connection,
    OpenSSL's of a failed handshake, else the name of the exception's type.
    """
    causes = list(_causes(error))
    for found in NetworkError:
        for cause in causes:
            if isinstance(cause, found.value):
                return found, _detail(cause) or type(error).__name__
    return NetworkError.UNEXPECTED, type(error).__name__


def _detail(cause: BaseException) -> str:
    if isinstance(cause, (AddressRefused, TunnelRefused)):
        return str(cause)
    if isinstance(cause, ConnectError) and isinstance(cause.osError, int):
        return os.strerror(cause.osError)
    if isinstance(cause, TlsError) and cause.args and isinstance(cause.args[0], list) and cause.args[0]:
        # The reason of the last error in OpenSSL's queue, and of the verification: fixed texts.
        return ": ".join(filter(None, (str(cause.args[0][-1][-1]), getattr(cause, REASON, ""))))
    return ""


def explain_certificate(failure: Failure, connection: SSL.Connection) -> Failure:
    """Return ``failure``, to whose TLS error the reason why the certificate of ``connection`` was refused is added."""
    for cause in _causes(cast("BaseException", failure.value)):
        if isinstance(cause, TlsError):
            add_reason(cause, connection)
    return failure


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for reason in getattr(error, "reasons", ()):  # of twisted.web.client's wrappers of several Failures
        yield from _causes(reason.value)
