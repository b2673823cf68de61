"""A client that evaluates a flag at fixed times: python -m bench.probe PORT

It stops at the end of its stdin, then prints JSON, one list per request: the time at which the request was due
(monotonic clock), the seconds from then until its answer had arrived, and how often the connection was lost or
refused before. A late answer delays the next requests, and their delays count too.
"""

# ruff: noqa: TID251  (this process has no reactor)

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time

from bench.servers import TOKEN

INTERVAL = 0.004  # seconds


def connect() -> socket.socket:
    link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def ask(link: socket.socket, number: int) -> None:
    body = json.dumps({"key": f"flag{number % 100:05}", "user": {"Identifier": f"probe-{number}", "Country": "DE"}})
    head = f"POST /api/sdk1/eval HTTP/1.1\r\nHost: bench\r\nX-Auth: {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    link.sendall((head + body).encode())
    answer = b""
    while b'"variationId"' not in answer or not answer.endswith((b"}", b"}\r\n0\r\n\r\n")):
        piece = link.recv(65536)
        if not piece:
            raise ConnectionResetError
        answer += piece


def main() -> None:
    link = connect()
    found: list[tuple[float, float, int]] = []
    print("ready", flush=True)
    due = time.monotonic()
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(max(0.0, due - time.monotonic()))
        number += 1
        lost = 0
        while True:
            try:
                ask(link, number)
                break
            except OSError:
                lost += 1
                link.close()
                time.sleep(INTERVAL)
                with contextlib.suppress(OSError):
                    link = connect()
        found.append((due, time.monotonic() - due, lost))
        due += INTERVAL
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
