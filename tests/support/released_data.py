"""Make the data of a release for tests/e2e/test_upgrade.py: python -m released_data VERSION REVISION

A gateway of REVISION runs from git with the environment of this checkout. It loads a config, records two changes for an
endpoint that cannot be reached and evaluations for an exporter that cannot be reached, and stops. Its state directory
is stored below tests/data/VERSION, compressed, with a manifest of what the present version must find in it.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

from cdn_stand_in import SDK_KEY, CdnStandIn
from eventually import eventually
from gateway_process import GatewayProcess, unused_port
from shop import GERMAN, shop

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data"
SECRET = "a secret of the receiver's"
VALUES = ["spring", "summer", "winter"]
EVALUATIONS = 5
NEVER = 4_000_000_000  # seconds: the data must not be too old for a test in ten years


@frozen
class Addresses:
    """Where the gateway of a test sends to, and fetches from."""

    upstream: str
    webhooks: str
    events: str


def settings(at: Addresses, *, history: bool = True) -> dict[str, Any]:
    """The settings with which the data are made and read."""
    endpoint = {"name": "ops", "url": at.webhooks, "secret": SECRET, "retry_for": NEVER, "concurrency": 1}
    return {
        "sdks": {"shop": {"key": SDK_KEY, "base_url": at.upstream, "poll_interval": 600}},
        "webhooks": [endpoint],
        "exporter": {"endpoint_url": at.events, "secret": SECRET, "flush_interval": 500},
        "outbox": {"keep": NEVER},
        "http": {"sse": {"drain_window": 0}},
    } | ({"history": {"keep": NEVER}} if history else {})


def state(home: Path) -> Path:
    """The state directory of a gateway process."""
    return home / "state" / "flaggateway"


def unpack(version: str, home: Path) -> dict[str, Any]:
    """Put the data of a release into the state directory of a gateway, and return the manifest."""
    folder = DATA / version
    for packed in folder.rglob("*.gz"):
        target = state(home) / packed.relative_to(folder).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress(packed.read_bytes()))
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return found


def make(version: str, checkout: Path, home: Path) -> None:
    """Run the gateway of a checkout, and store what it leaves."""
    nowhere = f"http://127.0.0.1:{unused_port()}/"
    with CdnStandIn(shop(VALUES[0])) as cdn:
        at = Addresses(cdn.url, nowhere, nowhere)
        history = (checkout / "gateway/history").exists()
        gateway = GatewayProcess(settings(at, history=history), home, env={"PYTHONPATH": str(checkout)})
        gateway.start()
        try:
            for value in VALUES[1:]:
                cdn.set(shop(value))
                gateway.post("/api/shop/refresh")
                eventually(lambda value=value: banner(gateway) == value, gateway.logs)
            for number in range(EVALUATIONS):
                body = {"key": "limit", "user": {"Identifier": f"user-{number}"}}
                assert gateway.post("/api/shop/eval", json.dumps(body).encode())[0] == 200
            eventually(lambda: spooled(home) >= EVALUATIONS, gateway.logs)
            etag = cdn.etag
        finally:
            gateway.stop()
    store(version, home, etag)


def banner(gateway: GatewayProcess) -> object:
    """The value of the flag that changes, without an event of its own in the way: all flags are not exported."""
    code, body = gateway.post("/api/shop/eval-all", json.dumps({"user": GERMAN}).encode())
    return json.loads(body)["banner"]["value"] if code == 200 else None


def spooled(home: Path) -> int:
    """Events that are on disk."""
    with closing(sqlite3.connect(state(home) / "outbox.sqlite3")) as database:
        count: int = database.execute("SELECT count FROM spooled").fetchone()[0]
    return count


def store(version: str, home: Path, etag: str) -> None:
    """Compress the files of the state directory, and write the manifest."""
    folder = DATA / version
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.rglob("*.gz"):
        old.unlink()
    for file in sorted(state(home).rglob("*")):
        if file.is_file() and not file.name.endswith((".lock", "-wal", "-shm")):
            if file.suffix == ".sqlite3":
                with closing(sqlite3.connect(file)) as database:
                    database.execute("PRAGMA journal_mode = DELETE")
                    database.execute("VACUUM")
            packed = folder / file.relative_to(state(home)).with_suffix(f"{file.suffix}.gz")
            packed.parent.mkdir(parents=True, exist_ok=True)
            packed.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    with closing(sqlite3.connect(state(home) / "outbox.sqlite3")) as database:
        messages = database.execute("SELECT id, type FROM messages WHERE state = 'pending' ORDER BY row").fetchall()
        version_of_schema = database.execute("PRAGMA user_version").fetchone()[0]
    manifest = {
        "version": version,
        "outbox_schema": version_of_schema,
        "value": VALUES[-1],
        "etag": etag,
        "messages": messages,
        "evaluations": EVALUATIONS,
        "files": sorted(str(packed.relative_to(folder).with_suffix("")) for packed in folder.rglob("*.gz")),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def main(version: str, revision: str) -> None:
    """Check out the revision into a temporary folder, and make the data."""
    with tempfile.TemporaryDirectory() as folder:
        checkout, home = Path(folder) / "checkout", Path(folder) / "home"
        home.mkdir()
        git = ["git", "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(checkout), revision], check=True, cwd=ROOT)
        try:
            make(version, checkout, home)
        finally:
            subprocess.run([*git, "remove", "--force", str(checkout)], check=True, cwd=ROOT)
    print(f"wrote {DATA / version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
