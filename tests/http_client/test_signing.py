"""Signatures, checked by code that has nothing to do with the one that makes them."""

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from gateway import __version__
from gateway.http_client.signing import extra_headers, headers_for, standard_key
from outbound_scene import FORMATS, endpoint

ID = "2fa554d3-1ffa-4361-9af6-5479c2d4847f"
BODY = '{"größe":"ü"}'.encode()
KEY = b"0123456789abcdef0123456789abcdef"
WHSEC = "whsec_" + base64.b64encode(KEY).decode()


def signed(style="envelope", secrets=(WHSEC,), body=BODY, now=None):
    moment = int(time.time()) if now is None else now  # noqa: TID251 - the published package reads the real clock
    return dict(headers_for(ID, style, body, secrets, moment, 7))


def hexadecimal(key, body=BODY):
    return hmac.new(key, body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("style", [*FORMATS, "exporter"])
def test_every_post_has_the_common_headers(style):
    """All formats have the content type, the product, the message's id and its number; unsigned without a secret."""
    assert headers_for(ID, style, BODY, [], 1, 7) == [
        ("Content-Type", "application/json"),
        ("User-Agent", f"flaggateway/{__version__}"),
        ("X-Flaggateway-Delivery", ID),
        ("X-Flaggateway-Sequence", "7"),
    ]


@pytest.mark.parametrize("style", [*FORMATS, "exporter"])
def test_every_format_has_the_hub_signature(style):
    """The hub signature is the hex HMAC of the body with the text of the first secret as key, prefix included."""
    assert signed(style, ["plain", "old"])["X-Hub-Signature-256"] == f"sha256={hexadecimal(b'plain')}"
    assert signed(style, [WHSEC])["X-Hub-Signature-256"] == f"sha256={hexadecimal(WHSEC.encode())}"


@pytest.mark.parametrize("style", [*FORMATS, "exporter"])
def test_two_formats_have_the_signature_of_their_original(style):
    """Only environment and audit_log carry the bare hex signature too."""
    expected = hexadecimal(b"plain") if style in {"environment", "audit_log"} else None
    assert signed(style, ["plain", "old"]).get("X-Flagsmith-Signature") == expected


@pytest.mark.parametrize("style", [*FORMATS, "exporter"])
def test_only_envelopes_have_standard_webhooks_headers(style):
    """The three Standard Webhooks headers go with envelopes."""
    assert ("webhook-signature" in signed(style)) is (style == "envelope")


def test_the_published_package_accepts_an_envelope():
    """The standardwebhooks package verifies the call, with the secret as written in the settings."""
    assert Webhook(WHSEC).verify(BODY, signed()) == {"größe": "ü"}


def test_the_published_package_refuses_what_was_changed():
    """A changed body, a changed id, an old time or another key are refused: the check above can fail."""
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(BODY + b" ", signed())
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(BODY, {**signed(), "webhook-id": "other"})
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(BODY, signed(now=1_700_000_000))
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY[:-1]).verify(BODY, signed())


def test_while_rotating_both_secrets_verify():
    """Two secrets give two signatures, the newest first; holders of either accept the call."""
    new = "whsec_" + base64.b64encode(b"the next key of this receiver...").decode()
    headers = signed(secrets=[new, WHSEC])
    for secret in (new, WHSEC):
        Webhook(secret).verify(BODY, headers)
    first, second = headers["webhook-signature"].split(" ")
    assert first == signed(secrets=[new], now=int(headers["webhook-timestamp"]))["webhook-signature"]
    assert second == signed(secrets=[WHSEC], now=int(headers["webhook-timestamp"]))["webhook-signature"]


def test_a_plain_secret_is_its_own_key():
    """Any text that is not whsec_ is the key as it is, also for Standard Webhooks."""
    Webhook("päss".encode()).verify(BODY, signed(secrets=["päss"]))


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (WHSEC, KEY),
        (WHSEC.rstrip("="), KEY),
        ("whsec_", b"whsec_"),
        ("whsec_not base64!", b"whsec_not base64!"),
        ("whsec_a", b"whsec_a"),
        ("whsec_ü", "whsec_ü".encode()),
        ("MDEy", b"MDEy"),
    ],
)
def test_standard_webhooks_keys(secret, key):
    """whsec_ and base64, padded or not, is the decoded key; anything else is its own bytes."""
    assert standard_key(secret) == key


@given(st.binary(max_size=200), st.text(min_size=1, max_size=40), st.integers(0, 2**40))
def test_signatures_of_any_body(body, secret, now):
    """For any body, secret and time the signatures match their definitions."""
    headers = dict(headers_for(ID, "envelope", body, [secret], now, 1))
    text = f"{ID}.{now}.".encode() + body
    expected = base64.b64encode(hmac.new(standard_key(secret), text, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (ID, str(now))


def test_the_secrets_of_an_endpoint():
    """One secret, several, or both: the single one first, each once, blank ones not at all."""
    assert endpoint("envelope").signing_secrets == ()
    assert endpoint("envelope", secret="a").signing_secrets == ("a",)
    assert endpoint("envelope", secret="a", secrets=["b", "a", ""]).signing_secrets == ("a", "b")


def test_headers_of_the_settings_do_not_replace_ours():
    """A configured header is sent once per value; the gateway's own headers cannot be set."""
    wanted = {"Authorization": ["Bearer x"], "X-A": ["1", "2"], "X-B": "3", "HOST": "h", "X-Hub-Signature-256": "f"}
    assert extra_headers(wanted) == [("Authorization", "Bearer x"), ("X-A", "1"), ("X-A", "2"), ("X-B", "3")]
