"""What one attempt to deliver came to, and which fault of the network means what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from OpenSSL.SSL import Error as TlsError
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as AttemptTimeout
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError, UnsupportedAddressFamily
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.web._newclient import ParseError, RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.client import ResponseFailed
from twisted.web.http import PotentialDataLoss

from gateway.http_client.agent import AddressRefused
from gateway.webhooks.delivery.retry import Failed, Label, Outcome, TimedOut, answered, label, text
from gateway.webhooks.delivery.schedule import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMED_OUT: Final = "timed out"
ANSWER_KEPT: Final = 1024  # bytes of each answer that ``deliveries show`` can print


@frozen
class Attempt:
    """One attempt; ``status`` is None when no whole head came, ``fault`` is "" when a whole answer came.

    ``duration`` in seconds; ``answer`` are the first 1,024 bytes of the body; ``retry_after`` the header's text.
    """

    status: int | None
    fault: str
    duration: float
    answer: bytes = b""
    retry_after: str | None = None

    def outcome(self, now: float) -> Outcome:
        """Return what the attempt came to; ``now``, in seconds since 1970, is what a date in ``retry_after`` means."""
        if self.fault == TIMED_OUT:
            return TimedOut()
        if self.fault or self.status is None:
            return Failed(self.fault)
        return answered(self.status, None if self.retry_after is None else parse_retry_after(self.retry_after, now))

    @property
    def label(self) -> Label:
        """Say it in one of few words, for metrics."""
        return label(self.outcome(0.0))

    @property
    def text(self) -> str:
        """Say it in a few words, for logs and lists."""
        return text(self.outcome(0.0))


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
