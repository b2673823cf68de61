"""Watch directories by inotify, where the system has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.python.filepath import FilePath

from gateway.logger import component_logger

if TYPE_CHECKING:
    from gateway.upstream.symlinks import Directory

_log = component_logger("offline")

OnEvent = Callable[[str | None], None]


def open_watch(reactor: Any, on_event: OnEvent) -> InotifyWatch | None:
    """Return a watch, or None where inotify does not work.

    It calls ``on_event`` in the reactor thread with the full path that changed; None when a directory was removed.
    It does not see what another machine changes on a network mount.
    """
    try:
        from twisted.internet.inotify import INotify
    except ImportError:
        return None

    class Notifier(INotify):
        """Closes once: Twisted's own closes the descriptor again for each watched directory that was removed."""

        _closing = False

        def loseConnection(self) -> None:
            if not self._closing:
                self._closing = True
                super().loseConnection()

    watch = InotifyWatch(lambda: Notifier(reactor), on_event)
    return watch if watch.available() else None


class InotifyWatch:
    """One inotify descriptor; a new one whenever the directories to watch change."""

    def __init__(self, make: Callable[[], Any], on_event: OnEvent) -> None:
        self._make = make
        self._on_event = on_event
        self._notifier: Any = None
        self._directories: tuple[Directory, ...] = ()

    def available(self) -> bool:
        """Open a descriptor; return whether that worked."""
        try:
            self._notifier = self._make()
        except Exception:  # noqa: BLE001 - INotifyError, or OSError at the limit of descriptors
            return False
        return True

    def set_directories(self, directories: Sequence[Directory]) -> None:
        """Watch exactly these from now on; no effect when they are the same as before."""
        wanted = tuple(directories)
        if wanted == self._directories and self._notifier is not None:
            return
        self.close()
        try:
            self._notifier = self._make()
            for path, _, _ in wanted:
                self._notifier.watch(FilePath(path), callbacks=[self._event])
            self._notifier.startReading()
            self._directories = wanted
        except Exception as error:  # noqa: BLE001 - at a limit of the system; polling finds the changes
            _log.warn("a directory cannot be watched, its files are polled: {kind}", kind=type(error).__name__)
            self._directories = ()

    def close(self) -> None:
        """Report nothing more and close the descriptor."""
        notifier, self._notifier = self._notifier, None
        self._directories = ()
        if notifier is not None:
            notifier.loseConnection()

    def _event(self, _watched: Any, path: Any, mask: int) -> None:
        if self._notifier is None:
            return
        from twisted.internet.inotify import IN_DELETE_SELF, IN_MOVE_SELF

        if mask & (IN_DELETE_SELF | IN_MOVE_SELF):
            self.close()  # the same path may soon be another directory: set_directories() opens a new descriptor
            self._on_event(None)
        else:
            self._on_event(os.fsdecode(path.path))
