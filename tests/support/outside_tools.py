"""Programs from outside the project that some tests need, and what to do where one is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def missing(reason: str, *, required: bool = True) -> NoReturn:
    """Skip the running test loudly, or fail it where ``CI`` is set: there everything ``required`` must be installed."""
    if required and os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set, so this is a failure)", pytrace=False)
    print(f"\nNOT TESTED: {reason}", file=sys.__stderr__)
    pytest.skip(reason)


def find_tool(name: str) -> str:
    """Return the path of a program; without it the test is skipped loudly, or fails where ``CI`` is set."""
    # Debian has servers in /usr/sbin, which users do not search; etc/setup/go-tools installs into .run/tools.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:{Path(__file__).resolve().parents[2] / '.run/tools'}"
    return shutil.which(name, path=path) or missing(
        f"{name} is not installed; `make test` installs it as root or with sudo"
    )


def run(*command: str | Path, cwd: str | Path = "/") -> str:
    """Run a program outside the checkout and return what it printed; it must end well."""
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout
    return ended.stdout
