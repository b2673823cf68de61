"""The result of one POST as a value, and the words for each network error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen
from OpenSSL.SSL import Error as TlsError
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as AttemptTimeout
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError, UnsupportedAddressFamily
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.web.client import ResponseFailed
from twisted.web.http import PotentialDataLoss

from gateway.http_client.agent import AddressRefused
from gateway.twisted_private import ParseError, RequestTransmissionFailed, ResponseNeverReceived

if TYPE_CHECKING:
    from collections.abc import Iterator

Label = Literal["delivered", "refused", "timeout", "broken"]

TIMED_OUT: Final = "timed out"
ANSWER_KEPT: Final = 1024  # bytes of each answer that ``deliveries show`` can print


@frozen
class Attempt:
    """The result of one POST; ``status`` is None without a complete response head, ``fault`` is "" without an error.

    ``duration`` is in seconds; ``answer`` holds the first 1,024 bytes of the body, ``retry_after`` the header's text.
    """

    status: int | None
    fault: str
    duration: float
    answer: bytes = b""
    retry_after: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver answered 2xx in time."""
        return not self.fault and self.status is not None and 200 <= self.status <= 299

    @property
    def label(self) -> Label:
        """The result as a metric label."""
        if self.fault == TIMED_OUT:
            return "timeout"
        if self.fault or self.status is None:
            return "broken"
        return "delivered" if self.delivered else "refused"

    @property
    def text(self) -> str:
        """The result in a few words, for logs, lists and ``DELIVERY_FAILED``."""
        return self.fault or f"answered {self.status}"


class AnswerTooLong(Exception):
    """The answer went on beyond ``ANSWER_LIMIT``."""


# The first line that fits any of an error's causes counts, so what is special stands above what comes along with it:
# a failed handshake, for one, is a lost connection as well.
_TABLE: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((AnswerTooLong,), "the answer is too long"),
    ((CertificateError, VerificationError), "the receiver's certificate is for another host"),
    ((TlsError,), "the TLS handshake failed"),
    ((ConnectTimeout, AttemptTimeout, CancelledError), TIMED_OUT),  # only the attempt's own timer, or a stop, cancels
    ((DNSLookupError,), "the host name cannot be resolved"),
    ((UnsupportedAddressFamily,), "the address family is not supported"),
    ((ConnectError,), "the connection failed"),
    ((ParseError,), "the receiver does not speak HTTP"),
    ((ConnectionLost, PotentialDataLoss), "the connection was lost"),
    ((ResponseNeverReceived, RequestTransmissionFailed, ResponseFailed), "the connection was lost"),
)


def fault_text(error: BaseException) -> str:
    """Return ``error`` in words that hold no URL and no secret; what nobody foresaw is told by its type."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, AddressRefused):
            return f"not called: {cause}"
    for types, words in _TABLE:
        if any(isinstance(cause, types) for cause in causes):
            return words
    return f"unexpected {type(error).__name__}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for reason in getattr(error, "reasons", ()):
        yield from _causes(reason.value)
