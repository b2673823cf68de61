"""Sends recorded messages to their endpoints, with retries."""
