"""Evaluation events: what was asked and what was answered, in batches for analysis; pure.

    evaluation ──► Collector ──► once a second ──► Spool ──► batch ──► receiver or file

No clock, no chance, no file: moments and random numbers are arguments, the disk is a ``Spool``.
"""

from __future__ import annotations

from gateway.exporter.batch import encode_batch
from gateway.exporter.collector import Collector, Evaluated
from gateway.exporter.event import Event, event_for, user_key
from gateway.exporter.spool import Spool

__all__ = ("Collector", "Evaluated", "Event", "Spool", "encode_batch", "event_for", "user_key")
