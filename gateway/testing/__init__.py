"""Public test tools: a fake upstream CDN, a webhook receiver, Hypothesis strategies for configs and users.

The gateway does not import this room.  ``strategies`` and ``damage`` need Hypothesis, which is not installed with it.
"""
