"""A Hypothesis strategy that damages a config JSON, as a broken upstream might."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
Draw = st.DrawFn

_JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 7, 99, 2**70, 1.5, 1e300, "", "x", [], {}, [None], [[]], {"c": []}, {"v": {"b": 1}}]
).map(deepcopy)  # a copy, since inserted values may be damaged as well


@st.composite
def damaged(draw: Draw, config: Json) -> Json:
    """A copy of ``config`` with one to three members replaced or removed."""
    copy: Json = json.loads(json.dumps(config))
    for _ in range(draw(st.integers(1, 3))):
        _damage(draw, copy)
    return copy


def _damage(draw: Draw, node: Any) -> None:
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            return
        place = draw(st.sampled_from(places))
        inner = node[place]
        if isinstance(inner, dict | list) and inner and draw(st.integers(0, 5)) != 4:
            node = inner
            continue
        if draw(st.booleans()):
            node[place] = draw(_JUNK)
        else:
            del node[place]
        return
