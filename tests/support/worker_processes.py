"""The worker processes of a real gateway: their ids, the connections that each has accepted, requests to one."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from eventually import eventually
from gateway_process import GatewayProcess

ATTEMPTS = 200  # connections to reach a given worker of two; the chance that all miss is 2**-200


def workers(gateway: GatewayProcess) -> list[int]:
    """Return the process ids of the workers that run."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    return sorted(int(child) for child in children if not _ended(int(child)))


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # it may end between opening and reading
        return True


def alive(pids: list[int]) -> list[int]:
    """Return the processes that still run."""
    return [pid for pid in pids if not _ended(pid)]


def holder(connection: socket.socket, pids: list[int]) -> int | None:
    """Return the process that has accepted a connection; None before one has."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    sockets = _server_sides(theirs).get(ours)
    return next((pid for pid in pids if sockets in _inodes(pid)), None)


def holders(connections: list[socket.socket], pids: list[int]) -> list[int | None]:
    """Return the process that has accepted each connection."""
    owners = {inode: pid for pid in pids for inode in _inodes(pid)}
    sides = _server_sides(connections[0].getpeername()[1])
    return [owners.get(sides.get(connection.getsockname()[1], "")) for connection in connections]


def _server_sides(port: int) -> dict[int, str]:
    """Return inodes of the accepted sockets of a port, by the port of their client."""
    found = {}
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, _, _, _, _, inode, *_ = row.split()
        if int(local.partition(":")[2], 16) == port:
            found[int(remote.partition(":")[2], 16)] = inode
    return found


def _inodes(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = str(link.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


class Visit:
    """A kept-alive connection to one worker."""

    def __init__(self, gateway: GatewayProcess, pid: int) -> None:
        """Connect until this worker has accepted the connection."""
        missed = []
        for _ in range(ATTEMPTS):
            self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
            self.request("GET", "/")  # a process that answers has accepted the connection
            if holder(self._connection.sock, [pid]) == pid:
                break
            missed.append(self._connection)
        else:
            raise AssertionError(f"worker {pid} was never reached")
        for connection in missed:
            connection.close()

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request; return status and body of the answer."""
        self._connection.request(method, path, body or None, headers or {})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def await_replacement(gateway: GatewayProcess, before: list[int]) -> int:
    """Return the worker that replaces one of ``before``, once it listens."""
    fresh: list[int] = []

    def listens() -> bool:
        overview = json.loads(gateway.get("/api/v1/overview", diag=True)[1])
        fresh[:] = [one["pid"] for one in overview["workers"] if one["listening"] and one["pid"] not in before]
        return bool(fresh)

    eventually(listens, gateway.logs)
    return fresh[0]


def sample(gateway: GatewayProcess, name: str, **labels: Any) -> float:
    """Return the sum of the series of a metric that have these labels."""
    total = 0.0
    for line in gateway.get("/metrics", diag=True)[1].decode().splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(
            f'{label}="{wanted}"' in series for label, wanted in labels.items()
        ):
            total += float(value)
    return total
