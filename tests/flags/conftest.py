"""The room under test is pure: it has no Deferreds that could fail unheard and no loggers."""

import pytest


@pytest.fixture(autouse=True)
def logged_errors():
    """Take the place of the shared fixture, whose garbage collections would cost more than these tests."""
