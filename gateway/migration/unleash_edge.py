"""Unleash Edge, which is configured by environment variables: a file of them, or those of the process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.migration.draft import Note, Path, dotted
from gateway.migration.neighbour import ORIGIN_ROUTES, UPSTREAM, Always, Neighbour, NoEqual, To
from gateway.migration.redis_url import REDIS, redis_from_url, use_redis
from gateway.migration.trees import read_variables
from gateway.migration.values import Unusable, boolean, integer, text, texts

if TYPE_CHECKING:
    from gateway.migration.draft import Draft
    from gateway.migration.neighbour import Rule

VENDOR: Final = "Unleash"
_TOKEN: Final = re.compile(r"(?P<project>[^:\s]+):(?P<environment>[^.:\s]+)\.\S+")
_PRETRUSTED: Final = re.compile(r"\S+@(?P<environment>[^@\s]+)")
_TOKENS: Final = "the gateway has no tokens; clients name the SDK, and `auth_headers` protects the routes"
_UPSTREAM_AUTH: Final = "requests to the CDN need no client certificate or header"
_BACKSTAGE: Final = "the pages of the diagnostics port can be protected (`diag.users`), not removed one by one"
_PROMETHEUS: Final = "metrics are read from `/metrics`; a Prometheus agent can write them elsewhere"
_USAGE: Final = "there is no usage to report to Unleash; `exporter` sends evaluations to an endpoint of your own"


def _tokens(draft: Draft, path: Path, value: object) -> None:
    """Note the environments of tokens such as ``project:environment.secret``; the secrets are of no use here."""
    environments: dict[str, str] = draft.found.setdefault("environments", {})  # type: ignore[assignment]  # a mapping since its creation
    for token in texts(value):
        match = _TOKEN.fullmatch(token) or _PRETRUSTED.fullmatch(token)
        if match:
            environments.setdefault(match["environment"], dotted(path))
    draft.no_equal.append(Note(dotted(path), _TOKENS))


def _refresh(draft: Draft, path: Path, value: object) -> None:
    draft.found["refresh"] = (integer(value), dotted(path))


def _workers(value: object) -> object:
    return max(1, integer(value))


def _port(draft: Draft, path: Path, value: object) -> None:
    draft.found["PORT"] = dotted(path)
    draft.set(("http", "port"), integer(value), dotted(path))


def _tls(draft: Draft, path: Path, value: object) -> None:
    draft.found[str(path[0])] = (value, dotted(path))


def _trust(draft: Draft, path: Path, value: object) -> None:
    if boolean(value):
        draft.found["trust"] = dotted(path)


def _origins(draft: Draft, path: Path, value: object) -> None:
    origins = [origin for origin in texts(value) if origin != "*"]
    if not origins:
        draft.always.append(Note(dotted(path), "every origin may call the routes unless some are listed"))
        return
    for routes in ORIGIN_ROUTES:
        draft.set(("http", routes, "cors", "allowed_origins"), origins, dotted(path))


def _allowed_headers(draft: Draft, path: Path, value: object) -> None:
    names = [name for name in texts(value) if name != "*"]
    for routes in ORIGIN_ROUTES if names else ():
        draft.set(("http", routes, "cors", "allowed_headers"), names, dotted(path))


def _redis_url(draft: Draft, path: Path, value: object) -> None:
    urls = texts(value)
    if urls:
        redis_from_url(draft, urls[0], dotted(path))
    if len(urls) > 1:
        hosts = [re.sub(r"^[a-z+]+://(?:[^@/]*@)?([^/]+).*$", r"\1", url) for url in urls]
        draft.set((*REDIS, "addresses"), hosts, dotted(path))


def _redis_part(draft: Draft, path: Path, value: object) -> None:
    draft.found[str(path[0])] = (text(value), dotted(path))


_RULES: Final[dict[str, Rule]] = {
    "PORT": _port,
    "INTERFACE": To("http.bind", text),
    "BASE_PATH": NoEqual("routes have no prefix; let the proxy in front remove it, and set `http.public_url`"),
    "WORKERS": To("workers", _workers),
    "TLS_ENABLE": _tls,
    "TLS_SERVER_CERT": _tls,
    "TLS_SERVER_KEY": _tls,
    "TLS_SERVER_PORT": _tls,
    "CORS_ORIGIN": _origins,
    "CORS_ALLOWED_HEADERS": _allowed_headers,
    "CORS_MAX_AGE": NoEqual("preflight answers may be kept for 10 minutes"),
    "CORS_EXPOSED_HEADERS": NoEqual("the headers that scripts may read are fixed, and those of `headers` are added"),
    "CORS_METHODS": NoEqual("each route allows its own methods"),
    "ALLOW_LIST": NoEqual("limit the networks in a firewall or in the proxy in front"),
    "DENY_LIST": NoEqual("limit the networks in a firewall or in the proxy in front"),
    "INSTANCE_ID": To("cluster.node", text, "The name of this gateway among those that share a Redis."),
    "APP_NAME": NoEqual("metrics get the name of the job from Prometheus"),
    "TRUST_PROXY": _trust,
    "PROXY_TRUSTED_SERVERS": To("http.trusted_proxies", texts),
    "DISABLE_ALL_ENDPOINT": NoEqual("answers contain all flags, also those that are off"),
    "EDGE_REQUEST_TIMEOUT": Always("a request must arrive within 60 seconds, and is answered at once"),
    "EDGE_KEEPALIVE_TIMEOUT": To("http.keep_alive_timeout", integer),
    "CLIENT_KEEPALIVE_TIMEOUT": Always("connections to upstreams are kept by the gateway"),
    "LOG_FORMAT": To("log.format", lambda value: "json" if text(value) == "json" else "text"),
    "RUST_LOG": NoEqual("set `log.level`"),
    "EDGE_AUTH_HEADER": NoEqual(_TOKENS),
    "TOKEN_HEADER": NoEqual(_TOKENS),
    "UPSTREAM_AUTH_HEADER": NoEqual(_UPSTREAM_AUTH),
    **{
        f"DISABLE_{name}_ENDPOINT": NoEqual(_BACKSTAGE)
        for name in ("METRICS_BATCH", "METRICS", "FEATURES", "TOKENS", "INSTANCE_DATA")
    },
    "UPSTREAM_URL": NoEqual(UPSTREAM),
    "BACKUP_FOLDER": To("cache.file.path", text, "Written in another format, so use an empty folder."),
    "METRICS_INTERVAL_SECONDS": NoEqual(_USAGE),
    "FEATURES_REFRESH_INTERVAL_SECONDS": _refresh,
    "TOKEN_REVALIDATION_INTERVAL_SECONDS": NoEqual(_TOKENS),
    "TOKENS": _tokens,
    "PRETRUSTED_TOKENS": _tokens,
    "CLIENT_TOKENS": _tokens,
    "FRONTEND_TOKENS": _tokens,
    "CUSTOM_CLIENT_HEADERS": NoEqual(_UPSTREAM_AUTH),
    "SKIP_SSL_VERIFICATION": NoEqual("certificates are always verified; name your CA in `upstream.ca_file`"),
    "PKCS8_CLIENT_CERTIFICATE_FILE": NoEqual(_UPSTREAM_AUTH),
    "PKCS8_CLIENT_KEY_FILE": NoEqual(_UPSTREAM_AUTH),
    "PKCS12_IDENTITY_FILE": NoEqual(_UPSTREAM_AUTH),
    "PKCS12_PASSPHRASE": NoEqual(_UPSTREAM_AUTH),
    "PEM_CERT_FILE": NoEqual(_UPSTREAM_AUTH),
    "UPSTREAM_CERTIFICATE_FILE": To("upstream.ca_file", text),
    "UPSTREAM_REQUEST_TIMEOUT": To("upstream.timeout", integer),
    "UPSTREAM_SOCKET_TIMEOUT": To("upstream.connect_timeout", integer),
    "REDIS_URL": _redis_url,
    "REDIS_HOST": _redis_part,
    "REDIS_PORT": _redis_part,
    "REDIS_USERNAME": _redis_part,
    "REDIS_PASSWORD": _redis_part,
    "REDIS_SECURE": _redis_part,
    "REDIS_SCHEME": _redis_part,
    "REDIS_MODE": Always("several addresses in `cache.redis.addresses` form a cluster"),
    "REDIS_READ_CONNECTION_TIMEOUT_MILLISECONDS": NoEqual("the time limits of Redis are fixed"),
    "REDIS_WRITE_CONNECTION_TIMEOUT_MILLISECONDS": NoEqual("the time limits of Redis are fixed"),
    "S3_BUCKET_NAME": NoEqual("configs are kept on disk (`cache.file`) and in Redis"),
    "S3_FORCE_PATH_STYLE": NoEqual("configs are kept on disk (`cache.file`) and in Redis"),
    "STREAMING": Always("ConfigCat's webhook to `/hook/<id>` makes the gateway fetch at once"),
    "DELTA": Always("a config is fetched only if it has changed"),
    **{
        f"PROMETHEUS_{name}": NoEqual(_PROMETHEUS)
        for name in ("REMOTE_WRITE_URL", "PUSH_INTERVAL", "USERNAME", "PASSWORD", "USER_ID", "HEADER")
    },
    "BOOTSTRAP_FILE": NoEqual("Unleash's format is not read yet; see the comment of the SDK for a file of config JSON"),
    "RELOAD_INTERVAL": Always("a changed file is read at once"),
    "STRICT": NoEqual(_TOKENS),
    "DYNAMIC": NoEqual(_TOKENS),
}


def _finish(draft: Draft) -> None:
    found = draft.found.get("environments", {})
    environments = dict(found) if isinstance(found, dict) else {}
    environments = {name: source for name, source in environments.items() if name != "*"}
    for name, source in (environments or {"default": ""}).items():
        sdk_id = draft.sdk_id(name)
        draft.placeholder(sdk_id, source, VENDOR)
        if isinstance(refresh := draft.found.get("refresh"), tuple):
            draft.set(("sdks", sdk_id, "poll_interval"), *refresh)
    _finish_tls(draft)
    _finish_redis(draft)
    if trusting := draft.found.get("trust"):
        named = draft.get("http", "trusted_proxies") is not None
        notes = draft.always if named else draft.no_equal
        notes.append(Note(str(trusting), "the networks of proxies are named in `http.trusted_proxies`"))
    draft.remark(("http",), "Health, metrics and the console have a port of their own, diag.port (8051).")


def _found(draft: Draft, name: str) -> tuple[str, str]:
    value = draft.found.get(name)
    return (text(value[0]), str(value[1])) if isinstance(value, tuple) else ("", "")


def _finish_tls(draft: Draft) -> None:
    (on, source), (cert, _), (key, _) = (
        _found(draft, f"TLS_{name}") for name in ("ENABLE", "SERVER_CERT", "SERVER_KEY")
    )
    port, port_source = _found(draft, "TLS_SERVER_PORT")
    if not boolean(on):
        return
    draft.set(("tls", "enabled"), value=True, source=source)
    draft.set(("tls", "certificates"), [{"cert": cert, "key": key}], "TLS_SERVER_CERT, TLS_SERVER_KEY")
    draft.set(
        ("http", "port"),
        integer(port) if port else 3043,
        port_source or "the default of TLS_SERVER_PORT",
        "With TLS on, the gateway serves TLS only, on this port.",
    )
    if draft.found.get("PORT"):
        draft.no_equal.append(Note("PORT", "the gateway has one port, which serves TLS"))


def _finish_redis(draft: Draft) -> None:
    host, source = _found(draft, "REDIS_HOST")
    port, _ = _found(draft, "REDIS_PORT")
    if host and draft.get(*REDIS, "enabled") is None:
        use_redis(draft, [f"{host}:{port or 6379}"], source)
    if draft.get(*REDIS, "enabled") is None:
        return
    for name, option in (("REDIS_USERNAME", "user"), ("REDIS_PASSWORD", "password")):
        value, origin = _found(draft, name)
        if value:
            draft.set((*REDIS, option), value, origin)
    secure, origin = _found(draft, "REDIS_SECURE")
    scheme, scheme_origin = _found(draft, "REDIS_SCHEME")
    try:
        encrypted = boolean(secure)
    except Unusable:
        encrypted = False
    if encrypted or scheme in {"rediss", "tls"}:
        draft.set((*REDIS, "tls", "enabled"), value=True, source=origin or scheme_origin)


NEIGHBOUR: Final = Neighbour(
    name="unleash-edge",
    title="Unleash Edge",
    file="a file of environment variables",
    read=read_variables,
    rules=_RULES,
    finish=_finish,
    environment=True,
)
