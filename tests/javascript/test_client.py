"""The client for browsers: its own tests under Node, its types, and that the served file is a build of the sources."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from client_package import MODULES, SOURCES, VERSION, build, node_program
from gateway.web.answers.client_file import client_files
from outside_tools import find_tool
from tracked import ROOT

LARGEST = 3 * 1024  # bytes, gzipped


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a fresh build."""
    out = tmp_path_factory.mktemp("built")
    build(out)
    return out


def test_the_served_file_is_a_build_of_the_sources(built: Path) -> None:
    """The newest file that the gateway serves is what the sources of this version build to, byte for byte."""
    fresh = (built / "client.js").read_bytes()
    assert fresh == client_files()[VERSION].body, (
        f"run `npm run build` in clients/javascript, and copy dist/client.js to "
        f"gateway/web/browser/client-{VERSION}.js; after a release the new file needs a new version"
    )
    assert VERSION == next(iter(client_files()))


def test_every_version_has_at_most_3_kib() -> None:
    """Gzipped, as it is sent; the documentation has the size of the newest."""
    sizes = {version: len(gzip.compress(file.body, 6)) for version, file in client_files().items()}
    assert {} == {version: size for version, size in sizes.items() if size > LARGEST}
    shown = f"{sizes[VERSION] / 1024:.1f} KiB"
    assert shown in (ROOT / "docs" / "frontend.md").read_text("utf-8")
    assert shown in (ROOT / "README.md").read_text("utf-8")


def test_the_entry_for_react_imports_only_react(built: Path) -> None:
    """It has no code of the client, so that a page has that once."""
    text = (built / "react.js").read_text("utf-8")
    assert ["react"] == re.findall(r'from"([^"]*)"', text)
    assert "fetch" not in text


def test_the_types_are_right(tmp_path: Path) -> None:
    """The sources and an example of use compile in strict mode; the declarations name every export."""
    settings = {
        "extends": str(SOURCES / "tsconfig.json"),
        "compilerOptions": {
            "outDir": str(tmp_path / "out"),
            "rootDir": str(SOURCES),
            "paths": {
                "react": [str(MODULES / "@types" / "react" / "index.d.ts")],
                "csstype": [str(MODULES / "csstype" / "index.d.ts")],
            },
        },
        "include": [str(SOURCES / "src"), str(SOURCES / "test" / "types.ts")],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings), "utf-8")
    ended = subprocess.run([node_program("tsc"), "-p", tmp_path], capture_output=True, text=True, check=False)
    assert (0, "") == (ended.returncode, ended.stdout)
    declared = (tmp_path / "out" / "src" / "client.d.ts").read_text("utf-8")
    assert "export declare function connect(url: string, options: Options): Flags" in declared
    assert "useFlag" in (tmp_path / "out" / "src" / "react.d.ts").read_text("utf-8")


def test_its_own_tests_pass() -> None:
    """What a stand-in gateway sends, and what the client makes of it."""
    newest = ROOT / "gateway" / "web" / "browser" / f"client-{VERSION}.js"
    ended = subprocess.run(
        [find_tool("node"), "--test", "--test-reporter=tap", "test/client.test.mjs"],
        cwd=SOURCES,
        env=os.environ | {"CLIENT": str(newest)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert 0 == ended.returncode, ended.stdout[-10_000:]
    passed = re.search(r"^# pass (\d+)$", ended.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > 25
