"""Which certificate authorities a receiver's certificate may come from: the platform's, and an endpoint's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from OpenSSL.crypto import Error as CertificateFault
from twisted.internet.ssl import Certificate
from twisted.web.client import BrowserLikePolicyForHTTPS

from gateway.twisted_private import ExtraTrustRoot

_END: Final = b"-----END CERTIFICATE-----"
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


class TrustError(Exception):
    """A ``ca_file`` cannot be used; the text says why."""


def policy(ca_file: str) -> BrowserLikePolicyForHTTPS:
    """Return how receivers prove who they are; reads ``ca_file`` now and never again; raises ``TrustError``."""
    if not ca_file:
        return BrowserLikePolicyForHTTPS()
    try:
        pem = Path(ca_file).read_bytes()
        blocks = [part[part.index(_BEGIN) :] + _END + b"\n" for part in pem.split(_END) if _BEGIN in part]
        own = [Certificate.loadPEM(block).original for block in blocks]
    except OSError as error:
        raise TrustError(f"ca_file cannot be read: {error.strerror}") from error
    except (CertificateFault, ValueError) as error:
        raise TrustError("ca_file holds a certificate that cannot be read") from error
    if not own:
        raise TrustError("ca_file holds no certificate in PEM form")
    return BrowserLikePolicyForHTTPS(trustRoot=ExtraTrustRoot(own))
