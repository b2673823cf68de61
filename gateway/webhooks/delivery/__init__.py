"""Sends queued messages: one ``EndpointQueue`` per endpoint, kept by the ``Courier``, with retries."""
