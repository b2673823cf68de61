"""The result of one POST as a value, and the words for each network error of this direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from gateway.http_client.errors import NetworkError, classify

if TYPE_CHECKING:
    from collections.abc import Mapping

Label = Literal["delivered", "refused", "timeout", "broken"]

TIMED_OUT: Final = "timed out"
ANSWER_KEPT: Final = 1024  # bytes of each answer that ``deliveries show`` can print

_LOST: Final = "the connection was lost"
_WORDS: Final[Mapping[NetworkError, str]] = {
    NetworkError.TOO_LARGE: "the answer is too long",
    NetworkError.BAD_ENCODING: "the answer cannot be decompressed",
    NetworkError.TRUNCATED: _LOST,
    NetworkError.ADDRESS_REFUSED: "not called: {detail}",
    NetworkError.PROXY: "{detail}",
    NetworkError.WRONG_HOST: "the receiver's certificate is for another host",
    NetworkError.TLS: "the TLS handshake failed: {detail}",
    NetworkError.TIMED_OUT: TIMED_OUT,
    NetworkError.CANCELLED: "the request was cancelled",
    NetworkError.UNKNOWN_HOST: "the host name cannot be resolved",
    NetworkError.ADDRESS_FAMILY: "the address family is not supported",
    NetworkError.CONNECT: "the connection failed: {detail}",
    NetworkError.NOT_HTTP: "the receiver does not speak HTTP",
    NetworkError.SCHEME: "only http and https receivers are supported",
    NetworkError.LOST: _LOST,
    NetworkError.BAD_URL: "unexpected {detail}",
    NetworkError.UNEXPECTED: "unexpected {detail}",
}


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


def fault_text(error: BaseException) -> str:
    """Return ``error`` in words that hold no URL and no secret."""
    cause, detail = classify(error)
    return _WORDS[cause].format(detail=detail)
