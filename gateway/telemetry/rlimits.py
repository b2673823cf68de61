"""The limit of open files: every stream needs one."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from attrs import frozen

from gateway.logger import component_logger
from gateway.open_files import STREAM_RESERVE

if TYPE_CHECKING:
    from collections.abc import Callable

_log = component_logger("diag")

FILE_CAP = 1_048_576  # files; systemd's usual hard limit, far more than one process can serve

Limits = tuple[int, int]  # soft, hard


@frozen
class FileLimit:
    """The limit of open files before and after raising it; ``enough`` for the configured connections."""

    before: int
    now: int
    hard: int
    enough: bool


def _get() -> Limits:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _set(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def raise_file_limit(
    connections: int, get: Callable[[], Limits] = _get, put: Callable[[Limits], None] = _set
) -> FileLimit:
    """Raise the soft limit of open files to the hard one, log the outcome, and return it; never raises.

    A limit that is too low for ``connections``, the configured maximum (0: none), is logged as a warning.
    """
    before, hard = get()
    wanted = FILE_CAP if hard == resource.RLIM_INFINITY else min(hard, FILE_CAP)
    now = before
    if before != resource.RLIM_INFINITY and before < wanted:
        try:
            put((wanted, hard))
            now = wanted
        except (OSError, ValueError) as error:
            _log.warn("the limit of open files stays {before}: {error}", before=before, error=error.__class__.__name__)
    enough = now == resource.RLIM_INFINITY or now >= connections + STREAM_RESERVE
    if not enough:
        _log.warn(
            "only {now} files may be open, too few for {connections} connections: "
            "raise LimitNOFILE of the service (or `ulimit -Hn`) to at least {needed}",
            now=now,
            connections=connections,
            needed=connections + STREAM_RESERVE,
        )
    _log.info("open files: {now} allowed (before: {before}, most: {hard})", now=now, before=before, hard=hard)
    return FileLimit(before, now, hard, enough)
