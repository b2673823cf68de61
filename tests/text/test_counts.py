"""Numbers with their noun."""

from __future__ import annotations

import pytest

from gateway.text import amount


@pytest.mark.parametrize(("number", "text"), [(0, "0 flags"), (1, "1 flag"), (2, "2 flags")])
def test_only_one_is_singular(number: int, text: str) -> None:
    """None and several are plural."""
    assert text == amount(number, "flag")
