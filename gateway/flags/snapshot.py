"""A compiled config: immutable, shared by answers and streams.

body ──► ConfigJson ──► (only what changed) compile ──► Snapshot
"""

from __future__ import annotations

from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gateway.flags.all_flags import all_flags_in_steps
from gateway.flags.compile import CompileContext, compile_flag, compile_segment
from gateway.flags.config_json import ConfigJson, decode_piece, split_config_in_steps
from gateway.flags.definition import Fault, parse_flag
from gateway.flags.graph import affected_by_in_steps, compile_order_in_steps, cycle_text
from gateway.flags.steps import CHEAP, finish, pieces
from gateway.flags.user import MISSING_USER, User

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from gateway.flags.all_flags import AllFlags, Evaluation, Partition
    from gateway.flags.flag import Flag
    from gateway.flags.result import Result
    from gateway.flags.segment import Segment

FLAGS_PER_STEP = 16  # compiled between two pauses: some 4 ms
HASHED_PER_STEP = 4 * 1024 * 1024  # bytes between two pauses: some 4 ms
LARGE_FLAGS = 1024  # beyond it all flags are evaluated in steps: 1,000 flags take some 4 ms
EVALUATIONS_KEPT = 8  # of a large config: each takes 8 bytes per flag, and is used within a few turns of the reactor
TAG_LENGTH = 16  # hex digits of the body's SHA-256; 64 bits distinguish any two configs of one SDK


class Snapshot:
    """A config JSON as it was received, ready to be evaluated.

    ``etag`` is the upstream's, or generated; ``tag`` is a digest of the body, equal on every node;
    ``keys`` are sorted by their UTF-8 bytes, and ``flags`` is in that order; ``preferences`` is the member ``p``.
    Any thread may read it and call ``evaluate``; ``evaluate_all`` uses caches without a lock and belongs to the reactor
    thread.
    """

    large: ClassVar = False  # whether evaluating all flags takes so long that it is to be done in steps
    __slots__ = (
        "_all_flags",
        "_previous_partition",
        "body",
        "etag",
        "flags",
        "keys",
        "preferences",
        "salt",
        "segments",
        "tag",
    )  # fmt: skip

    def __init__(
        self,
        body: bytes,
        etag: str,
        tag: str,
        config: ConfigJson,
        segments: Sequence[Segment],
        flags: dict[str, Flag],  # in the order of their keys
        previous_partition: Partition | None = None,
    ) -> None:
        self.body: Final = body
        self.tag: Final = tag
        self.etag: Final = etag or f'W/"{self.tag}"'
        self.preferences: Final[Mapping[str, object]] = MappingProxyType(dict(config.preferences))
        self.salt: Final = _salt(config)
        self.segments: Final = tuple(segments)
        self.keys: Final[tuple[str, ...]] = tuple(flags)
        self.flags: Final[Mapping[str, Flag]] = MappingProxyType(flags)
        self._previous_partition = previous_partition
        self._all_flags: AllFlags | None = None  # made on first use; some configs are only served as files

    @property
    def partition(self) -> Partition | None:
        """The division into shared and personal flags, if all flags were evaluated at least once."""
        return self._previous_partition if self._all_flags is None else self._all_flags.partition

    def evaluate(self, key: str, user: User | None) -> Result:
        """Return the result of one flag.

        :raises KeyError: if the flag does not exist
        """
        return self.flags[key].resolve(MISSING_USER if user is None else user)

    def evaluate_all(self, user: User | None, *, remember: bool = False) -> Evaluation:
        """Evaluate all flags.

        ``remember`` is for a user who is evaluated again after the next change: the results of the flags that read
        this user's own attributes are stored in ``user.memo``, and only those that changed are evaluated again.
        """
        all_flags = self._all_flags
        if all_flags is None:
            all_flags = finish(self._all_flags_in_steps())
        return all_flags.evaluate(MISSING_USER if user is None else user, remember)

    def is_evaluated(self, user: User | None) -> bool:  # noqa: ARG002 - for a large config
        """Return whether ``evaluate_all`` takes little time for ``user``."""
        return True

    def evaluate_all_in_steps(self, user: User | None) -> Generator[None, None, Evaluation]:
        """Return a generator that returns what ``evaluate_all`` returns: of a large config after several steps."""
        yield
        return self.evaluate_all(user)

    def _all_flags_in_steps(self) -> Generator[None, None, AllFlags]:
        made = yield from all_flags_in_steps(tuple(self.flags.values()), self._previous_partition)
        if self._all_flags is None:
            self._all_flags = made
            self._previous_partition = None
        return self._all_flags

    def __repr__(self) -> str:
        return f"<Snapshot {self.tag}: {len(self.keys)} flags>"


class LargeSnapshot(Snapshot):
    """A config of so many flags that evaluating all of them takes long.

    ``evaluate_all_in_steps`` keeps the latest evaluations, which ``evaluate_all`` then returns at once.
    """

    __slots__ = ("_latest",)
    large = True

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._latest: dict[User | None, Evaluation] = {}

    def evaluate_all(self, user: User | None, *, remember: bool = False) -> Evaluation:
        """See ``Snapshot``."""
        known = self._latest.get(user)
        return super().evaluate_all(user, remember=remember) if known is None else known

    def is_evaluated(self, user: User | None) -> bool:
        """See ``Snapshot``; false again after several other users were evaluated."""
        return user in self._latest

    def evaluate_all_in_steps(self, user: User | None) -> Generator[None, None, Evaluation]:
        """See ``Snapshot``."""
        known = self._latest.get(user)
        if known is not None:
            return known
        all_flags = self._all_flags
        if all_flags is None:
            all_flags = yield from self._all_flags_in_steps()
        evaluation = yield from all_flags.evaluate_in_steps(MISSING_USER if user is None else user)
        self._latest[user] = evaluation
        if len(self._latest) > EVALUATIONS_KEPT:
            del self._latest[next(iter(self._latest))]
        return evaluation


def replaced_flags_in_steps(old: Snapshot, new: Snapshot) -> Generator[None, None, list[object]]:
    """Return a generator that returns the compiled flags that only ``old`` has."""
    replaced: list[object] = []
    for piece in pieces(old.flags.items(), CHEAP):
        replaced += [flag for key, flag in piece if new.flags.get(key) is not flag]
        yield
    return replaced


def load(body: bytes, etag: str, previous: Snapshot | None = None) -> Snapshot:
    """Compile a config JSON; a malformed flag fails alone.

    Unchanged flags, segments and results are reused from ``previous``, which stays usable.

    :raises ConfigError: if the config cannot be used at all
    """
    return finish(load_in_steps(body, etag, previous))


def load_in_steps(body: bytes, etag: str, previous: Snapshot | None = None) -> Generator[None, None, Snapshot]:
    """Return a generator that compiles a few flags per step, and returns what ``load`` returns.

    :raises ConfigError: from a step, if the config cannot be used at all
    """
    config = yield from split_config_in_steps(body)
    yield
    salt = _salt(config)
    segments = _segments(config, salt, previous)
    compiled = yield from _flags(config, CompileContext(salt, segments, {}), previous)
    yield
    flags: dict[str, Flag] = {}
    for keys in pieces(sorted(compiled), CHEAP):  # code points sort as UTF-8 bytes do
        flags.update({key: compiled[key] for key in keys})
        yield
    kind = LargeSnapshot if len(flags) > LARGE_FLAGS else Snapshot
    tag = yield from _tag_in_steps(body)
    return kind(body, etag, tag, config, segments, flags, None if previous is None else previous.partition)


def _tag_in_steps(body: bytes) -> Generator[None, None, str]:
    digest = sha256(usedforsecurity=False)
    for position in range(0, len(body), HASHED_PER_STEP):
        digest.update(memoryview(body)[position : position + HASHED_PER_STEP])
        yield
    return digest.hexdigest()[:TAG_LENGTH]


def _salt(config: ConfigJson) -> str | Fault:
    salt = config.preferences.get("s")
    if salt is None:
        return ""
    return salt if isinstance(salt, str) else Fault("config JSON salt is not a string")


def _segments(config: ConfigJson, salt: str | Fault, previous: Snapshot | None) -> tuple[Segment, ...]:
    known = (
        {} if previous is None or previous.salt != salt else {segment.source: segment for segment in previous.segments}
    )
    return tuple(known.get(source) or compile_segment(source, salt) for source in config.segments)


def _flags(
    config: ConfigJson, context: CompileContext, previous: Snapshot | None
) -> Generator[None, None, dict[str, Flag]]:
    kept: dict[str, Flag] = {} if previous is None else (yield from _unchanged(config, context, previous))
    yield
    earlier: Mapping[str, Flag] = {} if previous is None else previous.flags
    changed = {}
    for keys in pieces(config.flags, CHEAP):
        yield
        for number, key in enumerate([key for key in keys if key not in kept]):
            if number % FLAGS_PER_STEP == 0:
                yield
            changed[key] = parse_flag(decode_piece(config.flags[key]))
    order, circular = yield from compile_order_in_steps(changed)
    flags = dict(kept)
    context = CompileContext(context.salt, context.segments, flags)
    for number, key in enumerate((*order, *circular)):
        if number % FLAGS_PER_STEP == 0:
            yield
        flags[key] = compile_flag(
            key,
            config.flags[key],
            changed.pop(key),  # so that the definitions are freed a few per step
            context,
            circle=cycle_text(key, circular) if key in circular else None,
            earlier=earlier[key].result_table if key in earlier else None,
        )
    return flags


def _unchanged(
    config: ConfigJson, context: CompileContext, previous: Snapshot
) -> Generator[None, None, dict[str, Flag]]:
    """Return the flags whose definition, segments, salt and prerequisites did not change.

    Flags that reach a circle of prerequisites are never among them, since the circle may have been broken elsewhere.
    """
    salted = context.salt != previous.salt
    moved = changed_positions(previous.segments, context.segments)
    touched: set[str] = set()
    for keys in pieces(previous.flags, CHEAP):
        touched.update([key for key in keys if key not in config.flags])
        yield
    same = {}
    for number, (key, source) in enumerate(config.flags.items(), 1):
        if number % CHEAP == 0:
            yield
        flag = previous.flags.get(key)
        if (
            flag is None
            or flag.source != source
            or flag.fault is not None
            or (salted and flag.hashed)
            or not moved.isdisjoint(flag.segment_indexes)
        ):
            touched.add(key)
        else:
            same[key] = flag
    affected = yield from affected_by_in_steps(touched, same)
    for key in affected:
        same.pop(key, None)
    return same


def changed_positions(old: Sequence[Segment], new: Sequence[Segment]) -> frozenset[int]:
    """Return the positions at which the segments of two configs differ in their bytes."""
    longest = max(len(old), len(new))
    sources = [[segment.source for segment in segments] + [b""] * (longest - len(segments)) for segments in (old, new)]
    return frozenset(index for index in range(longest) if sources[0][index] != sources[1][index])
