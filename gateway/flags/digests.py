"""SHA-1 and SHA-256 of short texts, by the quickest implementation that this Python has.

``hashlib`` goes through OpenSSL, whose call costs more than the hashing of an attribute. CPython's own modules return
the same digests in about three quarters of the time. Large bodies are hashed with ``hashlib``, which is quicker there.
"""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Digest(Protocol):
    """The finished hash of some bytes."""

    def digest(self) -> bytes:
        """Return the digest: 20 bytes of SHA-1, 32 of SHA-256."""


def _quickest(name: str, *modules: str) -> Callable[[bytes], Digest]:
    """Return the function ``name`` of the first module that exists, else that of ``hashlib``.

    CPython can be built without these modules; ``hashlib`` then has OpenSSL's, also where FIPS rules forbid SHA-1 for
    security: the buckets of percentage options are no secret.
    """
    for module in modules:
        try:
            found: Callable[[bytes], Digest] = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
        return found
    fallback: Any = partial(getattr(hashlib, name), usedforsecurity=False)
    return fallback  # type: ignore[no-any-return]  # hashlib's functions have no common type


sha1: Final = _quickest("sha1", "_sha1")
sha256: Final = _quickest("sha256", "_sha2", "_sha256")  # _sha2 since Python 3.12
