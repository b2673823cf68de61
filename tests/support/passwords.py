"""Password hashes that are cheap to verify, for tests; and the header of a login."""

from __future__ import annotations

import base64
import hashlib

SALT = b"0123456789abcdef"


def cheap_hash(password: str) -> str:
    """Return a hash with an eighth of the usual work, the least that the settings accept."""
    digest = hashlib.scrypt(password.encode(), salt=SALT, n=1 << 12, r=8, p=3, maxmem=64 << 20, dklen=32)
    return f"$scrypt$ln=12,r=8,p=3${_text(SALT)}${_text(digest)}"


def login(name: str, password: str) -> dict[str, str]:
    """Return the header of Basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
