"""The history on a real file, with its work done at once and a clock that the test sets."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gateway.flags import Snapshot, load
from gateway.history import Applied, History, HistoryUnavailable, NotKept, Pin, hash_of
from gateway.history.history import COMPILED, MAINTAIN_SECONDS, READS, RETRY_SECONDS, STEADY_SECONDS, WAITING_LIMIT
from gateway.settings import Settings
from gateway.storage import LockFile

DAY = 86400.0
START = 1_800_000_000.0
REMOTE = Applied("remote")


def config(value: str, size: int = 0) -> Snapshot:
    """Return a config with one text flag, and so many bytes that hardly compress."""
    import random

    filler = random.Random(value).randbytes(size).hex()
    return load(msgspec.json.encode({"f": {"flag": {"t": 1, "v": {"s": value}}}, "filler": filler}), f'"{value}"')


def value_of(snapshot: Snapshot) -> object:
    return snapshot.evaluate("flag", None).value


def result(deferred: Deferred):
    """Return the result of a Deferred that has fired, or raise its exception."""
    found = []
    deferred.addBoth(found.append)
    (one,) = found
    if isinstance(one, Failure):
        one.raiseException()
    return one


class Gauges:
    """Metrics that the history has set."""

    ok = None
    stored_now = (0, 0)

    def recording(self, ok):
        self.ok = ok

    def stored(self, configs, size):
        self.stored_now = (configs, size)


def test_the_tags_of_earlier_configs_are_known_after_a_restart(tmp_path):
    """Clients that come with one of them need not wait; later configs than the one in use are not among them."""
    scene = Scene(tmp_path)
    tags = [config(value).tag for value in "abcd"]
    for value in "abcd":
        scene.apply(value, after=1)
    result(scene.history.stop())
    scene.open()
    assert tags == result(scene.history.earlier_tags("shop", tags[3]))
    assert tags[:2] == result(scene.history.earlier_tags("shop", tags[1]))
    assert tags == result(scene.history.earlier_tags("shop", "another"))
    assert [] == result(scene.history.earlier_tags("other", tags[0]))
    result(scene.history.stop())
    scene.open(keep=0)
    assert [] == result(scene.history.earlier_tags("shop", tags[3]))
    result(scene.history.stop())


class Scene:
    """A history in a folder; ``hold`` keeps the thread busy until ``release``."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.path = folder / "state" / "history.sqlite3"
        self.clock = Clock()
        self.offset = START
        self.gauges = Gauges()
        self.held: list | None = None
        self.open(**options)

    def open(self, **options: object) -> None:
        self.history = History(self.clock, self.wall, self.settings(**options), self.path, self.in_thread, self.gauges)
        self.history.start()

    @staticmethod
    def settings(**options: object) -> Settings:
        return msgspec.convert({"history": options}, Settings)

    def wall(self) -> float:
        return self.offset + self.clock.seconds()

    def in_thread(self, work):
        if self.held is None:
            return maybeDeferred(work)
        done: Deferred = Deferred()
        self.held.append((work, done))
        return done

    def release(self) -> None:
        held, self.held = self.held, None
        for work, done in held:
            maybeDeferred(work).chainDeferred(done)

    def apply(self, value: str, *, sdk: str = "shop", after: float = 0.0, size: int = 0) -> float:
        """Apply a config ``after`` so many seconds; return when that was."""
        self.clock.advance(after)
        self.history.record(sdk, config(value, size), REMOTE)
        return self.wall()

    def values(self, sdk: str = "shop") -> list[str]:
        """Return the values that are kept, the newest first."""
        found = result(self.history.applications(sdk, limit=1000)).found
        return [value_of(load(result(self.history.config(sdk, each.config_id)).body, "")) for each in found]

    def at(self, moment: float, sdk: str = "shop") -> object:
        return value_of(result(self.history.snapshot_at(sdk, moment)))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_each_moment_has_its_config(scene: Scene) -> None:
    """Between two applications the earlier one counts; after the last one, and in the future, the last one."""
    first = scene.apply("a")
    second = scene.apply("b", after=100)
    third = scene.apply("a", after=100)
    assert ["a", "b", "a"] == [scene.at(first), scene.at(second), scene.at(third)]
    assert ["a", "b", "a"] == [scene.at(second - 1), scene.at(third - 1), scene.at(third + DAY)]
    with pytest.raises(NotKept, match="the history of SDK shop begins at 2027-01-15T08:00:00"):
        scene.at(first - 1)
    with pytest.raises(NotKept, match="no config of SDK other"):
        scene.at(third, "other")
    assert (2, True) == (scene.gauges.stored_now[0], scene.gauges.ok)


def test_the_list_is_paged_and_names_how_each_config_came(scene: Scene) -> None:
    """The newest comes first; author, notes and change are those of the application."""
    scene.apply("a")
    b = config("b")
    scene.history.note_change("shop", b, 7)
    scene.history.record("shop", b, Applied("accepted", "Ann Lee", "half price"))
    scene.apply("c", after=5)
    page = result(scene.history.applications("shop", limit=2))
    assert [("remote", None), ("accepted", 7)] == [(each.source, each.change_id) for each in page.found]
    accepted = page.found[1]
    assert ("Ann Lee", "half price", b.tag, b.etag) == (
        accepted.author, accepted.notes, accepted.config_id, accepted.etag,
    )  # fmt: skip
    assert (1, len(b.body), START) == (accepted.flags, accepted.bytes, accepted.at)
    rest = result(scene.history.applications("shop", before=page.next, limit=2))
    assert (["remote"], None) == ([each.source for each in rest.found], rest.next)
    assert "b" == value_of(result(scene.history.snapshot_of_change("shop", accepted.id)))
    with pytest.raises(NotKept, match="has no change 8"):
        result(scene.history.snapshot_of_change("shop", 8))
    with pytest.raises(NotKept, match="SDK other has no change"):
        result(scene.history.snapshot_of_change("other", accepted.id))


def test_changes_are_what_replaced_an_earlier_config(scene: Scene) -> None:
    """Of all SDKs or one, the newest first; the first config of an SDK is no change; the number is reported."""
    stored = []
    scene.history.on_stored = lambda *change: stored.append(change)
    for value, sdk in (("a", "shop"), ("x", "other"), ("b", "shop"), ("y", "other"), ("a", "shop")):
        scene.apply(value, sdk=sdk, after=1)
    assert [("shop", config("b").tag, 3), ("other", config("y").tag, 4)] == stored[2:4]

    def pairs(*arguments: object, **options: object) -> list[tuple[int, int]]:
        return [(each.before.id, each.after.id) for each in result(scene.history.changes(*arguments, **options)).found]

    assert [(3, 5), (2, 4), (1, 3)] == pairs(None)
    assert [(3, 5), (1, 3)] == pairs("shop")
    assert [(3, 5)] == pairs("shop", since=START + 5)
    page = result(scene.history.changes(None, limit=1))
    assert (5, [(2, 4)]) == (page.next, pairs(None, before=page.next, limit=1))
    changes = result(scene.history.changes(None)).found
    assert ["b → a", "x → y", "a → b"] == result(
        scene.history.compare(changes, lambda old, new: f"{value_of(old)} → {value_of(new)}")
    )
    assert (2, 4) == ((found := result(scene.history.change(4))).before.id, found.number)
    for number in (1, 2, 6):
        with pytest.raises(NotKept, match=f"has no change {number}"):
            result(scene.history.change(number))


def test_a_change_that_is_recorded_late_is_noted(scene: Scene) -> None:
    """The outbox may be slower than the publication."""
    b = config("b")
    scene.apply("a")
    scene.history.record("shop", b, REMOTE)
    scene.history.note_change("shop", b, 9)
    assert [9, None] == [each.change_id for each in result(scene.history.applications("shop")).found]


def test_a_restart_with_the_same_config_adds_nothing(scene: Scene) -> None:
    """The application of the earlier run counts; one of another config is added."""
    first = scene.apply("a")
    result(scene.history.stop())
    scene.clock.advance(50)
    scene.open()
    scene.apply("a")
    scene.apply("b", after=50)
    assert ["b", "a"] == scene.values()
    assert first == result(scene.history.applications("shop")).found[1].at


def test_configs_are_named_by_the_beginning_of_their_id(scene: Scene) -> None:
    """It must be unique, and of this SDK."""
    scene.apply("a")
    scene.apply("b", sdk="other")
    tag = config("a").tag
    assert config("a").body == result(scene.history.config("shop", tag[:4].upper())).body
    for wrong, why in (("zzzz", "hex digits"), ("a", "hex digits"), (config("b").tag, "no config")):
        with pytest.raises(NotKept, match=why):
            result(scene.history.config("shop", wrong))


def test_an_id_of_several_configs_is_refused(scene: Scene) -> None:
    """The text has the ids to choose from."""
    found: dict[str, list[str]] = {}
    for number in range(2000):
        tag = config(str(number)).tag
        same = found.setdefault(tag[:4], [])
        same.append(str(number))
        if len(same) > 1:
            break
    for value in same:
        scene.apply(value)
    with pytest.raises(NotKept, match=f"several configs .*{config(same[1]).tag}"):
        result(scene.history.config("shop", tag[:4]))


def test_what_was_out_of_use_too_long_is_deleted(tmp_path: Path) -> None:
    """A config that was in use within the time is kept, however long ago it came; the live one always."""
    scene = Scene(tmp_path, keep=10 * DAY)
    scene.apply("a")
    scene.apply("b", after=DAY)
    scene.apply("c", after=20 * DAY)
    scene.apply("x", sdk="gone")
    scene.history.forget("gone")
    scene.clock.pump([MAINTAIN_SECONDS])
    assert (["c", "b"], ["x"]) == (scene.values(), scene.values("gone"))
    scene.clock.pump([30 * DAY, MAINTAIN_SECONDS])
    assert (["c"], []) == (scene.values(), scene.values("gone"))
    assert 1 == scene.gauges.stored_now[0]


def test_the_oldest_go_first_beyond_the_size(tmp_path: Path) -> None:
    """The file stays below the limit; what is live stays even if it is larger alone."""
    scene = Scene(tmp_path, max_bytes=400_000)
    scene.apply("live", sdk="other")
    for number in range(12):
        scene.apply(str(number), size=60_000)
    kept = scene.values()
    assert [str(number) for number in range(11, 11 - len(kept), -1)] == kept
    assert 3 <= len(kept) <= 8
    assert 400_000 >= scene.gauges.stored_now[1]
    assert ["live"] == scene.values("other")
    scene.apply("huge", size=500_000)
    assert (["huge"], ["live"]) == (scene.values(), scene.values("other"))
    scene.apply("small")
    assert ["small"] == scene.values()
    assert 400_000 >= scene.gauges.stored_now[1]


def test_without_time_to_keep_there_is_no_file(tmp_path: Path) -> None:
    """Reads have the reason; a reload that switches it on begins with what is in use."""
    scene = Scene(tmp_path, keep=0)
    scene.apply("a")
    assert (False, [], None) == (scene.path.exists(), scene.history.problems(), scene.gauges.ok)
    with pytest.raises(HistoryUnavailable, match="the history is off"):
        result(scene.history.applications("shop"))
    assert None is result(scene.history.pinned("shop", "key"))
    assert not scene.path.exists()
    scene.history.configure(scene.settings(keep=60))
    assert ["a"] == scene.values()
    scene.history.configure(scene.settings(keep=0))
    scene.apply("b")
    scene.history.configure(scene.settings(keep=60))
    assert ["b", "a"] == scene.values()


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path, logged_errors) -> None:
    """It is shown while it lasts; then the newest config of each SDK is kept."""
    scene = Scene(tmp_path)
    scene.path.parent.write_text("a file in place of the folder")
    scene.apply("a")
    scene.apply("b", after=1)
    (problem,) = scene.history.problems()
    assert problem.startswith(f"the history {scene.path} cannot be written, configs from now on may be missing in it: ")
    assert False is scene.gauges.ok
    with pytest.raises(HistoryUnavailable, match="the history cannot be read"):
        result(scene.history.applications("shop"))
    assert "b" == scene.at(scene.wall())
    scene.path.parent.unlink()
    scene.clock.advance(RETRY_SECONDS)
    assert ([], ["b"], True) == (scene.history.problems(), scene.values(), scene.gauges.ok)
    assert 1 == len(logged_errors.flush())


def test_a_folder_that_vanished_is_made_again(scene: Scene) -> None:
    """SQLite would go on in the deleted file; what is in use is kept in the new one."""
    scene.apply("old", sdk="other")
    scene.apply("a")
    shutil.rmtree(scene.path.parent)
    scene.apply("b")
    assert (["b"], ["old"]) == (scene.values(), scene.values("other"))
    with closing(sqlite3.connect(scene.path)) as file:
        assert 2 == file.execute("SELECT count(*) FROM applications").fetchone()[0]


def test_a_file_of_another_gateway_or_program_is_left_alone(tmp_path: Path, logged_errors) -> None:
    """Both are problems; a gateway that ends makes room for this one."""
    scene = Scene(tmp_path)
    scene.path.parent.mkdir()
    with LockFile(scene.path):
        scene.apply("a")
        assert "in use by another gateway" in scene.history.problems()[0]
    with closing(sqlite3.connect(scene.path)) as file:
        file.execute("CREATE TABLE precious (x)")
    scene.clock.advance(RETRY_SECONDS)
    assert "the database of another program; set history.path" in scene.history.problems()[0]
    scene.path.unlink()
    scene.clock.advance(RETRY_SECONDS)
    assert ([], ["a"]) == (scene.history.problems(), scene.values())
    assert 1 == len(logged_errors.flush())


@pytest.mark.parametrize("jump", [-5000.0, 40 * 365 * DAY])
def test_times_of_this_run_follow_a_clock_that_is_set(scene: Scene, jump: float) -> None:
    """The distance to now stays what it was, and nothing is deleted for its age soon after."""
    scene.apply("a")
    scene.apply("b", after=100)
    scene.offset += jump
    third = scene.apply("c", after=100)
    scene.clock.pump([MAINTAIN_SECONDS])
    assert ["c", "b", "a"] == scene.values()
    assert [200.0, 100.0, 0.0] == [third - each.at for each in result(scene.history.applications("shop")).found][::-1]
    assert ["a", "b", "c"] == [scene.at(third - 150), scene.at(third - 50), scene.at(third)]


def test_a_jump_while_a_write_is_under_way(scene: Scene) -> None:
    """What is being written, what waits and what comes later have the right order."""
    scene.held = []
    scene.apply("a")
    scene.apply("b", after=100)
    scene.offset -= 3600
    third = scene.apply("c", after=100)
    scene.release()
    assert ["c", "b", "a"] == scene.values()
    assert ["a", "b", "c"] == [scene.at(third - 150), scene.at(third - 50), scene.at(third)]


def test_nothing_is_deleted_for_its_age_until_the_clock_is_steady(scene: Scene) -> None:
    """A clock that runs years ahead for a minute must not delete the history."""
    scene.apply("a")
    scene.apply("b", after=100)
    result(scene.history.stop())
    scene.open()
    scene.apply("b")
    scene.offset += 365 * DAY
    scene.clock.pump([MAINTAIN_SECONDS])
    assert ["b", "a"] == scene.values()
    scene.clock.pump([STEADY_SECONDS, MAINTAIN_SECONDS])
    assert ["b"] == scene.values()


def test_a_disk_that_hangs_costs_little_memory(scene: Scene) -> None:
    """Few applications wait, then only the newest of each SDK; callers beyond a number are refused."""
    scene.held = []
    for number in range(WAITING_LIMIT + 20):
        scene.apply(str(number))
    assert WAITING_LIMIT >= len(scene.history._waiting)
    reads = [scene.history.applications("shop") for _ in range(READS)]
    with pytest.raises(HistoryUnavailable, match="wait for the history already"):
        result(scene.history.applications("shop"))
    scene.release()
    assert str(WAITING_LIMIT + 19) == scene.values()[0]
    assert all(result(read).found for read in reads)
    assert result(scene.history.applications("shop")).found


def test_a_stop_writes_what_waits(scene: Scene) -> None:
    """A write under way does not lose what came after it; a hanging disk does not hold up the stop."""
    scene.held = []
    scene.apply("a")
    scene.apply("b")
    stopped = scene.history.stop()
    assert not stopped.called
    scene.release()
    assert stopped.called
    scene.open()
    assert ["b", "a"] == scene.values()
    scene.held = []
    scene.apply("c")
    stopped = scene.history.stop()
    scene.clock.advance(5)
    assert stopped.called


def test_compiled_configs_are_bounded(scene: Scene) -> None:
    """The same moment gives the same object, the live config is not compiled again, old ones leave memory."""
    moments = [scene.apply(str(number), after=1) for number in range(COMPILED + 3)]
    first = result(scene.history.snapshot_at("shop", moments[0]))
    assert first is result(scene.history.snapshot("shop", first.tag))
    live = result(scene.history.snapshot("shop", config(str(COMPILED + 2)).tag))
    assert live is result(scene.history.snapshot_at("shop", scene.wall()))
    for moment in moments:
        scene.at(moment)
    assert COMPILED == len(scene.history._compiled)
    assert first is not result(scene.history.snapshot_at("shop", moments[0]))


def test_a_damaged_config_is_refused(scene: Scene) -> None:
    """Its hash would not fit, so it is not used."""
    first = scene.apply("a")
    scene.apply("b", after=10)
    with closing(sqlite3.connect(scene.path)) as file:
        file.execute("UPDATE configs SET body = zeroblob(30)")
        file.commit()
    with pytest.raises(NotKept, match="missing or damaged"):
        scene.at(first)


def pin_of(snapshot: Snapshot, key: str = "key") -> Pin:
    return Pin(key, hash_of(snapshot.body), snapshot.etag, START)


def test_a_pin_outlives_the_process(tmp_path: Path) -> None:
    """Its config is kept however old it is; another key has no pin, and a release ends it."""
    scene = Scene(tmp_path, keep=10.0)
    old = config("old")
    scene.apply("old")
    assert True is result(scene.history.pin("shop", pin_of(old), old))
    scene.apply("new", after=1)
    scene.clock.pump([MAINTAIN_SECONDS, MAINTAIN_SECONDS])
    result(scene.history.stop())
    assert None is scene.history._pins.get("other")
    scene.open(keep=10.0)
    assert None is result(scene.history.pinned("shop", "another key"))
    assert None is result(scene.history.pinned("other", "key"))
    pin, snapshot = result(scene.history.pinned("shop", "key"))
    assert (pin_of(old), "old", old.etag) == (pin, value_of(snapshot), snapshot.etag)
    assert True is result(scene.history.pin("shop", None, None))
    result(scene.history.stop())
    scene.open(keep=10.0)
    assert None is result(scene.history.pinned("shop", "key"))


def test_a_pin_that_cannot_be_stored_is_stored_later(tmp_path: Path, logged_errors) -> None:
    """The answer is no, and the problem states the risk until it is on disk."""
    scene = Scene(tmp_path)
    scene.path.parent.write_text("in the way")
    old = config("old")
    assert False is result(scene.history.pin("shop", pin_of(old), old))
    assert scene.history.problems()[0].endswith("; a restart would not know which config is pinned")
    scene.path.parent.unlink()
    scene.clock.advance(RETRY_SECONDS)
    assert [] == scene.history.problems()
    result(scene.history.stop())
    scene.open()
    assert pin_of(old) == result(scene.history.pinned("shop", "key"))[0]
    assert 1 == len(logged_errors.flush())


def test_a_pin_survives_the_loss_of_the_file(scene: Scene) -> None:
    """It is written to the new file with the next write, with its config."""
    old = config("old")
    scene.apply("old")
    result(scene.history.pin("shop", pin_of(old), old))
    shutil.rmtree(scene.path.parent)
    scene.apply("new")
    result(scene.history.stop())
    scene.open()
    assert "old" == value_of(result(scene.history.pinned("shop", "key"))[1])
