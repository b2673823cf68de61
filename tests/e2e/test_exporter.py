"""A real gateway that exports what it evaluated, to a real receiver or to files, through outages, crashes, reloads."""

from __future__ import annotations

import hmac
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from asking import Asker, ask_until_gone
from eventually import eventually
from gateway_process import DidNotStart, GatewayProcess
from receiver import Call, Receiver
from streams import Streams, stream_path
from worker_processes import await_replacement, sample, workers

Start = Callable[..., GatewayProcess]
SECRET = "a secret of the receiver's"
SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "exporter.schema.json"
EVAL = "/api/shop/eval"
PROMISE = 1.0  # seconds after its answer at which an evaluation is on disk
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
KILLS = 20 if NIGHTLY else 1
ROUNDS = 20 if NIGHTLY else 1  # of load, one beginning each second or when the one before has ended


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    """A config file with a hundred flags."""
    path = tmp_path / "config.json"
    write(path, 0)
    return path


def health(gateway: GatewayProcess) -> bytes:
    """The status page."""
    return gateway.get("/status", diag=True)[1]


def write(path: Path, value: int, flag_count: int = 100) -> None:
    """Replace the config atomically: ``flag0`` has this value, all others are on."""
    first = {"t": 2, "v": {"i": value}, "i": f"v{value}"}
    others = {f"flag{number}": {"t": 0, "v": {"b": True}, "i": f"on{number}"} for number in range(1, flag_count)}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"p": {"s": "salt"}, "f": {"flag0": first, **others}}), "utf-8")
    fresh.replace(path)


def settings(flags: Path, exporter: dict[str, Any], count_of: int = 1) -> dict[str, Any]:
    """The settings of a gateway with so many workers that exports."""
    sdk = {"key": "local", "offline": {"enabled": True, "local": {"file_path": str(flags)}}}
    return {
        "workers": count_of,
        "sdks": {"shop": sdk},
        "http": {"sse": {"drain_window": 0}},
        "outbox": {"path": str(flags.parent / "outbox.sqlite3")},
        "exporter": exporter,
    }


def to(receiver: Receiver, **more: Any) -> dict[str, Any]:
    """An exporter that flushes every half second."""
    return {"endpoint_url": receiver.url, "secret": SECRET, "flush_interval": 500, **more}


def question(user: object, key: str = "flag0") -> dict[str, Any]:
    """The body of an evaluation."""
    return {"key": key, "user": {"Identifier": str(user)}}


def checked(calls: list[Call]) -> list[dict[str, Any]]:
    """The events of the batches, each batch once; checks signatures, schemas and repetitions."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    bodies: dict[str, bytes] = {}
    for call in calls:
        expected = "sha256=" + hmac.new(SECRET.encode(), call.body, "sha256").hexdigest()
        assert hmac.compare_digest(expected, call.headers["x-hub-signature-256"])
        assert bodies.setdefault(call.id, call.body) == call.body
    batches = [json.loads(body) for body in bodies.values()]
    for batch in batches[:3]:
        validator.validate({**batch, "events": batch["events"][:50]})
    return [event for batch in batches for event in batch["events"]]


def users(calls: list[Call]) -> set[str]:
    """The users whose evaluations arrived."""
    return {event["userKey"] for event in checked(calls)}


@pytest.mark.parametrize("count_of", [1, 2])
def test_evaluations_of_every_kind_arrive_signed(gateway_process: Start, flags: Path, count_of: int) -> None:
    """Each arrives once, from any worker; the metrics agree."""
    with Receiver() as receiver, closing(Streams()) as streams:
        gateway = gateway_process(settings(flags, to(receiver, meta={"app": "shop"}), count_of))
        with Asker(gateway.port, EVAL) as asker:
            asker.ask(question(number) for number in range(200))
        body = json.dumps({"context": {"targetingKey": "ofrep"}}).encode()
        path = "/ofrep/v1/evaluate/flags/flag1"
        assert 200 == gateway.post(path, body, headers={"X-ConfigCat-SdkId": "shop"})[0]
        assert 200 == gateway.post("/api/shop/eval-all", json.dumps({"user": {"Identifier": "bulk"}}).encode())[0]
        stream = streams.open(gateway.port, stream_path("shop", {"Identifier": "streamer"}, "flag0"))
        streams.read_until(lambda: stream.payloads)
        write(flags, 1)
        streams.read_until(lambda: len(stream.payloads) == 2)
        eventually(lambda: len(checked(receiver.taken)) >= 203, gateway.logs)
        eventually(lambda: sample(gateway, "flaggateway_evaluations_exported_total") == 203, gateway.logs)
        assert 203 == sample(gateway, "flaggateway_evaluations_collected_total")
        eventually(lambda: sample(gateway, "flaggateway_evaluations_waiting") == 0, gateway.logs)
        assert 0 == gateway.stop()
    exported = sorted((event["userKey"], event["key"], event["value"]) for event in checked(receiver.taken))
    asked = [(str(number), "flag0", 0) for number in range(200)]
    others = [("ofrep", "flag1", True), ("streamer", "flag0", 0), ("streamer", "flag0", 1)]
    assert sorted(asked + others) == exported
    sequences = [int(call.headers["x-flaggateway-sequence"]) for call in receiver.taken]
    assert list(range(1, len(sequences) + 1)) == sequences
    assert "shop" == json.loads(receiver.taken[0].body)["meta"]["app"]


def test_a_receiver_that_is_away_gets_everything_when_it_is_back(gateway_process: Start, flags: Path) -> None:
    """The first batch is sent again unchanged, then the others, also after a restart in between."""
    with Receiver(lambda _: 503) as receiver:
        gateway = gateway_process(settings(flags, to(receiver)))
        for start in (0, 100):
            with Asker(gateway.port, EVAL) as asker:
                asker.ask(question(number) for number in range(start, start + 100))
            before = len(receiver.calls)
            eventually(lambda: len(receiver.calls) > before, gateway.logs)  # noqa: B023 - called at once
            gateway.restart()
        receiver.behave = lambda _: 204
        eventually(lambda: len(users(receiver.taken)) == 200, gateway.logs)
        assert {str(number) for number in range(200)} == users(receiver.calls)
        assert 200 == len(checked(receiver.taken))
        assert 1 == len({call.id for call in receiver.calls if call.headers["x-flaggateway-sequence"] == "1"})


def test_a_receiver_that_accepts_a_mebibyte_gets_a_large_burst(gateway_process: Start, flags: Path) -> None:
    """25 evaluations of all 200 flags, 1.1 MB, fit no single batch of the default size, and nothing is refused."""
    write(flags, 0, flag_count=200)
    with Receiver(largest=1024 * 1024) as receiver:
        at_once = {"flush_interval": 3_600_000, "max_event_in_memory": 5000}
        gateway = gateway_process(settings(flags, to(receiver, bulk=True, **at_once)))
        with Asker(gateway.port, "/api/shop/eval-all") as asker:
            asker.ask({"user": {"Identifier": f"{number:060}"}} for number in range(25))
        eventually(lambda: len(checked(receiver.taken)) == 5000, gateway.logs)
        assert 0 == receiver.too_large
        assert sum(len(call.body) for call in receiver.taken) > 1024 * 1024
        assert 25 * 200 == len({(event["userKey"], event["key"]) for event in checked(receiver.taken)})


def test_what_a_receiver_refuses_for_good_holds_up_nothing(gateway_process: Start, flags: Path) -> None:
    """It accepts 50 kB, and one flag's value is larger: all other events arrive, in order, those of later flushes too.

    The status names the problem, and events that were set aside arrive after a start with a larger limit.
    """
    config = json.loads(flags.read_text())
    config["f"]["large"] = {"t": 1, "v": {"s": "x" * 60_000}, "i": "large"}
    flags.write_text(json.dumps(config))
    with Receiver(largest=50_000) as receiver:
        gateway = gateway_process(settings(flags, to(receiver, bulk=True, max_batch_bytes=4_000_000)))
        for turn in (1, 2):
            with Asker(gateway.port, "/api/shop/eval-all") as asker:
                asker.ask(question(number) for number in range(10))
            with Asker(gateway.port, EVAL) as asker:
                asker.ask([question("later")])
            arrived = turn * (10 * 100 + 1)
            eventually(lambda: len(checked(receiver.taken)) == arrived, gateway.logs)  # noqa: B023 - called at once
        eventually(lambda: sample(gateway, "flaggateway_evaluations_refused_total") == 20, gateway.logs)
        order = [event["userKey"] for event in checked(receiver.taken)]
        assert order == [*([str(n) for n in range(10) for _ in range(100)] + ["later"]) * 2]
        eventually(lambda: sample(gateway, "flaggateway_evaluations_waiting") == 0)
        eventually(lambda: b"evaluations that the exporter's receiver refuses are set aside" in health(gateway))
        receiver.largest = None
        gateway.restart()
        eventually(lambda: "large" in [event["key"] for event in checked(receiver.taken)], gateway.logs)
        eventually(lambda: len(checked(receiver.taken)) == 2 * (10 * 101 + 1), gateway.logs)


@pytest.mark.parametrize("kind", ["one process", "two workers", "file"])
def test_kill_9_loses_nothing_that_was_answered_a_second_before(gateway_process: Start, flags: Path, kind: str) -> None:
    """While the receiver accepts and refuses in turn, everything arrives, and repetitions have the same id.

    The second itself is checked by the nightly run; otherwise the kill comes once the first answers are on disk.
    """
    moods = count()
    path = flags.parent / "evaluations.jsonl"
    numbers: Iterator[dict[str, Any]] = (question(number) for number in count())
    promised: set[str] = set()
    with Receiver(lambda _: 500 if next(moods) % 3 == 0 else 204) as receiver:
        exporter = {"kind": "file", "path": str(path)} if kind == "file" else to(receiver, flush_interval=200)
        gateway = gateway_process(settings(flags, exporter, 2 if kind == "two workers" else 1))

        def on_disk() -> set[str]:
            """The users in the spool, and those whose evaluations have left it."""
            if kind == "file":
                return set(exported())
            with closing(sqlite3.connect(f"file:{flags.parent}/outbox.sqlite3?mode=ro", uri=True, timeout=30)) as spool:
                rows = spool.execute("SELECT events FROM spool").fetchall()
            return {event["userKey"] for (events,) in rows for event in json.loads(b"[%b]" % events)} | set(exported())

        def exported() -> list[str]:
            if kind == "file":
                return [json.loads(line)["userKey"] for line in path.read_text().splitlines()]
            return [event["userKey"] for event in checked(receiver.taken)]

        for number in range(KILLS):
            with Asker(gateway.port, EVAL, connections=2) as asker:
                asking = Thread(target=ask_until_gone, args=(asker, numbers))
                asking.start()
                eventually(lambda: len(asker.answered) >= 50, gateway.logs)
                answered = list(asker.answered)
                early = {body["user"]["Identifier"] for body, _ in answered}
                if NIGHTLY:  # on a machine that runs nothing else the promise holds to the second
                    Event().wait(answered[-1][1] + PROMISE + 0.17 * number % 1.0 - time.monotonic())
                else:
                    eventually(lambda: early <= on_disk(), gateway.logs)  # noqa: B023 - called at once
                assert asking.is_alive(), "the load ended before the kill"
                killed = time.monotonic()
                gateway.kill()
                asking.join()
            promised |= early
            if NIGHTLY:
                promised |= {body["user"]["Identifier"] for body, at in asker.answered if at < killed - PROMISE}
            gateway.start()
        receiver.behave = lambda _: 204
        eventually(lambda: promised <= set(exported()), gateway.logs)
        found = exported()  # once: events still arrive
        assert len(set(found)) == len(found)


def test_a_killed_worker_loses_only_its_last_evaluations(gateway_process: Start, flags: Path) -> None:
    """Earlier ones are in the leader already; those of its successor arrive as well."""
    with Receiver() as receiver:
        gateway = gateway_process(settings(flags, to(receiver), 2))
        with Asker(gateway.port, EVAL) as asker:
            asker.ask(question(number) for number in range(100))
        eventually(lambda: sample(gateway, "flaggateway_evaluations_collected_total") == 100, gateway.logs)
        before = workers(gateway)
        os.kill(before[0], signal.SIGKILL)
        await_replacement(gateway, before)
        with Asker(gateway.port, EVAL) as asker:
            asker.ask(question(number) for number in range(100, 200))
        eventually(lambda: len(users(receiver.taken)) == 200, gateway.logs)


def test_a_graceful_stop_sends_waiting_events(gateway_process: Start, flags: Path) -> None:
    """Also before the interval of an hour is over, and counts of the current minute."""
    with Receiver() as receiver:
        gateway = gateway_process(settings(flags, to(receiver, flush_interval=3_600_000, aggregate=True), 2))
        with Asker(gateway.port, EVAL) as asker:
            asker.ask(question(number) for number in range(100))
        assert 0 == gateway.stop()
        exported = checked(receiver.taken)
    assert (100, {"flag0"}, {""}) == (
        sum(event["count"] for event in exported),
        {event["key"] for event in exported},
        {event["userKey"] for event in exported},
    )  # fmt: skip
    assert len(exported) <= 2  # the minute may have changed meanwhile


@pytest.mark.parametrize("count_of", [1, 2])
def test_a_reload_starts_changes_and_stops_the_export(gateway_process: Start, flags: Path, count_of: int) -> None:
    """It applies in every worker; the database is opened when it is first needed."""
    plain = settings(flags, {}, count_of)
    database = Path(plain["outbox"]["path"])
    with Receiver() as first, Receiver() as second:
        gateway = gateway_process(plain)

        def ask(user: str) -> None:
            with Asker(gateway.port, EVAL) as asker:
                asker.ask(question(user) for _ in range(20))

        def reload(exporter: dict[str, Any]) -> None:
            before = reloads()
            gateway.reload({**plain, "exporter": exporter})
            eventually(lambda: reloads() > before, gateway.logs)

        def reloads() -> int:
            return int(json.loads(health(gateway))["gateway"]["reloads"])

        ask("nobody")
        assert not database.exists()
        reload(to(first))
        ask("one")
        eventually(lambda: len(checked(first.taken)) == 20, gateway.logs)
        reload(to(second, flush_interval=100))
        ask("two")
        eventually(lambda: len(checked(second.taken)) == 20, gateway.logs)
        reload({})
        ask("nobody")
        assert 0 == gateway.stop()
    assert ({"one"}, {"two"}) == (users(first.taken), users(second.taken))


@pytest.mark.parametrize("count_of", [1, 2])
def test_files_are_rotated_and_hold_every_evaluation(gateway_process: Start, flags: Path, count_of: int) -> None:
    """Each is one line, and no database is created."""
    folder = flags.parent / "exported"
    folder.mkdir()
    exporter = {"kind": "file", "path": str(folder / "evaluations.jsonl"), "max_bytes": 20_000, "keep": 50}
    gateway = gateway_process(settings(flags, exporter, count_of))
    for start in range(0, 500, 100):
        with Asker(gateway.port, EVAL) as asker:
            asker.ask(question(number) for number in range(start, start + 100))
        eventually(lambda: len(lines(folder)) == start + 100, gateway.logs)  # noqa: B023 - called at once
    assert 0 == gateway.stop()
    assert sorted(map(str, range(500))) == sorted(json.loads(line)["userKey"] for line in lines(folder))
    assert len(list(folder.iterdir())) > 2
    assert not (flags.parent / "outbox.sqlite3").exists()


def lines(folder: Path) -> list[str]:
    """The lines of all files in a folder."""
    return [line for path in folder.iterdir() for line in path.read_text().splitlines()]


def test_a_file_that_cannot_be_written_prevents_the_start(gateway_process: Start, flags: Path) -> None:
    """The start fails with the reason."""
    exporter = {"kind": "file", "path": str(flags.parent)}
    with pytest.raises(DidNotStart, match=r"ended with 1:(.|\n)*exporter\.path: .* cannot be written: Is a directory"):
        gateway_process(settings(flags, exporter))


def test_a_second_gateway_on_the_same_file_does_not_start(gateway_process: Start, flags: Path) -> None:
    """Also through a symbolic link; the first can reload, and after it is killed the second can start."""
    folder, alias = flags.parent / "exported", flags.parent / "alias.jsonl"
    folder.mkdir()
    exporter = {"kind": "file", "path": str(folder / "evaluations.jsonl")}
    first = gateway_process(settings(flags, exporter))
    alias.symlink_to(folder / "evaluations.jsonl")
    taken = r"exporter\.path: .*alias\.jsonl is in use by another gateway"
    with pytest.raises(DidNotStart, match=taken):
        gateway_process(settings(flags, exporter | {"path": str(alias)}))
    first.reload(settings(flags, exporter | {"keep": 7}))
    eventually(lambda: "settings reloaded" in first.logs())
    with pytest.raises(DidNotStart, match=taken):
        gateway_process(settings(flags, exporter | {"path": str(alias)}))
    first.kill()
    assert None is gateway_process(settings(flags, exporter | {"path": str(alias)})).returncode


def test_a_locked_database_delays_no_answer_and_loses_nothing(gateway_process: Start, flags: Path) -> None:
    """The log reports it at once, the status page after a while."""
    with Receiver() as receiver:
        gateway = gateway_process(settings(flags, to(receiver)))
        database = flags.parent / "outbox.sqlite3"
        with closing(sqlite3.connect(database, isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with Asker(gateway.port, EVAL) as asker:
                asker.ask(question(number) for number in range(100))
            assert time.monotonic() - began < 60  # each would take 2 s if it waited for the lock
            eventually(lambda: "evaluations cannot be written" in gateway.logs(), gateway.logs)
            locking.execute("ROLLBACK")
        eventually(lambda: len(users(receiver.taken)) == 100, gateway.logs)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("path", "questions", "each", "least"), [(EVAL, 24_000, 1, 8_000), ("/api/shop/eval-all", 600, 100, 20_000)]
)
def test_everything_arrives_under_load(
    gateway_process: Start,
    flags: Path,
    path: str,
    questions: int,
    each: int,
    least: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From two workers; the rate is checked by the nightly run and by ``make bench-quick``."""
    count_of = questions * ROUNDS
    with Receiver() as receiver:
        exporter = to(receiver, bulk=True, flush_interval=1000, max_event_in_memory=20_000)
        gateway = gateway_process(settings(flags, exporter, 2))
        began = time.monotonic()
        with Asker(gateway.port, path) as asker:
            for number in range(ROUNDS):
                Event().wait(began + number - time.monotonic())  # the pace of the load
                asker.ask(question(user) for user in range(number * questions, (number + 1) * questions))
        asked = time.monotonic() - began
        eventually(lambda: sample(gateway, "flaggateway_evaluations_exported_total") >= count_of * each, gateway.logs)
        taken = time.monotonic() - began
        assert 0 == sample(gateway, "flaggateway_evaluations_dropped_total")
        assert 0 == gateway.stop()
    exported = checked(receiver.taken)
    assert count_of * each == len(exported) == len({(event["userKey"], event["key"]) for event in exported})
    with capsys.disabled():
        print(f" {path}: {count_of * each / asked:,.0f} events/s asked, {count_of * each / taken:,.0f}/s arrived")
    assert not NIGHTLY or count_of * each / taken >= least
