"""Several processes behind one port: a leader that fetches, counts and decides, and workers that serve.

    Registry ──► Crew ──► Member ══ socket pair ══ Worker ──► Mirror ──► LocalServer ──► clients
                  ▲                                   │
                  └── refresh, replay ids, counts ────┘

A worker knows what it was told over its socket pair and nothing else; its end is the worker's end.
Only a gateway with more than one worker imports this room.
"""

from gateway.workers.leader import Crew

__all__ = ("Crew",)
