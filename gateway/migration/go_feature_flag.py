"""The relay proxy of GO Feature Flag: ``goff-proxy.yaml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.migration.draft import Note, Path, dotted
from gateway.migration.neighbour import Always, Neighbour, NoEqual, To
from gateway.migration.trees import read_yaml_or_toml
from gateway.migration.values import (
    Unusable,
    attributes,
    boolean,
    headers,
    integer,
    level,
    milliseconds,
    text,
    text_mapping,
    texts,
)

if TYPE_CHECKING:
    from gateway.migration.draft import Draft
    from gateway.migration.neighbour import Rule

VENDOR: Final = "GO Feature Flag"
_ONE_SDK: Final = "flags"
_FORMATS: Final = {"webhook": "notifier", "slack": "slack", "discord": "discord", "microsoftteams": "teams"}
_FORMAT_READ: Final = "flags of this format are not read yet, see the comment of the SDK"
_PROFILING: Final = "there are no pages for profiling; `/metrics` has the garbage collector and the event loop"
_LAMBDA: Final = "the gateway is a server that keeps streams open; it does not run as a function"
_OPENTELEMETRY: Final = "there are no traces; metrics are on `/metrics` of the diagnostics port"
_SWAGGER: Final = "the routes are described in docs; those of the diagnostics port in `/api/v1/openapi.json`"


def _low(value: dict[str, Any]) -> dict[str, Any]:
    return {str(name).lower(): item for name, item in value.items()}


def _mappings(path: Path, value: object) -> list[tuple[str, dict[str, Any]]]:
    """Return the mappings of a list, or the one mapping, with their names."""
    if isinstance(value, dict):
        return [(dotted(path), _low(value))]
    items = value if isinstance(value, list) else []
    return [(f"{dotted(path)}[{at}]", _low(item)) for at, item in enumerate(items) if isinstance(item, dict)]


def _set(path: Path) -> object:
    """Return the number of the flag set that a setting belongs to; None outside of flag sets."""
    return path[1] if str(path[0]).lower() == "flagsets" else None


def _retrievers(draft: Draft, path: Path, value: object) -> None:
    for name, item in _mappings(path, value):
        kind = text(item.get("kind", "?"))
        if kind == "http":
            reason = "put the URL of a config JSON (format v6) into `sdks.<id>.base_url`, or a file into `offline`"
        elif kind in {"file", "configmap"}:
            reason = "put the path of a file with config JSON into `sdks.<id>.offline.local.file_path`"
        else:
            reason = "copy the file to this machine and serve it by `sdks.<id>.offline.local.file_path`"
        draft.no_equal.append(Note(f"{name} of kind {kind}", f"{_FORMAT_READ}; {reason}"))


def _notifiers(draft: Draft, path: Path, value: object) -> None:
    webhooks: list[tuple[object, str, dict[str, Any]]] = draft.found.setdefault("webhooks", [])  # type: ignore[assignment]  # a list since its creation
    for name, item in _mappings(path, value):
        kind = text(item.get("kind", "")).lower()
        if kind == "log":
            draft.always.append(Note(name, "each change is logged"))
        elif kind in _FORMATS:
            webhooks.append((_set(path), name, item))
        else:
            draft.unusable.append(Note(name, "the kind of this notifier is unknown"))


def _exporters(draft: Draft, path: Path, value: object) -> None:
    for name, item in _mappings(path, value):
        kind = text(item.get("kind", "")).lower()
        if kind not in {"webhook", "file"}:
            reason = "events go to an endpoint or into files; let a receiver of `exporter.endpoint_url` pass them on"
            draft.no_equal.append(Note(f"{name} of kind {kind}", reason))
        elif draft.get("exporter", "kind") is not None:
            draft.no_equal.append(Note(name, "there is one exporter; the first one was taken over"))
        elif kind == "file":
            _file_exporter(draft, name, item)
        else:
            _webhook_exporter(draft, name, item)


def _webhook_exporter(draft: Draft, name: str, item: dict[str, Any]) -> None:
    draft.set(("exporter", "kind"), "webhook", name)
    draft.remark(("exporter",), "The format of the batches and their signature are those of GO Feature Flag.")
    for theirs, ours, convert in (
        ("endpointurl", "endpoint_url", text),
        ("secret", "secret", text),
        ("meta", "meta", text_mapping),
        ("headers", "headers", headers),
        ("flushinterval", "flush_interval", integer),
        ("maxeventinmemory", "max_event_in_memory", integer),
    ):
        if item.get(theirs) is not None:
            draft.set(("exporter", ours), convert(item[theirs]), name)


def _file_exporter(draft: Draft, name: str, item: dict[str, Any]) -> None:
    form = text(item.get("format", "JSON")).upper()
    if form != "JSON":
        draft.no_equal.append(Note(f"{name}.format", "files contain one JSON object per line"))
    draft.set(("exporter", "kind"), "file", name)
    folder = text(item.get("outputdir", "")).rstrip("/")
    draft.set(("exporter", "path"), f"{folder}/evaluations.jsonl", name, "One file, which is rotated by its size.")
    for theirs in ("filename", "csvtemplate"):
        if item.get(theirs):
            draft.no_equal.append(Note(f"{name}.{theirs}", "the name and the form of the files are fixed"))


def _keys(draft: Draft, path: Path, value: object) -> None:
    keys = texts(value)
    if not keys:
        return
    for routes in ("ofrep", "api"):
        draft.set(("http", routes, "auth_headers"), {"Authorization": f"Bearer {keys[0]}"}, dotted(path))
    draft.remark(
        ("http", "ofrep"),
        "Event streams and config files are not protected by these headers; http.sse.enabled and"
        " http.cdn_proxy.enabled switch them off.",
    )
    if len(keys) > 1:
        reason = "a header has one value, so the first key was taken over; give it to all clients"
        draft.no_equal.append(Note(f"{dotted(path)}[1:]", reason))


def _enrichment(draft: Draft, path: Path, value: object) -> None:
    draft.set(
        ("default_user_attributes",),
        attributes(value),
        dotted(path),
        "In GO Feature Flag these replace the attributes of a request; here those of a request have priority.",
    )


def _poll(draft: Draft, path: Path, value: object) -> None:
    draft.found[f"poll {_set(path)}"] = (milliseconds(value), dotted(path))


def _name(draft: Draft, path: Path, value: object) -> None:
    draft.found[f"name {_set(path)}"] = text(value)


def _debug(draft: Draft, path: Path, value: object) -> None:
    if boolean(value):
        draft.set(("log", "level"), "debug", dotted(path))


def _monitoring(draft: Draft, path: Path, value: object) -> None:
    if integer(value):
        draft.set(("diag", "port"), integer(value), dotted(path))


def _log_format(value: object) -> str:
    return "json" if text(value) == "json" else "text"


_PER_SET: Final[dict[str, Rule]] = {
    "retriever": _retrievers,
    "retrievers": _retrievers,
    "notifier": _notifiers,
    "notifiers": _notifiers,
    "exporter": _exporters,
    "exporters": _exporters,
    "pollingInterval": _poll,
    "fileFormat": NoEqual(f"config JSON has one format; {_FORMAT_READ}"),
    "environment": NoEqual("each environment is an SDK of its own"),
    "enablePollingJitter": Always("several gateways that share a Redis fetch once per interval"),
    "disableNotifierOnInit": Always("flags that are loaded at a start are not reported as changes"),
    "startWithRetrieverError": Always("it starts while the flags cannot be fetched, and serves the last good ones"),
    "persistentFlagConfigurationFile": Always("the last good flags are kept on disk, see `cache.file`"),
}

_RULES: Final[dict[str, Rule]] = {
    **_PER_SET,
    **{f"flagsets.*.{name}": rule for name, rule in _PER_SET.items()},
    "flagsets.*.name": _name,
    "flagsets.*.apiKeys": NoEqual("the keys of a flag set choose it; here clients send X-ConfigCat-SdkId"),
    "listen": To("http.port", integer),
    "server.port": To("http.port", integer),
    "server.host": To("http.bind", text),
    "server.monitoringPort": _monitoring,
    "monitoringPort": _monitoring,
    "server.unixSocket": NoEqual("it listens on TCP only"),
    "server.mode": NoEqual(_LAMBDA),
    "server.lambdaAdapter": NoEqual(_LAMBDA),
    "server.awsApiGatewayBasePath": NoEqual(_LAMBDA),
    "startAsAwsLambda": NoEqual(_LAMBDA),
    "awsLambdaAdapter": NoEqual(_LAMBDA),
    "awsApiGatewayBasePath": NoEqual(_LAMBDA),
    "logLevel": To("log.level", level),
    "debug": _debug,
    "logFormat": To("log.format", _log_format),
    "enablePprof": NoEqual(_PROFILING),
    "hideBanner": Always("it prints no banner"),
    "enableSwagger": NoEqual(_SWAGGER),
    "swagger.enabled": NoEqual(_SWAGGER),
    "swagger.host": NoEqual(_SWAGGER),
    "host": NoEqual(_SWAGGER),
    "version": Always("it is not configured"),
    "disableVersionHeader": Always("it sends no header with its version"),
    "authorizedKeys.evaluation": _keys,
    "apiKeys": _keys,
    "authorizedKeys.admin": NoEqual("who may change something on the diagnostics port is in `diag.operators`"),
    "evaluationContextEnrichment": _enrichment,
    "exporterCleanQueueInterval": Always("events wait on disk until they are delivered, within `exporter.max_bytes`"),
    "openTelemetryOtlpEndpoint": NoEqual(_OPENTELEMETRY),
    "otel": NoEqual(_OPENTELEMETRY),
    "jaeger": NoEqual(_OPENTELEMETRY),
    "envVariablePrefix": NoEqual("variables begin with CONFIGCAT_"),
    "enableBulkMetricFlagNames": NoEqual("metrics have no label for each flag, which would be unlimited"),
    "ofrepEventStream": Always("bulk answers of OFREP contain the address of an event stream"),
}


def _finish(draft: Draft) -> None:
    named = sorted(key for key in draft.found if key.startswith("name "))
    sets = {key.removeprefix("name "): str(draft.found[key]) for key in named} or {"None": _ONE_SDK}
    ids = {number: draft.sdk_id(name) for number, name in sets.items()}
    for number, sdk_id in ids.items():
        draft.placeholder(sdk_id, "" if number == "None" else f"flagsets[{number}].name", VENDOR)
        polled = draft.found.get(f"poll {number}")
        if isinstance(polled, tuple):
            draft.set(("sdks", sdk_id, "poll_interval"), *polled)
    if draft.get("diag", "port") is None:
        draft.remark(("http",), "Health, metrics and the console have a port of their own, diag.port (8051).")
    _write_webhooks(draft, ids)


def _write_webhooks(draft: Draft, ids: dict[str, str]) -> None:
    webhooks: Any = draft.found.get("webhooks", [])
    for index, (number, name, item) in enumerate(webhooks):
        kind = text(item["kind"]).lower()
        url = next((item[key] for key in ("endpointurl", "webhookurl", "slackwebhookurl") if item.get(key)), None)
        if url is None:
            draft.unusable.append(Note(name, "it has no URL"))
            continue
        at: Path = ("webhooks", index)
        draft.set((*at, "name"), f"{kind}-{index + 1}", name)
        draft.set((*at, "url"), text(url), name)
        draft.set((*at, "format"), _FORMATS[kind], name)
        if str(number) in ids and number is not None:
            draft.set((*at, "sdks"), [ids[str(number)]], name)
        for key, convert in (("secret", text), ("meta", text_mapping), ("headers", headers)):
            if item.get(key) and kind == "webhook":
                try:
                    draft.set((*at, key), convert(item[key]), name)
                except Unusable as error:
                    draft.unusable.append(Note(f"{name}.{key}", str(error)))
    if webhooks:
        draft.remark(("webhooks",), "Each message is stored on disk and sent again until the receiver accepts it.")


NEIGHBOUR: Final = Neighbour(
    name="goff",
    title="GO Feature Flag's relay proxy",
    file="goff-proxy.yaml",
    read=read_yaml_or_toml,
    rules=_RULES,
    finish=_finish,
    same_name=str.lower,
)
