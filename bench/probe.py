"""A client that evaluates a flag at fixed times: python -m bench.probe PORT

It stops at the end of its stdin, then prints JSON, one pair per request: the time at which the request was due
(monotonic clock), and the seconds from then until its answer had arrived. A late answer delays the next requests,
and their delays count too.
"""

# ruff: noqa: TID251  (this process has no reactor)

from __future__ import annotations

import json
import select
import socket
import sys
import time

from bench.servers import TOKEN

INTERVAL = 0.004  # seconds


def main() -> None:
    link = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found: list[tuple[float, float]] = []
    print("ready", flush=True)
    due = time.monotonic()
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        time.sleep(max(0.0, due - time.monotonic()))
        number += 1
        body = json.dumps({"key": f"flag{number % 100:05}", "user": {"Identifier": f"probe-{number}", "Country": "DE"}})
        head = f"POST /api/sdk1/eval HTTP/1.1\r\nHost: bench\r\nX-Auth: {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        link.sendall((head + body).encode())
        answer = b""
        while b'"variationId"' not in answer or not answer.endswith((b"}", b"}\r\n0\r\n\r\n")):
            piece = link.recv(65536)
            if not piece:
                raise SystemExit("the server closed the connection")
            answer += piece
        found.append((due, time.monotonic() - due))
        due += INTERVAL
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
