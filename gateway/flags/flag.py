"""A compiled flag."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import attrs
import msgspec

from gateway.flags.result import Result, ResultTable
from gateway.flags.user import User

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.flags.definition import Fault, SettingType
    from gateway.flags.forms import Form

Resolve = Callable[[User], Result]


@attrs.frozen(eq=False)
class Flag:
    """One flag of a Snapshot; carried over from one Snapshot to the next while nothing it depends on has changed."""

    key: str
    source: bytes = attrs.field(repr=False)  # the definition's bytes
    setting_type: SettingType | Fault
    attributes: tuple[str, ...]  # the names it reads, also through segments and prerequisites; sorted by UTF-8 bytes
    segment_indexes: frozenset[int]  # the positions of the segments that it names itself
    prerequisites: tuple[str, ...]  # the keys that it names itself
    hashed: bool  # whether it compares hashes, itself or through a segment
    weight: int  # evaluations that one evaluation costs, prerequisites included
    fault: str | None  # why it fails for everybody: a circle of prerequisites, say
    depth: int  # prerequisites below one another, itself included
    resolve: Resolve = attrs.field(repr=False)  # the outcome for a user; MISSING_USER stands for none
    result_table: ResultTable = attrs.field(repr=False)
    form: Form | None = attrs.field(default=None, repr=False)  # as ``resolve``, for deciding many at once

    @property
    def definition(self) -> Mapping[str, object]:
        """The setting as plain JSON values, decoded anew on each access."""
        return cast("Mapping[str, object]", msgspec.json.decode(self.source))

    @property
    def results(self) -> tuple[Result, ...]:
        """The outcomes that the definition can serve, and the failures met so far."""
        return self.result_table.all()
