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

import yaml

from eventually import eventually
from gateway_process import GatewayProcess, unused_port

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
