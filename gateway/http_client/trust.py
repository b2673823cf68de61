"""Which certificate authorities an upstream's certificate may come from."""

from __future__ import annotations

from pathlib import Path

from OpenSSL.crypto import Error as CertificateFault
from twisted.internet.ssl import Certificate
from twisted.web.client import BrowserLikePolicyForHTTPS

from gateway.twisted_private import ExtraTrustRoot

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


class UpstreamError(Exception):
    """The upstream settings cannot be used; the text names the option and the remedy."""


def read_authorities(path: str) -> bytes:
    """The bytes of ``upstream.ca_file``, or nothing when it is not set; raises ``UpstreamError``."""
    if not path:
        return b""
    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        raise UpstreamError(f"upstream.ca_file cannot be read: {error.strerror}") from error
    if _BEGIN not in pem:
        raise UpstreamError("upstream.ca_file holds no certificate in PEM form")
    return pem


def policy(pem: bytes) -> BrowserLikePolicyForHTTPS:
    """Trust the platform's authorities and those in *pem*; raises ``UpstreamError`` for a broken certificate."""
    parts = [part[part.index(_BEGIN) :] + _END + b"\n" for part in pem.split(_END) if _BEGIN in part]
    if not parts:
        return BrowserLikePolicyForHTTPS()
    try:
        extra = [Certificate.loadPEM(part).original for part in parts]
    except (CertificateFault, ValueError) as error:
        raise UpstreamError("upstream.ca_file holds a certificate that cannot be read") from error
    return BrowserLikePolicyForHTTPS(trustRoot=ExtraTrustRoot(extra))


def check_authorities(path: str) -> None:
    """Raise ``UpstreamError`` if ``upstream.ca_file`` cannot be used."""
    policy(read_authorities(path))
