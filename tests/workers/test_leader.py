"""The leader without processes: what workers are told, what they are answered, and who is replaced when."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from gateway.export import Parcel
from gateway.flags import load as load_config
from gateway.settings import load
from gateway.telemetry import NoMetrics
from gateway.upstream import Refreshed
from gateway.workers import protocol as say
from gateway.workers.framing import Frames, framed
from gateway.workers.leader import Crew
from gateway.workers.pool import pause
from gateway.workers.process import ENDING_TICKS, SILENCE_TICKS

BODY = b'{"p":{"s":"x"},"f":{"number":{"t":2,"v":{"i":1},"i":"v1"}}}'
SETTINGS = load("{workers: 2, sdks: {shop: {key: k}}, http: {sse: {max_connections_per_address: 5}}}", {}).settings


class Process:
    """What Twisted gives for a child process."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


class Scene(Clock):
    """A reactor whose processes and links are in the test's hand; the latest of each worker counts."""

    def __init__(self) -> None:
        super().__init__()
        self.protocols: list[Any] = []
        self.processes: list[Process] = []
        self.wires: list[StringTransport] = []
        self.links: list[Any] = []
        self.commands: list[list[str]] = []
        self.parcels: list[tuple[Parcel, Deferred[None]]] = []

    def spawnProcess(self, protocol: Any, _executable: str, command: list[str], **_options: Any) -> None:
        """Start nothing."""
        process = Process()
        protocol.transport = process
        self.protocols.append(protocol)
        self.processes.append(process)
        self.commands.append(command)

    def adoptStreamConnection(self, _descriptor: int, family: int, factory: Any) -> None:
        """Give the link a transport of memory."""
        assert socket.AF_UNIX == family
        wire, link = StringTransport(), factory.buildProtocol(None)
        link.makeConnection(wire)
        self.wires.append(wire)
        self.links.append(link)

    def keep(self, parcel: Parcel) -> Deferred[None]:
        """Take note of evaluations; the test says when they are on disk."""
        kept: Deferred[None] = Deferred()
        self.parcels.append((parcel, kept))
        return kept

    def heard(self, place: int) -> list[say.Down]:
        """Return what the worker that was started as number ``place`` (from 0) was told since last asked."""
        data = self.wires[place].value()
        self.wires[place].clear()
        return [say.decode_down(message) for message in Frames(10**6).feed(data)]

    def says(self, place: int, message: say.Up) -> None:
        """Have that worker say something."""
        self.links[place].dataReceived(framed(say.encode(message)))

    def ends(self, place: int) -> None:
        """Have that worker's process and link end."""
        self.links[place].connectionLost()
        self.protocols[place].processEnded(None)


class FakeSdk:
    """An SDK of the leader's."""

    id, key, defaults = "shop", "k", {"Country": "DE", "Plans": ("a",)}

    def __init__(self) -> None:
        self.snapshot: Any = None
        self.loading = True
        self.first: Deferred[None] = Deferred()
        self.asked: list[tuple[bool, Deferred[Refreshed]]] = []
        self.credits: list[bytes] = []

    def when_loaded(self) -> Deferred[None]:
        return self.first

    def refresh(self, *, limited: bool = False, credit: bytes = b"") -> Deferred[Refreshed]:
        answer: Deferred[Refreshed] = Deferred()
        self.asked.append((limited, answer))
        self.credits.append(credit)
        return answer


class FakeRegistry:
    """One SDK."""

    def __init__(self) -> None:
        self.sdk = FakeSdk()

    def by_id(self, sdk_id: str) -> FakeSdk | None:
        return self.sdk if sdk_id == "shop" else None


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def crew(scene: Scene, registry: FakeRegistry) -> Crew:
    """A crew of two that knows the SDK and has started."""
    options: Any = {"metrics": NoMetrics(), "status_document": dict, "keep": scene.keep}
    crew = Crew(scene, registry, SETTINGS, count=2, environ={}, **options)
    crew.add_sdk(registry.sdk)
    crew.start()
    return crew


def kinds(said: list[say.Down]) -> list[str]:
    return [type(message).__name__ for message in said]


def test_a_worker_is_told_everything_before_it_may_serve(scene: Scene, crew: Crew) -> None:
    """Which one it is, the settings, the SDKs and the caps; without a config while there is none."""
    for number in (1, 2):
        said = scene.heard(number - 1)
        assert ["Begin", "Apply", "Began", "Others", "Serve"] == kinds(said)
        assert say.Begin(number, SETTINGS) == said[0]
        assert say.Began("shop", "k", {"Country": "DE", "Plans": ("a",)}) == said[2]
    assert ["-P", "-m", "gateway.workers.worker"] == scene.commands[0][1:]


def test_a_config_goes_to_each_worker_once_and_to_successors_as_it_is_then(
    scene: Scene, crew: Crew, registry: FakeRegistry, logged_errors: Any
) -> None:
    """As the upstream's bytes; the first fetch's end after it, and the question whether all that is done."""
    scene.heard(0), scene.heard(1)
    registry.sdk.snapshot = load_config(BODY, '"e"')
    crew.publish("shop", registry.sdk.snapshot)
    registry.sdk.loading = False
    registry.sdk.first.callback(None)
    expected = [say.Config("shop", '"e"', BODY), say.Loaded("shop"), say.Echo(1)]
    assert [expected, expected] == [scene.heard(0), scene.heard(1)]
    scene.ends(0)
    scene.advance(0.1)
    assert ["Begin", "Apply", "Began", "Config", "Loaded", "Others", "Serve"] == kinds(scene.heard(2))
    assert 1 == len(logged_errors.flush())


def test_it_serves_once_all_were_ready_and_while_one_is(scene: Scene, crew: Crew, logged_errors: Any) -> None:
    """Traffic comes when the whole crew is there, and stays away only when all of it is gone."""
    seen = [crew.serving]
    for place in (0, 1):
        scene.says(place, say.Ready())
        seen.append(crew.serving)
    scene.ends(0)
    seen.append(crew.serving)
    scene.ends(1)
    seen.append(crew.serving)
    assert [False, False, True, True, False] == seen
    assert 2 == len(logged_errors.flush())


def test_it_serves_once_the_workers_have_taken_the_first_config(
    scene: Scene, crew: Crew, registry: FakeRegistry
) -> None:
    """A large config takes a moment to compile; until then nobody is sent here."""
    scene.says(0, say.Ready())
    scene.says(1, say.Ready())
    seen = [crew.serving]
    registry.sdk.first.callback(None)
    seen.append(crew.serving)
    for place in (0, 1):
        (number,) = [message.number for message in scene.heard(place) if isinstance(message, say.Echo)]
        scene.says(place, say.Echo(number))
        seen.append(crew.serving)
    assert [True, False, False, True] == seen


def test_the_pause_before_a_successor_grows_with_each_early_death(scene: Scene, crew: Crew, logged_errors: Any) -> None:
    """0.1 s, doubled up to 10 s; a worker that had lived is replaced at once."""
    pauses = []
    for place in (1, 2, 3, 4):
        scene.ends(place)
        pauses.append(round(crew._roll._returns[2].getTime() - scene.seconds(), 6))
        scene.advance(pauses[-1])
    scene.advance(11)
    scene.ends(5)
    scene.advance(0)
    assert [0.1, 0.2, 0.4, 0.8] == pauses
    assert 7 == len(scene.processes)
    assert 5 == len(logged_errors.flush())
    assert [0.0, 0.1, 0.2, 6.4, 10.0, 10.0] == [round(pause(failures), 6) for failures in (0, 1, 2, 7, 8, 5000)]


def test_a_worker_that_says_nothing_is_killed(scene: Scene, crew: Crew, logged_errors: Any) -> None:
    """It tallies every second, so half a minute of silence means that it hangs."""
    for _ in range(SILENCE_TICKS + 1):
        scene.says(0, say.Tally([], [], [], {}, {}, [], [], []))
        scene.advance(1)
    assert [[], ["KILL"]] == [process.signals for process in scene.processes]
    assert 1 == len(logged_errors.flush())


def test_a_worker_that_does_not_end_is_killed(scene: Scene, crew: Crew, logged_errors: Any) -> None:
    """Its link is gone, so it serves nobody."""
    scene.links[0].connectionLost()
    for _ in range(ENDING_TICKS + 1):
        scene.advance(1)
    assert ["KILL"] == scene.processes[0].signals
    assert 1 == len(logged_errors.flush())


def test_nonsense_from_a_worker_ends_its_link(scene: Scene, crew: Crew, logged_errors: Any) -> None:
    """What cannot be understood is not guessed at."""
    scene.links[0].dataReceived(framed(b"\xc1"))
    assert scene.wires[0].disconnecting
    assert 1 == len(logged_errors.flush())


def test_a_refresh_is_done_here_and_answered_there(scene: Scene, crew: Crew, registry: FakeRegistry) -> None:
    """With its limit and its credit, after the config that it brought, and to the worker that asked."""
    scene.heard(0), scene.heard(1)
    scene.says(0, say.Refresh(7, "shop", True, b"{}"))
    scene.says(1, say.Refresh(3, "gone", False))
    assert [b"{}"] == registry.sdk.credits
    ((limited, answer),) = registry.sdk.asked
    crew.publish("shop", load_config(BODY, '"e"'))
    answer.callback(Refreshed(None, changed=True))
    assert limited
    assert [say.Config("shop", '"e"', BODY), say.Refreshed(7, None, True)] == scene.heard(0)
    assert [say.Refreshed(3, "the SDK was stopped", False), say.Config("shop", '"e"', BODY)] == scene.heard(1)


def test_a_webhook_id_is_spent_for_all_workers(scene: Scene, crew: Crew) -> None:
    """Whoever asks first may use it."""
    scene.heard(0), scene.heard(1)
    scene.says(0, say.Accept(1, "shop", b"id", 300.0))
    scene.says(1, say.Accept(1, "shop", b"id", 300.0))
    scene.says(1, say.Accept(2, "shop", b"other", 300.0))
    assert [say.Seen(1, False)] == scene.heard(0)
    assert [say.Seen(1, True), say.Seen(2, False)] == scene.heard(1)


def test_what_one_worker_has_open_is_told_to_the_others(scene: Scene, crew: Crew, logged_errors: Any) -> None:
    """And taken back when it dies."""
    scene.heard(0), scene.heard(1)
    scene.says(0, say.Open(3, {"::1": 3}))
    assert ([], [say.Others(3, {"::1": 3})]) == (scene.heard(0), scene.heard(1))
    assert 3 == crew.stream_count
    scene.ends(0)
    assert [say.Others(0, {"::1": 0})] == scene.heard(1)
    assert 0 == crew.stream_count
    assert 1 == len(logged_errors.flush())


def test_a_reload_is_over_when_every_worker_has_said_so(scene: Scene, crew: Crew, logged_errors: Any) -> None:
    """Or has died, or has kept everybody waiting for 5 s."""
    done = [crew.settled() for _ in range(3)]
    scene.says(0, say.Echo(1))
    scene.says(1, say.Echo(1))
    scene.says(1, say.Echo(2))
    assert [True, False, False] == [each.called for each in done]
    scene.ends(0)
    assert [True, True, False] == [each.called for each in done]
    scene.advance(5)
    assert [True, True, True] == [each.called for each in done]
    assert 1 == len(logged_errors.flush())


def test_an_sdk_is_told_of_once_and_again_when_its_streams_must_end(
    scene: Scene, crew: Crew, registry: FakeRegistry
) -> None:
    """A source of another kind is the leader's business."""
    scene.heard(0)
    crew.add_sdk(registry.sdk)
    assert [] == scene.heard(0)
    crew.restart_streams(registry.sdk)
    crew.remove_sdk("shop")
    assert ["Began", "Ended"] == kinds(scene.heard(0))
    registry.sdk.first.callback(None)  # the first fetch of an SDK that is gone
    assert [] == scene.heard(0)


def test_a_stop_waits_for_the_workers_and_kills_those_that_stay(scene: Scene, crew: Crew) -> None:
    """Within the drain window and 10 s; nobody is replaced meanwhile."""
    stopped = Deferred.fromCoroutine(crew.drain(lambda: False))
    assert "Drain" == kinds(scene.heard(0))[-1]
    scene.ends(0)
    scene.pump([0.05] * int((SETTINGS.http.sse.drain_window + 10) / 0.05 + 2))
    assert [[], ["KILL"]] == [process.signals for process in scene.processes]
    scene.ends(1)
    scene.pump([0.05] * 2)
    assert stopped.called
    assert 2 == len(scene.processes)


def test_evaluations_are_kept_before_their_worker_is_told_so(scene: Scene, crew: Crew) -> None:
    """As they came; the worker holds back more than it may have under way."""
    parcel = Parcel(b"{}\n{}", 2, [(60, b"{}", 3)], {"memory": 1})
    scene.says(0, say.Evaluations(7, parcel))
    (came, kept), *others = scene.parcels
    assert (parcel, []) == (came, others)
    scene.heard(0), scene.heard(1)
    kept.callback(None)
    assert ([say.Kept(7)], []) == (scene.heard(0), scene.heard(1))
