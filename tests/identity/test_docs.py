"""The examples of docs/identity.md work as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gateway.identity import IssuerKeys, open_verifier
from gateway.settings import Settings, load
from gateway.text import hash_caller_key

PAGE = (Path(__file__).resolve().parents[2] / "docs/identity.md").read_text("utf-8")
SDK = "sdks:\n  shop: {key: configcat-sdk-1/0123456789abcdefghijkl/0123456789abcdefghijkl}\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def settings_of(text: str) -> Settings:
    loaded = load(text if text.startswith("sdks:") else SDK + text, {})
    assert ((), ()) == (loaded.problems, loaded.warnings)
    assert loaded.settings is not None
    return loaded.settings


def test_the_settings_are_valid_and_without_warnings():
    assert len(blocks("yaml")) >= 2
    for text in blocks("yaml"):
        assert settings_of(text)


def test_the_token_of_the_backend_is_accepted():
    """With the settings above it."""
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    verifier = open_verifier(settings_of(blocks("yaml")[0]).identity, IssuerKeys())
    assert verifier is not None
    identity = verifier.verify(names["token"].encode(), names["claims"]["exp"] - 900)
    assert {"Identifier": "zoe", "Country": "France"} == identity.attributes


def test_the_hash_is_that_of_the_key():
    shown = dict(line.split(": ") for line in blocks("console")[0].splitlines()[1:])
    assert hash_caller_key(shown["key"].encode()) == shown["hash"]
    assert shown["hash"] == settings_of(blocks("yaml")[2]).http.auth.keys[0].hash
