"""LaunchDarkly's Relay Proxy: ``ld-relay.conf``, or a file of its environment variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.migration.draft import Note, Path, dotted
from gateway.migration.neighbour import ORIGIN_ROUTES, UPSTREAM, Always, Neighbour, NoEqual, To, Tree
from gateway.migration.redis_url import REDIS, redis_from_url, use_redis
from gateway.migration.trees import read_git_config, read_variables
from gateway.migration.values import Unusable, boolean, integer, level, seconds, text, texts, with_login

if TYPE_CHECKING:
    from gateway.migration.draft import Draft
    from gateway.migration.neighbour import Rule

VENDOR: Final = "LaunchDarkly"
_CREDENTIAL: Final = "the credentials of LaunchDarkly are of no use here; clients name the SDK, or have its key"
_EVENTS: Final = "no events are sent to LaunchDarkly; `exporter` sends evaluations to an endpoint of your own"
_STORE: Final = "the shared cache is Redis; the last good configs are also kept on disk (`cache.file`)"
_ENTRIES: Final = "entries in Redis have names by SDK key; `cluster.name` separates clusters"
_TELEMETRY: Final = "metrics are read from `/metrics`; a collector can pass them on"
_AUTO: Final = "SDKs are not configured automatically; list each of them in `sdks`"
_BURST: Final = "a new stream gets the values of one user at once; the limit is the number of streams,"
_CLIENT: Final = "the connections to upstreams are kept by the gateway"
_START: Final = "it starts while flags cannot be fetched, serves the last good ones, and is not ready without any"


def _origins(draft: Draft, path: Path, value: object) -> None:
    _merge(draft, "allowed_origins", path, texts(value), "The origins of all environments.")


def _allowed_headers(draft: Draft, path: Path, value: object) -> None:
    _merge(draft, "allowed_headers", path, texts(value), "")


def _merge(draft: Draft, option: str, path: Path, items: list[str], remark: str) -> None:
    """Add to a list of CORS, which here belongs to routes and there to environments."""
    for routes in ORIGIN_ROUTES:
        target: Path = ("http", routes, "cors", option)
        before = draft.get(*target)
        known = before if isinstance(before, list) else []
        merged = [*known, *(item for item in items if item not in known)]
        draft.set(target, merged, dotted(path), remark if routes == ORIGIN_ROUTES[0] else "")


def _environment_level(draft: Draft, path: Path, value: object) -> None:
    draft.set(("sdks", draft.sdk_id(str(path[1])), "log", "level"), level(value), dotted(path))


def _environment_key(draft: Draft, path: Path, value: object) -> None:
    del value  # a key of LaunchDarkly
    draft.placeholder(draft.sdk_id(str(path[1])), dotted(path[:2]), VENDOR)
    draft.no_equal.append(Note(dotted(path), _CREDENTIAL))


def _remember(draft: Draft, path: Path, value: object) -> None:
    draft.found[dotted(path).lower()] = (value, dotted(path))


def _flag(draft: Draft, path: Path, value: object) -> None:
    if boolean(value):
        draft.set(("tls", "enabled"), value=True, source=dotted(path))


def _version(value: object) -> str:
    found = text(value)
    if found not in {"1.0", "1.1", "1.2", "1.3"}:
        raise Unusable("not a version of TLS")
    return found


def _rules_of(section: str, names: str, rule: Rule) -> dict[str, Rule]:
    return {f"{section}.{name}": rule for name in names.split()}


_RULES: Final[dict[str, Rule]] = {
    "Main.port": To("http.port", integer),
    **_rules_of("Main", "streamUri baseUri clientSideBaseUri", NoEqual(UPSTREAM)),
    **_rules_of("Main", "exitOnError ignoreConnectionErrors initTimeout", Always(_START)),
    "Main.exitAlways": NoEqual("it always runs as a server"),
    "Main.heartbeatInterval": To("http.sse.heart_beat_interval", seconds),
    "Main.heartbeatIntervalSecs": To("http.sse.heart_beat_interval", seconds),  # of version 5, as is apiKey
    "Main.gracefulShutdownTimeout": To(
        "http.sse.drain_window", seconds, "Streams are closed one after the other during these seconds of a stop."
    ),
    "Main.maxClientConnectionTime": NoEqual(
        "streams have no maximum age; a stop spreads the reconnects over `http.sse.drain_window`"
    ),
    "Main.maxClientRequestBodySize": NoEqual("a body may have 1 MiB"),
    "Main.disconnectedStatusTime": NoEqual("the status of an SDK is `degraded` after a failed fetch, with its age"),
    "Main.tlsEnabled": _flag,
    "Main.tlsCert": _remember,
    "Main.tlsKey": _remember,
    "Main.tlsMinVersion": To("tls.min_version", _version),
    "Main.logLevel": To("log.level", level),
    **_rules_of("Main", "bigSegmentsStaleAsDegraded bigSegmentsStaleThreshold", NoEqual("there are no big segments")),
    "Main.expiredCredentialCleanupInterval": NoEqual("a reload (SIGHUP) replaces a key"),
    "Main.pingStreamJitterTime": Always("clients need not fetch after an event, because it contains the new values"),
    "Main.disableInternalUsageMetrics": Always("it reports no usage"),
    "AutoConfig": NoEqual(_AUTO),
    "OfflineMode": NoEqual("LaunchDarkly's archive is not read yet; see `sdks.<id>.offline` for a file of config JSON"),
    "Events": NoEqual(_EVENTS),
    "Concurrency": NoEqual(f"{_BURST} `http.sse.max_connections`"),
    **_rules_of("Environment.*", "sdkKey apiKey", _environment_key),
    **_rules_of("Environment.*", "mobileKey envId", NoEqual(_CREDENTIAL)),
    "Environment.*.secureMode": NoEqual("`http.sse.users: signed` needs tokens of your backend, see docs/identity.md"),
    **_rules_of("Environment.*", "prefix tableName", NoEqual(_ENTRIES)),
    "Environment.*.allowedOrigin": _origins,
    "Environment.*.allowedHeader": _allowed_headers,
    "Environment.*.logLevel": _environment_level,
    "Environment.*.ttl": NoEqual("config files are revalidated by their ETag"),
    **_rules_of("Redis", "enabled host port url tls username password clientCertificateFile clientKeyFile", _remember),
    "Redis.caFile": NoEqual("the variable SSL_CERT_FILE names further authorities"),
    **_rules_of("Redis", "localTtl atomicUpsert", Always("values are served from memory, and written by a script")),
    **_rules_of("Redis", "connectTimeout readTimeout", NoEqual("the time limits of Redis are fixed")),
    "DynamoDB": NoEqual(_STORE),
    "Consul": NoEqual(_STORE),
    **{name: NoEqual(_TELEMETRY) for name in ("OpenTelemetry", "Datadog", "Stackdriver")},
    "Prometheus.enabled": To("diag.metrics.prometheus.enabled", boolean),
    "Prometheus.port": To("diag.port", integer, "Status, metrics and the console."),
    "Prometheus.prefix": NoEqual("the names of metrics are fixed"),
    **_rules_of("Proxy", "url user password", _remember),
    **_rules_of("Proxy", "domain ntlmAuth", NoEqual("proxies are used without a login, or with Basic authentication")),
    "Proxy.caCertFiles": _remember,
    "Http.enableCompression": Always("answers are compressed if a client accepts it"),
    **_rules_of("Http", "idleConnTimeout maxIdleConns maxIdleConnsPerHost disableKeepAlives", Always(_CLIENT)),
}


# Environment variables, by the section of the file; those of an environment end with its name.
_VARIABLES: Final = {
    "Main": {
        "STREAM_URI": "streamUri", "BASE_URI": "baseUri", "CLIENT_SIDE_BASE_URI": "clientSideBaseUri",
        "EXIT_ON_ERROR": "exitOnError", "EXIT_ALWAYS": "exitAlways", "PORT": "port", "INIT_TIMEOUT": "initTimeout",
        "IGNORE_CONNECTION_ERRORS": "ignoreConnectionErrors", "HEARTBEAT_INTERVAL": "heartbeatInterval",
        "GRACEFUL_SHUTDOWN_TIMEOUT": "gracefulShutdownTimeout", "TLS_ENABLED": "tlsEnabled", "TLS_CERT": "tlsCert",
        "MAX_CLIENT_CONNECTION_TIME": "maxClientConnectionTime", "TLS_KEY": "tlsKey", "LOG_LEVEL": "logLevel",
        "MAX_CLIENT_REQUEST_BODY_SIZE": "maxClientRequestBodySize", "TLS_MIN_VERSION": "tlsMinVersion",
        "DISCONNECTED_STATUS_TIME": "disconnectedStatusTime", "PING_STREAM_JITTER_TIME": "pingStreamJitterTime",
        "BIG_SEGMENTS_STALE_AS_DEGRADED": "bigSegmentsStaleAsDegraded",
        "BIG_SEGMENTS_STALE_THRESHOLD": "bigSegmentsStaleThreshold",
        "EXPIRED_CREDENTIAL_CLEANUP_INTERVAL": "expiredCredentialCleanupInterval",
    },
    "Redis": {
        "USE_REDIS": "enabled",
        "REDIS_HOST": "host", "REDIS_PORT": "port", "REDIS_URL": "url", "REDIS_TLS": "tls", "CACHE_TTL": "localTtl",
        "REDIS_TTL": "localTtl",
        "REDIS_USERNAME": "username", "REDIS_PASSWORD": "password", "REDIS_CA_FILE": "caFile",
        "REDIS_CLIENT_CERT_FILE": "clientCertificateFile", "REDIS_CLIENT_KEY_FILE": "clientKeyFile",
        "REDIS_ATOMIC_UPSERT": "atomicUpsert", "REDIS_CONNECT_TIMEOUT": "connectTimeout",
        "REDIS_READ_TIMEOUT": "readTimeout",
    },
    "Proxy": {
        "PROXY_URL": "url", "PROXY_AUTH_USER": "user", "PROXY_AUTH_PASSWORD": "password",
        "PROXY_AUTH_DOMAIN": "domain", "PROXY_AUTH_NTLM": "ntlmAuth", "PROXY_CA_CERTS": "caCertFiles",
    },
    "Http": {
        "HTTP_ENABLE_COMPRESSION": "enableCompression", "HTTP_IDLE_CONN_TIMEOUT": "idleConnTimeout",
        "HTTP_MAX_IDLE_CONNS": "maxIdleConns", "HTTP_MAX_IDLE_CONNS_PER_HOST": "maxIdleConnsPerHost",
        "HTTP_DISABLE_KEEPALIVE": "disableKeepAlives",
    },
    "Prometheus": {"USE_PROMETHEUS": "enabled", "PROMETHEUS_PORT": "port", "PROMETHEUS_PREFIX": "prefix"},
}  # fmt: skip
_GROUPS: Final = {
    "AUTO_CONFIG_": "AutoConfig", "ENV_": "AutoConfig", "FILE_DATA_SOURCE": "OfflineMode", "EVENTS_": "Events",
    "USE_EVENTS": "Events", "INIT_": "Concurrency", "DYNAMODB_": "DynamoDB", "USE_DYNAMODB": "DynamoDB",
    "CONSUL_": "Consul", "USE_CONSUL": "Consul", "OTEL_": "OpenTelemetry", "USE_OTLP": "OpenTelemetry",
    "DATADOG_": "Datadog", "USE_DATADOG": "Datadog", "STACKDRIVER_": "Stackdriver", "USE_STACKDRIVER": "Stackdriver",
}  # fmt: skip
_OF_ENVIRONMENTS: Final = {
    "LD_ENV_": "sdkKey", "LD_MOBILE_KEY_": "mobileKey", "LD_CLIENT_SIDE_ID_": "envId", "LD_PREFIX_": "prefix",
    "LD_SECURE_MODE_": "secureMode", "LD_TABLE_NAME_": "tableName", "LD_ALLOWED_ORIGIN_": "allowedOrigin",
    "LD_ALLOWED_HEADER_": "allowedHeader", "LD_LOG_LEVEL_": "logLevel", "LD_TTL_": "ttl",
}  # fmt: skip


def read_settings(content: str) -> Tree:
    """Return ``ld-relay.conf``, or a file of variables in its form: a file without sections consists of variables.

    :raises Unreadable: if it is neither
    """
    if any(line.lstrip().startswith("[") for line in content.splitlines()):
        return read_git_config(content)
    tree: dict[str, dict[str, object]] = {}
    for name, value in read_variables(content).items():
        section, option = _place(name)
        if section == "Environment":
            environment, option = option.split("\0")
            below = tree.setdefault(section, {}).setdefault(environment, {})
            assert isinstance(below, dict)
            below[option] = value
        else:
            tree.setdefault(section, {})[option] = value
    if tree.get("Redis", {}).keys() == {"localTtl"}:
        del tree["Redis"]  # CACHE_TTL is also that of other databases
    return tree


def _place(name: str) -> tuple[str, str]:
    """Return the section and the option of a variable."""
    for prefix, option in _OF_ENVIRONMENTS.items():
        if name.startswith(prefix):
            return "Environment", f"{name.removeprefix(prefix)}\0{option}"
    for section, names in _VARIABLES.items():
        if name in names:
            return section, names[name]
    return next(((section, name) for prefix, section in _GROUPS.items() if name.startswith(prefix)), ("", name))


def _found(draft: Draft, name: str) -> tuple[str, str]:
    value = draft.found.get(name)
    return (text(value[0]), str(value[1])) if isinstance(value, tuple) else ("", "")


def _finish(draft: Draft) -> None:
    if not draft.sdk_ids:
        draft.placeholder("default", "", VENDOR)
    (cert, source), (key, _) = _found(draft, "main.tlscert"), _found(draft, "main.tlskey")
    if cert or key:
        draft.set(("tls", "certificates"), [{"cert": cert, "key": key}], f"{source}, Main.tlsKey")
    for finish in (_finish_redis, _finish_proxy):
        try:
            finish(draft)
        except Unusable as error:
            draft.unusable.append(Note(finish.__name__.removeprefix("_finish_").capitalize(), str(error)))


def _finish_redis(draft: Draft) -> None:
    (url, url_source), (host, source) = _found(draft, "redis.url"), _found(draft, "redis.host")
    (port, port_source), (enabled, switch) = _found(draft, "redis.port"), _found(draft, "redis.enabled")
    if url:
        redis_from_url(draft, url, url_source)
    elif host or port or boolean(enabled):
        sources = ", ".join(filter(None, (switch, source, port_source)))
        use_redis(draft, [f"{host or 'localhost'}:{port or 6379}"], sources)
    else:
        return
    for name, option in (("username", "user"), ("password", "password")):
        value, source = _found(draft, f"redis.{name}")
        if value:
            draft.set((*REDIS, option), value, source)
    tls, source = _found(draft, "redis.tls")
    if boolean(tls):
        draft.set((*REDIS, "tls", "enabled"), value=True, source=source)
    (cert, source), (key, _) = _found(draft, "redis.clientcertificatefile"), _found(draft, "redis.clientkeyfile")
    if cert and key:
        draft.set((*REDIS, "tls", "certificates"), [{"cert": cert, "key": key}], f"{source}, Redis.clientKeyFile")


def _finish_proxy(draft: Draft) -> None:
    found = [_found(draft, f"proxy.{name}") for name in ("url", "user", "password")]
    (url, _), (user, _), (password, _) = found
    if url:
        sources = ", ".join(source for _, source in found if source)
        draft.set(("http_proxy", "url"), with_login(url, user, password), sources)
    given = draft.found.get("proxy.cacertfiles")
    files = texts(given[0]) if isinstance(given, tuple) else []
    if files:
        draft.set(("upstream", "ca_file"), files[0], "Proxy.caCertFiles")
    if len(files) > 1:
        draft.no_equal.append(Note("Proxy.caCertFiles", "one file of authorities is read; join the others with it"))


NEIGHBOUR: Final = Neighbour(
    name="ld-relay",
    title="LaunchDarkly's Relay Proxy",
    file="ld-relay.conf",
    read=read_settings,
    rules=_RULES,
    finish=_finish,
    same_name=str.lower,
)
