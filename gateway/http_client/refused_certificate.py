"""Why OpenSSL refused a server's certificate; its own error only states that the verification failed.

wrapClientTLS ──► CertificateWatch ──► TLS connection ──► handshake fails ──► add_reason ──► classify
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from gateway.twisted_private import certificate_refusal

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
    reason = certificate_refusal(connection)
    if reason:
        setattr(error, REASON, reason)
