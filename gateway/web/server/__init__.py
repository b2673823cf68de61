"""Twisted protocols that read requests and write answers; the only importer of klein."""
