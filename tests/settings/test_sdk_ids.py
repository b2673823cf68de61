"""SDK keys: their forms."""

from __future__ import annotations

import pytest

from gateway.settings import valid_key

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
    """Only the documented key forms are accepted, and a chained gateway's key only with a base URL."""
    assert valid == valid_key(key, custom_base=custom)
