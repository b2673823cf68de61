"""Cohorts by the text of an attribute, so that a change for few users does not compare all cohorts.

An index of an attribute is built when a change first needs it, and then follows the cohorts; a gateway whose changes
name no users has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.flags import User


class HasUser(Protocol):
    """What is indexed: a cohort."""

    user: User | None


C = TypeVar("C", bound=HasUser)

MAX_INDEXES = 4  # attributes of one SDK; each takes some 60 to 100 bytes per cohort
LEAST_COHORTS = 256  # with fewer, comparing all takes less than 0.2 ms
LEAST_RATIO = 4  # cohorts per text; a change that names more texts is compared with all cohorts


class AttributeIndex(Generic[C]):
    """The cohorts of all users that have one attribute, by its text."""

    __slots__ = ("_by_text", "_name")

    def __init__(self, name: str, cohorts: Iterable[C]) -> None:
        self._name = name
        # A text with one cohort, the usual case for identifiers, has no dictionary of its own.
        self._by_text: dict[str, C | dict[C, None]] = {}
        for cohort in cohorts:
            self.add(cohort)

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
        """Remove a cohort that was added."""
        user = cohort.user
        text = None if user is None else user.text.get(self._name)
        if text is None:
            return
        known = self._by_text[text]
        if isinstance(known, dict) and len(known) > 1:
            del known[cohort]
        else:
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

    def find(self, texts: Mapping[str, Iterable[str]], cohorts: Callable[[], Iterable[C]]) -> dict[C, None]:
        """Return the cohorts of users with one of these texts, by attribute; ``cohorts`` returns all there are.

        There must not be more attributes than ``MAX_INDEXES``.
        """
        found: dict[C, None] = {}
        for name, wanted in texts.items():
            index = self._by_name.pop(name, None)
            if index is None:
                index = AttributeIndex(name, cohorts())
            self._by_name[name] = index
            found.update(dict.fromkeys(index.find(wanted)))
        while len(self._by_name) > MAX_INDEXES:
            del self._by_name[next(iter(self._by_name))]
        self.all = tuple(self._by_name.values())
        return found


def worth_it(texts: Mapping[str, frozenset[str]] | None, cohorts: int) -> bool:
    """Return whether to look up these texts instead of comparing so many cohorts."""
    return (
        texts is not None
        and cohorts >= LEAST_COHORTS
        and len(texts) <= MAX_INDEXES
        and sum(map(len, texts.values())) * LEAST_RATIO <= cohorts
    )
