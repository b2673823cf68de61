"""Public fakes and strategies: an upstream CDN, a receiver of web hooks, configs and users for Hypothesis.

The gateway never imports this room; ``strategies`` and ``damage`` need Hypothesis, which it does not install.
"""
