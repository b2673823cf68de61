"""Forms and masking of SDK keys."""

from __future__ import annotations

import pytest

from gateway.settings import mask_sdk_key, valid_key

PLAIN = "x" * 22 + "/" + "y" * 22


@pytest.mark.parametrize(
    ("key", "custom", "valid"),
    [
        (PLAIN, False, True),
        ("configcat-sdk-1/" + PLAIN, False, True),
        ("configcat-proxy/my sdk", True, True),
        ("configcat-proxy/my sdk", False, False),
        ("configcat-proxy/", True, False),
        (PLAIN + "y", False, False),
        (PLAIN + "\n", False, False),
        ("configcat-sdk-2/" + PLAIN, False, False),
        ("", True, False),
    ],
)
def test_key_forms(key, custom, valid):
    """Only the documented forms are valid, and that of a chained proxy only with a base URL."""
    assert valid == valid_key(key, custom_base=custom)


@pytest.mark.parametrize(
    ("key", "shown"),
    [("", ""), ("abcd", "****"), ("abcde", "abcde"), ("abcdefgh", "***defgh")],
)
def test_an_sdk_key_keeps_its_last_five_characters(key, shown):
    """Longer keys keep five characters, shorter ones none."""
    assert shown == mask_sdk_key(key)
