"""Where the lines go when twistd is told a file, or runs as a daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventually import eventually
from gateway_process import GatewayProcess, unused_port
from soak import family

Start = Callable[..., GatewayProcess]


def settings(home: Path, **more: Any) -> dict[str, Any]:
    """Return settings of one SDK that reads a file in ``home``."""
    config = home / "config.json"
    config.write_text(json.dumps({"f": {"on": {"t": 0, "v": {"b": True}}}}), "utf-8")
    return {"sdks": {"shop": {"key": "k", "offline": {"enabled": True, "local": {"file_path": str(config)}}}}, **more}


def test_a_log_file_takes_every_line_those_of_workers_included(gateway_process: Start, tmp_path: Path) -> None:
    """The file that twistd is told is appended to; nothing but its own first lines goes anywhere else."""
    file = tmp_path / "gateway.log"
    file.write_text("from before\n", "utf-8")
    told = settings(tmp_path, workers=2, log={"level": "debug"})
    gateway = gateway_process(told, twistd_options=(f"--logfile={file}",))
    assert 200 == gateway.post("/api/shop/eval", b'{"key":"on"}')[0]
    gateway.reload()
    eventually(lambda: "settings reloaded" in file.read_text("utf-8"))
    assert 0 == gateway.stop()
    text = file.read_text("utf-8")
    assert text.startswith("from before\n")
    for line in ("HTTP server listening", "POST /api/{sdkId}/eval answered 200", "shutdown complete"):
        assert line in text
        assert line not in gateway.logs()


@pytest.mark.parametrize("workers", [1, 2])
def test_sigusr1_has_every_process_go_on_in_a_new_file(gateway_process: Start, tmp_path: Path, workers: int) -> None:
    """Whoever rotates the file has moved it away; nothing more is written to that one."""
    file, old = tmp_path / "gateway.log", tmp_path / "gateway.log.1"
    told = settings(tmp_path, workers=workers, log={"level": "debug"}, http={"log": {"level": "debug"}})
    gateway = gateway_process(told, twistd_options=(f"--logfile={file}",))
    file.rename(old)
    os.kill(gateway.pid, signal.SIGUSR1)
    eventually(lambda: file.exists() and file.read_text("utf-8").count("log file reopened") == len(family(gateway.pid)))
    before = old.read_text("utf-8")
    for _ in range(20):
        assert 200 == gateway.post("/api/shop/eval", b'{"key":"on"}')[0]
    assert 0 == gateway.stop()
    text = file.read_text("utf-8")
    assert 20 == text.count("POST /api/{sdkId}/eval answered 200")
    assert "shutdown complete" in text
    assert before == old.read_text("utf-8")
    assert "HTTP server listening" in before


def test_without_a_log_file_sigusr1_ends_nobody(gateway_process: Start, tmp_path: Path) -> None:
    """Not the leader, which says that there is nothing to do, and no worker, if the whole group gets it."""
    gateway = gateway_process(settings(tmp_path, workers=2))
    before = family(gateway.pid)
    for pid in reversed(before):
        os.kill(pid, signal.SIGUSR1)
    eventually(lambda: "no log file to reopen" in gateway.logs())
    assert 200 == gateway.post("/api/shop/eval", b'{"key":"on"}')[0]
    assert before == family(gateway.pid)
    assert 0 == gateway.stop()


def test_a_log_file_that_cannot_be_opened_again_leaves_the_old_one(gateway_process: Start, tmp_path: Path) -> None:
    """Lines are worth more than their place."""
    folder = tmp_path / "logs"
    folder.mkdir()
    gateway = gateway_process(settings(tmp_path), twistd_options=(f"--logfile={folder}/gateway.log",))
    folder.rename(tmp_path / "moved")
    os.kill(gateway.pid, signal.SIGUSR1)
    text = (tmp_path / "moved" / "gateway.log").read_text
    eventually(lambda: "log lines go to the old one: No such file or directory" in text("utf-8"))
    assert 0 == gateway.stop()
    assert "shutdown complete" in text("utf-8")


def test_a_daemon_logs_to_a_file_in_its_directory(tmp_path: Path) -> None:
    """A daemon has no standard output, so its lines go where twistd's other services write theirs."""
    ports = {"http": {"port": unused_port(), "bind": "127.0.0.1"}, "diag": {"enabled": False}}
    (tmp_path / "x.yml").write_text(yaml.safe_dump(settings(tmp_path, **ports)), "utf-8")
    twistd = str(Path(sys.executable).with_name("twistd"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONFIGCAT_")}
    command = [twistd, "--pidfile=pid", "flaggateway", "--config=x.yml"]
    subprocess.run(command, cwd=tmp_path, env=clean, timeout=60, check=True)
    log = tmp_path / "twistd.log"
    eventually((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text("ascii"))
    try:
        eventually(lambda: log.exists() and "HTTP server listening" in log.read_text("utf-8"))
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: "shutdown complete" in log.read_text("utf-8"))


def test_a_log_file_that_cannot_be_opened_ends_the_start(gateway_process: Start, tmp_path: Path) -> None:
    """One line on the terminal says why, and the exit status is 1."""
    gateway = GatewayProcess(settings(tmp_path), tmp_path, twistd_options=(f"--logfile={tmp_path}/missing/x.log",))
    ended = ""
    try:
        gateway.start()
    except Exception as error:  # noqa: BLE001 - whatever it is, its text is looked at
        ended = str(error)
    finally:
        gateway.kill()
    assert "ended with 1" in ended
    assert "not started: the log file cannot be opened: No such file or directory" in ended
    assert "Traceback" not in ended
