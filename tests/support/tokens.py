"""Keys of a test's issuer, tokens that it signs, and tokens that no issuer would sign."""

import base64
import hmac
import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

SECRET = "test-secret-test-secret-test-secret-test-secret-test-secret-0123"


def rsa_key() -> RSAKey:
    return RSAKey.generate_key(2048)


def weak_rsa_pem() -> str:
    """Return the public key of an RSA key that is too short."""
    public = rsa.generate_private_key(65537, 1024).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ec_key(curve: Any = "P-256") -> ECKey:
    return ECKey.generate_key(curve)


def ed_key() -> OKPKey:
    return OKPKey.generate_key("Ed25519")


def public_pem(key: Key) -> str:
    return key.as_pem(private=False).decode()


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def sign(
    claims: dict[str, Any], key: Key | str = SECRET, alg: str = "HS256", header: dict[str, Any] | None = None
) -> bytes:
    """Return a token with exactly these claims."""
    made = OctKey.import_key(key) if isinstance(key, str) else key
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jwt.encode({"alg": alg, **(header or {})}, dict(claims), made, registry=registry).encode()


def user_token(
    subject: str, *, seconds: float = 300, key: Key | str = SECRET, alg: str = "HS256", **claims: Any
) -> str:
    """Return a token of a user that ends in ``seconds``, by the clock of this machine."""
    kid = claims.pop("kid", None)
    header = {"kid": kid} if kid else {}
    return sign({"sub": subject, "exp": now() + seconds, **claims}, key, alg, header).decode()


def raw(header: object, payload: object, secret: bytes | None = None) -> bytes:
    """Return a token with any header, signed by HMAC-SHA256 with any bytes, or not at all."""
    signed = b".".join(
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=")
        for part in (header, payload)
    )
    signature = b"" if secret is None else hmac.digest(secret, signed, sha256)
    return signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


def key_set(**keys: Key) -> bytes:
    """Return the key set of these public keys, by key id."""
    return json.dumps({"keys": [{**key.as_dict(private=False), "kid": kid} for kid, key in keys.items()]}).encode()
