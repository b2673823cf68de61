"""Commands run in this process, without a reactor: the search of the heap for lost errors is left out."""

from __future__ import annotations

import pytest
from click.testing import CliRunner


@pytest.fixture(autouse=True)
def logged_errors() -> None:
    """Replace the fixture of the whole suite, which costs a quarter of a second per test."""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A runner whose environment holds none of our variables."""
    import os

    for name in [name for name in os.environ if name.startswith("CONFIGCAT_")]:
        monkeypatch.delenv(name)
    return CliRunner()
