"""ConfigCat Proxy: nearly all of its options exist here under the same names, so the table is made from the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.migration.draft import PLACEHOLDER, Note, Path, dotted
from gateway.migration.neighbour import Neighbour, NoEqual, To
from gateway.migration.trees import read_yaml_tree
from gateway.migration.values import one_of, unchanged
from gateway.settings import option_table

if TYPE_CHECKING:
    from gateway.migration.draft import Draft
    from gateway.migration.neighbour import Rule

_REASONS: Final = {
    "grpc": "there is no gRPC server; clients use HTTP, event streams or OFREP",
    "profile": "SDKs do not come from a profile; list each of them in `sdks`",
    "cache.mongodb": "MongoDB is not used as a cache; the last good configs are kept on disk (`cache.file`), and"
    " several gateways share them through Redis",
    "cache.dynamodb": "DynamoDB is not used as a cache; the last good configs are kept on disk (`cache.file`), and"
    " several gateways share them through Redis",
    "diag.metrics.otlp": "metrics are not sent to OpenTelemetry; let a collector read `/metrics`",
    "diag.traces": "there are no traces",
    "diag.service_name": "it names the service for OpenTelemetry, which is not used",
}
_HEARTBEAT: Final = "http.sse.heart_beat_interval"
_NO_CACHE: Final = "offline mode needs a cache, and Redis is not enabled; add `cache.redis`, or a local file"


def _heartbeat(draft: Draft, path: Path, value: object) -> None:
    """ConfigCat Proxy reads the option and sends no heartbeats; 0 would turn those of the gateway off."""
    if value in (None, 0, "0"):  # a list is not hashable
        draft.always.append(Note(dotted(path), "idle streams get a comment every 20 seconds"))
    else:
        draft.set(tuple(_HEARTBEAT.split(".")), value, dotted(path), "ConfigCat Proxy ignores this option.")


def _rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for option in option_table():
        name = ".".join("*" if part == "<id>" else str(part) for part in option.path)
        if option.info.not_in_configcat_proxy or option.field.entry is not None:
            continue
        reason = next((why for start, why in _REASONS.items() if f"{name}.".startswith(f"{start}.")), None)
        if reason is not None:
            rules[name] = NoEqual(reason)
        elif name.endswith("log.level"):
            rules[name] = To(name, one_of("debug", "info", "warn", "error"))
        elif name.endswith("tls.min_version"):
            rules[name] = To(name, one_of("1.0", "1.1", "1.2", "1.3"))
        else:
            rules[name] = To(name, unchanged)
    return rules | {_HEARTBEAT: _heartbeat, "grpc.enabled": _grpc}


def _grpc(draft: Draft, path: Path, value: object) -> None:
    note = Note(dotted(path), _REASONS["grpc"])
    if value is False:
        draft.always.append(Note(dotted(path), "there is no gRPC server"))
    else:
        draft.no_equal.append(note)


def _finish(draft: Draft) -> None:
    if not draft.sdk_ids:
        draft.set(("sdks", "my-sdk", "key"), PLACEHOLDER)
        draft.remark(("sdks",), "The file lists no SDK; the variable CONFIGCAT_SDKS works here too.")
    for sdk_id in draft.sdk_ids:
        if not draft.get("sdks", sdk_id, "key"):
            draft.set(("sdks", sdk_id, "key"), PLACEHOLDER)
            draft.remark(("sdks", sdk_id), "The file has no key for this SDK, which a profile contains.")
    if draft.get("cache", "redis", "enabled") is not True:
        for path in [("offline", "enabled"), *(("sdks", each, "offline", "use_cache") for each in draft.sdk_ids)]:
            if draft.get(*path) is True:
                draft.drop(path if path[0] == "offline" else path[:-1])
                draft.unusable.append(Note(dotted(path), _NO_CACHE))
    _ofrep_origins(draft)


def _ofrep_origins(draft: Draft) -> None:
    path: Path = ("http", "ofrep", "cors", "allowed_origins_regex")
    if draft.get(*path, "patterns"):
        draft.remark(path, "ConfigCat Proxy ignores these patterns and accepts every origin; here they apply.")


NEIGHBOUR: Final = Neighbour(
    name="configcat-proxy",
    title="ConfigCat Proxy",
    file="options.yml",
    read=read_yaml_tree,
    rules=_rules(),
    finish=_finish,
)
