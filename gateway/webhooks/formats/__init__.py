"""The formats of webhook messages: pure functions from a ``Change`` to messages."""
