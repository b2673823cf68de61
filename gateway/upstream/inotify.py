"""Watch directories by inotify, where the system has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.python.filepath import FilePath

from gateway.logger import component_logger

if TYPE_CHECKING:
    from gateway.upstream.symlinks import Place

_log = component_logger("offline")


Tell = Callable[[str | None], None]


class Watch(Protocol):
    """Tells of changes in a set of directories; may tell too often, and hears nothing of other machines' changes."""

    def follow(self, directories: Sequence[Place]) -> None:
        """Watch exactly these from now on; nothing happens when they are the same as before."""

    def close(self) -> None:
        """Stop telling and give the descriptor back."""


def open_watch(reactor: Any, tell: Tell) -> Watch | None:
    """A watch, or None where inotify does not work.

    It calls *tell* in the reactor thread with the full path that changed; None when a directory itself went away.
    """
    try:
        from twisted.internet.inotify import INotify
    except ImportError:
        return None

    class Notifier(INotify):
        """Closes once: twisted's own closes the descriptor again for each watched directory that goes away."""

        _closing = False

        def loseConnection(self) -> None:
            if not self._closing:
                self._closing = True
                super().loseConnection()

    watch = Inotify(lambda: Notifier(reactor), tell)
    return watch if watch.works() else None


class Inotify:
    """One inotify descriptor; a new one whenever the directories to watch are others than before."""

    def __init__(self, make: Callable[[], Any], tell: Tell) -> None:
        self._make = make
        self._tell = tell
        self._notifier: Any = None
        self._following: tuple[Place, ...] = ()

    def works(self) -> bool:
        """Whether the system gives us a descriptor at all."""
        try:
            self._notifier = self._make()
        except Exception:  # noqa: BLE001 - INotifyError, or OSError at the limit of descriptors
            return False
        return True

    def follow(self, directories: Sequence[Place]) -> None:
        """See ``Watch``."""
        wanted = tuple(directories)
        if wanted == self._following and self._notifier is not None:
            return
        self._drop()
        try:
            self._notifier = self._make()
            for path, _, _ in wanted:
                self._notifier.watch(FilePath(path), callbacks=[self._event])
            self._notifier.startReading()
            self._following = wanted
        except Exception as error:  # noqa: BLE001 - at a limit of the system, the slow look has to do
            _log.warn("a directory cannot be watched: {kind}", kind=type(error).__name__)
            self._following = ()

    def close(self) -> None:
        """See ``Watch``."""
        self._drop()

    def _drop(self) -> None:
        notifier, self._notifier = self._notifier, None
        self._following = ()
        if notifier is not None:
            notifier.loseConnection()

    def _event(self, _watched: Any, path: Any, mask: int) -> None:
        if self._notifier is None:
            return
        from twisted.internet.inotify import IN_DELETE_SELF, IN_MOVE_SELF

        if mask & (IN_DELETE_SELF | IN_MOVE_SELF):
            self._drop()  # the same path may soon be another directory: follow() makes new watches
            self._tell(None)
        else:
            self._tell(os.fsdecode(path.path))
