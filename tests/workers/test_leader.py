"""The leader without real processes: what it sends to workers, how it replies, and when it replaces them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from gateway.export import Parcel
from gateway.flags import load as load_config
from gateway.identity import IdentityError
from gateway.settings import load
from gateway.telemetry import Metrics
from gateway.upstream import Refreshed
from gateway.workers import protocol
from gateway.workers.leader import Leader
from gateway.workers.link import Splitter
from gateway.workers.pool import OPEN_TICKS, pause, substitutes
from gateway.workers.process import EXIT_TICKS, QUIET_TICKS, SILENCE_TICKS, START_TICKS
from tokens import SECRET, ec_key, key_set

BODY = b'{"p":{"s":"x"},"f":{"number":{"t":2,"v":{"i":1},"i":"v1"}}}'
SETTINGS = load("{workers: 2, sdks: {shop: {key: k}}, http: {sse: {max_connections_per_address: 5}}}", {}).settings
REPORT = protocol.MetricsReport([], [], [], {}, {}, [], [], [], 0)


class Process:
    """Stands for the transport of a child process."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


class Listener:
    """Stands for a worker's socket on the main port."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.open = True

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        self.open = False


def add_length(message: bytes) -> bytes:
    """Return what the link sends for a message."""
    return len(message).to_bytes(4, "big") + message


class Scene(Clock):
    """A reactor with fake processes and links, listed in the order in which they were started."""

    def __init__(self) -> None:
        super().__init__()
        self.protocols: list[Any] = []
        self.processes: list[Process] = []
        self.wires: list[StringTransport] = []
        self.links: list[Any] = []
        self.commands: list[list[str]] = []
        self.descriptors: list[dict[int, int]] = []
        self.listeners: list[Listener] = []
        self.parcels: list[tuple[Parcel, Deferred[None]]] = []

    def listener(self, _port: int, _bind: str) -> Listener:
        """Return the socket of the next worker; its descriptor is 101, 102, …"""
        self.listeners.append(Listener(101 + len(self.listeners)))
        return self.listeners[-1]

    def spawnProcess(self, protocol: Any, _executable: str, command: list[str], **options: Any) -> None:
        """Start nothing."""
        process = Process()
        protocol.transport = process
        self.protocols.append(protocol)
        self.processes.append(process)
        self.commands.append(command)
        self.descriptors.append(options["childFDs"])

    def adoptStreamConnection(self, _descriptor: int, family: int, factory: Any) -> None:
        """Give the link a transport of memory."""
        assert socket.AF_UNIX == family
        wire, link = StringTransport(), factory.buildProtocol(None)
        link.makeConnection(wire)
        self.wires.append(wire)
        self.links.append(link)

    def keep(self, parcel: Parcel) -> Deferred[None]:
        """Note evaluations; the test fires the Deferred once they count as stored."""
        kept: Deferred[None] = Deferred()
        self.parcels.append((parcel, kept))
        return kept

    def received(self, place: int) -> list[protocol.ToWorker]:
        """Return the new messages to the worker that was started as number ``place`` (from 0)."""
        data = self.wires[place].value()
        self.wires[place].clear()
        return [protocol.to_worker.decode(message) for message in Splitter(10**6).feed(data)]

    def send(self, place: int, message: protocol.ToLeader) -> None:
        """Have that worker send a message."""
        self.links[place].dataReceived(add_length(protocol.encode(message)))

    def ready(self, *places: int) -> None:
        """Have these workers send that they are ready."""
        for place in places:
            self.send(place, protocol.Ready())

    def accepted(self, place: int) -> list[tuple[int, ...]]:
        """Return the sockets that this worker was ordered to accept from, in each of the new messages."""
        return [message.numbers for message in self.received(place) if isinstance(message, protocol.Accept)]

    def end(self, place: int) -> None:
        """End that worker's process and link."""
        self.links[place].connectionLost()
        self.protocols[place].processEnded(None)


class FakeSdk:
    """An SDK of the registry."""

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
def leader(scene: Scene, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> Leader:
    """A leader with the SDK and two workers that have started."""
    monkeypatch.setattr("gateway.workers.leader.shared_socket", scene.listener)
    monkeypatch.setattr("gateway.workers.leader.reserve_port", lambda _port, _bind: Listener(100))
    options: Any = {"metrics": Metrics(lambda: 0.0, "test"), "status_document": dict, "keep": scene.keep}
    leader = Leader(scene, registry, SETTINGS, count=2, environ={}, **options)
    leader.open()
    leader.add_sdk(registry.sdk)
    leader.start()
    return leader


def kinds(messages: list[protocol.ToWorker]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_a_worker_receives_the_state_of_everything_before_it_may_listen(scene: Scene, leader: Leader) -> None:
    """Its number, the settings, the SDKs and the stream counts; without a config while the leader has none.

    All have the same secret, with which stream URLs of signed users are sealed.
    """
    secrets = set()
    for number in (1, 2):
        sent = scene.received(number - 1)
        assert ["Initialize", "ApplySettings", "AddSdk", "OtherStreams", "Prepare"] == kinds(sent)
        assert isinstance(sent[0], protocol.Initialize)
        assert (number, SETTINGS, 2) == (sent[0].number, sent[0].settings, sent[0].count)
        secrets.add(sent[0].own_secret)
        assert protocol.AddSdk("shop", "k", {"Country": "DE", "Plans": ("a",)}) == sent[2]
    assert [32] == [len(secret) for secret in secrets]
    assert ["-P", "-m", "gateway.workers.worker"] == scene.commands[0][1:]


def test_a_config_is_sent_to_each_worker_once_and_to_replacements_when_they_start(
    scene: Scene, leader: Leader, registry: FakeRegistry, logged_errors: Any
) -> None:
    """As the upstream's bytes; then the end of the first fetch, and an echo by which its receipt is confirmed."""
    first = kinds(scene.received(0))
    scene.received(1)
    registry.sdk.snapshot = load_config(BODY, '"e"')
    leader.publish("shop", registry.sdk.snapshot)
    registry.sdk.loading = False
    registry.sdk.first.callback(None)
    expected = [protocol.PublishConfig("shop", '"e"', BODY), protocol.FirstFetchEnded("shop"), protocol.Echo(1)]
    assert [expected, expected] == [scene.received(0), scene.received(1)]
    scene.end(0)
    scene.advance(0.1)
    assert [*first[:3], "PublishConfig", "FirstFetchEnded", *first[3:]] == kinds(scene.received(2))
    assert 1 == len(logged_errors.flush())


def test_the_tags_of_earlier_configs_reach_workers_and_their_replacements(
    scene: Scene, leader: Leader, registry: FakeRegistry, logged_errors: Any
) -> None:
    """Their clients come with them after a restart; a worker gets the config first that the tags are earlier than."""
    first = kinds(scene.received(0))
    registry.sdk.snapshot = load_config(BODY, '"e"')
    leader.publish("shop", registry.sdk.snapshot)
    leader.know_configs("shop", ["t1", "t2"])
    expected = protocol.EarlierConfigs("shop", ("t1", "t2"))
    assert [protocol.PublishConfig("shop", '"e"', BODY), expected] == scene.received(0)
    scene.end(0)
    scene.advance(0.1)
    again = scene.received(2)
    assert [*first[:3], "PublishConfig", "EarlierConfigs", *first[3:]] == kinds(again)
    assert expected == again[4]
    leader.remove_sdk("shop")
    scene.received(2)
    leader.add_sdk(registry.sdk)
    assert "EarlierConfigs" not in kinds(scene.received(2))
    assert 1 == len(logged_errors.flush())


def test_key_sets_reach_workers_and_their_replacements(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """Once each; a body that is no key set is refused, and reaches none."""
    first = kinds(scene.received(0))
    body = key_set(one=ec_key())
    leader.use_issuer_keys("https://id.example.com/jwks.json", body)
    with pytest.raises(ValueError, match="Key Set"):
        leader.use_issuer_keys("https://id.example.com/jwks.json", b"<html>")
    expected = protocol.IssuerKeySet("https://id.example.com/jwks.json", body)
    assert [expected] == scene.received(0)
    scene.end(0)
    scene.advance(0.1)
    again = scene.received(2)
    assert [*first[:2], "IssuerKeySet", *first[2:]] == kinds(again)
    assert expected == again[2]
    assert 1 == len(logged_errors.flush())


def test_a_worker_that_meets_an_unknown_key_is_answered_once_the_keys_are_fetched(
    scene: Scene, registry: FakeRegistry
) -> None:
    """The key sets that were fetched are sent before."""
    fetch: Deferred[None] = Deferred()
    options: Any = {"metrics": Metrics(lambda: 0.0, "test"), "status_document": dict, "keep": scene.keep}
    leader = Leader(scene, registry, SETTINGS, count=1, environ={}, refresh_keys=lambda: fetch, **options)
    leader.start()
    scene.received(0)
    scene.send(0, protocol.RefreshKeys(7))
    assert [] == scene.received(0)
    body = key_set(one=ec_key())
    leader.use_issuer_keys("https://id.example.com/jwks.json", body)
    fetch.callback(None)
    assert [
        protocol.IssuerKeySet("https://id.example.com/jwks.json", body),
        protocol.KeysRefreshed(7),
    ] == scene.received(0)


def test_key_files_are_read_by_the_leader_only(scene: Scene, registry: FakeRegistry, tmp_path: Path) -> None:
    """So that a file which changes later concerns no worker before a reload."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    text = f"{{sdks: {{shop: {{key: k}}}}, identity: {{keys: [{{alg: HS256, secret_file: {file}}}]}}}}"
    options: Any = {"metrics": Metrics(lambda: 0.0, "test"), "status_document": dict, "keep": scene.keep}
    settings = load(text, {}).settings
    leader = Leader(scene, registry, settings, count=1, environ={}, **options)
    assert (SECRET, "") == (leader._started.identity.keys[0].secret, leader._started.identity.keys[0].secret_file)
    file.write_text("short")
    with pytest.raises(IdentityError, match="less than 32 bytes"):
        leader.check(settings)
    file.unlink()
    with pytest.raises(IdentityError, match="cannot be used: No such file"):
        Leader(scene, registry, settings, count=1, environ={}, **options)


def test_it_serves_once_all_have_been_listening_and_while_one_is(
    scene: Scene, leader: Leader, logged_errors: Any
) -> None:
    """The gateway becomes ready with the last worker, and unready only when all workers are gone."""
    seen = [leader.serving]
    for place in (0, 1):
        scene.send(place, protocol.Listening())
        seen.append(leader.serving)
    scene.end(0)
    seen.append(leader.serving)
    scene.end(1)
    seen.append(leader.serving)
    assert [False, False, True, True, False] == seen
    assert 2 == len(logged_errors.flush())


def test_it_serves_once_the_workers_have_confirmed_the_first_config(
    scene: Scene, leader: Leader, registry: FakeRegistry
) -> None:
    """A large config takes a moment to compile; until then the gateway is not ready."""
    scene.send(0, protocol.Listening())
    scene.send(1, protocol.Listening())
    seen = [leader.serving]
    registry.sdk.first.callback(None)
    seen.append(leader.serving)
    for place in (0, 1):
        (number,) = [message.number for message in scene.received(place) if isinstance(message, protocol.Echo)]
        scene.send(place, protocol.Echo(number))
        seen.append(leader.serving)
    assert [True, False, False, True] == seen


def test_the_pause_before_a_replacement_grows_with_each_early_end(
    scene: Scene, leader: Leader, logged_errors: Any
) -> None:
    """0.1 s, doubled up to 10 s; a worker that has run for longer is replaced at once."""
    pauses = []
    for place in (1, 2, 3, 4):
        scene.end(place)
        pauses.append(round(leader._pool._restarts[2].getTime() - scene.seconds(), 6))
        scene.advance(pauses[-1])
    scene.advance(11)
    scene.end(5)
    scene.advance(0)
    assert [0.1, 0.2, 0.4, 0.8] == pauses
    assert 7 == len(scene.processes)
    assert 5 == len(logged_errors.flush())
    assert [0.0, 0.1, 0.2, 6.4, 10.0, 10.0] == [round(pause(in_a_row), 6) for in_a_row in (0, 1, 2, 7, 8, 5000)]


def test_a_worker_that_sends_nothing_is_killed(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """It sends a report each second: silence is reported after 5 s, a problem then, and ended after 15 s."""
    scene.ready(0, 1)
    problems, killed = [], []
    for _ in range(SILENCE_TICKS + 1):
        scene.send(0, REPORT)
        scene.advance(1)
        problems.append(len(leader.problems()))
        killed.append(scene.processes[1].signals == ["KILL"])
    assert [0] * QUIET_TICKS + [1] * (SILENCE_TICKS - QUIET_TICKS) + [0] == problems
    assert [False] * SILENCE_TICKS + [True] == killed
    assert [] == scene.processes[0].signals
    assert 2 == len(logged_errors.flush())


def test_the_port_opens_once_all_workers_are_ready(scene: Scene, leader: Leader) -> None:
    """The first one would get the clients of all."""
    scene.ready(1)
    for _ in range(OPEN_TICKS):
        scene.send(1, REPORT)
        scene.advance(1)
    assert ([], []) == (scene.accepted(0), scene.accepted(1))
    scene.ready(0)
    assert ([(1,)], [(2,)]) == (scene.accepted(0), scene.accepted(1))


def test_a_worker_that_starts_late_does_not_keep_the_port_closed(scene: Scene, leader: Leader) -> None:
    """After 30 s the others accept its connections, until it is ready."""
    scene.ready(1)
    for _ in range(OPEN_TICKS + 1):
        scene.send(1, REPORT)
        scene.advance(1)
    assert ([], [(2, 1)]) == (scene.accepted(0), scene.accepted(1))
    scene.ready(0)
    assert ([(1,)], [(2,)]) == (scene.accepted(0), scene.accepted(1))


@pytest.mark.parametrize("ready_first", [False, True])
def test_a_worker_that_ends_in_its_start_does_not_keep_the_port_closed(
    scene: Scene, leader: Leader, logged_errors: Any, ready_first: bool
) -> None:
    """It may never start."""
    if ready_first:
        scene.ready(1)
    scene.end(0)
    if not ready_first:
        scene.ready(1)
    assert [(2, 1)] == scene.accepted(1)
    assert 1 == len(logged_errors.flush())


def test_another_worker_accepts_for_one_that_does_not_answer(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """Connections that wait for it are not reset; within a second after it answers it has its socket for itself."""
    scene.ready(0, 1)
    scene.accepted(0), scene.accepted(1)
    for _ in range(QUIET_TICKS + 2):
        scene.send(0, REPORT)
        scene.advance(1)
    assert ([(1, 2)], []) == (scene.accepted(0), scene.accepted(1))
    for place in (0, 1):
        scene.send(place, REPORT)
    scene.advance(1)
    assert ([(1,)], []) == (scene.accepted(0), scene.accepted(1))
    assert 1 == len(logged_errors.flush())


def test_a_worker_with_few_files_left_leaves_its_connections_to_another(scene: Scene, leader: Leader) -> None:
    """Until it has enough again; when no worker has, each accepts what its limit allows."""
    scene.ready(0, 1)
    scene.accepted(0), scene.accepted(1)
    scene.send(0, protocol.Full(True))
    assert ([()], [(2, 1)]) == (scene.accepted(0), scene.accepted(1))
    scene.send(1, protocol.Full(True))
    assert ([(1,)], [(2,)]) == (scene.accepted(0), scene.accepted(1))
    scene.send(0, protocol.Full(False))
    assert ([(1, 2)], [()]) == (scene.accepted(0), scene.accepted(1))
    scene.send(1, protocol.Full(False))
    assert ([(1,)], [(2,)]) == (scene.accepted(0), scene.accepted(1))


def test_the_only_worker_that_answers_accepts_though_it_has_few_files_left(
    scene: Scene, leader: Leader, logged_errors: Any
) -> None:
    """The connections of the one that has ended too."""
    scene.ready(0, 1)
    scene.send(1, protocol.Full(True))
    scene.accepted(1)
    scene.end(0)
    assert [(2, 1)] == scene.accepted(1)
    assert 1 == len(logged_errors.flush())


def test_connections_wait_while_no_worker_answers(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """A call that waits until a busy machine goes on is better than one that is refused."""
    scene.ready(0, 1)
    scene.accepted(0), scene.accepted(1)
    for _ in range(QUIET_TICKS + 4):
        scene.advance(1)
    assert 2 == len(leader.problems())
    assert ([], []) == (scene.accepted(0), scene.accepted(1))
    assert 2 == len(logged_errors.flush())


def test_another_worker_accepts_for_one_that_has_ended(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """Its socket stays open, and its replacement inherits it."""
    scene.ready(0, 1)
    scene.accepted(0), scene.accepted(1)
    scene.end(0)
    assert [(2, 1)] == scene.accepted(1)
    scene.advance(1)
    scene.ready(2)
    assert ([(2,)], [(1,)]) == (scene.accepted(1), scene.accepted(2))
    assert [{4: 101, 5: 102}] * 3 == [{to: own for to, own in each.items() if to > 3} for each in scene.descriptors]
    assert [True, True] == [listener.open for listener in scene.listeners]
    leader.stop()
    assert [False, False] == [listener.open for listener in scene.listeners]
    assert 1 == len(logged_errors.flush())


def test_workers_that_drain_accept_for_no_other(scene: Scene, leader: Leader) -> None:
    """Each closes its socket by itself."""
    scene.ready(0, 1)
    scene.accepted(0), scene.accepted(1)
    Deferred.fromCoroutine(leader.drain(lambda: False))
    scene.end(0)
    scene.advance(1)
    assert [] == scene.accepted(1)


@pytest.mark.parametrize(
    ("answering", "expected"),
    [
        ((1, 2, 3, 4), {}),
        ((1, 3, 4), {3: [2]}),
        ((2, 3), {2: [1, 4]}),
        ((4,), {4: [1, 2, 3]}),
        ((1, 3), {3: [2], 1: [4]}),
        ((), {}),
    ],
)
def test_the_next_worker_that_answers_is_the_substitute(
    answering: tuple[int, ...], expected: dict[int, list[int]]
) -> None:
    """The first follows the last."""
    assert expected == substitutes(4, answering)


def test_a_worker_that_is_busy_for_a_while_is_not_killed(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """Its next message ends the problem."""
    scene.ready(1)
    for _ in range(SILENCE_TICKS):
        scene.advance(1)
    assert 1 == len(leader.problems())
    scene.send(1, REPORT)
    assert [] == leader.problems()
    assert [] == scene.processes[1].signals
    assert 1 == len(logged_errors.flush())


def test_a_worker_that_is_never_ready_is_killed_later(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """A cold start may take long, and no call waits for it."""
    for _ in range(START_TICKS):
        scene.advance(1)
    assert [[], []] == [process.signals for process in scene.processes]
    scene.advance(1)
    assert [["KILL"], ["KILL"]] == [process.signals for process in scene.processes]
    assert 2 == len(logged_errors.flush())


def test_a_worker_that_does_not_exit_is_killed(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """Its link is closed, so it should have exited."""
    scene.links[0].connectionLost()
    for _ in range(EXIT_TICKS + 1):
        scene.advance(1)
    assert ["KILL"] == scene.processes[0].signals
    assert 1 == len(logged_errors.flush())


def test_bytes_that_are_no_message_close_the_link_of_a_worker(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """Leader and worker are of one version, so this is a fault."""
    scene.links[0].dataReceived(add_length(b"\xc1"))
    assert scene.wires[0].disconnecting
    assert 1 == len(logged_errors.flush())


def test_a_refresh_is_done_by_the_leader_and_answered_to_its_worker(
    scene: Scene, leader: Leader, registry: FakeRegistry
) -> None:
    """With its limit and its credit; the reply follows the config that the refresh has fetched."""
    scene.received(0), scene.received(1)
    scene.send(0, protocol.Refresh(7, "shop", True, b"{}"))
    scene.send(1, protocol.Refresh(3, "gone", False))
    assert [b"{}"] == registry.sdk.credits
    ((limited, answer),) = registry.sdk.asked
    leader.publish("shop", load_config(BODY, '"e"'))
    answer.callback(Refreshed(None, changed=True))
    assert limited
    assert [protocol.PublishConfig("shop", '"e"', BODY), protocol.RefreshResult(7, None, True)] == scene.received(0)
    assert [
        protocol.RefreshResult(3, "the SDK was stopped", False),
        protocol.PublishConfig("shop", '"e"', BODY),
    ] == scene.received(1)


def test_a_hook_call_id_is_accepted_once_for_all_workers(scene: Scene, leader: Leader) -> None:
    """The first worker that sends it may use it."""
    scene.received(0), scene.received(1)
    scene.send(0, protocol.CheckCallId(1, "shop", b"id", 300.0))
    scene.send(1, protocol.CheckCallId(1, "shop", b"id", 300.0))
    scene.send(1, protocol.CheckCallId(2, "shop", b"other", 300.0))
    assert [protocol.CallIdResult(1, False)] == scene.received(0)
    assert [protocol.CallIdResult(1, True), protocol.CallIdResult(2, False)] == scene.received(1)


def test_the_streams_of_a_worker_are_reported_to_the_others(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """And subtracted when it ends."""
    scene.received(0), scene.received(1)
    scene.send(0, protocol.OwnStreams(3, {"::1": 3}))
    assert ([], [protocol.OtherStreams(3, {"::1": 3})]) == (scene.received(0), scene.received(1))
    assert 3 == leader.stream_count
    scene.end(0)
    assert [protocol.OtherStreams(0, {"::1": 0})] == scene.received(1)
    assert 0 == leader.stream_count
    assert 1 == len(logged_errors.flush())


def test_a_reload_is_settled_when_every_worker_has_echoed(scene: Scene, leader: Leader, logged_errors: Any) -> None:
    """Or has ended, or 5 s have passed."""
    done = [leader.settled() for _ in range(3)]
    scene.send(0, protocol.Echo(1))
    scene.send(1, protocol.Echo(1))
    scene.send(1, protocol.Echo(2))
    assert [True, False, False] == [each.called for each in done]
    scene.end(0)
    assert [True, True, False] == [each.called for each in done]
    scene.advance(5)
    assert [True, True, True] == [each.called for each in done]
    assert 1 == len(logged_errors.flush())


def test_an_sdk_is_sent_once_and_again_when_its_streams_must_end(
    scene: Scene, leader: Leader, registry: FakeRegistry
) -> None:
    """A new kind of source makes no difference to workers."""
    scene.received(0)
    leader.add_sdk(registry.sdk)
    assert [] == scene.received(0)
    leader.restart_streams(registry.sdk)
    leader.remove_sdk("shop")
    assert ["AddSdk", "RemoveSdk"] == kinds(scene.received(0))
    registry.sdk.first.callback(None)  # the first fetch of an SDK that was removed
    assert [] == scene.received(0)


def test_a_stop_waits_for_the_workers_and_kills_those_that_remain(scene: Scene, leader: Leader) -> None:
    """Within the drain window and 10 s; workers that end are not replaced."""
    stopped = Deferred.fromCoroutine(leader.drain(lambda: False))
    assert "Drain" == kinds(scene.received(0))[-1]
    scene.end(0)
    scene.pump([0.05] * int((SETTINGS.http.sse.drain_window + 10) / 0.05 + 2))
    assert [[], ["KILL"]] == [process.signals for process in scene.processes]
    scene.end(1)
    scene.pump([0.05] * 2)
    assert stopped.called
    assert 2 == len(scene.processes)


def test_evaluations_are_stored_before_their_worker_gets_the_reply(scene: Scene, leader: Leader) -> None:
    """Unchanged; the worker waits for the reply before it sends more than it may."""
    parcel = Parcel(b"{}\n{}", 2, [(60, b"{}", 3)], {"memory": 1})
    scene.send(0, protocol.StoreEvaluations(7, parcel))
    (received, stored), *others = scene.parcels
    assert (parcel, []) == (received, others)
    scene.received(0), scene.received(1)
    stored.callback(None)
    assert ([protocol.EvaluationsStored(7)], []) == (scene.received(0), scene.received(1))
