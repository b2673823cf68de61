"""Rules of the keys of callers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.settings import load
from gateway.settings.masking import masked

HASH, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
KEY = {"name": "shop", "hash": HASH}


def loaded(*keys: dict[str, Any], **auth: Any) -> Any:
    values = {"sdks": {"shop": {"key": "k" * 22 + "/" + "k" * 22}}, "http": {"auth": {"keys": list(keys)} | auth}}
    return load(yaml.safe_dump(values), {})


@pytest.mark.parametrize(
    ("keys", "paths"),
    [
        ([KEY], []),
        ([KEY | {"second_hash": OTHER, "sdks": ["shop"], "routes": ["api"], "rate": 0.5, "max_streams": 3}], []),
        ([KEY | {"name": ""}], ["[0].name"]),
        ([KEY | {"name": "x" * 101}], ["[0].name"]),
        ([KEY | {"hash": ""}], ["[0].hash"]),
        ([KEY | {"hash": "fgk_secret"}], ["[0].hash"]),
        ([KEY | {"hash": HASH.upper()}], ["[0].hash"]),
        ([KEY | {"second_hash": "fgk_secret"}], ["[0].second_hash"]),
        ([KEY | {"second_hash": HASH}], ["[0].second_hash"]),
        ([KEY, KEY | {"hash": OTHER}], ["[1].name"]),
        ([KEY, KEY | {"name": "b"}], ["[1].hash"]),
        ([KEY | {"sdks": ["shop", "none"]}], ["[0].sdks[1]"]),
        ([KEY | {"routes": ["hook"]}], ["[0].routes[0]"]),
        ([KEY | {"rate": -1}], ["[0].rate"]),
        ([{"name": str(n), "hash": f"sha256:{n:064x}"} for n in range(101)], [""]),
    ],
)
def test_keys(keys: list[dict[str, Any]], paths: list[str]) -> None:
    found = loaded(*keys)
    assert [f"http.auth.keys{path}" for path in paths] == [problem.path for problem in found.problems]
    assert "fgk_secret" not in str(found.problems)


def test_warnings() -> None:
    assert ["http.auth.routes"] == [warning.path for warning in loaded(routes=["api"]).warnings]
    unneeded = loaded(KEY | {"routes": ["api", "cdn_proxy"]}).warnings
    assert ["http.auth.keys[0].routes[1]"] == [warning.path for warning in unneeded]
    assert () == loaded(KEY | {"routes": ["cdn_proxy"]}, routes=["cdn_proxy"]).warnings


def test_hashes_are_masked() -> None:
    assert "a" * 64 not in str(masked(loaded(KEY).settings))
