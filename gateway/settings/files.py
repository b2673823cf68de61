"""Finding and reading the settings file: the only module of the room that accesses the file system.

The functions that open and check files are arguments, so that tests need no files.
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
    "/etc/configcat/proxy/options.yml",  # of ConfigCat Proxy
)

Opener = Callable[[str, str], IO[bytes]]


def find_file(explicit: str | None, exists: Exists = os.path.exists) -> str | None:
    """Return the file to read: ``explicit``, whether it exists or not, else the first default that exists."""
    if explicit:
        return explicit
    return next((path for path in DEFAULT_FILES if exists(path)), None)


def _open(path: str, mode: str) -> IO[bytes]:
    """Open a file without blocking, because a reload happens between the requests of a running gateway."""
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - the caller closes it
    if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(None, "it is a pipe, not a file")
    return file


@attrs.frozen
class SettingsFile:
    """The source of the settings, which a reload reads again: the file, if any, and the environment."""

    explicit: str | None
    environ: Mapping[str, str]
    exists: Exists = os.path.exists
    opener: Opener = _open

    def read(self) -> Loaded:
        """Load the settings as they are now; never raises, and blocks for nothing but the disk."""
        path = find_file(self.explicit, self.exists)
        if path is None:
            return load(None, self.environ, exists=self.exists)
        try:
            with self.opener(path, "rb") as file:
                content = file.read(TEXT_LIMIT * 4 + 1)  # bytes; UTF-8 needs at most four for a character
            text = content.decode("utf-8-sig")
        except FileNotFoundError:
            return _failed(path, f"config file {path} does not exist: stat {path}: no such file or directory")
        except OSError as error:
            return _failed(path, f"failed to read config file {path}: {error.strerror or type(error).__name__}")
        except UnicodeDecodeError:
            return _failed(path, f"failed to read config file {path}: not UTF-8")
        except ValueError:  # the path contains a NUL
            return _failed(path, "failed to read config file: not a path")
        return load(text, self.environ, path=path, exists=self.exists)


def _failed(path: str, text: str) -> Loaded:
    return Loaded(settings=None, problems=(Problem(path="", text=replace_unprintable(text)),), path=path)
