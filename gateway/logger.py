"""Loggers by component: the name under which an operator sets a level, not the module that logs.

A component is the namespace of its ``Logger``. Moving or renaming a module therefore does not change its log level.
"""

from typing import Final

from twisted.logger import Logger

COMPONENTS: Final = frozenset({"diag", "gateway", "http", "http.sse", "offline", "sdks"})
"""``sdks`` and ``offline`` become ``sdks.<sdk>`` and ``sdks.<sdk>.offline`` for events that name an SDK."""


def component_logger(component: str) -> Logger:
    """Return a logger whose events belong to ``component``.

    :raises ValueError: when ``component`` is not one of ``COMPONENTS``
    """
    if component not in COMPONENTS:
        raise ValueError(f"unknown log component {component!r}; use one of {', '.join(sorted(COMPONENTS))}")
    return Logger(namespace=component)
