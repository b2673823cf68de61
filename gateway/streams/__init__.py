"""The push side: who watches what, and exactly which connections a new config concerns.

``Snapshot`` (flags) → ``Hub.publish`` → ``Hub.work`` in slices → frames at each ``Outlet`` (web).
Pure: no sockets, no reactor, no clock; times come in as arguments and bytes go out through the outlet.
"""

from gateway.streams.cohort import Outlet, Subscriber
from gateway.streams.exposure import Exposure
from gateway.streams.heartbeat import HeartbeatWheel
from gateway.streams.hub import Hub
from gateway.streams.known_configs import KnownConfigs
from gateway.streams.meter import Meter
from gateway.streams.modes import Mode, StreamOptions
from gateway.streams.sse import COMMENT_BEAT, comment, event, first_frame, parse_event_id, retry

__all__ = (
    "COMMENT_BEAT",
    "Exposure",
    "HeartbeatWheel",
    "Hub",
    "KnownConfigs",
    "Meter",
    "Mode",
    "Outlet",
    "StreamOptions",
    "Subscriber",
    "comment",
    "event",
    "first_frame",
    "parse_event_id",
    "retry",
)
