"""The comparison of validators."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.etags import client_has
from gateway.web.values import Call

OPAQUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f'), max_size=20)
TAGS = st.builds(lambda weak, text: f'{weak}"{text}"'.encode("latin-1"), st.sampled_from(["", "W/"]), OPAQUE)


def has(etag: bytes, *values: bytes, otherwise: bytes = b"") -> bool:
    headers = {b"if-none-match": list(values)} if values else {}
    return client_has(Call(method="GET", path="/", headers=headers), etag, otherwise)


@pytest.mark.parametrize(
    ("etag", "values", "expected"),
    [
        (b'"a"', [], False),
        (b'"a"', [b""], False),
        (b'"a"', [b'"a"'], True),
        (b'"a"', [b'W/"a"'], True),
        (b'W/"a"', [b'"a"'], True),
        (b'W/"a"', [b'W/"a"'], True),
        (b'"a"', [b'"A"'], False),
        (b'"a"', [b'w/"a"'], False),
        (b'"a"', [b"*"], True),
        (b'"a"', [b" * "], True),
        (b'"a"', [b'"*"'], False),
        (b'"a"', [b'*, "b"'], False),
        (b'"a"', [b'"b", "c" ,\tW/"a"'], True),
        (b'"a"', [b'"b","a"'], True),
        (b'"a"', [b', ,"a",'], True),
        (b'"a"', [b'"b"', b'"a"'], True),
        (b'"a"', [b'"b"', b'"c"'], False),
        (b'"a"', [b"a"], False),
        (b"a", [b"a"], True),
        (b'"a,b"', [b'"x", "a,b"'], True),
        (b'"b"', [b'"a, "b"'], False),
        (b'"a"', [b'"b" "a"'], False),
        (b'"a"', [b'x"a"'], False),
        (b'""', [b'"a", ""'], True),
        (b'""', [b'"a"'], False),
        (b'""', [b'"a",,'], False),
        (b'"\xe9"', [b'W/"\xe9"'], True),
    ],
)
def test_weak_comparison_lists_and_star(etag: bytes, values: list[bytes], expected: bool) -> None:
    """As in RFC 9110, 13.1.2, also over several fields."""
    assert expected is has(etag, *values)


@given(TAGS, st.lists(TAGS, max_size=5), st.sampled_from([b",", b", ", b" ,\t", b",,"]))
def test_a_list_names_its_members_and_no_other(etag: bytes, others: list[bytes], comma: bytes) -> None:
    """A member is found at every place, weak or strong."""
    known = {other.removeprefix(b"W/") for other in others}
    assert (etag.removeprefix(b"W/") in known) is has(etag, comma.join(others) or b'"', otherwise=etag)
    assert has(etag, comma.join([*others, b"W/" + etag.removeprefix(b"W/")]))


def test_the_query_counts_only_without_the_field() -> None:
    """``otherwise`` replaces a field that is absent or empty."""
    assert has(b'"a"', otherwise=b'W/"a"')
    assert has(b'"a"', b"", otherwise=b'"a"')
    assert not has(b'"a"', b'"b"', otherwise=b'"a"')
