"""Options of the main HTTP server."""

from typing import Annotated, Literal

from gateway.settings.schema.base import BasicAuth, Log, Section
from gateway.settings.schema.identity import Users
from gateway.settings.schema.option import option

RouteGroup = Literal["api", "ofrep", "sse", "cdn_proxy"]
OtherAttributes = Literal["convert", "ignore", "reject"]
ResponseHeaders = Annotated[
    dict[str, str],
    option(
        "Headers added to every response of these routes; they replace the gateway's own `Cache-Control`, "
        "`X-Accel-Buffering` and CORS headers.",
        example="{X-Served-By: flaggateway}",
    ),
]
AuthHeaders = Annotated[
    dict[str, str],
    option("Headers and values that a request must have.", hidden="all", example="{X-API-KEY: change-me}"),
]
SignedUsers = Annotated[
    Users,
    option(
        "`open`: a request names its user. `signed`: a token proves the user, see `identity`; requests without a valid"
        " token get 401.",
        not_in_configcat_proxy=True,
    ),
]


class OriginRegex(Section, frozen=True):
    """Origins allowed by pattern."""

    patterns: Annotated[
        list[str],
        option("Regular expressions (RE2 syntax) that an origin may match.", example=r"['https://.*\.example\.com']"),
    ] = []
    if_no_match: Annotated[
        str,
        option("Origin that is answered if no pattern matches; required with patterns.", example="https://example.com"),
    ] = ""


class Cors(Section, frozen=True):
    """Cross-origin rules of one group of routes."""

    enabled: Annotated[bool, option("Whether browsers on other origins may call these routes.")] = True
    allowed_origins: Annotated[
        list[str],
        option("Origins that may call these routes; empty means every origin.", example="[https://app.example.com]"),
    ] = []
    allowed_origins_regex: Annotated[OriginRegex, option("Origins allowed by pattern.")] = OriginRegex()
    allowed_headers: Annotated[
        list[str],
        option(
            "Request headers that scripts may send besides those that these routes use themselves.",
            not_in_configcat_proxy=True,
            example="[X-Request-Id, traceparent]",
        ),
    ] = []
    allow_credentials: Annotated[
        bool,
        option(
            "Whether scripts may send cookies and other credentials, for a proxy in front that needs them; "
            "only for origins that are listed.",
            not_in_configcat_proxy=True,
        ),
    ] = False


class Api(Section, frozen=True):
    """Routes that evaluate flags as JSON."""

    enabled: Annotated[bool, option("Whether these routes exist.")] = True
    headers: ResponseHeaders = {}
    auth_headers: AuthHeaders = {}
    users: SignedUsers = "open"
    cors: Annotated[Cors, option("Cross-origin rules.")] = Cors()


class Ofrep(Api, frozen=True):
    """Routes of the OpenFeature Remote Evaluation Protocol."""

    other_attributes: Annotated[
        OtherAttributes,
        option(
            "What happens to attributes of a context that are a boolean, null or an object: `convert` reads booleans "
            "as the texts `true` and `false` and ignores the rest, `ignore` ignores all, `reject` answers 400. Of "
            "a list, `convert` also reads booleans and numbers as texts; the other items, and with `ignore` and "
            "`reject` all items but texts, are left out.",
            not_in_configcat_proxy=True,
        ),
    ] = "convert"


class CdnProxy(Section, frozen=True):
    """Routes that serve the config JSON to SDKs that evaluate flags themselves."""

    enabled: Annotated[bool, option("Whether these routes exist.")] = True
    headers: ResponseHeaders = {}
    cors: Annotated[Cors, option("Cross-origin rules.")] = Cors()


class Sse(Section, frozen=True):
    """Event streams of values."""

    enabled: Annotated[bool, option("Whether these routes exist.")] = True
    headers: ResponseHeaders = {}
    users: SignedUsers = "open"
    cors: Annotated[Cors, option("Cross-origin rules.")] = Cors()
    log: Annotated[Log, option("Log of the event streams.")] = Log()
    heart_beat_interval: Annotated[
        float,
        option(
            "Seconds between comments on an idle stream, so that proxies keep it open; 0 turns them off.",
            ge=0,
            env=("HEARTBEAT_INTERVAL", "HEART_BEAT_INTERVAL"),
        ),
    ] = 20
    stall_timeout: Annotated[
        float,
        option("Seconds after which a stream whose client reads nothing is closed.", gt=0, not_in_configcat_proxy=True),
    ] = 60
    drain_window: Annotated[
        float,
        option(
            "Seconds over which streams are closed at a stop, so that clients do not all reconnect at once.",
            ge=0,
            not_in_configcat_proxy=True,
        ),
    ] = 5
    max_connections: Annotated[
        int, option("Maximum number of open streams; 0 means no limit.", ge=0, not_in_configcat_proxy=True)
    ] = 0
    max_connections_per_address: Annotated[
        int,
        option(
            "Maximum number of open streams per client address; 0 means no limit.", ge=0, not_in_configcat_proxy=True
        ),
    ] = 0
    url_secret: Annotated[
        str,
        option(
            "Secret of at least 32 characters for the short URLs of streams and the addresses of OFREP streams, in "
            "addition to the SDK key; the same on all nodes. Set it if clients or others have the SDK key: with it "
            "alone they could read the user attributes in a URL. A change makes all URLs invalid.",
            hidden="all",
            not_in_configcat_proxy=True,
            example="change-me-change-me-change-me-change-me",
        ),
    ] = ""
    url_lifetime: Annotated[
        float,
        option(
            "Seconds after which a short URL of a stream expires; a stream that is open then goes on.",
            ge=60,
            le=2_592_000,
            not_in_configcat_proxy=True,
        ),
    ] = 86_400


class Webhook(Section, frozen=True):
    """The route that an upstream calls when a config has changed."""

    enabled: Annotated[bool, option("Whether this route exists.")] = True
    auth: Annotated[BasicAuth, option("Basic authentication of callers.")] = BasicAuth()
    auth_headers: AuthHeaders = {}
    allowed_networks: Annotated[
        list[str],
        option(
            "Networks that callers must belong to; empty means every network.",
            not_in_configcat_proxy=True,
            example="[192.0.2.0/24, '2001:db8::/32']",
        ),
    ] = []


class CallerKey(Section, frozen=True):
    """A key of one caller, such as a team or an application."""

    name: Annotated[str, option("Unique name, shown in the API of the diagnostics port.")] = ""
    hash: Annotated[str, option("The hash of the key, as `flaggateway key` prints it.", hidden="all")] = ""
    second_hash: Annotated[
        str, option("The hash of another key that is accepted too, while one replaces the other.", hidden="all")
    ] = ""
    sdks: Annotated[list[str], option("SDK ids that the caller may use; empty means all.")] = []
    routes: Annotated[list[RouteGroup], option("Groups of routes that the caller may use; empty means all.")] = []
    rate: Annotated[
        float, option("Requests a second that the caller may send to one process, on average; 0 means no limit.", ge=0)
    ] = 0
    max_streams: Annotated[
        int, option("Streams that the caller may have open in one process; 0 means no limit.", ge=0)
    ] = 0


class CallerAuth(Section, frozen=True):
    """Keys of callers, so that several teams can use one gateway."""

    keys: Annotated[
        list[CallerKey],
        option(
            "Keys of callers, up to 100; once there is one, the groups in `routes` need a key.",
            example="[{name: shop, routes: [api, ofrep], rate: 100, hash: 'sha256:"
            "ecf010665bd39478fa6b85962a7261790e679d37831de29ab5307db735a79a55'}]",
        ),
    ] = []
    routes: Annotated[
        list[RouteGroup],
        option("Groups of routes that need a key if there are keys; empty means api, ofrep and sse."),
    ] = []


class Enabled(Section, frozen=True):
    """A part that is off by default."""

    enabled: Annotated[bool, option("Whether it is on.")] = False


class Http(Section, frozen=True):
    """The main HTTP server."""

    enabled: Annotated[bool, option("Whether the main HTTP server runs.", restart=True)] = True
    port: Annotated[
        int, option("TCP port to listen on.", ge=1, le=65535, restart=True, error="{section}: invalid port {found}")
    ] = 8050
    bind: Annotated[
        str,
        option(
            "Address to listen on; empty means all addresses.",
            not_in_configcat_proxy=True,
            restart=True,
            example="127.0.0.1",
        ),
    ] = ""
    trusted_proxies: Annotated[
        list[str],
        option(
            "Networks of reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Prefix` headers are trusted.",
            not_in_configcat_proxy=True,
            example="[10.0.0.0/8]",
        ),
    ] = []
    keep_alive_timeout: Annotated[
        float,
        option(
            "Seconds a connection may be silent between two requests before it is closed; must exceed the time for"
            " which a load balancer in front keeps its connections.",
            ge=1,
            le=3600,
            not_in_configcat_proxy=True,
        ),
    ] = 75
    shutdown_delay: Annotated[
        float,
        option(
            "Seconds at a stop during which the port stays open and requests are answered while `/readyz` is 503, so"
            " that load balancers take the gateway out first.",
            ge=0,
            le=3600,
            not_in_configcat_proxy=True,
        ),
    ] = 0
    public_url: Annotated[
        str,
        option(
            "URL under which clients reach this server, with the path prefix of a reverse proxy, if any; "
            "the addresses of event streams in answers begin with it. If empty, they are paths that begin with the "
            "`X-Forwarded-Prefix` header of a trusted proxy.",
            not_in_configcat_proxy=True,
            example="https://example.com/flags",
        ),
    ] = ""
    max_stream_url: Annotated[
        int,
        option(
            "Maximum length in bytes of the address of an event stream that an answer contains; longer ones are not "
            "offered (OFREP) or answered with 413 (`POST /sse/{sdkId}/streams`).",
            ge=256,
            le=65536,
            not_in_configcat_proxy=True,
        ),
    ] = 4096
    auth: Annotated[
        CallerAuth,
        option("Keys of callers, so that several teams can use one gateway.", not_in_configcat_proxy=True),
    ] = CallerAuth()
    log: Annotated[Log, option("Log of the HTTP server.")] = Log()
    status: Annotated[Enabled, option("The status page on the main port as well.")] = Enabled()
    webhook: Annotated[Webhook, option("The route that an upstream calls when a config has changed.")] = Webhook()
    cdn_proxy: Annotated[CdnProxy, option("The config JSON for SDKs that evaluate flags themselves.")] = CdnProxy()
    api: Annotated[Api, option("Evaluation of flags as JSON.")] = Api()
    sse: Annotated[Sse, option("Event streams of values.")] = Sse()
    ofrep: Annotated[Ofrep, option("The OpenFeature Remote Evaluation Protocol.")] = Ofrep()
