"""``flaggateway password``: the hash that it prints is the one that settings and logins accept."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.command import main
from gateway.settings import load
from gateway.text import read_password_hash


def test_a_piped_password_is_hashed(runner: CliRunner) -> None:
    """The first line of standard input; each time with another salt."""
    first, second = (runner.invoke(main, ["password"], input="correct horse\nmore\n") for _ in range(2))
    assert (0, 0) == (first.exit_code, second.exit_code)
    assert first.stdout != second.stdout
    text = first.stdout.rstrip("\n")
    assert [True, False] == [read_password_hash(text).matches(each) for each in ("correct horse", "correct horse\n")]
    sdks = "sdks: {one: {key: configcat-sdk-1/0123456789abcdefghijkl/lkjihgfedcba9876543210}}\n"
    assert () == load(f"{sdks}diag:\n  users:\n    anna: {first.stdout}", {}).problems


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("short\n", "fewer than 8 characters"),
        ("", "fewer than 8 characters"),
        ("x" * 1025, "more than 1024 bytes"),
        (b"\xff" * 20, "not UTF-8"),
    ],
)
def test_a_password_that_cannot_be_used_is_refused(runner: CliRunner, given: str | bytes, reason: str) -> None:
    """Nothing is printed that could be copied."""
    result = runner.invoke(main, ["password"], input=given)
    assert (1, "") == (result.exit_code, result.stdout)
    assert reason in result.stderr


def test_at_a_terminal_it_is_asked_for_twice_and_not_shown() -> None:
    """The hash alone is on standard output, so that it can be piped into a file."""
    leader, follower = pty.openpty()
    command = [str(Path(sys.executable).with_name("flaggateway")), "password"]
    process = subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=follower, start_new_session=True, text=True
    )
    os.close(follower)
    seen = b""
    for word in (b"Password", b"epeat"):
        while word not in seen:
            seen += os.read(leader, 1000)
        os.write(leader, b"correct horse\n")
    printed, _ = process.communicate(timeout=60)
    assert 0 == process.returncode
    os.close(leader)
    assert b"correct" not in seen
    assert read_password_hash(printed.strip()).matches("correct horse")
