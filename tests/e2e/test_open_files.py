"""A process that may open few files: streams are refused, probes and open connections are not."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
from collections.abc import Callable

import pytest

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess
from shop import shop
from streams import Streams, stream_path
from worker_processes import await_replacement, holder, holders, sample, workers

FILES = 256
STREAMS = 400


def evaluate(client: http.client.HTTPConnection) -> int:
    """Evaluate a flag on an open connection; return the status."""
    client.request("POST", "/api/shop/eval", b'{"key":"banner"}')
    answer = client.getresponse()
    answer.read()
    return answer.status


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_are_refused_first_and_probes_are_answered(
    gateway_process: Callable[..., GatewayProcess], workers: int
) -> None:
    """Four hundred streams at a limit of 256 files: some open, the others have the documented answer or are closed."""
    with CdnStandIn(shop("before")) as cdn, contextlib.ExitStack() as stack:
        gateway = gateway_process(
            {
                "workers": workers,
                "sdks": {"shop": {"key": SDK_KEY, "base_url": cdn.url}},
                "http": {"sse": {"drain_window": 0}},
            },
            files=FILES,
        )
        kept = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        stack.callback(kept.close)
        assert 200 == evaluate(kept)
        request = f"GET {stream_path('shop', {'Identifier': 'zoe'})} HTTP/1.1\r\nHost: g\r\n\r\n".encode()
        answers = []
        for _ in range(STREAMS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))
            with contextlib.suppress(OSError):
                client.sendall(request)
                answers.append(client.recv(12))
        for path in ("/livez", "/readyz", "/metrics", "/status"):
            assert 200 == gateway.get(path, diag=True)[0]
        assert 200 == evaluate(kept)
        opened, refused = answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 503")
        assert opened > 100
        assert refused > 0
        eventually(lambda: refused == sample(gateway, "flaggateway_streams_refused_total", reason="files"))
        eventually(lambda: opened == sample(gateway, "configcat_stream_connections"))
        stack.close()
        eventually(lambda: sample(gateway, "configcat_stream_connections") == 0)
        again = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        assert 200 == evaluate(again)
        again.close()


def test_no_stream_is_refused_while_another_worker_has_files_left(
    gateway_process: Callable[..., GatewayProcess],
) -> None:
    """The kernel spreads clients evenly: those that return after the end of a worker would exceed the other's limit."""
    with CdnStandIn(shop("before")) as cdn, contextlib.closing(Streams()) as streams:
        sse = {"drain_window": 0, "heart_beat_interval": 1}
        sdk = {"key": SDK_KEY, "base_url": cdn.url}
        gateway = gateway_process({"workers": 2, "sdks": {"shop": sdk}, "http": {"sse": sse}}, files=FILES)

        def open_until(count: int) -> None:
            while streams_open() < count:
                stream = streams.open(gateway.port, stream_path("shop", {"Identifier": str(len(streams.all))}))
                streams.read_until(lambda stream=stream: stream.payloads or stream.ended or stream.status == 503)
                assert stream.payloads

        def streams_open() -> int:
            return sum(not stream.ended for stream in streams.all)

        open_until(200)
        for _ in range(2):  # each worker in turn, the older one first
            before = workers(gateway)
            left = holders([stream.socket for stream in streams.all if not stream.ended], before).count(before[1])
            os.kill(before[0], signal.SIGKILL)
            streams.read_until(lambda left=left: streams_open() == left)
            await_replacement(gateway, before)
            open_until(300)
        assert 0 == sample(gateway, "flaggateway_streams_refused_total", reason="files")
        assert 2 == sample(gateway, "flaggateway_worker_ends_total")
        assert "has few files left: new connections go to workers that have more" in gateway.logs()
        pids = workers(gateway)
        for stream in streams.all:
            stream.close()

        reached: set[int | None] = set()

        def both_accept() -> bool:
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")
                client.recv(1)
                reached.add(holder(client, pids))
                return reached == set(pids)

        eventually(both_accept, gateway.logs)  # they have files again
