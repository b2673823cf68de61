"""The local file source on the real file system: replacement, symlink swaps, partial writes, polling, bounds."""

from __future__ import annotations

import os
from random import Random

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from gateway.settings import Settings
from gateway.upstream import Registry, file_source
from gateway.upstream.inotify import InotifyWatch
from gateway.upstream.symlinks import path_state

pytestmark = pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")


def config(value, padding=0):
    return msgspec.json.encode({"f": {"flag": {"t": 1, "v": {"s": value}}}}) + b" " * padding


MISSING = "failed to read file: No such file or directory (config.json)"


class Remembering:
    def __init__(self):
        self.messages = []
        self.confirmations = 0

    def confirmed(self, sdk_id):
        self.confirmations += 1

    def record(self, sdk_id, ok, message):
        self.messages.append(message)

    def requested(self, sdk_id, status, seconds): ...

    def fetched(self, sdk_id, outcome, seconds):
        pass


class Files:
    """A registry whose one SDK reads a file."""

    def __init__(self, home, reactor):
        self.reactor = reactor
        self.home = home
        self.path = home / "config.json"
        self.reporter = Remembering()
        self.values = []
        self.waiting = []
        self.registry = None

    async def open(self, clock=None, *, polling=False, max_bytes=100_000, in_thread=maybeDeferred):
        local = {"file_path": str(self.path), "polling": polling}
        sdk = {"key": "any", "offline": {"enabled": True, "local": local}}
        settings = msgspec.convert({"sdks": {"one": sdk}, "upstream": {"max_bytes": max_bytes}}, Settings)
        self.registry = Registry(
            clock or self.reactor,
            settings,
            rng=Random(1),
            reporter=self.reporter,
            on_change=self._changed,
            in_thread=in_thread,
        )
        self.registry.start()
        await self.sdk.when_loaded()
        return self.sdk

    @property
    def sdk(self):
        return self.registry.by_id("one")

    def _changed(self, sdk, old, new):
        self.values.append(new.evaluate("flag", None).value)
        waiting, self.waiting = self.waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def becomes(self, value):
        """Wait until that value is served."""
        while not self.values or self.values[-1] != value:
            deferred = Deferred()
            self.waiting.append(deferred)
            await deferred.addTimeout(10, self.reactor)

    def replace(self, body, path=None):
        """Write beside and rename over."""
        path = path or self.path
        beside = path.with_name(path.name + ".new")
        beside.write_bytes(body)
        beside.rename(path)


@pytest_twisted.async_yield_fixture
async def files(tmp_path, reactor):
    """A file with a good config; watches and timers are closed at the end."""
    made = Files(tmp_path, reactor)
    made.path.write_bytes(config("red"))
    yield made
    if made.registry is not None:
        await made.registry.stop()


@pytest_twisted.ensureDeferred
async def test_the_body_is_the_files_bytes(files):
    """Bytes are served as they are in the file, odd spacing included, under an ETag made from them."""
    files.path.write_bytes(b"\n" + config("red", padding=5))
    sdk = await files.open()
    assert b"\n" + config("red", padding=5) == sdk.snapshot.body
    assert sdk.snapshot.etag.startswith('W/"')
    assert ["file source reloaded"] == files.reporter.messages


@pytest_twisted.ensureDeferred
async def test_a_byte_order_mark_is_removed(files):
    """Editors on Windows write one; the config is served without it, and the mark alone is no change."""
    files.path.write_bytes(b"\xef\xbb\xbf" + config("red"))
    sdk = await files.open()
    assert config("red") == sdk.snapshot.body
    first = sdk.snapshot.tag
    files.path.write_bytes(b"\xef\xbb\xbf" + config("blue"))
    await files.becomes("blue")
    assert (config("blue"), True) == (sdk.snapshot.body, first != sdk.snapshot.tag)


@pytest_twisted.ensureDeferred
async def test_a_write_is_noticed(files):
    """A file that is written in place is read again."""
    await files.open()
    files.path.write_bytes(config("blue"))
    await files.becomes("blue")


@pytest_twisted.ensureDeferred
async def test_an_atomic_replace_is_noticed_again_and_again(files):
    """A file renamed over the old one is read, each time."""
    await files.open()
    for number in range(5):
        files.replace(config(f"blue{number}"))
        await files.becomes(f"blue{number}")


@pytest_twisted.ensureDeferred
async def test_reads_in_a_thread_work_alike(files):
    """With blocking reads in a thread, changes come in the reactor thread in order."""
    await files.open(in_thread=deferToThread)
    for value in ("blue", "green"):
        files.replace(config(value))
        await files.becomes(value)
    assert ["red", "blue", "green"] == files.values


def config_map(home, generation, value):
    """One generation of a ConfigMap volume, and ``..data`` switched to it as the kubelet does."""
    directory = home / f"..{generation}"
    directory.mkdir()
    (directory / "config.json").write_bytes(config(value))
    (home / "..data_tmp").symlink_to(directory.name)
    (home / "..data_tmp").rename(home / "..data")


@pytest_twisted.ensureDeferred
async def test_a_config_map_swap_is_noticed(files):
    """The directory behind ..data is switched and the old one deleted, several times over."""
    files.path.unlink()
    config_map(files.home, 0, "red")
    files.path.symlink_to("..data/config.json")
    await files.open()
    for generation in range(1, 4):
        config_map(files.home, generation, f"blue{generation}")
        (files.home / f"..{generation - 1}" / "config.json").unlink()
        (files.home / f"..{generation - 1}").rmdir()
        await files.becomes(f"blue{generation}")


@pytest_twisted.ensureDeferred
async def test_a_link_into_another_directory_is_followed(files):
    """Changes behind an absolute link are seen, and so is the link when it points elsewhere."""
    for name in ("one", "two"):
        (files.home / name).mkdir()
        (files.home / name / "real.json").write_bytes(config(name))
    files.path.unlink()
    files.path.symlink_to(files.home / "one" / "real.json")
    await files.open()
    files.replace(config("edited"), files.home / "one" / "real.json")
    await files.becomes("edited")
    beside = files.home / "beside"
    beside.symlink_to(files.home / "two" / "real.json")
    beside.rename(files.path)
    await files.becomes("two")
    (files.home / "two" / "real.json").write_bytes(config("again"))
    await files.becomes("again")


@pytest_twisted.ensureDeferred
async def test_a_directory_that_goes_and_comes_back(files):
    """The whole directory is moved away and another takes its name."""
    home = files.home / "etc"
    home.mkdir()
    files.path = home / "config.json"
    files.path.write_bytes(config("red"))
    await files.open()
    fresh = files.home / "fresh"
    fresh.mkdir()
    (fresh / "config.json").write_bytes(config("blue"))
    home.rename(files.home / "old")
    fresh.rename(home)
    await files.becomes("blue")
    files.path.write_bytes(config("green"))
    await files.becomes("green")


@pytest_twisted.ensureDeferred
async def test_a_partial_write_never_replaces_a_good_config(files):
    """Half a file fails and is recorded, the good config stays, and the rest of the write is taken."""
    sdk = await files.open()
    good = sdk.snapshot
    whole = config("blue")
    with files.path.open("wb", buffering=0) as writing:
        writing.write(whole[:20])
        result = await sdk.refresh()
        assert result.error.startswith("config fetch failed: invalid config JSON content: ")
        reason = result.error.removeprefix("config fetch failed: ")
        record = f"failed to parse JSON from file: {reason} (config.json)"
        assert (record, good) == (files.reporter.messages[-1], sdk.snapshot)
        writing.write(whole[20:])
    await files.becomes("blue")


@pytest_twisted.ensureDeferred
async def test_a_missing_file_is_waited_for(files):
    """An SDK whose file, and its directory, appear later loads then; one whose file goes keeps its config."""
    files.path = files.home / "later" / "config.json"
    sdk = await files.open()
    assert (None, [MISSING]) == (sdk.snapshot, files.reporter.messages)
    files.path.parent.mkdir()
    files.path.write_bytes(config("red"))
    await files.becomes("red")
    good = sdk.snapshot
    files.path.unlink()
    assert "config fetch failed: the file cannot be read: No such file or directory" == (await sdk.refresh()).error
    assert good is sdk.snapshot


@pytest_twisted.ensureDeferred
async def test_equal_bytes_are_no_change(files):
    """A touched or rewritten file with the same bytes changes nothing."""
    sdk = await files.open()
    good = sdk.snapshot
    files.replace(config("red"))
    result = await sdk.refresh()
    assert (None, False, good) == (result.error, result.changed, sdk.snapshot)
    assert "config from file not modified" == files.reporter.messages[-1]


@pytest_twisted.ensureDeferred
async def test_files_are_bounded_and_regular(files):
    """A file beyond the limit, a directory and a pipe without a writer are failures and block nothing."""
    sdk = await files.open(max_bytes=2000)
    files.path.write_bytes(config("red", padding=3000))
    assert "config fetch failed: the file is larger than upstream.max_bytes" == (await sdk.refresh()).error
    files.path.unlink()
    os.mkfifo(files.path)
    assert "config fetch failed: the path is not that of a regular file" == (await sdk.refresh()).error
    files.path.unlink()
    files.path.mkdir()
    assert "config fetch failed: the path is not that of a regular file" == (await sdk.refresh()).error
    files.path.rmdir()
    files.path.write_bytes(config("blue"))
    assert (await sdk.refresh()).changed


@pytest_twisted.ensureDeferred
async def test_polling_notices_replacement_and_swap(files):
    """In polling mode a poll every five seconds finds a rename and a switched link, and reads nothing in between."""
    clock = Clock()
    await files.open(clock, polling=True)
    clock.pump([5] * 3)
    assert ["file source reloaded", "config from file not modified"] == files.reporter.messages
    files.replace(config("blue"))
    clock.advance(5)
    assert ["red", "blue"] == files.values
    (files.home / "other.json").write_bytes(config("swap"))
    (files.home / "link").symlink_to("other.json")
    (files.home / "link").rename(files.path)
    clock.advance(5)
    assert ["red", "blue", "swap"] == files.values


@pytest_twisted.ensureDeferred
async def test_each_poll_of_an_unchanged_file_confirms_the_config(files):
    """So its age shows that the file is still looked at; a file that is gone or no config confirms nothing."""
    clock = Clock()
    await files.open(clock, polling=True)
    clock.pump([5] * 4)
    assert (2, 3) == (len(files.reporter.messages), files.reporter.confirmations)
    files.path.write_bytes(b"{")
    clock.pump([5] * 4)
    files.path.unlink()
    clock.pump([5] * 4)
    assert 3 == files.reporter.confirmations
    files.path.write_bytes(config("red"))
    clock.pump([5] * 4)
    assert 5 == files.reporter.confirmations


@pytest_twisted.ensureDeferred
async def test_a_file_with_inotify_is_confirmed_by_the_poll_beside_it(files, monkeypatch):
    """Without any event, every 15 seconds."""
    monkeypatch.setattr(
        file_source.FileSource.__init__, "__kwdefaults__", {"watching": lambda clock, on_event: FakeWatch(on_event)}
    )
    clock = Clock()
    await files.open(clock)
    clock.pump([5] * 15)
    assert (2, 4) == (len(files.reporter.messages), files.reporter.confirmations)


@pytest_twisted.ensureDeferred
async def test_polling_reads_once_more_after_a_change(files):
    """Two writes in one tick of the file system's clock have one state, so the poll after a change reads as well."""
    clock = Clock()
    await files.open(clock, polling=True)
    files.path.write_bytes(config("blue"))
    clock.advance(5)
    seen = files.path.stat()
    files.path.write_bytes(config("pink"))
    os.utime(files.path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert path_state(str(files.path)) != files.sdk._source._seen
    files.sdk._source._seen = path_state(str(files.path))
    clock.advance(5)
    assert "pink" == files.values[-1]
    reads = len(files.reporter.messages)
    clock.pump([5] * 4)
    assert reads == len(files.reporter.messages)


@pytest_twisted.ensureDeferred
async def test_polling_retries_an_unreadable_file(files):
    """A file that could not be read is read at each poll; one that is no config only when it changes."""
    clock = Clock()
    files.path.unlink()
    await files.open(clock, polling=True)
    clock.pump([5] * 2)
    assert [MISSING] * 3 == files.reporter.messages
    files.path.write_bytes(b"{")
    clock.pump([5] * 4)
    assert ["failed to parse JSON from file"] * 2 == [text.split(":")[0] for text in files.reporter.messages[3:]]


@pytest_twisted.ensureDeferred
async def test_without_inotify_the_file_is_polled(files, monkeypatch):
    """Where the system has no inotify left, the file is polled."""
    monkeypatch.setattr(file_source.FileSource.__init__, "__kwdefaults__", {"watching": lambda clock, on_event: None})
    clock = Clock()
    await files.open(clock)
    files.replace(config("blue"))
    clock.advance(5)
    assert ["red", "blue"] == files.values


class FakeWatch:
    """A watch whose events the test sends."""

    def __init__(self, on_event):
        self.on_event = on_event
        self.followed = []

    def set_directories(self, directories):
        self.followed.append(directories)

    def close(self):
        self.on_event = None


@pytest_twisted.ensureDeferred
async def test_events_are_gathered(files, monkeypatch):
    """A burst of events is one read after a quiet moment, an endless one a read each second, another file none."""
    watches = []

    def ring(clock, on_event):
        watches.append(FakeWatch(on_event))
        return watches[-1]

    monkeypatch.setattr(file_source.FileSource.__init__, "__kwdefaults__", {"watching": ring})
    clock = Clock()
    await files.open(clock)
    for _ in range(5):
        watches[0].on_event(str(files.path))
        clock.advance(0.05)
    assert 1 == len(files.reporter.messages)
    clock.advance(0.1)
    assert 2 == len(files.reporter.messages)
    for _ in range(42):
        watches[0].on_event(str(files.path))
        clock.advance(0.05)
    assert 4 == len(files.reporter.messages)
    clock.advance(1)
    read = len(files.reporter.messages)
    watches[0].on_event(str(files.home / "neighbour"))
    clock.advance(2)
    assert read == len(files.reporter.messages)


def test_a_loop_of_links_ends(tmp_path):
    """Links that form a loop are a missing file, found in bounded time."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert None is path_state(str(tmp_path / "a")).file


def test_the_state_has_every_directory_of_a_config_map(tmp_path):
    """The directories of both links and of the file itself are to be watched."""
    config_map(tmp_path, 0, "red")
    (tmp_path / "config.json").symlink_to("..data/config.json")
    state = path_state(str(tmp_path / "config.json"))
    assert {str(tmp_path), str(tmp_path / "..0")} <= {path for path, _, _ in state.directories}
    assert {str(tmp_path / "..data"), str(tmp_path / "..0" / "config.json")} <= state.names


@pytest_twisted.ensureDeferred
async def test_a_watch_that_cannot_be_set_is_tried_again(files, reactor):
    """When the system refuses a watch, nothing is raised, and a later call sets it."""
    watched, refused = [], [True]

    class Refusing:
        def watch(self, path, callbacks):
            if refused[0]:
                raise OSError("no watches left")
            watched.append(path.path)

        def startReading(self):
            pass

        def loseConnection(self):
            pass

    watch = InotifyWatch(Refusing, print)
    assert watch.available()
    places = path_state(str(files.path)).directories
    watch.set_directories(places)
    assert [] == watched
    refused[0] = False
    watch.set_directories(places)
    watch.set_directories(places)
    assert [path for path, _, _ in places] == watched


def test_a_system_without_inotify_descriptors_is_noticed():
    """At the limit of inotify instances no watch is returned, so that the file is polled."""

    def make():
        raise OSError("too many")

    assert not InotifyWatch(make, print).available()
