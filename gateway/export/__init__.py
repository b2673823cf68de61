"""Evaluation events: which flag was evaluated for which user with which result, exported for analysis.

answers, streams ──► Collector ──► Forwarder ──► ExportPipeline ──► spool ──► batches to a receiver
                     └── in each process ──┘        in the leader └─► file
"""

from gateway.export.collector import Collector
from gateway.export.forwarder import Forwarder, WriteParcel
from gateway.export.metrics import ExportMetrics
from gateway.export.parcel import DropReason, Parcel
from gateway.export.pipeline import ExporterUnusable, ExportPipeline

__all__ = (
    "Collector",
    "DropReason",
    "ExportMetrics",
    "ExportPipeline",
    "ExporterUnusable",
    "Forwarder",
    "Parcel",
    "WriteParcel",
)
