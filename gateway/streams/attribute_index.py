"""Cohorts by the text of an attribute, so that a change for few users does not compare all cohorts.

An index of an attribute is built when a change first needs it: that change is compared with all cohorts, and the index
follows the cohorts from then on.  A gateway whose changes name no users has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.flags import User


class Indexed(Protocol):
    """What is indexed: a cohort, which has members until it is removed."""

    @property
    def user(self) -> User | None:
        """The user of all members."""

    @property
    def members(self) -> Sequence[object]:
        """The open streams."""


C = TypeVar("C", bound=Indexed)

MAX_INDEXES = 4  # attributes of one SDK; each takes some 40 bytes per cohort
LEAST_COHORTS = 256  # with fewer, comparing all takes less than 0.2 ms
LEAST_RATIO = 4  # cohorts per text; a change that names more texts is compared with all cohorts


class AttributeIndex(Generic[C]):
    """The cohorts of all users that have one attribute, by its text."""

    __slots__ = ("_by_text", "_name", "_waiting")

    def __init__(self, name: str, cohorts: Iterable[C]) -> None:
        self._name = name
        # A text with one cohort, the usual case for identifiers, has no dictionary of its own.
        self._by_text: dict[str, C | dict[C, None]] = {}
        self._waiting = list(cohorts)  # that ``build`` has yet to add

    @property
    def complete(self) -> bool:
        """Whether all cohorts have been added."""
        return not self._waiting

    def build(self, limit: int) -> None:
        """Add at most ``limit`` of the cohorts that were open at the start, without those that were removed since."""
        waiting = self._waiting
        for cohort in waiting[-limit:]:
            if cohort.members:
                self.add(cohort)
        del waiting[-limit:]

    def add(self, cohort: C) -> None:
        """Add a new cohort."""
        user = cohort.user
        text = None if user is None else user.text.get(self._name)
        if text is None:
            return
        known = self._by_text.setdefault(text, cohort)
        if isinstance(known, dict):
            known[cohort] = None
        elif known is not cohort:
            self._by_text[text] = {known: None, cohort: None}

    def remove(self, cohort: C) -> None:
        """Remove a cohort, if it was added."""
        user = cohort.user
        text = None if user is None else user.text.get(self._name)
        known = None if text is None else self._by_text.get(text)
        if text is None or known is None:
            return
        if isinstance(known, dict):
            known.pop(cohort, None)
            if known:
                return
        elif known is not cohort:
            return
        del self._by_text[text]

    def find(self, texts: Iterable[str]) -> Iterable[C]:
        """Return the cohorts of users that have one of these texts."""
        for text in texts:
            known = self._by_text.get(text)
            if known is None:
                continue
            if isinstance(known, dict):
                yield from known
            else:
                yield known


class AttributeIndexes(Generic[C]):
    """The indexes that changes have used, at most ``MAX_INDEXES``; the one unused for longest is replaced."""

    __slots__ = ("_by_name", "all")

    def __init__(self) -> None:
        self._by_name: dict[str, AttributeIndex[C]] = {}  # the one used last is the last
        self.all: tuple[AttributeIndex[C], ...] = ()  # each is to be passed every cohort that is added or removed

    def find(self, texts: Mapping[str, Iterable[str]], cohorts: Callable[[], Iterable[C]]) -> dict[C, None] | None:
        """Return the cohorts of users with one of these texts, by attribute; None while an index is not complete.

        An index that does not exist is begun; ``cohorts`` returns all cohorts that are open.
        There must not be more attributes than ``MAX_INDEXES``.
        """
        for name in texts:
            index = self._by_name.pop(name, None)
            self._by_name[name] = AttributeIndex(name, cohorts()) if index is None else index
        while len(self._by_name) > MAX_INDEXES:
            del self._by_name[next(iter(self._by_name))]
        self.all = tuple(self._by_name.values())
        if not all(self._by_name[name].complete for name in texts):
            return None
        found: dict[C, None] = {}
        for name, wanted in texts.items():
            found.update(dict.fromkeys(self._by_name[name].find(wanted)))
        return found

    @property
    def building(self) -> bool:
        """Whether an index is not complete."""
        return not all(index.complete for index in self.all)

    def build(self, limit: int) -> bool:
        """Add at most ``limit`` cohorts to an index that is not complete; return whether there was one."""
        for index in self.all:
            if not index.complete:
                index.build(limit)
                return True
        return False


def worth_it(texts: Mapping[str, frozenset[str]] | None, cohorts: int) -> bool:
    """Return whether to look up these texts instead of comparing so many cohorts."""
    return (
        texts is not None
        and cohorts >= LEAST_COHORTS
        and len(texts) <= MAX_INDEXES
        and sum(map(len, texts.values())) * LEAST_RATIO <= cohorts
    )
