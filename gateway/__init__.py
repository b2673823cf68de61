"""The flag gateway: config JSON in, evaluated flags and live streams of each user's own values out."""

__version__ = "0.3.0"
