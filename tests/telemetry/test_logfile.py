"""The destination of the log by twistd's own options."""

from pathlib import Path

import pytest

from gateway.telemetry import log_file_path


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (None, ""),
        ({"nodaemon": 1, "logfile": None}, ""),
        ({"nodaemon": 1, "logfile": "-"}, ""),
        ({"nodaemon": 1, "logfile": "x.log"}, "x.log"),
        ({"nodaemon": 0, "logfile": None}, "twistd.log"),
        ({"nodaemon": 0, "logfile": "/var/log/x.log"}, "/var/log/x.log"),
    ],
)
def test_the_log_goes_where_twistd_puts_it(options, name):
    """Standard output in the foreground, a file where one is named, twistd's usual one for a daemon."""
    assert (str(Path.cwd() / name) if name else "") == log_file_path(options)
