"""Keys that tokens are checked with, each with its own algorithm and no other (RFC 8725, 3.1)."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, validate_compact

if TYPE_CHECKING:
    from joserfc.jws import CompactSignature

    from gateway.settings import IdentityKey

HEADER_BYTES: Final = 4096  # of a token; with a certificate chain in it some issuers need more than the library's 512
SMALLEST_RSA: Final = 2048  # bits; RFC 7518, 3.3
SET_LIMIT: Final = 64  # keys of one set that are used; real ones have less than ten
_PUBLIC: Final[dict[str, type[Key]]] = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}
_BY_TYPE: Final = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
# RFC 9864 names the algorithm after the curve; the library warns at each use of the old name.
_NAMES: Final = {"EdDSA": "Ed25519"}


class UnusableKey(ValueError):
    """A key that cannot be used; the text does not contain it."""


@frozen
class VerificationKey:
    """A key, its algorithm, and the id by which tokens name it; without an id it is tried for any."""

    kid: str | None
    algorithm: str  # as in the settings
    _key: Key = field(repr=False)
    _registry: JWSRegistry

    def names(self, algorithm: str) -> bool:
        """Return whether a token of this ``algorithm`` may have been signed with the key."""
        return algorithm in {self.algorithm, _NAMES.get(self.algorithm)}

    def signed(self, token: CompactSignature) -> bool:
        """Return whether the signature of ``token``, whose algorithm this key ``names``, was made with it.

        :raises JoseError: when the header of the token cannot be used.
        """
        token.protected["alg"] = _NAMES.get(self.algorithm, self.algorithm)  # signed are the bytes, not this value
        return validate_compact(token, self._key, registry=self._registry)


def make_key(setting: IdentityKey) -> VerificationKey:
    """Return the key that is in ``setting`` as text.

    :raises UnusableKey: if it is not a key of its algorithm.
    """
    algorithm = setting.alg or ""
    try:
        if setting.secret:
            key: Key = OctKey.import_key(setting.secret)
        else:
            key = _imported(_PUBLIC[algorithm], setting.public_key)
    except (JoseError, ValueError, TypeError, KeyError):
        raise UnusableKey(f"not a public key of {algorithm} in PEM") from None
    if not setting.secret and key.is_private:
        raise UnusableKey("a private key, which the issuer alone should have; give the public one")
    return _checked(setting.kid or None, algorithm, key)


def read_key_set(body: bytes, only: str | None = None) -> tuple[VerificationKey, ...]:
    """Return the usable keys of a key set (RFC 7517); with ``only``, those of this algorithm.

    Secrets, keys for encryption, and keys of other types are left out: a set may contain keys for other purposes.

    :raises UnusableKey: if it is not a key set, or has no usable key.
    """
    try:
        entries = json.loads(body)["keys"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise UnusableKey("not a JSON Web Key Set") from None
    if not isinstance(entries, list):
        raise UnusableKey("not a JSON Web Key Set")
    keys = tuple(key for entry in entries if (key := _entry(entry)) is not None and only in {None, key.algorithm})
    if not keys:
        raise UnusableKey("the key set has no usable key")
    return keys[:SET_LIMIT]


def _entry(entry: Any) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    algorithm, kid = _BY_TYPE.get(str(entry.get("kty"))), entry.get("kid")
    if algorithm is None or not isinstance(operations, list) or "verify" not in operations:
        return None
    if entry.get("alg", algorithm) not in {algorithm, _NAMES.get(algorithm)} or not isinstance(kid, str | None):
        return None
    try:
        # Only what makes the key: other members are of no use here, and a wrong one would make it unusable.
        parts = {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}
        return _checked(kid or None, algorithm, _imported(JWKRegistry, parts))
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _imported(importer: Any, value: object) -> Key:
    """Import a key without the library's warning about a weak one, which is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        key: Key = importer.import_key(value)
    return key


def _checked(kid: str | None, algorithm: str, key: Key) -> VerificationKey:
    if isinstance(key, RSAKey) and key.raw_value.key_size < SMALLEST_RSA:
        raise UnusableKey(f"an RSA key of less than {SMALLEST_RSA} bits")
    name = _NAMES.get(algorithm, algorithm)
    registry = JWSRegistry(algorithms=[name], strict_check_header=False)
    registry.max_header_length = HEADER_BYTES
    try:
        registry.get_alg(name).check_key(key)
    except JoseError:
        raise UnusableKey(f"not a key of {algorithm}") from None
    return VerificationKey(kid, algorithm, key, registry)
