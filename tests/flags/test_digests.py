"""The quick hash functions return what hashlib returns."""

import hashlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flags import digests


@given(st.binary(max_size=300))
def test_they_agree_with_hashlib(data):
    """For every length around the blocks of 64 bytes."""
    assert hashlib.sha1(data).digest() == digests.sha1(data).digest()
    assert hashlib.sha256(data).digest() == digests.sha256(data).digest()


@pytest.mark.parametrize("name", ["sha1", "sha256"])
def test_a_python_without_its_own_modules_has_those_of_openssl(monkeypatch, name):
    """The fallback hashes the same, and permits the use where FIPS rules forbid SHA-1 for security."""
    for module in ("_sha1", "_sha2", "_sha256"):
        monkeypatch.setitem(sys.modules, module, None)  # the import then fails
    found = digests._quickest(name, "_sha1", "_sha2", "_sha256")
    assert {"usedforsecurity": False} == found.keywords
    assert hashlib.new(name, b"data").digest() == found(b"data").digest()


def test_cpythons_own_modules_are_used_where_they_exist():
    """The purpose of the module: no call through OpenSSL."""
    module = pytest.importorskip("_sha1")
    assert module.sha1 is digests.sha1
