"""What a compose file starts, without containers: the same commands, files and variables, on ports of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from eventually import eventually
from gateway_process import unused_port
from outside_tools import find_tool
from postgres_server import PostgresServer
from redis_server import RedisServer

VARIABLE = re.compile(r"\$\{(\w+):\?[^}]+\}")
START_SECONDS = 110.0
# The image's own folders, which another machine does not have.
NGINX_FOLDERS = """http {{
    access_log {home}/access.log;
    client_body_temp_path {home};
    proxy_temp_path {home};
    fastcgi_temp_path {home};
    uwsgi_temp_path {home};
    scgi_temp_path {home};
"""


class Compose:
    """The services of ``folder/compose.yml``: one Redis, one PostgreSQL, gateways, one nginx.

    Texts of the files are replaced: ``host:port`` of a service by a loopback port, and what ``replaced`` has.
    """

    def __init__(
        self, folder: Path, home: Path, variables: dict[str, str], replaced: dict[str, str], postgres: PostgresServer
    ) -> None:
        self.folder = folder
        self.home = home
        self.services: dict[str, Any] = yaml.safe_load((folder / "compose.yml").read_text("utf-8"))["services"]
        self.gateways = [name for name in self.services if name.startswith("gateway")]
        self.redis = RedisServer(*self.services["redis"]["command"][1:])
        self.postgres = postgres
        self.port = unused_port()
        self.ports = {name: unused_port(self.port) for name in self.gateways}
        self.diag_ports = {name: unused_port(self.port, *self.ports.values()) for name in self.gateways}
        self._variables = variables
        self._replaced = replaced | {
            "redis:6379": self.redis.address,
            "postgres:5432": f"127.0.0.1:{postgres.port}",
            **{f"{name}:8050": f"127.0.0.1:{port}" for name, port in self.ports.items()},
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything, and wait until all gateways are ready."""
        self.redis.start()
        environment = self.services["postgres"]["environment"]
        user, database = environment["POSTGRES_USER"], environment["POSTGRES_DB"]
        self.postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{self._filled(environment['POSTGRES_PASSWORD'])}'")
        self.postgres.execute(f"CREATE DATABASE {database} OWNER {user}")
        for name in self.gateways:
            self.start_gateway(name)
        self._start_nginx()
        for name in self.gateways:
            self.wait_for(name)

    def start_gateway(self, name: str) -> None:
        """Start a gateway of the file."""
        service = self.services[name]
        home = self.home / name
        home.mkdir(exist_ok=True)
        command = list(service["command"])
        for volume in service["volumes"]:
            source, inside, _ = volume.split(":")
            text = self._here((self.folder / source).read_text("utf-8"))
            (home / Path(source).name).write_text(text, "utf-8")
            command = [str(home / Path(source).name) if word == inside else word for word in command]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONFIGCAT_")}
        given = {key: self._here(self._filled(value)) for key, value in service["environment"].items()}
        ports = {"CONFIGCAT_HTTP_PORT": str(self.ports[name]), "CONFIGCAT_DIAG_PORT": str(self.diag_ports[name])}
        with (home / "log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(Path(sys.executable).with_name("flaggateway")), *command],
                cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=kept | given | ports | {"XDG_STATE_HOME": str(home / "state")},
            )  # fmt: skip

    def wait_for(self, name: str) -> None:
        """Wait until a gateway is ready."""

        def ready() -> bool:
            assert self._processes[name].poll() is None, self.log(name)
            url = f"http://127.0.0.1:{self.diag_ports[name]}/readyz"
            with suppress(OSError), urllib.request.urlopen(url, timeout=15) as answer:
                return answer.status == 200
            return False

        eventually(ready, lambda: self.log(name), limit=START_SECONDS)

    def kill(self, name: str) -> None:
        """Kill a service (SIGKILL)."""
        self._processes[name].kill()
        self._processes[name].wait()

    def running(self) -> list[str]:
        """Return the gateways that have not ended."""
        return [name for name in self.gateways if self._processes[name].poll() is None]

    def log(self, name: str) -> str:
        """Return what a service has logged."""
        return (self.home / name / "log").read_text("utf-8", "replace")

    def logs(self) -> str:
        """Return the ends of all logs of gateways."""
        return "\n".join(f"{name}:\n{self.log(name)[-1500:]}" for name in self.gateways)

    def close(self) -> None:
        """End everything."""
        for name in self._processes:
            self.kill(name)
        self.redis.close()

    def _start_nginx(self) -> None:
        home = self.home / "nginx"
        home.mkdir()
        (volume,) = self.services["nginx"]["volumes"]
        text = self._here((self.folder / volume.split(":")[0]).read_text("utf-8"))
        (published,) = self.services["nginx"]["ports"]
        listen = f"listen {published.split(':')[1]};"
        assert listen in text
        text = text.replace(listen, f"listen 127.0.0.1:{self.port};")
        (home / "nginx.conf").write_text(text.replace("http {\n", NGINX_FOLDERS.format(home=home), 1), "utf-8")
        # As root, nginx would serve as another user, who may not write to ``home``.
        options = f"daemon off; master_process off; pid {home}/pid;"
        with (home / "log").open("ab") as log:
            self._processes["nginx"] = subprocess.Popen(
                [find_tool("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "log", "-g", options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        eventually(lambda: (home / "pid").read_text("utf-8"), lambda: self.log("nginx"))

    def _filled(self, text: str) -> str:
        return VARIABLE.sub(lambda found: self._variables[found[1]], text)

    def _here(self, text: str) -> str:
        for known, here in self._replaced.items():
            text = text.replace(known, here)
        return text
