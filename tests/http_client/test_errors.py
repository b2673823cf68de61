"""The classification of network errors, and the words of both directions for each class."""

from __future__ import annotations

import pytest
from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet import error as net
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as RequestTimeout
from twisted.python.failure import Failure
from twisted.web._newclient import ParseError
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss

from gateway.http_client import attempt
from gateway.http_client.address_guard import AddressRefused
from gateway.http_client.attempt import fault_text
from gateway.http_client.bounded_body import BadEncoding, TooLarge, Truncated
from gateway.http_client.connect_tunnel import TunnelRefused
from gateway.http_client.errors import NetworkError, classify
from gateway.upstream import cdn_source
from gateway.upstream.outcome import Kind


def never_received(*reasons: Exception) -> ResponseNeverReceived:
    """The exception of an agent whose connection ended before the response."""
    return ResponseNeverReceived([Failure(reason) for reason in reasons])


ERRORS = [
    (TooLarge(), NetworkError.TOO_LARGE),
    (BadEncoding("x"), NetworkError.BAD_ENCODING),
    (Truncated(), NetworkError.TRUNCATED),
    (AddressRefused("in a network that is denied"), NetworkError.ADDRESS_REFUSED),
    (TunnelRefused("the proxy refused to connect: 407"), NetworkError.PROXY),
    (never_received(VerificationError([])), NetworkError.WRONG_HOST),
    (never_received(TlsError([("SSL", "", "x")]), net.ConnectionLost()), NetworkError.TLS),
    (RequestTimeout(), NetworkError.TIMED_OUT),
    (net.TimeoutError(), NetworkError.TIMED_OUT),
    (CancelledError(), NetworkError.CANCELLED),
    (net.ConnectingCancelledError(None), NetworkError.CANCELLED),
    (never_received(CancelledError(), net.ConnectionAborted()), NetworkError.CANCELLED),
    (net.DNSLookupError("x"), NetworkError.UNKNOWN_HOST),
    (net.UnsupportedAddressFamily(), NetworkError.ADDRESS_FAMILY),
    (net.ConnectionRefusedError(), NetworkError.CONNECT),
    (net.NoRouteError(), NetworkError.CONNECT),
    (ResponseFailed([Failure(ParseError("x", b"")), Failure(net.ConnectionDone())]), NetworkError.NOT_HTTP),
    (SchemeNotSupported("x"), NetworkError.SCHEME),
    (net.ConnectionLost(), NetworkError.LOST),
    (PotentialDataLoss(), NetworkError.LOST),
    (never_received(net.ConnectionDone()), NetworkError.LOST),
    (RequestTransmissionFailed([Failure(never_received(net.ConnectionLost()))]), NetworkError.LOST),
    (UnicodeDecodeError("ascii", b"x", 0, 1, "x"), NetworkError.BAD_URL),
    (ZeroDivisionError("http://user:secret@host"), NetworkError.UNEXPECTED),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=lambda value: getattr(value, "name", type(value).__name__))
def test_each_exception_has_one_class(error, expected):
    """The special cause counts, not the lost connection that comes along with it."""
    cause, detail = classify(error)
    assert expected is cause
    assert "secret" not in detail


def test_every_class_occurs_and_has_words_in_both_directions():
    """A class that is added needs words for posts and for upstreams."""
    every = set(NetworkError)
    assert every == {expected for _, expected in ERRORS} == set(attempt._WORDS) == set(cdn_source._WORDS)


@pytest.mark.parametrize(
    ("error", "post", "kind", "upstream"),
    [
        (CancelledError(), "the request was cancelled", Kind.STOPPED, "the fetch was given up"),
        (net.ConnectingCancelledError(None), "the request was cancelled", Kind.STOPPED, "the fetch was given up"),
        (RequestTimeout(), "timed out", Kind.TIMEOUT, "the connection timed out"),
        (net.TimeoutError(), "timed out", Kind.TIMEOUT, "the connection timed out"),
        (net.ConnectionLost(), "the connection was lost", Kind.CONNECT, "the connection was lost"),
        (Truncated(), "the connection was lost", Kind.TRUNCATED, "the config JSON ended early"),
        (AddressRefused("denied"), "not called: denied", Kind.CONNECT, "not called: denied"),
        (TunnelRefused("refused: 407"), "refused: 407", Kind.PROXY, "refused: 407"),
        (ValueError(), "unexpected ValueError", Kind.REDIRECT, "the upstream redirects to an address that cannot be"),
        (KeyError(), "unexpected KeyError", Kind.PROTOCOL, "KeyError"),
    ],
)
def test_both_directions_agree(error, post, kind, upstream):
    """One error is the same thing in both directions, in the words of each."""
    assert post == fault_text(error)
    failed = cdn_source._failed(error)
    assert kind is failed.kind
    assert failed.reason.startswith(f"unexpected error occurred while trying to fetch config JSON: {upstream}")
