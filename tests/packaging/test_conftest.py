"""The rules that every test runs under do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tracked import ROOT

SAMPLES = """
from twisted.internet.defer import Deferred
from twisted.logger import Logger

def test_logs_an_error():
    Logger().error("something broke")

def test_loses_a_failure():
    Deferred().errback(ValueError("lost"))

def test_takes_what_it_expects(logged_errors):
    Deferred().errback(ValueError("expected"))
    assert 1 == len(logged_errors.flush(ValueError))

def test_takes_another_error_than_the_one_logged(logged_errors):
    Deferred().errback(ValueError("unexpected"))
    assert [] == logged_errors.flush(KeyError)

def test_warns():
    Logger().warn("only a warning")

def test_needs_a_tool(require_tool):
    require_tool("no-such-program-anywhere")
"""


def outcomes(folder, **env):
    """Run the samples under our conftest and return test name → outcome, the one of its end if that fails."""
    (folder / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (folder / "test_samples.py").write_text(SAMPLES)
    support = ROOT / "tests" / "support"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "--tb=no", "-rN", "-o", f"pythonpath={support}", folder],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "CI"} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    return dict(re.findall(r"::test_(\w+) (PASSED|FAILED|ERROR|SKIPPED)", ended.stdout))


@pytest.mark.parametrize(("env", "without_tool"), [({}, "SKIPPED"), ({"CI": "1"}, "FAILED")], ids=["at home", "in CI"])
def test_silent_errors_and_in_ci_missing_tools_fail_a_test(tmp_path, env, without_tool):
    """A logged error or a lost failure fails its test, a taken one does not; a missing tool skips, or fails in CI."""
    expected = {
        "logs_an_error": "ERROR",
        "loses_a_failure": "ERROR",
        "takes_what_it_expects": "PASSED",
        "takes_another_error_than_the_one_logged": "ERROR",
        "warns": "PASSED",
        "needs_a_tool": without_tool,
    }
    assert expected == outcomes(tmp_path, **env)
