"""The public fake receiver: what arrives, and whether its signature is good."""

import http.client
import re
import subprocess
import sys

import pytest

from eventually import eventually
from gateway.http_client import headers_for
from gateway.testing.receiver import Receiver

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
BODY = b'{"type":"WEBHOOK_TEST"}'


def post(port, headers, body=BODY, **more):
    """Call the receiver; returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/", body, dict(headers) | more)
    status = connection.getresponse().status
    connection.close()
    return status


def signed(*secrets, style="envelope", body=BODY):
    """The headers of a call."""
    return headers_for("an-id", style, body, secrets, 1_700_000_000, 1)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        (signed(SECRET), True),
        (signed(SECRET, style="notifier"), True),
        (signed("a text"), False),
        (signed(SECRET, body=b"{}"), False),
        (signed(), None),
    ],
)
def test_a_signature_is_good_bad_or_missing(headers, verdict):
    """Signatures are checked in every format; the call is kept whatever the result."""
    with Receiver() as receiver:
        assert 204 == post(receiver.port, headers)
        (call,) = receiver.calls
    assert ("an-id", BODY, verdict) == (call.id, call.body, call.signed_with(SECRET))


def test_it_sends_the_configured_status_and_refuses_long_bodies():
    """The configured status is sent; a body without a length, or beyond the limit, is 413 and not read."""
    with Receiver(status=503) as receiver:
        assert 503 == post(receiver.port, {})
        assert 413 == post(receiver.port, {"Content-Length": "99999999999"}, None)
        assert 413 == post(receiver.port, {"Content-Length": "-1"}, None)
        assert 1 == len(receiver.calls)


def test_it_prints_messages_and_ends_with_its_parent(tmp_path):
    """The stand-alone receiver, as ``make run`` starts it, prints each message and exits with its parent."""
    said = tmp_path / "said"
    command = f"{sys.executable} -m gateway.testing.receiver --secret {SECRET} --parent $$ > {said} & cat"
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE) as parent:
        eventually(lambda: said.exists() and said.read_text().startswith("receiving on port "))
        (port,) = map(int, re.findall(r"receiving on port ([0-9]+)", said.read_text()))
        assert 204 == post(port, signed(SECRET))
        assert 204 == post(port, signed("another"))
        text = f"\nan-id: signature valid\n{BODY.decode()}\n\nan-id: SIGNATURE INVALID\n{BODY.decode()}\n"
        eventually(lambda: said.read_text().endswith(text), said.read_text)
        parent.stdin.close()

    def gone():
        try:
            return post(port, {}) is None
        except OSError:
            return True

    eventually(gone)
