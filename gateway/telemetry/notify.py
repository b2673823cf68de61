"""Tells systemd how the service is doing, by the protocol of sd_notify(3): datagrams of ``NAME=value`` lines.

Without systemd (no ``NOTIFY_SOCKET``) every call does nothing; a send that fails is forgotten, as the protocol asks.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from gateway.text import printable, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

STATUS_LIMIT = 200  # characters of a status line in ``systemctl status``


class DatagramSocket(Protocol):
    """What is used of a socket."""

    def sendto(self, data: bytes, address: str, /) -> int:
        """Send one datagram, or raise OSError."""

    def close(self) -> None:
        """Close it."""


def open_socket() -> DatagramSocket:
    """Return a datagram socket that never blocks: a service manager that does not read must not stop the gateway."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.setblocking(False)
    return opened


class Notifier:
    """The service manager's end of the line.

    ``monotonic`` gives CLOCK_MONOTONIC in seconds, ``pid`` is our own.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        pid: int,
        monotonic: Callable[[], float],
        socket_factory: Callable[[], DatagramSocket] = open_socket,
    ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._monotonic = monotonic
        self._open = socket_factory
        self._beat: IDelayedCall | None = None  # not a Timer: the clock comes with start_watchdog
        self.watchdog_seconds = _watchdog(environ, pid)

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is over."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """A reload begins; ``ready`` must follow, whether it was applied or refused.

        ``Type=notify-reload`` needs the time as well: by it systemd knows that this is the reload that it asked for.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * 1_000_000)}")

    def stopping(self, status: str = "") -> None:
        """Shutdown begins."""
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``."""
        self._send(*_status(text))

    def start_watchdog(self, clock: IReactorTime) -> None:
        """Tell the watchdog that the reactor turns, now and at every half of its patience; nothing if it is off."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")
            self._beat = clock.callLater(self.watchdog_seconds / 2, self.start_watchdog, clock)

    def stop_watchdog(self) -> None:
        """Stop telling; systemd kills the service once its patience is over."""
        if self._beat is not None and self._beat.active():
            self._beat.cancel()
        self._beat = None

    def _send(self, *lines: str) -> None:
        if self._address is None or not lines:
            return
        try:
            opened = self._open()
            try:
                opened.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
            finally:
                opened.close()
        except OSError:
            return  # systemd is gone, or its queue is full; the next beat will tell


def _address(path: str) -> str | None:
    """Return the address to send to: a path, or an abstract name (``@name``) in the form the kernel takes."""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else None


def _status(text: str) -> tuple[str, ...]:
    # A line break would begin another assignment.
    return (f"STATUS={printable(redact(text))[:STATUS_LIMIT]}",) if text else ()


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog's patience in seconds; None when it is off or meant for another process."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        meant_for = int(environ.get("WATCHDOG_PID") or pid)
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 and meant_for == pid else None
