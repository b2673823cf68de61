"""Finding and reading the settings file."""

from __future__ import annotations

import io
import os

import pytest

from gateway.settings.files import DEFAULT_FILES, SettingsFile, find_file

OURS, THEIRS = DEFAULT_FILES


@pytest.mark.parametrize(
    ("explicit", "there", "expected"),
    [
        (None, {OURS, THEIRS}, OURS),
        (None, {THEIRS}, THEIRS),
        (None, set(), None),
        ("/x", {OURS}, "/x"),
        ("", {OURS}, OURS),
    ],
)
def test_the_file_is_looked_for_in_order(explicit, there, expected):
    """The explicit path has priority, then our default, then ConfigCat Proxy's."""
    assert expected == find_file(explicit, there.__contains__)


def read(content: bytes | OSError, explicit: str | None = "/x") -> object:
    def opener(_path: str, _mode: str) -> io.BytesIO:
        if isinstance(content, OSError):
            raise content
        return io.BytesIO(content)

    return SettingsFile(explicit, {}, lambda _path: True, opener).read()


def test_a_file_is_read_with_its_path():
    """The result and syntax errors have the path of the file."""
    assert "/x" == read(b"sdks: {a: {key: k}}").path
    assert read(b"a: [").problems[0].text.startswith("failed to parse YAML from config file /x: ")


def test_a_byte_order_mark_is_ignored():
    """Some editors write one."""
    assert () == read(b"\xef\xbb\xbfsdks: {a: {key: k}}").problems


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (FileNotFoundError(2, "x"), "config file /x does not exist: stat /x: no such file or directory"),
        (PermissionError(13, "Permission denied"), "failed to read config file /x: Permission denied"),
        (IsADirectoryError(21, "Is a directory"), "failed to read config file /x: Is a directory"),
        (b"\xff\xfe", "failed to read config file /x: not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(content, text):
    """The problem has the path and the reason."""
    found = read(content)
    assert ([text], None) == ([problem.text for problem in found.problems], found.settings)


def test_without_a_file_the_environment_is_used():
    """A missing default file is not a problem."""
    source = SettingsFile(None, {"CONFIGCAT_SDKS": '{"a":"k"}'}, lambda _path: False)
    assert ((), "") == (source.read().problems, source.read().path)


def test_an_invalid_path_is_one_problem():
    """A NUL in the path is reported and not raised."""
    assert ["failed to read config file: not a path"] == [p.text for p in SettingsFile("a\0b", {}).read().problems]


def test_a_real_file_is_read_again(tmp_path):
    """A second read returns the changed file."""
    file = tmp_path / "x.yml"
    file.write_text("sdks: {a: {key: k}}")
    source = SettingsFile(str(file), {})
    assert source.read().settings is not None
    file.write_text("sdks: {}")
    assert source.read().settings is None


@pytest.mark.timeout(10)
def test_a_pipe_is_refused_at_once(tmp_path):
    """A pipe without a writer does not block a running gateway."""
    pipe = tmp_path / "x.yml"
    os.mkfifo(pipe)
    found = SettingsFile(str(pipe), {}).read()
    assert [f"failed to read config file {pipe}: it is a pipe, not a file"] == [p.text for p in found.problems]


def test_an_empty_device_is_an_empty_file():
    """``/dev/null`` is read as an empty file."""
    assert () == SettingsFile("/dev/null", {"CONFIGCAT_SDKS": '{"a":"k"}'}).read().problems
