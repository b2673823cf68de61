"""Evaluation of all flags of a config for one user; users with equal shared attributes share the work.

    shared attributes ──► SharedResults (cached: results, and JSON with gaps) ┐
                                                                              ├──► Evaluation: JSON, fingerprint
    attributes of the user alone ──► results of the personal flags ───────────┘

A flag is personal when it reads an attribute that few users have in common, such as ``Identifier``; all others are
shared. Which attributes are personal is found out at run time: when the cache has more misses than hits, the
attribute with the most values becomes personal.
"""

from __future__ import annotations

from operator import attrgetter, getitem
from typing import TYPE_CHECKING, Final

from gateway.flags.batch import batch_evaluator, one_after_the_other
from gateway.flags.result import FINGERPRINT_BYTES, FINGERPRINT_MASK
from gateway.flags.steps import CHEAP, finish, pieces

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gateway.flags.batch import EvaluateMany
    from gateway.flags.flag import Flag
    from gateway.flags.result import Result
    from gateway.flags.user import Attribute, User

PERSONAL_ATTRIBUTES: Final = frozenset({"Identifier", "Email"})  # from the start: usually one value per user
CACHE_BYTES: Final = 4 * 1024 * 1024  # of JSON, per Snapshot and kind of JSON; roughly
CACHE_ENTRIES: Final = (16, 512)  # least and most entries, whatever their size
ENTRY_CHARACTERS: Final = 1024  # of the attributes in one entry; longer ones are rare, or sent to fill memory: not kept
ITEM_CHARACTERS: Final = 16  # overhead of one list item, in addition to its own length
FINGERPRINT_OF: Final = attrgetter("fingerprint")
FLAGS_PER_STEP: Final = 512  # evaluated between two pauses: some 2 ms
MEMO_FLAGS: Final = 1024  # personal flags whose results fit into ``User.memo``, one byte each; more are not stored


class Partition:
    """The flags of one config, divided into shared and personal ones; ``token`` stands for the personal ones."""

    __slots__ = (
        "_carried", "_code_tables", "_layout", "_previous_token", "_resolvers",
        "batches", "coded", "entries", "evaluate", "personal", "personal_attributes", "shared", "shared_attributes",
        "token",
    )  # fmt: skip

    def __init__(
        self,
        attributes: frozenset[str],
        personal: Sequence[Flag],
        shared: Sequence[Flag],
        layout: Sequence[int],
        batches: Sequence[EvaluateMany],
        previous: Partition | None,
    ) -> None:
        self.personal_attributes: Final = attributes
        self.batches: Final = batches  # evaluate the personal flags, FLAGS_PER_STEP of them each
        self.personal: Final = tuple(personal)
        self.shared: Final = tuple(shared)
        self.shared_attributes: Final = tuple(sorted({name for flag in shared for name in flag.attributes}))
        self.evaluate: Final = batches[0] if len(batches) == 1 else one_after_the_other(batches)
        self._layout = (0, *layout, len(shared))
        fitting = personal if len(personal) <= MEMO_FLAGS else ()  # the tables below are for ``User.memo``
        self.coded: Final = [flag.result_table.coded for flag in fitting]
        self.entries: Final = [flag.result_table.entries for flag in fitting]
        self._resolvers = [flag.resolve for flag in fitting]
        self._code_tables = [flag.result_table.codes for flag in fitting]
        same = previous is not None and previous.personal == self.personal  # Flags are compared by identity
        self.token: Final[object] = previous.token if previous is not None and same else object()
        self._previous_token: object = None
        self._carried: list[int] = []  # the position of each personal flag in the previous partition, -1 for a new one
        if previous is not None and fitting and not same:
            positions = {flag: position for position, flag in enumerate(previous.personal)}
            self._previous_token = previous.token
            self._carried = [positions.get(flag, -1) for flag in fitting]

    def template(self, texts: Sequence[bytes]) -> list[bytes]:
        """Join the texts of the shared flags; the items at odd positions are empty, one for each personal flag."""
        return finish(self.template_in_steps(texts))

    def template_in_steps(self, texts: Sequence[bytes]) -> Generator[None, None, list[bytes]]:
        """Return a generator that returns what ``template`` returns."""
        bounds = self._layout
        last = len(bounds) - 2
        parts: list[bytes] = []
        for first in range(0, last + 1, CHEAP):
            for position in range(first, min(first + CHEAP, last + 1)):
                gap = b",".join(texts[bounds[position] : bounds[position + 1]])
                before = b"," if position > 0 and (gap or position < last) else b""
                after = b"," if gap and position < last else b""
                parts += [before + gap + after, b""]
            yield
        parts.pop()
        return parts

    def evaluate_and_store(self, user: User) -> Sequence[Result]:
        """Return the results of the personal flags and store them in ``user.memo``, if they fit.

        Results of the previous config are reused for flags that did not change.
        """
        if user.memo_token is not None and user.memo_token is self._previous_token:
            known = user.memo
            results: Sequence[Result] = [
                resolve(user) if position < 0 else coded[known[position]]
                for resolve, coded, position in zip(self._resolvers, self.coded, self._carried, strict=True)
            ]
        else:
            results = self.evaluate(user)
        if len(results) <= MEMO_FLAGS:
            codes = self._codes(results)
            if codes is not None:
                total = sum(map(FINGERPRINT_OF, results)) & FINGERPRINT_MASK
                user.memo, user.memo_token = codes + total.to_bytes(FINGERPRINT_BYTES, "big"), self.token
        return results

    def _codes(self, results: Sequence[Result]) -> bytes | None:
        """Return the codes of the results of the personal flags; None if one does not fit into a byte."""
        try:
            return bytes(map(getitem, self._code_tables, results))
        except (KeyError, ValueError):  # a result that no user had before, or a code above 255
            pass
        codes = [flag.result_table.code(result) for flag, result in zip(self.personal, results, strict=True)]
        return bytes(codes) if max(codes) < 256 else None


def partition_in_steps(
    flags: Sequence[Flag], attributes: frozenset[str], previous: Partition | None
) -> Generator[None, None, Partition]:
    """Return a generator that divides the flags and prepares their evaluation."""
    personal: list[Flag] = []
    shared: list[Flag] = []
    layout: list[int] = []  # the number of shared flags before each personal one
    for some in pieces(flags, CHEAP):
        for flag in some:
            if attributes.isdisjoint(flag.attributes):
                shared.append(flag)
            else:
                layout.append(len(shared))
                personal.append(flag)
        yield
    if len(personal) <= MEMO_FLAGS:
        return Partition(attributes, personal, shared, layout, [batch_evaluator(personal)], previous)
    batches = []
    for piece in pieces(personal, FLAGS_PER_STEP):
        batches.append(batch_evaluator(piece))
        yield
    return Partition(attributes, personal, shared, layout, batches, previous)


class SharedResults:
    """The results of the shared flags for one combination of the attributes that they read.

    ``entries`` and ``ofrep`` are the templates of the two kinds of JSON; both are made on first use.
    """

    __slots__ = ("entries", "fingerprint", "ofrep", "ofrep_fingerprint", "partition", "results")

    def __init__(self, partition: Partition, results: Sequence[Result]) -> None:
        self.partition: Final = partition
        self.results: Final = tuple(results)
        self.fingerprint: Final = sum([result.fingerprint for result in self.results])
        self.ofrep_fingerprint: Final = sum([result.ofrep_fingerprint for result in self.results])
        self.entries: list[bytes] | None = None
        self.ofrep: list[bytes] | None = None

    def make_entries(self) -> list[bytes]:
        """Make and return the template of the JSON object."""
        return finish(self.make_entries_in_steps())

    def make_entries_in_steps(self) -> Generator[None, None, list[bytes]]:
        """Return a generator that does what ``make_entries`` does."""
        template = yield from self.partition.template_in_steps([result.entry for result in self.results])
        template[0] = b"{" + template[0]
        template[-1] += b"}"
        self.entries = template
        return template

    def make_ofrep(self) -> list[bytes]:
        """Make and return the template of the beginning of a bulk reply: its list of flags, still open."""
        template = self.ofrep = self.partition.template([result.ofrep for result in self.results])
        template[0] = b'{"flags":[' + template[0]
        return template


class Evaluation:
    """All flags of one Snapshot, evaluated for one user; encoded on demand."""

    __slots__ = ("_codes", "_personal", "_shared")

    def __init__(self, shared: SharedResults, personal: Sequence[Result] | None, codes: bytes | None) -> None:
        self._shared = shared
        self._personal = personal  # None only if there are codes
        self._codes = codes

    def json(self) -> bytes:
        """Return ``{"<key>":{"value":…,"variationId":…},…}`` in the order of ``keys``; null for failed flags."""
        shared, personal = self._shared, self._personal
        parts = (shared.entries or shared.make_entries()).copy()
        if personal is None:
            # ``map`` ends with the flags and does not reach the fingerprint behind the codes.
            parts[1::2] = map(getitem, shared.partition.entries, self._codes or b"")
        else:
            parts[1::2] = [result.entry for result in personal]
        return b"".join(parts)

    def ofrep(self, end: bytes = b"]}") -> bytes:
        """Return OFREP's bulk reply, all flags in the order of ``keys``; ``end`` closes the list and the object."""
        shared = self._shared
        parts = (shared.ofrep or shared.make_ofrep()).copy()
        parts[1::2] = [result.ofrep for result in self._personal or self._decoded()]
        parts.append(end)
        return b"".join(parts)

    def results(self) -> Sequence[Result]:
        """Return the results of all flags, in any order."""
        return (*self._shared.results, *(self._personal or self._decoded()))

    def fingerprint(self) -> int:
        """Return the sum of the fingerprints of the members of ``json()``, modulo 2**64."""
        codes = self._codes
        if codes is not None:
            return (self._shared.fingerprint + int.from_bytes(codes[-FINGERPRINT_BYTES:], "big")) & FINGERPRINT_MASK
        return (
            self._shared.fingerprint + sum([result.fingerprint for result in self._personal or ()])
        ) & FINGERPRINT_MASK

    def ofrep_fingerprint(self) -> int:
        """Return the sum of the fingerprints of the items of ``ofrep()``."""
        return self._shared.ofrep_fingerprint + sum(
            [one.ofrep_fingerprint for one in self._personal or self._decoded()]
        )

    def _decoded(self) -> Sequence[Result]:
        return list(map(getitem, self._shared.partition.coded, self._codes or b""))


class LargeEvaluation(Evaluation):
    """An evaluation of very many flags, whose fingerprints were summed in steps."""

    __slots__ = ("_fingerprint", "_ofrep_fingerprint")

    def __init__(
        self, shared: SharedResults, personal: Sequence[Result], fingerprint: int, ofrep_fingerprint: int
    ) -> None:
        super().__init__(shared, personal, None)
        self._fingerprint = fingerprint
        self._ofrep_fingerprint = ofrep_fingerprint

    def fingerprint(self) -> int:
        """See ``Evaluation``."""
        return (self._shared.fingerprint + self._fingerprint) & FINGERPRINT_MASK

    def ofrep_fingerprint(self) -> int:
        """See ``Evaluation``."""
        return self._shared.ofrep_fingerprint + self._ofrep_fingerprint


class AllFlags:
    """Evaluates all flags of one Snapshot for one user after the other and caches what users share."""

    __slots__ = ("_flags", "_limit", "_lookups", "cache", "partition")

    def __init__(self, flags: Sequence[Flag], partition: Partition) -> None:
        self._flags = flags
        least, most = CACHE_ENTRIES
        widest = sum([flag.result_table.widest for flag in flags]) or 1
        self._limit = max(least, min(most, CACHE_BYTES // widest))
        self.partition = partition
        self.cache: dict[tuple[object, ...], SharedResults] = {}
        self._lookups = 0  # since the cache was empty

    def evaluate(self, user: User, remember: bool) -> Evaluation:  # noqa: FBT001  (a keyword costs 2 % of a push)
        """Evaluate all flags; ``remember`` uses and updates ``user.memo``."""
        partition = self.partition
        values = (user.present, *map(user.values.get, partition.shared_attributes))
        self._lookups += 1
        shared = self.cache.get(values)
        if shared is None:
            shared = self._miss(values, user)
            partition = shared.partition
        if not remember:
            return Evaluation(shared, partition.evaluate(user), None)
        if user.memo_token is partition.token:
            return Evaluation(shared, None, user.memo)
        personal = partition.evaluate_and_store(user)
        return Evaluation(shared, personal, user.memo if user.memo_token is partition.token else None)

    def evaluate_in_steps(self, user: User) -> Generator[None, None, Evaluation]:
        """Return a generator that evaluates a few flags per step, and returns what ``evaluate`` returns.

        What makes ``json`` fast is prepared as well.
        """
        partition = self.partition
        values = (user.present, *map(user.values.get, partition.shared_attributes))
        self._lookups += 1
        shared = self.cache.get(values)
        if shared is None:
            if len(self.cache) >= self._limit:
                yield from self._clear_in_steps()
                partition = self.partition
                values = (user.present, *map(user.values.get, partition.shared_attributes))
            results: list[Result] = []
            for piece in pieces(partition.shared, FLAGS_PER_STEP):
                results += [flag.resolve(user) for flag in piece]
                yield
            shared = SharedResults(partition, results)
            yield
            # Another evaluation may have changed partition and cache since the last pause.
            room = self.partition is partition and len(self.cache) < self._limit
            if room and _characters(values) <= ENTRY_CHARACTERS:
                self.cache[values] = shared
        if shared.entries is None:
            yield from shared.make_entries_in_steps()
        if len(partition.personal) <= MEMO_FLAGS:
            personal = partition.evaluate_and_store(user)
            return Evaluation(shared, personal, user.memo if user.memo_token is partition.token else None)
        personal = []
        fingerprint = ofrep_fingerprint = 0
        for batch in partition.batches:
            some = batch(user)
            personal += some
            fingerprint += sum([result.fingerprint for result in some])
            ofrep_fingerprint += sum([result.ofrep_fingerprint for result in some])
            yield
        return LargeEvaluation(shared, personal, fingerprint, ofrep_fingerprint)

    def _miss(self, values: tuple[Attribute | bool | None, ...], user: User) -> SharedResults:
        if _characters(values) > ENTRY_CHARACTERS:
            return self._shared_results(user)
        if len(self.cache) >= self._limit:
            self._clear()
            values = (user.present, *map(user.values.get, self.partition.shared_attributes))
        shared = self.cache[values] = self._shared_results(user)
        return shared

    def _shared_results(self, user: User) -> SharedResults:
        return SharedResults(self.partition, [flag.resolve(user) for flag in self.partition.shared])

    def _clear(self) -> None:
        finish(self._clear_in_steps())

    def _clear_in_steps(self) -> Generator[None, None, None]:
        """Empty the cache; after more misses than hits, make the attribute with the most values a personal one."""
        if self._lookups < 2 * len(self.cache):
            partition = self.partition
            widths = [len(set(column)) for column in list(zip(*self.cache, strict=True))[1:]]
            widest = partition.shared_attributes[widths.index(max(widths))]
            made = yield from partition_in_steps(self._flags, partition.personal_attributes | {widest}, partition)
            if self.partition is not partition:  # another evaluation was faster
                return
            self.partition = made
        self._lookups = 0
        self.cache = {}


def all_flags_in_steps(flags: Sequence[Flag], previous: Partition | None) -> Generator[None, None, AllFlags]:
    """Return a generator that prepares the evaluation of all flags; ``previous`` is of the config before."""
    attributes = PERSONAL_ATTRIBUTES if previous is None else previous.personal_attributes
    partition = yield from partition_in_steps(flags, attributes, previous)
    yield
    return AllFlags(flags, partition)


def _characters(values: tuple[Attribute | bool | None, ...]) -> int:
    """Return the total length of the texts among ``values``, with an overhead for each list item."""
    return sum(
        len(value) if isinstance(value, str) else sum([len(item) + ITEM_CHARACTERS for item in value])
        for value in values
        if isinstance(value, (str, tuple))
    )
