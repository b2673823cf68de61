"""Why OpenSSL refused a server's certificate; its own error only states that the verification failed.

wrapClientTLS ──► CertificateWatch ──► TLS connection ──► handshake fails ──► add_reason ──► classify
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from OpenSSL._util import ffi, lib
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

if TYPE_CHECKING:
    from OpenSSL import SSL
    from twisted.protocols.tls import TLSMemoryBIOProtocol

REASON = "certificate_reason"  # attribute of the error that has the reason


@implementer(IOpenSSLClientConnectionCreator)
class CertificateWatch:
    """Creates the TLS connections of ``creator``, and remembers the latest one in ``latest``."""

    def __init__(self, creator: Any, latest: list[SSL.Connection]) -> None:
        self._creator = creator
        self._latest = latest

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        self._latest[:] = [connection]
        return connection


def add_reason(error: BaseException, connection: SSL.Connection) -> None:
    """Add to a TLS error why the certificate of ``connection`` was refused, if it was, as attribute ``REASON``."""
    # pyOpenSSL has no public call for the result.  Without these names the text is shorter, which a test notices.
    with suppress(AttributeError):
        code = lib.SSL_get_verify_result(connection._ssl)  # noqa: SLF001 - see above
        if code:
            setattr(error, REASON, ffi.string(lib.X509_verify_cert_error_string(code)).decode("ascii", "replace"))
