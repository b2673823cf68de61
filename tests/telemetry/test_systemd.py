"""Notifications to systemd, over a real datagram socket and through fakes."""

import socket

import pytest
from twisted.internet.task import Clock

from gateway.telemetry import SystemdNotifier
from gateway.telemetry.systemd import open_socket


class FakeSocket:
    def __init__(self, sent, error=None):
        self.sent, self.error, self.closed = sent, error, False

    def sendto(self, data, address):
        if self.error:
            raise self.error
        self.sent.append((data, address))
        return len(data)

    def close(self):
        self.closed = True


def notifier(environ=None, *, error=None, pid=7, monotonic=lambda: 12.5):
    sent = []
    made = SystemdNotifier(
        {"NOTIFY_SOCKET": "/run/notify"} if environ is None else environ,
        pid=pid,
        monotonic=monotonic,
        socket_factory=lambda: FakeSocket(sent, error),
    )
    return made, sent


def test_each_state_is_one_datagram():
    """Ready, reloading, stopping and status have systemd's format."""
    notify, sent = notifier()
    notify.ready("3 SDKs")
    notify.reloading()
    notify.ready()
    notify.status("draining")
    notify.stopping()
    assert [
        b"READY=1\nSTATUS=3 SDKs",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"READY=1",
        b"STATUS=draining",
        b"STOPPING=1",
    ] == [data for data, _ in sent]


@pytest.mark.parametrize(("given", "address"), [("/run/notify", "/run/notify"), ("@abstract/name", "\0abstract/name")])
def test_paths_and_abstract_names_are_addressed(given, address):
    """A leading @ stands for the kernel's abstract namespace."""
    notify, sent = notifier({"NOTIFY_SOCKET": given})
    notify.ready()
    assert [address] == [where for _, where in sent]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_usable_socket_nothing_happens(environ):
    """Outside systemd no socket is opened."""
    notify, sent = notifier(environ)
    notify.ready()
    assert [] == sent


@pytest.mark.parametrize("error", [OSError("gone"), BlockingIOError(), PermissionError()])
def test_a_failing_send_is_ignored(error):
    """No error is raised when systemd is gone, slow or not accessible."""
    notify, sent = notifier(error=error)
    notify.ready()
    assert [] == sent


def test_a_status_cannot_contain_assignments_or_secrets():
    """Line breaks and keys are replaced."""
    notify, sent = notifier()
    notify.status("x\nMAINPID=1 configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB")
    assert [b"STATUS=x\\nMAINPID=1 configcat-sdk-[redacted]"] == [data for data, _ in sent]


def test_watchdog_is_notified_at_half_its_timeout_until_stopped():
    """Half of WATCHDOG_USEC is between two notifications."""
    notify, sent = notifier({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"})
    clock = Clock()
    notify.start_watchdog(clock)
    clock.advance(14.9)
    assert 1 == len(sent)
    clock.advance(0.1)
    clock.advance(15)
    assert [b"WATCHDOG=1"] * 3 == [data for data, _ in sent]
    notify.stop_watchdog()
    notify.stop_watchdog()
    clock.advance(60)
    assert (3, []) == (len(sent), clock.getDelayedCalls())


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "x"},
    ],
)
def test_a_watchdog_that_is_off_or_not_ours_is_ignored(environ):
    """Without a positive timeout for our pid nothing is scheduled."""
    notify, sent = notifier({"NOTIFY_SOCKET": "/n", **environ})
    clock = Clock()
    notify.start_watchdog(clock)
    assert ([], []) == (sent, clock.getDelayedCalls())


def test_a_watchdog_without_a_pid_is_ours():
    """WATCHDOG_PID is optional."""
    assert 2.0 == notifier({"WATCHDOG_USEC": "2000000"})[0].watchdog_seconds


def test_a_real_socket_receives_the_datagram(tmp_path):
    """The default socket sends AF_UNIX datagrams."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(5)
        SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "n")}, pid=1, monotonic=lambda: 0.0).ready()
        assert b"READY=1" == manager.recv(100)


def test_the_real_socket_never_blocks():
    """A full queue at systemd's end is an error at once, which is ignored."""
    opened = open_socket()
    try:
        assert opened.getblocking() is False
    finally:
        opened.close()
