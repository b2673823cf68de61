"""Notifications to systemd by the protocol of sd_notify(3): datagrams of ``NAME=value`` lines.

Without systemd (no ``NOTIFY_SOCKET``) every call does nothing; a failed send is ignored, as the protocol demands.
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
    """The part of a socket that is used."""

    def sendto(self, data: bytes, address: str, /) -> int:
        """Send one datagram, or raise OSError."""

    def close(self) -> None:
        """Close it."""


def open_socket() -> DatagramSocket:
    """Return a datagram socket that never blocks: the gateway goes on when systemd does not read."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.setblocking(False)
    return opened


class SystemdNotifier:
    """Sends notifications; ``monotonic`` returns CLOCK_MONOTONIC in seconds, ``pid`` is that of this process."""

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
        self._watchdog_call: IDelayedCall | None = None  # not a Timer: the clock comes with start_watchdog
        self.watchdog_seconds = _watchdog(environ, pid)

    def ready(self, status: str = "") -> None:
        """Report the end of the start, or of a reload."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """Report the begin of a reload; ``ready`` must follow, whether it is applied or refused.

        ``Type=notify-reload`` also needs the time, by which systemd matches the reload with its signal.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * 1_000_000)}")

    def stopping(self, status: str = "") -> None:
        """Report the begin of the shutdown."""
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``."""
        self._send(*_status(text))

    def start_watchdog(self, clock: IReactorTime) -> None:
        """Notify the watchdog now and at every half of its timeout, while the reactor runs; no effect if it is off."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")
            self._watchdog_call = clock.callLater(self.watchdog_seconds / 2, self.start_watchdog, clock)

    def stop_watchdog(self) -> None:
        """Stop notifying; systemd kills the service after the timeout."""
        if self._watchdog_call is not None and self._watchdog_call.active():
            self._watchdog_call.cancel()
        self._watchdog_call = None

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
            return  # systemd has gone, or its queue is full; the next notification may succeed


def _address(path: str) -> str | None:
    """Return the address to send to: a path, or an abstract name (``@name``) in the form the kernel takes."""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else None


def _status(text: str) -> tuple[str, ...]:
    # A line break would begin another assignment.
    return (f"STATUS={printable(redact(text))[:STATUS_LIMIT]}",) if text else ()


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the timeout of the watchdog in seconds; None if it is off or meant for another process."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        meant_for = int(environ.get("WATCHDOG_PID") or pid)
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 and meant_for == pid else None
