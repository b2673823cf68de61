"""Whether a new config may replace the one in use: from the flags that it would remove or break, and the users (pure).

the config in use, a candidate ──► measure_in_steps ──► judge ──► Apply, or Hold with the reason
its effect on connected users ──► judge_audience ──► Apply, or Hold with the reason
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from gateway.flags import pieces

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from collections.abc import Set as AbstractSet

    Keys = AbstractSet[str] | Mapping[str, object]

KEYS_PER_STEP: Final = 2048  # counted between two pauses: some 1 ms
LEAST_FLAGS: Final = 5  # without a limit in the settings, a config of fewer flags is never held
LEAST_USERS: Final = 20  # of fewer connected users a share has no meaning


@frozen
class Limits:
    """Percentages of the flags in use; more than that holds a config.  None holds only if all flags are lost.

    ``max_impact_percent`` is of the connected users; None holds none because of them.
    """

    max_removed_percent: float | None = None
    max_failing_percent: float | None = None
    max_impact_percent: float | None = None


@frozen
class Flags:
    """The keys of a config, and those of them that fail for at least some users.

    Both are sets or mappings: no key is there twice, and looking one up takes little time.
    """

    keys: Keys
    failing: Keys = frozenset()


@frozen
class Losses:
    """How many of the ``total`` flags in use a candidate removes, and how many of the others begin to fail."""

    total: int
    removed: int
    failing: int

    @property
    def text(self) -> str:
        """The losses in words."""
        parts = [f"{count} of {self.total} flags would {verb}" for count, verb in self._counts if count]
        return " and ".join(parts) or "no flag would be lost"

    @property
    def _counts(self) -> tuple[tuple[int, str], ...]:
        return (self.removed, "vanish"), (self.failing, "fail")


@frozen
class Audience:
    """Connected users: how many were ``examined``, and how many of these a candidate would show something else."""

    examined: int
    changed: int


@frozen
class Apply:
    """The candidate may be used."""


@frozen
class Hold:
    """The candidate must not be used before an operator accepts it; ``reason`` is a part of a sentence."""

    reason: str


def measure_in_steps(last_good: Flags, candidate: Flags) -> Generator[None, None, Losses]:
    """Return a generator that returns the losses of the flags in use.

    A flag that fails already is not counted as beginning to fail.
    """
    removed = failing = 0
    for keys in pieces(last_good.keys, KEYS_PER_STEP):
        removed += sum([key not in candidate.keys for key in keys])
        yield
    for keys in pieces(candidate.failing, KEYS_PER_STEP):
        failing += sum([key in last_good.keys and key not in last_good.failing for key in keys])
        yield
    return Losses(len(last_good.keys), removed, failing)


def judge(losses: Losses, limits: Limits) -> Apply | Hold:
    """Return whether a candidate with these losses may replace the config in use.

    Without any limit a candidate is held if all of 5 or more flags vanish or begin to fail, in any mixture.
    """
    unlimited = limits.max_removed_percent is None and limits.max_failing_percent is None
    lost = losses.removed + losses.failing if unlimited else 0
    held = (
        _beyond(losses.removed, losses.total, limits.max_removed_percent)
        or _beyond(losses.failing, losses.total, limits.max_failing_percent)
        or _all(lost, losses.total)
    )
    return Hold(losses.text) if held else Apply()


def judge_audience(audience: Audience, limits: Limits) -> Apply | Hold:
    """Return whether a candidate may change what so many users see; it may for fewer than ``LEAST_USERS``."""
    limit, examined, changed = limits.max_impact_percent, audience.examined, audience.changed
    if limit is None or examined < LEAST_USERS or changed * 100 <= limit * examined:
        return Apply()
    return Hold(f"{changed} of {examined} connected users would see other values")


def _beyond(count: int, total: int, limit: float | None) -> bool:
    return _all(count, total) if limit is None else count * 100 > limit * total


def _all(count: int, total: int) -> bool:
    return count == total >= LEAST_FLAGS
