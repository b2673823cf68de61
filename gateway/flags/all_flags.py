"""All flags for one user: what users share is made once per set of shared attributes, the rest for each user.

    shared attributes ──► Shared (made once: its texts have gaps) ┐
                                                                  ├──► the whole text, and its number
    the user's own attributes ──► the Results of personal flags ──┘

A flag is personal when it reads an attribute that hardly two users have in common, such as ``Identifier``.
Which attributes those are shows as users come: where remembering does not pay, the widest attribute becomes one.
"""

from __future__ import annotations

from operator import getitem
from typing import TYPE_CHECKING, Final, Literal

from gateway.flags.batch import Decider
from gateway.flags.fingerprint import DIGEST_BYTES, MASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.flags.flag import Flag
    from gateway.flags.result import Result
    from gateway.flags.user import Attribute, User

PERSONAL_ATTRIBUTES: Final = frozenset({"Identifier", "Email"})  # known beforehand: one value per user as a rule
SHARED_BYTES: Final = 4 * 1024 * 1024  # about as much is kept of what users share, per Snapshot and text
SHARED_SETS: Final = (16, 512)  # least and most sets of attributes that are remembered, whatever their size
SET_CHARACTERS: Final = 1024  # of the attributes of one set; a longer one is rare, or sent to fill memory: not kept
ITEM_CHARACTERS: Final = 16  # that the item of a list counts for, beside its own
CODED_FLAGS: Final = 1024  # personal flags whose outcomes are remembered for a user, a byte each; of more none are

Text = Literal["entry", "ofrep"]
"""Which text: evaluate-all's object, or OFREP's items with commas between them."""


class Division:
    """Which flags are shared and which are personal; ``token`` stands for this order of personal flags."""

    __slots__ = (
        "_before", "_carried", "_coded", "_codes", "_decide", "_entries", "_layout", "_resolve",
        "names", "own", "personal", "shared", "token",
    )  # fmt: skip

    def __init__(self, flags: Sequence[Flag], own: frozenset[str], previous: Division | None = None) -> None:
        self.own: Final = own  # the attributes that make a flag personal
        personal: list[Flag] = []
        shared: list[Flag] = []
        layout: list[int] = []  # how many shared flags stand before each personal one
        for flag in flags:
            if own.isdisjoint(flag.attributes):
                shared.append(flag)
            else:
                layout.append(len(shared))
                personal.append(flag)
        self.personal: Final = tuple(personal)
        self.shared: Final = tuple(shared)
        self.names: Final = tuple(sorted({name for flag in shared for name in flag.attributes}))
        self._layout = (0, *layout, len(shared))
        self._decide = Decider(personal)
        self._resolve = [flag.resolve for flag in personal]
        self._codes = [flag.outcomes.codes for flag in personal]
        self._coded = [flag.outcomes.coded for flag in personal]
        self._entries = [flag.outcomes.entries for flag in personal]
        same = previous is not None and previous.personal == self.personal  # Flags are compared by identity
        self.token: Final[object] = previous.token if previous is not None and same else object()
        self._before = self._carried = None
        if previous is not None and not same:
            places = {flag: place for place, flag in enumerate(previous.personal)}
            self._before, self._carried = previous.token, [places.get(flag, -1) for flag in personal]

    def template(self, texts: Sequence[bytes]) -> list[bytes]:
        """Return the texts of the shared flags with empty places between them, at odd positions, for the others'."""
        bounds = self._layout
        last = len(bounds) - 2
        parts: list[bytes] = []
        for place in range(last + 1):
            gap = b",".join(texts[bounds[place] : bounds[place + 1]])
            before = b"," if place > 0 and (gap or place < last) else b""
            after = b"," if gap and place < last else b""
            parts += [before + gap + after, b""]
        return parts[:-1]

    def decide(self, user: User) -> Sequence[Result]:
        """Return the outcomes of the personal flags; what is remembered of an immutable user is not decided again."""
        token = user.decided_for
        if token is not None:
            codes = user.decided  # of all flags, and then the number, at which ``map`` does not look
            if token is self.token:
                return list(map(getitem, self._coded, codes))
            if token is self._before and self._carried is not None:
                return [
                    resolve(user) if place < 0 else coded[codes[place]]
                    for resolve, coded, place in zip(self._resolve, self._coded, self._carried, strict=True)
                ]
        return self._decide(user)

    def decided(self, user: User) -> Sequence[Result]:
        """Return what ``decide`` does, and remember it."""
        results = self.decide(user)
        if user.decided_for is not self.token:
            self._remember(user, results)
        return results

    def entries(self, user: User) -> tuple[Sequence[bytes], int]:
        """Return the entries of the personal flags, and the sum of their numbers modulo 2**64; remembers the rest."""
        if user.decided_for is not self.token:
            results = self.decide(user)
            return [result.entry for result in results], self._remember(user, results)
        decided = user.decided
        return list(map(getitem, self._entries, decided)), int.from_bytes(decided[-DIGEST_BYTES:], "big")

    def _remember(self, user: User, results: Sequence[Result]) -> int:
        number = sum([result.number for result in results]) & MASK
        if len(results) <= CODED_FLAGS:
            try:
                codes = [codes[result] for codes, result in zip(self._codes, results, strict=True)]
            except KeyError:  # the first of its kind
                codes = [flag.outcomes.code(result) for flag, result in zip(self.personal, results, strict=True)]
            if max(codes, default=0) < 256:  # a flag of more outcomes is possible, and rare enough to be decided anew
                user.decided, user.decided_for = bytes(codes) + number.to_bytes(DIGEST_BYTES, "big"), self.token
        return number


class Shared:
    """The outcomes of the shared flags for one set of attributes."""

    __slots__ = ("_division", "_templates", "number", "ofrep_number", "results")

    def __init__(self, division: Division, user: User) -> None:
        self.results: Final = tuple([flag.resolve(user) for flag in division.shared])
        self.number: Final = sum([result.number for result in self.results])
        self.ofrep_number: Final = sum([result.ofrep_number for result in self.results])
        self._division = division
        self._templates: dict[Text, list[bytes]] = {}

    def woven(self, text: Text, own: Sequence[Result]) -> bytes:
        """Return the whole text: the shared ones, with those of the personal flags' outcomes in their places."""
        if text == "entry":
            return self.filled(text, [result.entry for result in own])
        return self.filled(text, [result.ofrep for result in own])

    def filled(self, text: Text, own: Sequence[bytes]) -> bytes:
        """Return the whole text, of whose personal places ``own`` are the texts."""
        parts = self._template(text).copy()
        parts[1::2] = own
        return b"".join(parts)

    def _template(self, text: Text) -> list[bytes]:
        known = self._templates.get(text)
        if known is None:
            if text == "entry":
                known = self._division.template([result.entry for result in self.results])
                known[0] = b"{" + known[0]
                known[-1] += b"}"
            else:
                known = self._division.template([result.ofrep for result in self.results])
            self._templates[text] = known
        return known


class Overview:
    """All flags of one Snapshot; made for any user, and remembering what users share."""

    __slots__ = ("_calls", "_flags", "_limit", "_state")

    def __init__(self, flags: Sequence[Flag], previous: Division | None = None) -> None:
        self._flags = flags
        least, most = SHARED_SETS
        widest = sum([flag.outcomes.widest for flag in flags]) or 1
        self._limit = max(least, min(most, SHARED_BYTES // widest))
        own = PERSONAL_ATTRIBUTES if previous is None else previous.own
        self._state: tuple[Division, dict[tuple[object, ...], Shared]] = (Division(flags, own, previous), {})
        self._calls = 0  # since nothing was remembered

    @property
    def division(self) -> Division:
        """What the next Snapshot's overview begins with."""
        return self._state[0]

    def text(self, user: User, text: Text) -> bytes:
        """Return the texts of all flags, in the order of their keys."""
        division, shared = self._shared(user)
        return shared.woven(text, division.decide(user))

    def told(self, user: User, text: Text) -> tuple[bytes, Sequence[Result]]:
        """Return the texts of all flags, and the outcomes behind them in any order."""
        division, shared = self._shared(user)
        own = division.decide(user)
        return shared.woven(text, own), (*shared.results, *own)

    def outcomes(self, user: User) -> Sequence[Result]:
        """Return the outcomes of all flags in any order; remembers as ``shown`` does."""
        division, shared = self._shared(user)
        return (*shared.results, *division.decided(user))

    def shown(self, user: User) -> tuple[bytes, int]:
        """Return the object of all entries and the sum of their numbers; remembers what was decided for ``user``.

        The sum is modulo 2**64.
        """
        division, shared = self._shared(user)
        own, number = division.entries(user)
        return shared.filled("entry", own), (shared.number + number) & MASK

    def ofrep_number(self, user: User) -> int:
        """Return the sum of the numbers of OFREP's items; remembers what was decided for ``user``."""
        division, shared = self._shared(user)
        return shared.ofrep_number + sum([result.ofrep_number for result in division.decided(user)])

    def _shared(self, user: User) -> tuple[Division, Shared]:
        division, known = self._state
        values: tuple[Attribute | bool | None, ...] = (user.present, *map(user.given.get, division.names))
        self._calls += 1
        shared = known.get(values)
        if shared is None:
            if _characters(values) > SET_CHARACTERS:
                return division, Shared(division, user)
            if len(known) >= self._limit:
                division, known = self._forget(division, known)
                values = (user.present, *map(user.given.get, division.names))
            shared = known[values] = Shared(division, user)
        return division, shared

    def _forget(
        self, division: Division, known: dict[tuple[object, ...], Shared]
    ) -> tuple[Division, dict[tuple[object, ...], Shared]]:
        """Begin to remember anew; where more users found nothing than something, the widest attribute is personal."""
        if self._calls < 2 * len(known):
            widths = [len(set(column)) for column in list(zip(*known, strict=True))[1:]]
            widest = division.names[widths.index(max(widths))]
            division = Division(self._flags, division.own | {widest}, division)
        self._calls = 0
        self._state = (division, {})
        return self._state


def _characters(values: tuple[Attribute | bool | None, ...]) -> int:
    """Return how long the texts among ``values`` are; items of lists cost some more than they are long."""
    return sum(
        len(value) if isinstance(value, str) else sum([len(item) + ITEM_CHARACTERS for item in value])
        for value in values
        if isinstance(value, (str, tuple))
    )
