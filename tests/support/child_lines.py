"""Programs that tell what they see as JSON, one value a line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Self

LINE_SECONDS = 30.0  # for the next line; a busy two-core machine starts node in three


class ChildLines:
    """A child process whose stdout is JSON lines; as a context manager it is ended at the end."""

    def __init__(self, command: list[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        """Take what ``subprocess.Popen`` takes."""
        self._command, self._cwd, self._env = command, cwd, env
        self._lines: Queue[str] = Queue()

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def next(self) -> Any:
        """Return the next value; fails with what was said instead if there is none in time."""
        try:
            line = self._lines.get(timeout=LINE_SECONDS)
        except Empty:
            raise AssertionError(f"{self._command[0]} said nothing for {LINE_SECONDS} s") from None
        try:
            return json.loads(line)
        except ValueError:
            rest = [line]
            while not self._lines.empty():
                rest.append(self._lines.get())
            raise AssertionError("not a JSON line:\n" + "".join(rest)) from None

    def until(self, wanted: Any) -> None:
        """Read on until this value comes."""
        seen = []
        while (value := self.next()) != wanted:
            seen.append(value)
            assert len(seen) < 200, f"{wanted!r} never came; seen: {seen}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
