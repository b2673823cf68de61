"""Long work as generators: each pauses after a few milliseconds, so that the caller can do something else.

A function with the suffix ``_in_steps`` returns a generator that yields None at each pause, and whose value is the
result.  A pause never splits what other code can see: the arguments are not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

T = TypeVar("T")

CHEAP: Final = 2048  # items between two pauses of work that takes about a microsecond for each: some 2 ms


def finish(steps: Generator[None, None, T]) -> T:
    """Run all steps at once, and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def pieces(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of ``size``; the last one may be shorter."""
    piece: list[T] = []
    for item in items:
        piece.append(item)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece
