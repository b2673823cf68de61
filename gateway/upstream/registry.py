"""All SDKs of the settings, by id and by key; starts, stops and reconfigures them.

settings ──► plans ──► Sdk each ──► Source each (CDN or file)
reload   ──► equal plan: untouched · same key: same Sdk · new key: a new Sdk · gone: removed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed

from gateway import flags
from gateway.logger import component_logger
from gateway.text import ProblemText, log_command
from gateway.upstream.cdn_source import CdnSource, Network, open_network
from gateway.upstream.file_source import FileSource
from gateway.upstream.plan import Plan, plans
from gateway.upstream.sdk import Admit, Foresee, Load, OnChange, OnCredit, OnHeld, ReadPin, Sdk
from gateway.upstream.shared import SharedSource
from gateway.upstream.source import ConditionalSource, InThread, Source, SourceContext

if TYPE_CHECKING:
    from random import Random

    from gateway.http_client import Reactor
    from gateway.settings import Settings
    from gateway.upstream.config_cache import ConfigCache
    from gateway.upstream.reporter import Reporter
    from gateway.upstream.shared import SharedCache

_log = component_logger("sdks")

MakeSource = Callable[[Plan, SourceContext, Network], Source]


def make_source(plan: Plan, context: SourceContext, network: Network) -> Source:
    """Return a new source for ``plan``."""
    if plan.path:
        return FileSource(context, plan, network.limits.max_bytes)
    return CdnSource(context, network, plan)


class Registry:
    """The SDKs.  All methods and callbacks belong to the reactor thread.

    ``environ`` may name forward proxies; ``in_thread`` runs file reads; ``cache`` keeps the last good configs, and
    ``shared`` is the cache that other gateways use too; SDKs without an upstream read ``followed``, if that is given.
    ``admit`` is called with (sdk, new Snapshot), which is published once its Deferred has fired;
    ``on_change`` with (sdk, old Snapshot or None, new Snapshot) after ``sdk.snapshot`` was set;
    ``on_added`` with an Sdk before its source starts, and again when it changes between CDN and file;
    ``on_removed`` with an Sdk that ended: it left the settings, or its key changed and another Sdk has its id;
    ``on_attributes`` with an Sdk whose default user attributes changed while its config did not;
    ``on_credit`` with an SDK id and the body of an authenticated refresh, before its fetch begins; the function that
    it returns is called when that fetch has ended;
    ``on_held`` with an Sdk of which a config is held, or no longer is;
    ``on_pinned`` with an Sdk of which a config is pinned, or no longer is;
    ``read_pin`` with an Sdk at its start, it returns the config that an earlier run has pinned;
    ``foresee`` with (sdk, new Snapshot), it returns the effect on the connected users, None if that is not known,
    within some seconds; it is called only where the settings limit that effect;
    ``on_adopted`` with an SDK id and a time: so many seconds ago another node has stored the config that is used now;
    ``credit_of`` with an SDK id, it returns who causes the fetch that runs, as the body of a hook call;
    ``on_problem`` after a fetch that changed what ``fetch_problems`` returns.
    """

    def __init__(  # noqa: PLR0913 - keywords, and each one a seam
        self,
        reactor: Reactor,
        settings: Settings,
        *,
        on_change: OnChange,
        rng: Random,
        reporter: Reporter,
        admit: Admit = lambda _sdk, _snapshot: succeed(None),
        on_added: Callable[[Sdk], None] = lambda _sdk: None,
        on_removed: Callable[[Sdk], None] = lambda _sdk: None,
        on_attributes: Callable[[Sdk], None] = lambda _sdk: None,
        on_credit: OnCredit = lambda _sdk_id, _credit: lambda: None,
        on_held: OnHeld = lambda _sdk: None,
        on_pinned: OnHeld = lambda _sdk: None,
        read_pin: ReadPin | None = None,
        foresee: Foresee | None = None,
        on_problem: Callable[[], None] = lambda: None,
        on_adopted: Callable[[str, float], None] = lambda _sdk_id, _lag: None,
        environ: Mapping[str, str] | None = None,
        in_thread: InThread = maybeDeferred,
        cache: ConfigCache | None = None,
        shared: SharedCache | None = None,
        followed: SharedCache | None = None,
        credit_of: Callable[[str], str] = lambda _sdk_id: "",
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
        self._on_held = on_held
        self._on_pinned = on_pinned
        self._read_pin = read_pin
        self._foresee = foresee
        self._on_problem = on_problem
        self._on_adopted = on_adopted
        self._reporter = reporter
        self._environ = environ if environ is not None else {}
        self._context = SourceContext(reactor, rng, in_thread, reporter.requested)
        self._cache = cache
        self._shared = shared
        self._followed = shared if followed is None else followed
        self._credit_of = credit_of
        self._sharing: dict[str, SharedSource] = {}
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

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    @property
    def sharing(self) -> Mapping[str, SharedSource]:
        """The source of each SDK that uses the shared cache, by SDK id."""
        return {sdk_id: source for sdk_id, source in self._sharing.items() if sdk_id in self._sdks}

    def by_id(self, sdk_id: str) -> Sdk | None:
        """Return the SDK with that id."""
        return self._sdks.get(sdk_id)

    def confirm(self, sdk_id: str) -> Deferred[bool]:
        """Fetch the config of an SDK once more; fires with whether that succeeded, false for an unknown SDK."""
        sdk = self._sdks.get(sdk_id)
        return succeed(False) if sdk is None else sdk.refresh().addCallback(lambda done: done.error is None)

    def shared_credit(self, sdk_id: str, etag: str) -> str:
        """Return who changed a config that another node has stored, as the body of a hook call; empty if unknown."""
        source = self._sharing.get(sdk_id)
        return "" if source is None else source.credit(etag)

    def tags_until(self, sdk_id: str, tag: str, *, first: bool) -> Sequence[str]:
        """Return the tags of earlier configs that other nodes have used; see ``SharedSource.tags_until``."""
        source = self._sharing.get(sdk_id)
        return () if source is None else source.tags_until(tag, first=first)

    def placed(self, sdk_id: str, etag: str) -> tuple[str, int] | None:
        """Return where a config stands in the order of all nodes: key and version; None if it is in no such order."""
        source = self._sharing.get(sdk_id)
        return None if source is None or source.cache is not self._shared else source.placed(etag)

    def by_key(self, key: str) -> Sdk | None:
        """Return the SDK with that key: never for the empty key, and the first of several with the same key."""
        return self._keys.get(key)

    def problems(self) -> list[str]:
        """Return a sentence for each problem of the configs and of the cache; its text is stable while it lasts."""
        found = [problem for cache in (self._cache, self._shared) if cache is not None for problem in cache.problems()]
        for sdk in self._sdks.values():
            found += sdk.guard.problems()
        for sdk_id, source in self.sharing.items():
            if source.ahead:
                text = (
                    f"SDK {sdk_id}: another program has dated its config in the shared cache in the future, which "
                    "stops the updates of ConfigCat Proxies; correct the clock of that program"
                )
                found.append(ProblemText(text, "curl -s {diag}/status"))
        return found

    def fetch_problems(self) -> list[str]:
        """Return a sentence with the reason for each SDK whose fetches fail; this room logs begin and end itself."""
        return [
            ProblemText(problem, log_command(f"SDK {sdk.id}:"))
            for sdk in self._sdks.values()
            if (problem := sdk.fetch_problem())
        ]

    def held_configs(self) -> list[dict[str, Any]]:
        """Return each held config as a new dict for JSON."""
        held = ((sdk.id, sdk.guard.held) for sdk in self._sdks.values())
        return [each.describe(sdk_id) for sdk_id, each in held if each is not None]

    def accept_config(self, sdk_id: str) -> dict[str, Any] | None:
        """Publish the held config of an SDK and return it for JSON; None if none is held.

        :raises KeyError: if there is no such SDK
        """
        held = self._sdks[sdk_id].accept()
        return None if held is None else held.describe(sdk_id)

    def reject_config(self, sdk_id: str) -> dict[str, Any] | None:
        """Drop the held config of an SDK and return it for JSON; None if none is held.

        :raises KeyError: if there is no such SDK
        """
        held = self._sdks[sdk_id].guard.reject()
        return None if held is None else held.describe(sdk_id)

    async def serve_config(self, sdk_id: str, body: bytes, etag: str, since: float) -> str | None:
        """Publish an earlier config of an SDK and pin it; return why it cannot be used, None once it is in use.

        ``since`` is in Unix seconds.

        :raises KeyError: if there is no such SDK
        """
        return await self._sdks[sdk_id].serve(body, etag, since)

    async def release_config(self, sdk_id: str) -> dict[str, Any] | None:
        """Let the source of an SDK decide again; return the config that was pinned for JSON, None without one.

        :raises KeyError: if there is no such SDK
        """
        sdk = self._sdks[sdk_id]
        pinned = sdk.guard.pinned
        return pinned.describe(sdk_id) if await sdk.release() and pinned is not None else None

    def start(self) -> None:
        """Read the CA file and begin to fetch.

        :raises TrustError: when the CA file cannot be used; then nothing has begun
        """
        self._network = self._open(self._settings)
        for sdk in self._sdks.values():
            self._begin(sdk)

    def stop(self) -> Deferred[None]:
        """End every fetch, timer, watch and connection; fires when they have ended.  Snapshots stay readable."""
        return _all([sdk.stop() for sdk in self._sdks.values()])

    def check(self, settings: Settings) -> Network:
        """Read the CA file; the result is for ``reconfigure``.

        :raises TrustError: when the CA file cannot be used
        """
        return self._open(settings)

    def reconfigure(self, settings: Settings, network: Network) -> Deferred[None]:
        """Apply ``settings``, of which ``check`` has returned ``network``.

        What did not change is not touched: same object, same Snapshot, same timers.
        An SDK that changed keeps its Snapshot until its new source delivers, unless its key changed:
        another key may be another product's, so it starts empty and ``on_removed`` ends the old one's streams.
        The new state holds on return; the Deferred fires when the old sources and SDKs are closed.
        """
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
        # Removals first: a new key makes another SDK of the same id, and the streams of the old one must end before.
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
        sdk.start(self._source(sdk.plan), self._settings.upstream.max_bytes)

    def _build(self, plan: Plan) -> Sdk:
        clock = self._context.reactor
        return Sdk(
            plan, clock, self._load, self._reporter, self._admit, self._on_change, self._on_credit,
            on_held=self._on_held, on_pinned=self._on_pinned, on_problem=self._on_problem, cache=self._cache,
            read_pin=self._read_pin, foresee=self._foresee,
        )  # fmt: skip

    def _source(self, plan: Plan) -> Source | None:
        assert self._network is not None
        self._sharing.pop(plan.id, None)
        if plan.refused:
            return None
        own = None if plan.follows else self._make_source(plan, self._context, self._network)
        upstream = own if isinstance(own, ConditionalSource) else None
        cache = self._followed if upstream is None else self._shared
        if cache is None or plan.path:
            return own
        limit, adopted = self._settings.upstream.max_bytes, self._on_adopted
        source = SharedSource(self._context, plan, cache, upstream, limit, adopted=adopted, credit_of=self._credit_of)
        self._sharing[plan.id] = source
        return source

    def _open(self, settings: Settings) -> Network:
        def warn(where: str, why: str) -> None:
            _log.warn("{where} is ignored: {reason}", where=where, reason=why)

        limits, proxy = settings.upstream, settings.http_proxy.url
        return open_network(limits, proxy, self._environ, warn)

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
