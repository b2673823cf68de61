"""Password hashes: the text form, its limits, and other programs' hashes."""

from __future__ import annotations

import pytest

from gateway.text import UnknownHash, hash_password, read_password_hash
from passwords import SALT, cheap_hash

TAIL = "$" + "A" * 22 + "$" + "A" * 43
# RFC 7914, 12: the third test vector, P="pleaseletmein", S="SodiumChloride", N=16384, r=8, p=1, the first 32 bytes.
RFC_7914 = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI"


def test_the_test_vector_of_the_rfc_is_verified() -> None:
    """The text form is that of other programs too."""
    kept = read_password_hash(RFC_7914)
    assert [True, False] == [kept.matches(each) for each in ("pleaseletmein", "pleaseletmeout")]


def test_a_hash_is_that_of_its_password_only() -> None:
    """And of the same characters in another encoding, as another keyboard makes them (RFC 7617)."""
    text = hash_password("Grüße 1", SALT)
    assert text.startswith("$scrypt$ln=15,r=8,p=3$MDEyMzQ1Njc4OWFiY2RlZg$")
    kept = read_password_hash(text)
    assert [True, True, False] == [kept.matches(each) for each in ("Grüße 1", "Gru\u0308ße 1", "Grusse 1")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a password hash of the form"),
        ("hunter2", "not a password hash of the form"),
        ("$2b$12$" + "a" * 53, "not a password hash of the form"),
        ("$argon2id$v=19$m=65536,t=3,p=4" + TAIL, "not a password hash of the form"),
        ("$scrypt$ln=15,r=8,p=3" + TAIL + "\n", "not a password hash of the form"),
        ("$scrypt$ln=15,r=8,p=3$" + "A" * 21 + "$" + "A" * 43, "not Base64"),
        ("$scrypt$ln=18,r=8,p=1" + TAIL, "costs too much"),
        ("$scrypt$ln=15,r=8,p=49" + TAIL, "costs too much"),
        ("$scrypt$ln=99,r=999,p=999" + TAIL, "costs too much"),
        ("$scrypt$ln=11,r=8,p=3" + TAIL, "too cheap"),
        ("$scrypt$ln=0,r=8,p=3" + TAIL, "too cheap"),
        ("$scrypt$ln=15,r=0,p=3" + TAIL, "too cheap"),
    ],
)
def test_other_texts_are_refused_without_being_repeated(text: str, reason: str) -> None:
    """The text may be a password in plain form."""
    with pytest.raises(UnknownHash) as raised:
        read_password_hash(text)
    assert reason in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", ["$scrypt$ln=17,r=8,p=1" + TAIL, "$scrypt$ln=12,r=8,p=3" + TAIL, cheap_hash("x")])
def test_parameters_within_the_limits_are_read(text: str) -> None:
    """From an eighth of the usual work to sixteen times as much."""
    assert 8 == read_password_hash(text).block
