"""Evaluation events: what was asked and what was answered, as lines of JSON, on their way to analysis; pure.

    answers, streams ──► Collector ──► Parcels ──► whoever keeps them on disk and sends them on

No clock, no chance, no file: moments and random numbers are arguments.
"""

from __future__ import annotations

from gateway.export.batch import batch_head, encode_batch
from gateway.export.collector import Collector
from gateway.export.event import counted
from gateway.export.parcel import MEMORY, SPOOL_FULL, TOO_LARGE, UNWANTED, Count, Parcel, merged

__all__ = (
    "MEMORY",
    "SPOOL_FULL",
    "TOO_LARGE",
    "UNWANTED",
    "Collector",
    "Count",
    "Parcel",
    "batch_head",
    "counted",
    "encode_batch",
    "merged",
)
