"""Checks each new config of one SDK, and keeps one that must not be used yet until an operator decides.

candidate ──► faults, losses ──► judge ──┬─► current: goes the usual way, record and publish
                                         └─► held ──► accept · reject · a good config from the source
"""

from __future__ import annotations

import shlex
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from gateway.clocks import wall_clock
from gateway.flags import difference, difference_in_steps, find_failing_flags_in_steps, finish
from gateway.logger import component_logger
from gateway.text import ProblemText, iso
from gateway.upstream.guard import (
    LEAST_FLAGS,
    Apply,
    Audience,
    Flags,
    Hold,
    Losses,
    judge,
    judge_audience,
    measure_in_steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from twisted.internet.interfaces import IReactorTime

    from gateway.flags import ConfigDiff, Snapshot
    from gateway.upstream.guard import Limits

_log = component_logger("sdks")

SHOWN: Final = 5  # flags that a log line names; a broken publication may break hundreds
SHOWN_IN_PROBLEM: Final = 1  # flags that a problem names; a problem has 300 characters
SHOWN_OF_KEY: Final = 60  # characters of a flag's key
SHOWN_OF_REASON: Final = 100  # characters of a fault in a problem
LOSS_SECONDS: Final = 3600.0  # for which a config that lost half of the flags or more is reported as a problem


@frozen
class CheckedConfig:
    """A config, its flags that fail for some users or all of them, and what it does to the config before it."""

    snapshot: Snapshot
    faults: Mapping[str, str]  # the reason of each failing flag, by key
    fresh: Mapping[str, str]  # those of ``faults`` that the config before did not have
    losses: Losses  # of the config before
    at: float  # Unix seconds
    changes: ConfigDiff | None = None  # to the config before, if it may be held
    audience: Audience | None = None  # the effect on connected users, if it limits

    def judge(self, limits: Limits) -> Apply | Hold:
        """Return whether this config may be used."""
        verdict = judge(self.losses, limits)
        if isinstance(verdict, Hold) or self.audience is None:
            return verdict
        return judge_audience(self.audience, limits)

    @property
    def shrunk(self) -> bool:
        """Whether half of 5 or more flags vanished, or more."""
        return self.losses.total >= LEAST_FLAGS and self.losses.removed * 2 >= self.losses.total

    @property
    def degradation(self) -> str:
        """What is lost, in words."""
        failing = f"{len(self.faults)} of {len(self.snapshot.keys)} flags fail" if self.faults else ""
        vanished = f"{self.losses.removed} of {self.losses.total} flags vanished" if self.shrunk else ""
        return " and ".join(filter(None, (vanished, failing)))

    @property
    def degraded(self) -> bool:
        """Whether this config is worse than the one before: flags began to fail, or many vanished."""
        return bool(self.fresh) or self.shrunk


@frozen
class HeldConfig:
    """A config that is not used until an operator accepts it."""

    config: CheckedConfig
    replaces: Snapshot  # the one in use
    changes: ConfigDiff
    reason: str

    def describe(self, sdk_id: str) -> dict[str, Any]:
        """Return a new dict for JSON; ``since`` is in seconds since 1970."""
        return {
            "sdk_id": sdk_id,
            "reason": self.reason,
            "since": self.config.at,
            "flags": len(self.config.snapshot.keys),
            "added": len(self.changes.added),
            "removed": len(self.changes.removed),
            "changed": len(self.changes.updated),
            "failing": len(self.config.faults),
            "etag": self.config.snapshot.etag,
            "etag_in_use": self.replaces.etag,
        }


@frozen
class KeptPin:
    """A config that an operator has pinned, and when, in Unix seconds."""

    snapshot: Snapshot
    since: float


@frozen
class PinnedConfig:
    """A config that is served until an operator releases it."""

    config: CheckedConfig
    since: float  # Unix seconds

    def describe(self, sdk_id: str) -> dict[str, Any]:
        """Return a new dict for JSON; ``config`` is the id that the history has for it."""
        snapshot = self.config.snapshot
        return {"sdk_id": sdk_id, "config": snapshot.tag, "etag": snapshot.etag, "since": self.since}


@frozen
class WaitingConfig:
    """The newest config of the source while another one is pinned; ``admitted`` if it was in use, or accepted."""

    config: CheckedConfig
    admitted: bool


class ConfigGuard:
    """The checks of one SDK; ``on_held`` is called when a config is held, and when it no longer is; it must not raise.

    All methods belong to the reactor thread.
    """

    def __init__(self, sdk_id: str, clock: IReactorTime, on_held: Callable[[], None]) -> None:
        self.current: CheckedConfig | None = None  # in use, or about to be
        self.held: HeldConfig | None = None
        self.pinned: PinnedConfig | None = None
        self.waiting: WaitingConfig | None = None  # only while one is pinned
        self._sdk_id = sdk_id
        self._clock = clock
        self._on_held = on_held
        self._rejected = b""  # digest of a body
        self._logged: Mapping[str, str] = {}  # faults that are in the log
        self._shrunk_until = float("-inf")

    @property
    def confirmed(self) -> bool:
        """Whether the source has the config that is in use, rather than one that is held, was rejected or waits."""
        return self.held is None and not self._rejected and self.pinned is None

    def ignores(self, body: bytes) -> bool:
        """Whether a body needs no further check, because it is held, was rejected or waits."""
        if self.waiting is not None and self.waiting.config.snapshot.body == body:
            return True
        if self.held is not None and self.held.config.snapshot.body == body:
            return True
        return bool(self._rejected) and _digest(body) == self._rejected

    def admit(self, candidate: Snapshot, limits: Limits) -> bool:
        """Make ``candidate`` the current config; hold it instead, and return false, if it is beyond the limits."""
        return self.admit_checked(finish(self.check_in_steps(candidate, limits)), limits)

    def admit_checked(self, checked: CheckedConfig, limits: Limits) -> bool:
        """As ``admit``, with the result of ``check_in_steps``; the current config must be the same as then.

        While a config is pinned no other is admitted: it waits.
        """
        self._rejected = b""
        if self.pinned is not None:
            self.clear()
            self.waiting = WaitingConfig(checked, admitted=False)
            _log.info("SDK {sdk_id}: a new config waits until the pinned one is released", sdk_id=self._sdk_id)
            return False
        verdict = checked.judge(limits)
        if isinstance(verdict, Hold):
            self._hold(checked, verdict.reason)
            return False
        self._adopt(checked)
        self.clear()
        return True

    def clear(self) -> None:
        """Forget what is held or was rejected: the source has a good config again."""
        self._rejected = b""
        if self.pinned is not None:
            self.waiting = WaitingConfig(self.pinned.config, admitted=True)
        if self.held is not None:
            _log.info("SDK {sdk_id}: the config that was held is dropped: another one came", sdk_id=self._sdk_id)
            self._release()

    def accept(self) -> HeldConfig | None:
        """Make the held config the current one, which the caller publishes; return None if none is held."""
        held = self.held
        if held is not None:
            _log.warn("SDK {sdk_id}: the config that was held is accepted", sdk_id=self._sdk_id)
            if self.pinned is None:
                self._adopt_decided(held.config)
            else:
                self.waiting = WaitingConfig(held.config, admitted=True)
            self._release()
        return held

    def pin(self, checked: CheckedConfig, since: float) -> None:
        """Make ``checked`` the current config, which the caller publishes, until ``release``."""
        if self.pinned is None and self.current is not None:
            self.waiting = WaitingConfig(self.current, admitted=True)
        self.pinned = PinnedConfig(checked, since)
        self._adopt_decided(checked)
        text = (
            "SDK {sdk_id}: the config {config} is pinned; release it with: flaggateway configs release --sdk {sdk_id}"
        )
        _log.warn(text, sdk_id=self._sdk_id, config=checked.snapshot.tag)

    def release(self, checked: CheckedConfig | None, limits: Limits) -> bool:
        """End the pin; return whether ``checked``, the config that waits, is the current one, which is to be published.

        One that was not admitted before may be held instead.
        """
        waiting, self.waiting, self.pinned = self.waiting, None, None
        _log.warn("SDK {sdk_id}: the pinned config is released", sdk_id=self._sdk_id)
        if checked is None:
            return False
        if waiting is not None and waiting.admitted:
            self._adopt_decided(checked)
            return True
        return self.admit_checked(checked, limits)

    def reject(self) -> HeldConfig | None:
        """Drop the held config until the source has another one; return None if none is held."""
        held = self.held
        if held is not None:
            self._rejected = _digest(held.config.snapshot.body)
            _log.warn("SDK {sdk_id}: the config that was held is rejected", sdk_id=self._sdk_id)
            self._release()
        return held

    def problems(self) -> list[str]:
        """Return a sentence for each problem of this SDK's configs; its text is stable while it lasts."""
        found: list[str] = []
        current = self.current
        if self.held is not None:
            command = f"flaggateway configs accept {self._sdk_id}"
            text = f"SDK {self._sdk_id}: a config is held: {self.held.reason}; accept it with: {command}"
            found.append(ProblemText(text, f"flaggateway configs accept {shlex.quote(self._sdk_id)}"))
        if self.pinned is not None:
            tag, since = self.pinned.config.snapshot.tag, iso(self.pinned.since)
            command = f"flaggateway configs release --sdk {shlex.quote(self._sdk_id)}"
            text = f"SDK {self._sdk_id}: the config {tag} is pinned since {since}; release it with: {command}"
            found.append(ProblemText(text, command))
        if current is not None and current.faults:
            shown = _named(current.faults, SHOWN_IN_PROBLEM, SHOWN_OF_REASON)
            count = f"{len(current.faults)} of {len(current.snapshot.keys)} flags"
            text = f"SDK {self._sdk_id}: {count} fail, for some users or all of them: {shown}"
            found.append(ProblemText(text, "curl -s {diag}/api/v1/overview"))
        if current is not None and self._clock.seconds() < self._shrunk_until:
            lost, at = current.losses, iso(current.at)
            text = f"SDK {self._sdk_id}: {lost.removed} of {lost.total} flags vanished with the config of {at}"
            found.append(ProblemText(text, "curl -s {diag}/api/v1/overview"))
        return found

    def log_faults(self) -> None:
        """Log what is wrong with the current config, once per fault."""
        current = self.current
        assert current is not None
        fresh = {key: why for key, why in current.faults.items() if self._logged.get(key) != why}
        had, self._logged = bool(self._logged), current.faults
        if current.shrunk:
            removed, total = current.losses.removed, current.losses.total
            text = "SDK {sdk_id}: {count} of {all} flags vanished with the new config"
            _log.warn(text, sdk_id=self._sdk_id, count=removed, all=total)
        if fresh:
            _log.warn(
                "SDK {sdk_id}: {count} of {all} flags fail, for some users or all of them: {shown}",
                sdk_id=self._sdk_id,
                count=len(current.faults),
                all=len(current.snapshot.keys),
                shown=_named(fresh, SHOWN),
            )
        elif had and not current.faults:
            _log.info("SDK {sdk_id}: no flag fails any more", sdk_id=self._sdk_id)

    def check_in_steps(self, candidate: Snapshot, limits: Limits) -> Generator[None, None, CheckedConfig]:
        """Return a generator that checks a few flags per step and returns the result, for ``admit_checked``."""
        current, found = self.current, dict[str, str]()
        known = {} if current is None else current.faults
        before = None if current is None else current.snapshot
        try:
            found = yield from find_failing_flags_in_steps(candidate, before, known)
        except Exception:  # noqa: BLE001 - an error in the checks must not hold up a config that can be served
            _log.failure("SDK {sdk_id}: the flags of the new config could not be checked", sdk_id=self._sdk_id)
        yield
        fresh = {key: why for key, why in found.items() if known.get(key) != why}
        in_use = Flags({} if before is None else before.flags, known)
        losses = yield from measure_in_steps(in_use, Flags(candidate.flags, found))
        checked = CheckedConfig(candidate, found, fresh, losses, wall_clock(self._clock)())
        yield
        if before is None or not isinstance(judge(losses, limits), Hold):
            return checked
        return evolve(checked, changes=(yield from difference_in_steps(before, candidate)))

    def _adopt(self, checked: CheckedConfig) -> None:
        self.current = checked
        self._shrunk_until = self._clock.seconds() + LOSS_SECONDS if checked.shrunk else float("-inf")

    def _adopt_decided(self, checked: CheckedConfig) -> None:
        """Make a config the current one by the decision of an operator, who has seen what it lacks."""
        self._adopt(checked)
        self._shrunk_until = float("-inf")

    def _hold(self, checked: CheckedConfig, reason: str) -> None:
        assert self.current is not None
        in_use = self.current.snapshot
        changes = checked.changes or difference(in_use, checked.snapshot)
        self.held = HeldConfig(checked, in_use, changes, reason)
        _log.warn(
            "SDK {sdk_id}: a new config is held and the last good one stays in use: {reason}; "
            "accept it with: flaggateway configs accept {sdk_id}",
            sdk_id=self._sdk_id,
            reason=reason,
        )
        self._on_held()

    def _release(self) -> None:
        self.held = None
        self._on_held()


def _named(found: Mapping[str, str], limit: int, reason_limit: int | None = None) -> str:
    """Return the first flags of ``found`` with their faults."""
    shown = [f"'{key[:SHOWN_OF_KEY]}': {why[:reason_limit]}" for key, why in list(found.items())[:limit]]
    return "; ".join(shown) + ("; …" if len(found) > limit else "")


def _digest(body: bytes) -> bytes:
    return sha256(body, usedforsecurity=False).digest()
