"""The tests of the outbox's tables run on both databases; those of one database alone are in tests/storage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import outbox_memory

# Modules whose scenes use ``new_store``.  The second run of those with many steps is left to the nightly run.
BOTH = {"test_recorder", "test_queue_stats", "test_endpoint_health"}
BOTH_NIGHTLY = {"test_courier", "test_recovery", "test_endpoint_queue"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of these modules once more, on PostgreSQL."""
    module = metafunc.module.__name__.rpartition(".")[2]
    if module in BOTH | BOTH_NIGHTLY and metafunc.function.__name__ not in SQLITE_ONLY:
        marks = [pytest.mark.slow] if module in BOTH_NIGHTLY else []
        metafunc.fixturenames.append("engine")
        metafunc.parametrize("engine", ["sqlite", pytest.param("postgres", marks=marks)], indirect=True)


SQLITE_ONLY: set[str] = set()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let ``new_store`` return stores on the database of the parameter; close those on PostgreSQL afterwards."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    server = request.getfixturevalue("postgres_server")
    schema: str = request.getfixturevalue("outbox_schema")
    from outbox_postgres import PostgresDirectStore

    made: list[PostgresDirectStore] = []

    def make() -> PostgresDirectStore:
        made.append(PostgresDirectStore(server, schema))
        return made[-1]

    outbox_memory.engine.append(make)
    try:
        yield "postgres"
    finally:
        outbox_memory.engine.pop()
        for store in made:
            store.close()


@pytest.fixture(scope="session")
def outbox_schema(postgres_server: Any) -> str:
    """A schema that the tests of a session use one after the other."""
    schema: str = postgres_server.new_schema()
    return schema
