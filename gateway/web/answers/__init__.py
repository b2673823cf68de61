"""The answer of each route: functions from a ``Call`` to a ``Reply`` or a ``StreamReply``."""
