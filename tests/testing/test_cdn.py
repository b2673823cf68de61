"""The fake CDN as a program, and the imports of the upstream room."""

from __future__ import annotations

import subprocess
import sys
from urllib.request import ProxyHandler, build_opener

import gateway.upstream


def test_the_fake_cdn_serves_a_file_that_changes(tmp_path):
    """``python -m gateway.testing.cdn`` prints its port and reads the file again for each request."""
    path = tmp_path / "config.json"
    path.write_bytes(b'{"f":{}}')
    command = [sys.executable, "-m", "gateway.testing.cdn", "--port", "0", "--file", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/configuration-files/any/key/config_v6.json"
            opener = build_opener(ProxyHandler({}))
            bodies = []
            for body in (b'{"f":{}}', b'{"f":{"new":{}}}'):
                path.write_bytes(body)
                with opener.open(url, timeout=10) as response:
                    bodies.append(response.read())
            assert [b'{"f":{}}', b'{"f":{"new":{}}}'] == bodies
        finally:
            process.kill()


def test_importing_the_room_chooses_no_reactor():
    """A program that imports this room can still choose a reactor."""
    code = "import sys, gateway.upstream, gateway.testing.cdn; print('twisted.internet.reactor' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == result.stdout.strip()


def test_the_facade_is_complete():
    """Everything that the facade names exists, and nothing else is public."""
    assert all(hasattr(gateway.upstream, name) for name in gateway.upstream.__all__)
    assert tuple(sorted(gateway.upstream.__all__)) == gateway.upstream.__all__
