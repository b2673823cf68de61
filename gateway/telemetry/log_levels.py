"""The component of a log event, and the lowest level that each component logs.

A component is named after the settings path whose ``log.level`` applies: ``http``, ``http.sse``, ``sdks.production``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import LogLevel

if TYPE_CHECKING:
    from twisted.logger import LogEvent

    from gateway.settings import Settings

# The first matching prefix counts. The namespace of our own loggers is their component (gateway/logger.py).
_TWISTED = (("twisted.web", "http"), ("twisted", "twisted"), ("log_legacy", "twisted"))
_LEVELS = {"debug": LogLevel.debug, "info": LogLevel.info, "warn": LogLevel.warn, "error": LogLevel.error}


def component(event: LogEvent) -> str:
    """Return the component of an event: its Logger's namespace, with the SDK that ``sdk`` or ``sdk_id`` names.

    Twisted's own namespaces have a component each; another library's namespace is a component of its own.
    """
    namespace = str(event.get("log_namespace") or "gateway")
    name = next((name for prefix, name in _TWISTED if _inside(namespace, prefix)), namespace)
    if name not in {"sdks", "offline"}:
        return name
    sdk = event.get("sdk", event.get("sdk_id"))
    if not isinstance(sdk, str):
        return name
    return f"sdks.{sdk}" if name == "sdks" else f"sdks.{sdk}.offline"


def level_of(event: LogEvent) -> Any:
    """Return the ``LogLevel`` of an event; Twisted's info (factories, ports) counts as debug."""
    level = event.get("log_level") or LogLevel.info
    if level is LogLevel.info and str(event.get("log_namespace")).startswith(("twisted.", "log_legacy")):
        return LogLevel.debug
    return level


def _inside(namespace: str, prefix: str) -> bool:
    return namespace == prefix or namespace.startswith(prefix + ".")


class LogLevels:
    """The lowest level that each component logs; a reload changes the object with ``replace``."""

    def __init__(self, default: str = "warn", overrides: dict[str, str] | None = None) -> None:
        self._default = _LEVELS[default]
        self._overrides = {name: _LEVELS[level] for name, level in (overrides or {}).items()}

    @classmethod
    def from_settings(cls, settings: Settings) -> LogLevels:
        """Read every ``log.level``; components without one use the top-level ``log.level``."""
        overrides = {"http": settings.http.log.level, "http.sse": settings.http.sse.log.level}
        for sdk_id, sdk in settings.sdks.items():
            overrides[f"sdks.{sdk_id}"] = sdk.log.level
            overrides[f"sdks.{sdk_id}.offline"] = sdk.offline.log.level
        return cls(settings.log.level, {name: level for name, level in overrides.items() if level is not None})

    def replace(self, other: LogLevels) -> None:
        """Use the levels of ``other`` from the next event on."""
        self._default = other._default
        self._overrides = dict(other._overrides)

    def allows(self, name: str, level: Any) -> bool:
        """Whether a component logs events of this ``LogLevel``."""
        return bool(level >= self._overrides.get(name, self._default))
