"""The one declaration of every option: a field here is a YAML key, an environment name, a default and a docs row.

``load`` (loading.py) walks these structs; nothing else in the product names an option twice.
Field names are the YAML keys of contract of the system we replace; ours sit beside them and say so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Level = Literal["debug", "info", "warn", "error"]
Attributes = dict[str, str | int | float | list[str]]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(ge=0)]


class Section(Struct, frozen=True, kw_only=True):
    """Base of every group of options."""


class Log(Section):
    level: Level | None = None


class RootLog(Section):
    level: Level = "warn"
    format: Literal["text", "json"] = "text"


class Tls(Section):
    enabled: bool = False
    min_version: Literal["1.0", "1.1", "1.2", "1.3"] = "1.2"
    server_name: str = ""
    certificates: list[Certificate] = field(default_factory=list)


class Certificate(Section):
    cert: str = ""
    key: str = ""


class OriginRegex(Section):
    patterns: list[str] = field(default_factory=list)
    if_no_match: str = ""


class Cors(Section):
    enabled: bool = True
    allowed_origins: list[str] = field(default_factory=list)
    allowed_origins_regex: OriginRegex = field(default_factory=OriginRegex)


class Api(Section):
    enabled: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    auth_headers: dict[str, str] = field(default_factory=dict)
    cors: Cors = field(default_factory=Cors)


class Ofrep(Api):
    pass


class CdnProxy(Section):
    enabled: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    cors: Cors = field(default_factory=Cors)


class Sse(Section):
    enabled: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    cors: Cors = field(default_factory=Cors)
    log: Log = field(default_factory=Log)
    heart_beat_interval: Seconds = 20  # env suffix is HEARTBEAT_INTERVAL in the peer; 0 = off
    stall_timeout: Seconds = 60
    drain_window: Seconds = 5
    max_connections: Annotated[int, Meta(ge=0)] = 0  # 0 = no cap
    max_connections_per_address: Annotated[int, Meta(ge=0)] = 0


class BasicAuth(Section):
    user: str = ""
    password: str = ""


class Webhook(Section):
    enabled: bool = True
    auth: BasicAuth = field(default_factory=BasicAuth)
    auth_headers: dict[str, str] = field(default_factory=dict)
    allowed_networks: list[str] = field(default_factory=list)


class Enabled(Section):
    enabled: bool = False


class Http(Section):
    enabled: bool = True
    port: Port = 8050
    bind: str = ""  # "" = all interfaces
    trusted_proxies: list[str] = field(default_factory=list)  # networks
    log: Log = field(default_factory=Log)
    status: Enabled = field(default_factory=Enabled)
    webhook: Webhook = field(default_factory=Webhook)
    cdn_proxy: CdnProxy = field(default_factory=CdnProxy)
    api: Api = field(default_factory=Api)
    sse: Sse = field(default_factory=Sse)
    ofrep: Ofrep = field(default_factory=Ofrep)


class LocalFile(Section):
    file_path: str = ""
    polling: bool = False
    poll_interval: Annotated[float, Meta(ge=1)] = 5


class SdkOffline(Section):
    enabled: bool | None = None
    use_cache: bool = False
    cache_poll_interval: Annotated[float, Meta(ge=1)] = 5
    local: LocalFile = field(default_factory=LocalFile)
    log: Log = field(default_factory=Log)


class Sdk(Section):
    key: str = ""
    base_url: str = ""
    poll_interval: float = 60
    data_governance: Literal["global", "eu"] = "global"
    webhook_signing_key: str = ""
    webhook_signature_valid_for: float = 300
    default_user_attributes: Attributes = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    offline: SdkOffline = field(default_factory=SdkOffline)


class HttpProxy(Section):
    url: str = ""


class Upstream(Section):
    """Ours: how the gateway fetches config JSON."""

    timeout: Annotated[float, Meta(gt=0)] = 30
    connect_timeout: Annotated[float, Meta(gt=0)] = 10
    max_bytes: Annotated[int, Meta(ge=1024)] = 64 * 1024 * 1024
    ca_file: str = ""


class Diag(Section):
    enabled: bool = True
    port: Port = 8051
    bind: str = ""  # ours
    auth_headers: dict[str, str] = field(default_factory=dict)  # ours
    status: OnByDefault = field(default_factory=lambda: OnByDefault())
    metrics: Metrics = field(default_factory=lambda: Metrics())


class OnByDefault(Section):
    enabled: bool = True


class Metrics(Section):
    enabled: bool = True
    prometheus: OnByDefault = field(default_factory=OnByDefault)


class Settings(Section):
    """Everything an operator can set, after defaults, file and environment are merged and validated."""

    log: RootLog = field(default_factory=RootLog)
    sdks: dict[str, Sdk] = field(default_factory=dict)
    default_user_attributes: Attributes = field(default_factory=dict)
    http: Http = field(default_factory=Http)
    http_proxy: HttpProxy = field(default_factory=HttpProxy)
    upstream: Upstream = field(default_factory=Upstream)
    diag: Diag = field(default_factory=Diag)
    tls: Tls = field(default_factory=Tls)
