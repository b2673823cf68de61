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
    """A compiled flag; the next Snapshot keeps it if nothing that it depends on has changed."""

    key: str
    source: bytes = attrs.field(repr=False)  # the definition as bytes
    setting_type: SettingType | Fault
    attributes: tuple[str, ...]  # that it reads, also through segments and prerequisites; sorted by UTF-8 bytes
    segment_indexes: frozenset[int]  # positions of the segments that it refers to directly
    prerequisites: tuple[str, ...]  # keys of its direct prerequisites
    hashed: bool  # whether it compares hashes, directly or through a segment
    evaluations: int  # that its evaluation needs at most, prerequisites included; 1 if they are kept for each user
    fault: str | None  # why it fails for every user, for example a circle of prerequisites
    depth: int  # levels of prerequisites, this flag included
    resolve: Resolve = attrs.field(repr=False)  # the result for a user; MISSING_USER for a request without one
    result_table: ResultTable = attrs.field(repr=False)
    form: Form | None = attrs.field(default=None, repr=False)  # as ``resolve``, for evaluating many flags together

    @property
    def definition(self) -> Mapping[str, object]:
        """The setting as plain JSON values, decoded at each access."""
        return cast("Mapping[str, object]", msgspec.json.decode(self.source))

    @property
    def results(self) -> tuple[Result, ...]:
        """The results that the definition can serve, and the failures seen so far."""
        return self.result_table.all()
