"""The certificate authorities that a server's certificate may come from: the platform's and those of one PEM file."""

from pathlib import Path
from typing import Final

from attrs import field, frozen
from OpenSSL.crypto import Error as CertificateFault
from twisted.internet.ssl import Certificate
from twisted.web.client import BrowserLikePolicyForHTTPS

from gateway.twisted_private import ExtraTrustRoot

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"


class TrustError(Exception):
    """A CA file cannot be used; the text names the option."""


@frozen
class Trust:
    """What a CA file holds; equal for equal bytes, whatever the path."""

    pem: bytes
    policy: BrowserLikePolicyForHTTPS = field(eq=False)


def load_trust(path: str, option: str) -> Trust:
    """Read the CA file at ``path`` once; an empty path means the platform's authorities alone.

    :raises TrustError: with the name of ``option``, when the file cannot be read or holds no usable certificate
    """
    if not path:
        return Trust(b"", BrowserLikePolicyForHTTPS())
    try:
        pem = Path(path).read_bytes()
        blocks = [part[part.index(_BEGIN) :] + _END + b"\n" for part in pem.split(_END) if _BEGIN in part]
        own = [Certificate.loadPEM(block).original for block in blocks]
    except OSError as error:
        raise TrustError(f"{option} cannot be read: {error.strerror}") from error
    except (CertificateFault, ValueError) as error:
        raise TrustError(f"{option} holds a certificate that cannot be read") from error
    if not own:
        raise TrustError(f"{option} holds no certificate in PEM form")
    return Trust(pem, BrowserLikePolicyForHTTPS(trustRoot=ExtraTrustRoot(own)))
