"""TLS for the main port: certificates that a reload can replace while connections stay open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.web.http import H2_ENABLED
from zope.interface import implementer

if TYPE_CHECKING:
    from gateway.settings import Tls

VERSIONS = {"1.0": SSL.TLS1_VERSION, "1.1": SSL.TLS1_1_VERSION, "1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


INTERMEDIATE = ":".join(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for signature in ("ECDSA", "RSA")
)
"""Suites of TLS 1.2 in Mozilla's intermediate configuration, version 5.7."""

PROTOCOLS = (b"h2", b"http/1.1") if H2_ENABLED else (b"http/1.1",)


class TlsError(Exception):
    """The certificates cannot be used; the text names the file and the reason."""


@implementer(IOpenSSLContextFactory)
class Certificates:
    """Gives each new connection the current TLS context; a client's server name selects the certificate.

    :raises TlsError: a certificate or key cannot be read, or they do not belong together.
    """

    def __init__(self, tls: Tls) -> None:
        self._context = build_context(tls)

    def use(self, context: SSL.Context) -> None:
        """Use another context, from ``build_context``, for connections from now on."""
        self._context = context

    def getContext(self) -> SSL.Context:
        """Return the context for one connection (called by Twisted for each)."""
        return self._context


def build_context(tls: Tls) -> SSL.Context:
    """Return a server context with every certificate of ``tls``; the first is the default.

    :raises TlsError: a certificate or key cannot be read, or they do not belong together
    """
    if not tls.certificates:
        raise TlsError("tls.certificates: TLS is enabled, but no certificate is configured")
    contexts = [_context(tls, pair.cert, pair.key) for pair in tls.certificates]
    by_name: dict[str, SSL.Context] = {}
    for pair, context in zip(tls.certificates, contexts, strict=True):
        for name in _names(pair.cert):
            by_name.setdefault(name, context)

    def choose(connection: SSL.Connection) -> None:
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        wildcard = "*." + name.partition(".")[2]  # matches one label, the first (RFC 9525, 6.3)
        context = by_name.get(name) or by_name.get(wildcard)
        if context is not None:
            connection.set_context(context)

    if len(contexts) > 1:
        contexts[0].set_tlsext_servername_callback(choose)
    return contexts[0]


def _context(tls: Tls, cert: str, key: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(VERSIONS[tls.min_version])
    context.set_options(SSL.OP_NO_COMPRESSION)
    ciphers = tls.ciphers or (INTERMEDIATE if tls.min_version in {"1.2", "1.3"} else "")
    if ciphers:
        try:
            context.set_cipher_list(ciphers.encode())
        except SSL.Error as error:
            raise TlsError(f"tls.ciphers: OpenSSL has none of these cipher suites: {ciphers[:200]}") from error
    # Without this callback ALPN fails, and with it every client that offers protocols, as curl and browsers do.
    context.set_alpn_select_callback(_negotiated)
    # Tickets, which any worker accepts, resume sessions; the cache would only hold up to 20,480 of them.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # frees 34 KB of buffers per idle stream
    try:
        context.use_certificate_chain_file(cert)
        context.use_privatekey_file(key)
        context.check_privatekey()
    except SSL.Error as error:
        reason = error.args[0][0][-1] if error.args and error.args[0] else "cannot be read"
        raise TlsError(f"tls.certificates: failed to load {cert} and {key}: {reason}") from error
    return context


def _negotiated(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    # pyOpenSSL accepts the marker as well, but declares bytes only.
    nothing = cast("bytes", SSL.NO_OVERLAPPING_PROTOCOLS)
    return next((protocol for protocol in PROTOCOLS if protocol in offered), nothing)


def _names(path: str) -> list[str]:
    certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return [str(name.value).lower() for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]
