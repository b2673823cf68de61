"""Who is changing a config just now: named by a hook's body, for as long as the fetch that the hook asked for lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from gateway.webhooks.formats.change import Author, read_credit

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY: tuple[None, str] = (None, "")


@define
class Credits:
    """The authors and notes that count at this moment, per SDK; as many as hooks wait for a fetch, which is bounded.

    A change that is seen before the hook's own fetch has ended is the hook's.
    One that several people may have made is nobody's in particular: a guess would be an invention.
    """

    _live: dict[str, list[tuple[Author | None, str]]] = field(factory=dict)

    def add(self, sdk_id: str, body: bytes) -> Callable[[], None]:
        """Let the body of an authenticated hook count, until the function that is returned is called, once.

        Whoever adds must call it, however the fetch ends: a credit that stays would name its author for all time.
        """
        credit = read_credit(body)
        if credit == NOBODY:
            return lambda: None
        live = self._live.setdefault(sdk_id, [])
        live.append(credit)

        def end() -> None:
            live.remove(credit)
            if not live and self._live.get(sdk_id) is live:
                del self._live[sdk_id]

        return end

    def of(self, sdk_id: str) -> tuple[Author | None, str]:
        """Return author and notes of a change that is seen now; None and "" when nobody, or more than one, is named."""
        live = self._live.get(sdk_id, [])
        authors = {author for author, _ in live}
        if len(authors) > 1:
            return NOBODY
        notes = dict.fromkeys(notes for _, notes in live if notes)
        return next(iter(authors), None), "\n".join(notes)
