"""What the tests of the web room share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _old_objects_are_not_searched() -> Iterator[None]:
    """Put what is imported out of the collector's sight: each test collects thrice, and klein's world is large."""
    import gateway.web.server.site  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
