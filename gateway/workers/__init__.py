"""Several processes behind one port: a leader that fetches, counts and decides, and workers that serve.

    Registry ──► Leader ──► WorkerProcess ══ socket pair ══ Worker ──► RegistryReplica ──► LocalServer ──► clients
                  ▲                                           │
                  └──────── requests, metrics, streams ───────┘

A worker has only the state that the leader has sent, and exits when the socket pair closes.
Only a gateway with more than one worker imports this room.
"""

from gateway.workers.leader import Leader

__all__ = ("Leader",)
