"""Text that is safe in logs and terminals."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.text import printable, replace_unprintable


@given(st.text())
def test_printable_text_is_one_line_of_utf8(text):
    """For any text, the result has one line, no control character, and can be encoded."""
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable() or not text.isprintable()


def test_printable_escapes_are_readable():
    """Escapes are those of Python string literals."""
    assert "a\\nb\\x1b[0m\\u2028ü" == printable("a\nb\x1b[0m\u2028ü")


@given(st.text())
def test_replaced_text_is_printable_and_as_long(text):
    """Each character is replaced by one, and nothing else changes."""
    shown = replace_unprintable(text)
    assert shown.isprintable()
    assert all(new == (old if old.isprintable() else "?") for old, new in zip(text, shown, strict=True))
