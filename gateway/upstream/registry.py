"""All SDKs of the settings, by id and by key; starts, stops and changes them.

settings ──► plans ──► Sdk each ──► Source each (CDN or file)
reload   ──► equal plan: untouched · same key: same Sdk · new key: a new Sdk · gone: removed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed

from gateway import flags
from gateway.logger import component_logger
from gateway.upstream.cdn_source import CdnSource, Network, open_network
from gateway.upstream.file_source import FileSource
from gateway.upstream.plan import Plan, plans
from gateway.upstream.reporter import NoReporter, Reporter
from gateway.upstream.sdk import Admit, Load, OnChange, OnCredit, Sdk
from gateway.upstream.source import InThread, Source, Tools

if TYPE_CHECKING:
    from random import Random

    from gateway.flags import Snapshot
    from gateway.settings.schema.root import Settings

_log = component_logger("sdks")

MakeSource = Callable[[Plan, Tools, Network], Source]


def make_source(plan: Plan, tools: Tools, network: Network) -> Source:
    """The source that *plan* asks for."""
    if plan.path:
        local = plan.settings.offline.local
        return FileSource(
            tools,
            plan.path,
            max_bytes=network.limits.max_bytes,
            polling=local.polling,
            every=local.poll_interval,
        )
    settings = plan.settings
    return CdnSource(
        tools,
        network,
        sdk_id=plan.id,
        key=plan.key,
        base=settings.base_url,
        governance=settings.data_governance,
        every=settings.poll_interval,
    )


def _ignore(sdk: Sdk) -> None:
    """Tells nobody."""


def _at_once(_sdk: Sdk, _snapshot: Snapshot) -> Deferred[None]:
    return succeed(None)


def _anonymous(_sdk_id: str, _credit: bytes) -> Callable[[], None]:
    return lambda: None


class Registry:
    """The SDKs.  All methods belong to the reactor thread.

    *reactor* gives time and connections; *environ* may name forward proxies; *in_thread* runs file reads.
    *admit* is called with (sdk, new Snapshot) before anybody is served it, which is when its Deferred fires;
    *on_change* is called with (sdk, old Snapshot or None, new Snapshot) after ``sdk.snapshot`` was set;
    *on_added* with an Sdk before its source starts, and again when it goes over to a source of another kind;
    *on_removed* with an Sdk that ended: it left the settings, or its key changed and another took its place;
    *on_attributes* with an Sdk whose default user attributes changed while its config did not;
    *on_credit* with an SDK id and what an authenticated call says of who changed the config, before its fetch begins;
    the function that it returns is called when that fetch has ended.
    """

    def __init__(  # noqa: PLR0913 - keywords, and each one a seam
        self,
        reactor: Any,
        settings: Settings,
        *,
        on_change: OnChange,
        rng: Random,
        reporter: Reporter | None = None,
        admit: Admit = _at_once,
        on_added: Callable[[Sdk], None] = _ignore,
        on_removed: Callable[[Sdk], None] = _ignore,
        on_attributes: Callable[[Sdk], None] = _ignore,
        on_credit: OnCredit = _anonymous,
        environ: Mapping[str, str] | None = None,
        in_thread: InThread = maybeDeferred,
        load: Load = flags.load,
        source: MakeSource = make_source,
    ) -> None:
        self._settings = settings
        self._admit = admit
        self._on_change = on_change
        self._on_added = on_added
        self._on_removed = on_removed
        self._on_attributes = on_attributes
        self._on_credit = on_credit
        self._reporter: Reporter = reporter if reporter is not None else NoReporter()
        self._environ = environ if environ is not None else {}
        self._tools = Tools(reactor, rng, in_thread)
        self._load = load
        self._make_source = source
        self._network: Network | None = None
        self._sdks = {plan.id: self._build(plan) for plan in plans(settings).values()}
        self._keys: dict[str, Sdk] = {}
        self._index()

    @property
    def sdks(self) -> Sequence[Sdk]:
        """Every SDK, in the order of the settings."""
        return tuple(self._sdks.values())

    def by_id(self, sdk_id: str) -> Sdk | None:
        """The SDK of that name."""
        return self._sdks.get(sdk_id)

    def by_key(self, key: str) -> Sdk | None:
        """The SDK with that key; the empty key is nobody's, and a key used twice is the first SDK's."""
        return self._keys.get(key)

    def start(self) -> None:
        """Read the CA file and begin to fetch; raises ``TrustError`` before anything has begun."""
        self._network = self._open(self._settings)
        for sdk in self._sdks.values():
            self._begin(sdk)

    def stop(self) -> Deferred[None]:
        """End every fetch, timer, watch and connection; fires when they are gone.  Snapshots stay readable."""
        return _all([sdk.stop() for sdk in self._sdks.values()])

    def check(self, settings: Settings) -> None:
        """Raise ``TrustError`` if ``reconfigure`` would."""
        self._open(settings)

    def reconfigure(self, settings: Settings) -> Deferred[None]:
        """Go over to *settings*; raises ``TrustError``, with nothing changed, when they cannot be used.

        What did not change is not touched: same object, same Snapshot, same timers.
        An SDK that changed keeps its Snapshot until its new source delivers, unless its key changed:
        another key may be another product's, so it starts empty and ``on_removed`` ends the old one's streams.
        The new state holds on return; the Deferred fires when what was given up is closed.
        """
        network = self._open(settings)
        fresh_network = network != self._network
        if fresh_network:
            self._network = network
        self._settings = settings
        before, self._sdks = self._sdks, {}
        closing: list[Deferred[None]] = []
        gone = dict(before)
        for plan in plans(settings).values():
            old = before.get(plan.id)
            if old is not None and old.key == plan.key:
                del gone[plan.id]
                self._sdks[plan.id] = old
                closing.append(self._adapt(old, plan, fresh_network=fresh_network))
            else:
                self._sdks[plan.id] = self._build(plan)
        self._index()
        # First those that go: a new key makes another SDK of the same id, and the old one's streams must end before.
        for sdk in gone.values():
            closing.append(sdk.stop())
            self._on_removed(sdk)
        for sdk_id, sdk in self._sdks.items():
            if before.get(sdk_id) is not sdk:
                self._begin(sdk)
        return _all(closing)

    def _adapt(self, sdk: Sdk, plan: Plan, *, fresh_network: bool) -> Deferred[None]:
        old, sdk.plan = sdk.plan, plan
        if bool(old.path) != bool(plan.path):
            self._on_added(sdk)
        if old.defaults != plan.defaults:
            self._on_attributes(sdk)
        if old.origin == plan.origin and not fresh_network:
            return _all([])
        return sdk.replace(self._source(plan))

    def _begin(self, sdk: Sdk) -> None:
        self._on_added(sdk)
        sdk.start(self._source(sdk.plan))

    def _build(self, plan: Plan) -> Sdk:
        clock = self._tools.clock
        return Sdk(plan, clock, self._load, self._reporter, self._admit, self._on_change, self._on_credit)

    def _source(self, plan: Plan) -> Source | None:
        assert self._network is not None
        return None if plan.refused else self._make_source(plan, self._tools, self._network)

    def _open(self, settings: Settings) -> Network:
        def warn(where: str, why: str) -> None:
            _log.warn("{where} is ignored: {why}", where=where, why=why)

        limits, proxy = settings.upstream, settings.http_proxy.url
        return open_network(self._tools.clock, limits, proxy, self._environ, warn)

    def _index(self) -> None:
        self._keys = {}
        for sdk in self._sdks.values():
            if not sdk.key:
                continue
            first = self._keys.setdefault(sdk.key, sdk)
            if first is not sdk:
                _log.warn(
                    "SDKs {first} and {second} have the same SDK key; lookups by key find {first}",
                    first=first.id,
                    second=sdk.id,
                )


def _all(closing: list[Deferred[None]]) -> Deferred[None]:
    return gatherResults(closing, consumeErrors=True).addCallback(lambda _: None)
