"""Certificates for the TLS rows, generated for each run."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import trustme

if TYPE_CHECKING:
    from pathlib import Path


class Certificates:
    """An authority and its certificate for ``localhost`` in the folder ``home``; ``settings`` are the server's."""

    def __init__(self, home: Path) -> None:
        self._authority = trustme.CA()
        home.mkdir(parents=True, exist_ok=True)
        key, chain = home / "key.pem", home / "cert.pem"
        leaf = self._authority.issue_cert("localhost")
        leaf.private_key_pem.write_to_path(key)
        for number, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(chain, append=number > 0)
        self.settings: dict[str, Any] = {"enabled": True, "certificates": [{"cert": str(chain), "key": str(key)}]}

    def context(self, protocol: str) -> ssl.SSLContext:
        """Return a client's context that trusts the certificate and offers ``protocol`` only."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        context.set_alpn_protocols([protocol])
        return context
