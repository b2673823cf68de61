"""Test matrices with values of the official SDKs, on the four routes that serve values.

``tests/support/matrix.py`` describes the files. The nightly run requests every cell on each route; otherwise the routes
for one flag get requests for a part of the cells, and those for all flags for every user.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import matrix
from gateway_process import GatewayProcess
from matrix import Cell, Matrix
from matrix_kinds import Json, build
from official_sdks import MAKERS, OfficialSdk, Unavailable
from outside_tools import missing
from pipeline import Pipeline, post
from streams import Streams, stream_path

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
ONE_IN = 1 if NIGHTLY else 37  # cells that are requested singly
STREAMED_ONE_IN = 1 if NIGHTLY else 211
STREAMS_AT_ONCE = 100
DIFFERING_SHARE = 0.01, 0.03  # of all cells, JavaScript and Python; docs/compatibility.md lists the reasons
NAMES = sorted(build())


@pytest.fixture(scope="module")
def matrices() -> list[Matrix]:
    """Return the stored matrices."""
    return [matrix.read(name) for name in NAMES]


@pytest.fixture
def server(gateway_process: Callable[..., GatewayProcess], matrices: list[Matrix], tmp_path: Path) -> GatewayProcess:
    """Return a gateway with one SDK per matrix, which reads the config from a file."""
    sdks = {}
    for each in matrices:
        path = tmp_path / f"{each.name}.json"
        path.write_text(json.dumps(each.config), "utf-8")
        sdks[each.name] = {"key": f"configcat-sdk-1/{each.name:-<22}/{each.name:->22}"} | {
            "offline": {"enabled": True, "local": {"file_path": str(path)}}
        }
    return gateway_process({"sdks": sdks, "http": {"sse": {"drain_window": 0}}})


def test_the_stored_matrices_are_the_ones_that_the_code_makes(matrices: list[Matrix]) -> None:
    """A changed config or user needs new results: ``python tests/support/matrix.py``."""
    assert matrix.names() == NAMES
    made = build()
    assert all((each.config, each.users) == made[each.name] for each in matrices)
    results = Counter(chain.from_iterable(chain.from_iterable(each.results for each in matrices)))
    assert sum(results.values()) > 40_000
    assert matrix.FAILED not in results
    assert min(results[variation] for variation in ("v0", "v1", "v2", "v3")) > 1_000


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_an_official_sdk_has_the_stored_results(make: Callable[[], OfficialSdk], matrices: list[Matrix]) -> None:
    """The Go SDK has the stored results in all cells, another SDK in all cells but the listed ones."""
    try:
        sdk = make()
    except Unavailable as error:
        missing(str(error), required=error.expected)
    with sdk:
        for each in matrices:
            found = matrix.differing(each.config, each.results, matrix.variations(sdk, each.config, each.users))
            assert each.differing.get(sdk.name, {}) == found, each.name


def test_few_results_differ_between_the_official_sdks(matrices: list[Matrix]) -> None:
    """The SDKs agree on all cells but a few of unusual attributes."""
    cells = sum(len(each.users) * len(each.keys) for each in matrices)
    for name, share in zip(("javascript", "python"), DIFFERING_SHARE, strict=True):
        assert sum(len(users) for each in matrices for users in each.differing[name].values()) <= share * cells


@pytest.mark.timeout(1800 if NIGHTLY else 120)
def test_all_four_routes_serve_the_results_of_the_official_sdks(server: GatewayProcess, matrices: list[Matrix]) -> None:
    """API for one flag and for all, OFREP for one flag, and the first events of streams have the value of each cell."""
    seen = Counter[str]()
    with Pipeline(server.port) as pipeline:
        for each in matrices:
            rows = list(each.cells())
            cells = list(chain.from_iterable(rows))
            seen["api eval-all"] += check_all_flags(pipeline, each.name, rows)
            seen["api eval"] += check_api(pipeline, each.name, cells[::ONE_IN])
            seen["ofrep"] += check_ofrep(pipeline, each.name, cells[::ONE_IN])
            seen["sse eval-all"] += check_streams(server.port, each.name, rows)
            seen["sse eval"] += check_stream_of_one(server.port, each.name, cells[::STREAMED_ONE_IN])
    print(f"cells: {dict(seen)}")
    assert min(seen.values()) > 40_000 // STREAMED_ONE_IN
    assert seen["api eval-all"] == seen["sse eval-all"] > 40_000


def payload(cell: Cell) -> Json:
    return {"value": cell.value, "variationId": cell.variation_id}


def of_user(user: Json | None) -> Json:
    return {} if user is None else {"user": user}


def check_all_flags(pipeline: Pipeline, sdk: str, rows: list[list[Cell]]) -> int:
    requests = (post(f"/api/{sdk}/eval-all", of_user(row[0].user)) for row in rows)
    for row, answer in zip(rows, pipeline.send(requests), strict=True):
        assert (200, {cell.key: payload(cell) for cell in row}) == answer, (sdk, row[0].user)
    return sum(map(len, rows))


def check_api(pipeline: Pipeline, sdk: str, cells: list[Cell]) -> int:
    requests = (post(f"/api/{sdk}/eval", {"key": cell.key} | of_user(cell.user)) for cell in cells)
    for cell, answer in zip(cells, pipeline.send(requests), strict=True):
        assert (200, payload(cell)) == answer, (sdk, cell)
    return len(cells)


def check_ofrep(pipeline: Pipeline, sdk: str, cells: list[Cell]) -> int:
    for cell, answer in zip(cells, pipeline.send(ofrep_requests(sdk, cells)), strict=True):
        reason = "TARGETING_MATCH" if cell.matched else "DEFAULT"
        expected = {"key": cell.key, "reason": reason, "variant": cell.variation_id, "value": cell.value}
        assert (200, expected) == answer, (sdk, cell)
    return len(cells)


def ofrep_requests(sdk: str, cells: list[Cell]) -> Iterator[bytes]:
    for cell in cells:
        path = f"/ofrep/v1/evaluate/flags/{quote(cell.key, safe='')}"
        yield post(path, {} if cell.user is None else {"context": cell.user}, f"X-ConfigCat-SdkId: {sdk}\r\n")


def check_streams(port: int, sdk: str, rows: list[list[Cell]]) -> int:
    paths = (stream_path(sdk, row[0].user) for row in rows)
    for row, event in zip(rows, first_events(port, paths), strict=True):
        assert {cell.key: payload(cell) for cell in row} == event, (sdk, row[0].user)
    return sum(map(len, rows))


def check_stream_of_one(port: int, sdk: str, cells: list[Cell]) -> int:
    paths = (stream_path(sdk, cell.user, cell.key) for cell in cells)
    for cell, event in zip(cells, first_events(port, paths), strict=True):
        assert payload(cell) == event, (sdk, cell)
    return len(cells)


def first_events(port: int, paths: Iterable[str]) -> Iterator[Any]:
    """Yield the first event of each stream."""
    waiting = iter(paths)
    while piece := list(islice(waiting, STREAMS_AT_ONCE)):
        streams = Streams()
        try:
            opened = [streams.open(port, path) for path in piece]
            streams.read_until(lambda opened=opened: all(each.payloads or each.ended for each in opened), 60)
            for path, stream in zip(piece, opened, strict=True):
                assert stream.status == 200, path
                yield stream.payloads[0]
        finally:
            streams.close()
