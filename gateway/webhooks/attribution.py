"""Who changed a config: the author named by a hook call, for as long as the fetch lasts that the call started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from gateway.webhooks.formats import Author, parse_attribution

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN: tuple[None, str] = (None, "")


@define
class Attribution:
    """The authors and notes of hook calls under way, per SDK; bounded by the number of calls that wait for a fetch."""

    _current: dict[str, list[tuple[Author | None, str]]] = field(factory=dict)

    def add(self, sdk_id: str, body: bytes) -> Callable[[], None]:
        """Attribute changes to the author in the body of an authenticated hook call, until the result is called.

        The caller calls the returned function once, however the fetch ends.
        """
        credit = parse_attribution(body)
        if credit == UNKNOWN:
            return lambda: None
        current = self._current.setdefault(sdk_id, [])
        current.append(credit)

        def end() -> None:
            current.remove(credit)
            if not current and self._current.get(sdk_id) is current:
                del self._current[sdk_id]

        return end

    def of(self, sdk_id: str) -> tuple[Author | None, str]:
        """Return author and notes of a change seen now; None and "" without an author, and with more than one."""
        current = self._current.get(sdk_id, [])
        authors = {author for author, _ in current}
        if len(authors) > 1:
            return UNKNOWN
        notes = dict.fromkeys(notes for _, notes in current if notes)
        return next(iter(authors), None), "\n".join(notes)
