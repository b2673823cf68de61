"""Streams: which subscribers a new config concerns, and the bytes that each is sent.

    Snapshot (gateway.flags) ──► Hub.publish ──► Hub.work in slices ──► Outlet (gateway.web) ──► client

Pure: time and randomness are arguments; bytes leave through the outlet.
"""

from gateway.streams.cohort import Cohort, Mode, Outlet, Subscriber
from gateway.streams.expiry import EXPIRED, ExpiryWheel
from gateway.streams.groups import StreamGroup, count_groups
from gateway.streams.heartbeat import HeartbeatWheel
from gateway.streams.hub import Hub, HubMetrics
from gateway.streams.impact import Impact
from gateway.streams.known_configs import KnownConfigs
from gateway.streams.modes import ExposureRecorder, StreamOptions
from gateway.streams.prediction import Example, Forecast, Forecasts, Prediction, Transition, by_user, merge, predict
from gateway.streams.reach import Counts, Reach, ReachMeter, quantile, thinned
from gateway.streams.sse import parse_event_id
from gateway.streams.tail import Criteria, Observer, Observers, Tail, TailedFlag, TailEvent

__all__ = (
    "EXPIRED",
    "Cohort",
    "Counts",
    "Criteria",
    "Example",
    "ExpiryWheel",
    "ExposureRecorder",
    "Forecast",
    "Forecasts",
    "HeartbeatWheel",
    "Hub",
    "HubMetrics",
    "Impact",
    "KnownConfigs",
    "Mode",
    "Observer",
    "Observers",
    "Outlet",
    "Prediction",
    "Reach",
    "ReachMeter",
    "StreamGroup",
    "StreamOptions",
    "Subscriber",
    "Tail",
    "TailEvent",
    "TailedFlag",
    "Transition",
    "by_user",
    "count_groups",
    "merge",
    "parse_event_id",
    "predict",
    "quantile",
    "thinned",
)
