"""A system clock that a test sets while a real gateway runs."""

from __future__ import annotations

from pathlib import Path

# Python imports this module at its start: time.time() is ahead by what the file CLOCK_AHEAD holds.
SITE = """
import os, time
from pathlib import Path

path, true_time = Path(os.environ["CLOCK_AHEAD"]), time.time
time.time = lambda: true_time() + float(path.read_text())
"""


class JumpingClock:
    """The clock of a gateway that runs with ``env``."""

    def __init__(self, folder: Path) -> None:
        """Begin with the true time."""
        self._file = folder / "ahead"
        self.env = {"CLOCK_AHEAD": str(self._file), "PYTHONPATH": str(folder)}
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SITE, "utf-8")
        self.set(0)

    def set(self, ahead: float) -> None:
        """Set the clock, ahead of the true time by so many seconds."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(ahead), "utf-8")
        fresh.replace(self._file)
