"""Key sets of issuers: fetched from a real server in this process, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from gateway.identity import IssuerKeys, KeyFetcher
from gateway.identity.key_fetcher import BODY_LIMIT
from gateway.settings import Identity, IdentityKey, Settings
from tokens import key_set, rsa_key

KEYS = key_set(one=rsa_key())


class Issuer(Resource):
    """Serves a body with a status; with None it answers nothing."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.body: bytes | None = KEYS
        self.status = 200
        self.requests = 0

    def render_GET(self, request: Any) -> Any:
        self.requests += 1
        request.setResponseCode(self.status)
        return NOT_DONE_YET if self.body is None else self.body


class MixedClock:
    """Real connections, and timers of a ``Clock``."""

    def __init__(self) -> None:
        self.clock = Clock()

    def callLater(self, *args: Any) -> Any:
        return self.clock.callLater(*args)

    def seconds(self) -> float:
        return float(self.clock.seconds())

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Scene:
    """An issuer, and what fetches its keys."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self.port: Any = reactor.listenTCP(0, Site(self.issuer), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self.port.getHost().port}/jwks.json"
        self.mixed = MixedClock()
        self.keys = IssuerKeys()
        self.shown: list[list[str]] = []
        self.fetcher = KeyFetcher(
            self.mixed, {}, use=self.keys.use, on_problem=lambda: self.shown.append(self.fetcher.problems())
        )

    def configure(self, *urls: str) -> None:
        settings = Settings(identity=Identity(keys=[IdentityKey(jwks_url=url) for url in urls]))
        self.fetcher.configure(self.fetcher.check(settings))

    async def until(self, condition: Any) -> None:
        for _ in range(1000):
            if condition():
                return
            self.mixed.clock.advance(0.001)  # an endpoint looks for the result of its connections by this clock
            await deferLater(reactor, 0.01, lambda: None)  # type: ignore[arg-type]
        raise AssertionError("did not happen within 10 s")

    async def fetched(self) -> None:
        """Wait until no fetch is in progress, without beginning one."""
        await self.until(lambda: all(source._fetching is None for source in self.fetcher._sources.values()))


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made

    async def end() -> None:
        await made.fetcher.stop()
        await made.port.stopListening()

    pytest_twisted.blockon(Deferred.fromCoroutine(end()))
    assert [] == made.mixed.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_a_key_set_is_fetched_at_the_start_and_every_15_minutes(scene: Scene) -> None:
    scene.configure(scene.url)
    await scene.fetched()
    assert (1, [], []) == (scene.issuer.requests, scene.fetcher.problems(), scene.shown)
    assert {scene.url: KEYS} == scene.keys.bodies
    scene.mixed.clock.advance(899)
    assert 1 == scene.issuer.requests
    scene.issuer.body = key_set(two=rsa_key())
    scene.mixed.clock.advance(1)
    await scene.until(lambda: scene.keys.version == 2)


@pytest_twisted.ensureDeferred
async def test_an_unknown_key_causes_one_fetch_a_minute(scene: Scene) -> None:
    """However many tokens name unknown keys, which any client can send; all wait for the same fetch."""
    scene.configure(scene.url)
    await scene.fetcher.refresh()
    assert 1 == scene.issuer.requests
    scene.mixed.clock.advance(59)
    await scene.fetcher.refresh()
    assert 1 == scene.issuer.requests
    scene.mixed.clock.advance(1)
    scene.issuer.body = key_set(two=rsa_key())
    waiting = [scene.fetcher.refresh() for _ in range(100)]
    waiting[0].cancel()
    waiting[0].addErrback(lambda _: None)
    for each in waiting[1:]:
        await each
        assert 2 == scene.keys.version
    assert 2 == scene.issuer.requests


@pytest.mark.parametrize("fault", ["status", "no key set", "too large", "closed", "silent"])
@pytest_twisted.ensureDeferred
async def test_the_keys_stay_when_the_issuer_fails(scene: Scene, fault: str) -> None:
    """The problem is shown while it lasts, with the name of the issuer, and the fetch is repeated every minute."""
    scene.configure(scene.url)
    await scene.fetched()
    port = scene.port.getHost().port
    match fault:
        case "status":
            scene.issuer.status = 503
        case "no key set":
            scene.issuer.body = b"<html>"
        case "too large":
            scene.issuer.body = b" " * (BODY_LIMIT + 1)
        case "closed":
            await scene.port.stopListening()
        case _:
            scene.issuer.body = None
    scene.mixed.clock.advance(900)
    if fault == "silent":
        await scene.until(lambda: scene.issuer.requests == 2)
        scene.mixed.clock.advance(10)
    await scene.fetched()
    reason = {
        "status": "it answered 503",
        "no key set": "not a JSON Web Key Set",
        "too large": "the answer has more than 262144 bytes",
        "closed": "the connection failed: Connection refused",
        "silent": "no complete answer within 10 s",
    }[fault]
    problem = f"identity: the keys of 127.0.0.1 cannot be fetched, the last key set stays in use: {reason}"
    assert [[problem]] == scene.shown
    assert {scene.url: KEYS} == scene.keys.bodies
    scene.issuer.status, scene.issuer.body = 200, KEYS
    if fault == "closed":
        scene.port = reactor.listenTCP(port, Site(scene.issuer), interface="127.0.0.1")  # type: ignore[attr-defined]
    scene.mixed.clock.advance(60)
    await scene.until(lambda: scene.shown == [[problem], []])
    await scene.fetched()


@pytest_twisted.ensureDeferred
async def test_while_there_has_never_been_a_key_set_it_is_tried_more_often(scene: Scene) -> None:
    scene.issuer.status = 500
    scene.configure(scene.url)
    await scene.fetched()
    assert [
        ["identity: the keys of 127.0.0.1 cannot be fetched, its tokens are refused: it answered 500"]
    ] == scene.shown
    scene.issuer.status = 200
    scene.mixed.clock.advance(10)
    await scene.until(lambda: scene.keys.bodies)
    await scene.fetched()


@pytest_twisted.ensureDeferred
async def test_a_reload_fetches_what_is_new_only(scene: Scene) -> None:
    scene.configure(scene.url)
    await scene.fetched()
    scene.configure(scene.url, scene.url + "?second")
    await scene.fetched()
    assert (2, {scene.url, scene.url + "?second"}) == (scene.issuer.requests, set(scene.keys.bodies))
    scene.configure()
    scene.mixed.clock.advance(2000)
    assert (2, []) == (scene.issuer.requests, scene.fetcher.problems())
