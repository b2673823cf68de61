"""The settings file: where it is looked for, and reading it; the one module of this room that touches a disk.

What opens and what looks is an argument everywhere, so tests touch none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Final

import attrs

from gateway.settings.loading import Loaded, load
from gateway.settings.parsing.yaml_text import TEXT_LIMIT
from gateway.settings.problems import Problem
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from gateway.settings.rules.general import Exists

DEFAULT_FILES: Final = (
    "/etc/flaggateway/flaggateway.yml",
    "/etc/configcat/proxy/options.yml",  # where the system we replace keeps it
)

Opener = Callable[[str, str], IO[bytes]]


def find_file(explicit: str | None, exists: Exists = os.path.exists) -> str | None:
    """Return the file to read: the one asked for, whether it exists or not, else the first default that exists."""
    if explicit:
        return explicit
    return next((path for path in DEFAULT_FILES if exists(path)), None)


class NotAFile(OSError):
    """The path is that of something which may keep its reader waiting for ever."""


def _open(path: str, mode: str) -> IO[bytes]:
    """Open a file without ever waiting: a reload happens between the requests of a running gateway."""
    file = open(path, mode, opener=_opened)  # noqa: SIM115 - a path that is no path must fail here and nowhere else
    if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAFile(None, "it is a pipe, not a file")
    return file


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


@attrs.frozen
class SettingsFile:
    """A source of settings that can be read again and again: the file, if there is one, and the environment."""

    explicit: str | None
    environ: Mapping[str, str]
    exists: Exists = os.path.exists
    opener: Opener = _open

    def read(self) -> Loaded:
        """Return what file and environment say now; never raises, and never waits but for the disk."""
        path = find_file(self.explicit, self.exists)
        if path is None:
            return load(None, self.environ, exists=self.exists)
        try:
            with self.opener(path, "rb") as file:
                content = file.read(TEXT_LIMIT * 4 + 1)  # bytes; a character takes at most four
            text = content.decode("utf-8-sig")
        except FileNotFoundError:
            return _failed(path, f"config file {path} does not exist: stat {path}: no such file or directory")
        except OSError as error:
            return _failed(path, f"failed to read config file {path}: {error.strerror or type(error).__name__}")
        except UnicodeDecodeError:
            return _failed(path, f"failed to read config file {path}: not UTF-8")
        except ValueError:  # a path with a NUL in it
            return _failed(path, "failed to read config file: not a path")
        return load(text, self.environ, path=path, exists=self.exists)


def _failed(path: str, text: str) -> Loaded:
    return Loaded(settings=None, problems=(Problem(path="", text=replace_unprintable(text)),), path=path)
