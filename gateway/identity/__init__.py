"""Who a user is: verification of signed tokens (JWT), and the key sets of issuers.

    token ──► Verifier.verify ──► Identity (attributes, end), or InvalidToken
                  ▲
    key files, IssuerKeys ◄── KeyFetcher ◄── the issuer's key set (JWKS)

Signatures, keys and claims are checked by ``joserfc``, which is imported only where the settings name a key.
"""

from gateway.identity.identity import Identity, InvalidToken, TokenVerifier, UnknownKey
from gateway.identity.issuer_keys import IssuerKeys
from gateway.identity.key_fetcher import KeyFetcher
from gateway.identity.opening import IdentityError, open_verifier, with_file_contents

__all__ = (
    "Identity",
    "IdentityError",
    "InvalidToken",
    "IssuerKeys",
    "KeyFetcher",
    "TokenVerifier",
    "UnknownKey",
    "open_verifier",
    "with_file_contents",
)
