"""The small config that the end-to-end tests change."""

from __future__ import annotations

from typing import Any

GERMAN = {"Identifier": "anna", "Country": "Germany"}
FRENCH = {"Identifier": "zoe", "Country": "France"}


def shop(banner: str) -> dict[str, Any]:
    """Return a config whose flag ``banner`` is this text for German users, and ``elsewhere`` for all others."""
    return {
        "p": {"u": "https://cdn-global.configcat.com", "r": 0, "s": "c2FsdA=="},
        "f": {
            "banner": {
                "t": 1,
                "v": {"s": "elsewhere"},
                "i": "v-elsewhere",
                "r": [
                    {
                        "c": [{"u": {"a": "Country", "c": 28, "s": "Germany"}}],
                        "s": {"v": {"s": banner}, "i": f"v-{banner}"},
                    }
                ],
            },
            "checkout": {"t": 0, "v": {"b": True}, "i": "v-on"},
            "limit": {"t": 2, "v": {"i": 3}, "i": "v-three"},
        },
    }
