"""A real nginx in front of a gateway, under a path prefix."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eventually import eventually
from gateway_process import unused_port
from outside_tools import find_tool

CONF = """daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {home}/access.log;
    client_body_temp_path {home};
    proxy_temp_path {home};
    fastcgi_temp_path {home};
    uwsgi_temp_path {home};
    scgi_temp_path {home};
    upstream gw {{ server 127.0.0.1:{gateway}; }}
    server {{
        listen 127.0.0.1:{port};
        location {prefix}/ {{
            proxy_pass http://gw/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {headers}
        }}
    }}
}}
"""


@contextmanager
def nginx_before(gateway: int, home: Path, prefix: str, headers: str) -> Iterator[str]:
    """Run nginx before the gateway on port ``gateway``; yield the URL of its ``prefix``, without a slash at the end.

    ``headers`` are directives of the location. Its access log is ``home / "access.log"``.
    """
    program = find_tool("nginx")
    port = unused_port()
    conf = home / "nginx.conf"
    conf.write_text(CONF.format(home=home, gateway=gateway, port=port, prefix=prefix, headers=headers))
    # As root, nginx would serve as another user, who may not write to ``home``.
    process = subprocess.Popen([program, "-c", str(conf), "-e", str(home / "error.log"), "-g", "master_process off;"])
    try:
        eventually(lambda: (home / "nginx.pid").exists() and (home / "nginx.pid").read_text())
        yield f"http://127.0.0.1:{port}{prefix}"
    finally:
        process.terminate()
        process.wait(20)
