"""The server of one process: its ports and their connections."""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from gateway.serving import LocalServer
from gateway.telemetry import Metrics
from web_memory import FakeRegistry, settings_of


class Port:
    """A port that is open until ``stopListening``."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self.socket: Any = self
        factory.doStart()

    def setsockopt(self, *_: int) -> None:
        """Do nothing."""

    def stopListening(self) -> None:
        """Close."""
        self.factory.doStop()


@pytest.mark.parametrize("ports", [0, 1])
def test_idle_connections_end_also_when_no_port_is_open(ports: int) -> None:
    """A worker that is full closes its port, and gets files by the end of such connections."""
    clock: Any = Clock()
    server = LocalServer(
        clock, FakeRegistry(), settings_of({"http": {"keep_alive_timeout": 5}}),
        metrics=Metrics(lambda: 0.0, "test"), status_document=dict, rng=random.Random(1), keep=lambda _: succeed(None),
    )  # fmt: skip
    factory = server.factory()
    server.start()
    port: Any = Port(factory)
    server.adopt_port(port)
    connection, transport = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)), StringTransport()
    assert connection is not None
    connection.makeConnection(transport)
    if not ports:
        server.release_port(port)
    clock.pump([0.5] * 20)
    assert transport.disconnecting
    server.stop()
