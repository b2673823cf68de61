"""Notes about what any client may do by default."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.settings import load

STREAMS, RULES = "http.sse.users", "http.cdn_proxy.cors.allowed_origins"
KEYS = [{"name": "shop", "hash": "sha256:" + "a" * 64}]


def noted(http: dict[str, Any], **variables: str) -> list[str]:
    loaded = load(yaml.safe_dump({"sdks": {"a": {"key": "k" * 22 + "/" + "k" * 22}}, "http": http}), variables)
    assert () == loaded.problems
    return [note.path for note in loaded.notes]


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ({}, [STREAMS, RULES]),
        ({"bind": "192.0.2.1"}, [STREAMS, RULES]),
        ({"bind": "0.0.0.0"}, [STREAMS, RULES]),
        ({"bind": "127.0.0.1"}, []),
        ({"bind": "::1"}, []),
        ({"bind": "localhost"}, []),
        ({"enabled": False}, []),
        ({"sse": {"users": "open"}}, [RULES]),
        ({"sse": {"enabled": False}}, [RULES]),
        ({"auth": {"keys": KEYS}}, [RULES]),
        ({"auth": {"keys": KEYS, "routes": ["cdn_proxy"]}}, [STREAMS]),
        ({"cdn_proxy": {"enabled": False}}, [STREAMS]),
        ({"cdn_proxy": {"cors": {"enabled": False}}}, [STREAMS]),
        ({"cdn_proxy": {"cors": {"allowed_origins": ["https://app.example.com"]}}}, [STREAMS]),
        ({"cdn_proxy": {"cors": {"allowed_origins": ["*"]}}}, [STREAMS]),
    ],
)
def test_what_is_open_by_default_beyond_this_machine(http: dict[str, Any], expected: list[str]) -> None:
    """An option that is set has been decided, be it as the default has it."""
    assert expected == noted(http)


def test_a_variable_decides_too() -> None:
    assert [RULES] == noted({}, CONFIGCAT_HTTP_SSE_USERS="open")
