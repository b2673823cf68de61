"""The clients of all processes as one answer."""

from gateway.console import clients as module
from gateway.telemetry import SeenClients, SeenKey


def test_keys_of_callers_are_those_of_all_processes():
    """The requests are summed, and the last use is that of any process; the latest used comes first."""
    parts = [
        SeenClients([], [], {}, [SeenKey("shop", 0, 3, 1_700_000_000.0), SeenKey("shop", 1, 1, 1_700_000_500.0)]),
        SeenClients([], [], {}, [SeenKey("shop", 0, 4, 1_700_000_100.0), SeenKey("a\x1b", 0, 1, 1_600_000_000.0)]),
    ]
    shown = [(use.caller, use.second, use.requests, use.last_used) for use in module._keys(parts)]
    assert [
        ("shop", True, 1, "2023-11-14T22:21:40.000Z"),
        ("shop", False, 7, "2023-11-14T22:15:00.000Z"),
        ("a\\x1b", False, 1, "2020-09-13T12:26:40.000Z"),
    ] == shown
