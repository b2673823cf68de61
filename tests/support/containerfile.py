"""Reads a Containerfile, and builds it without a container engine: each stage is a folder, each RUN runs in a chroot.

It needs root, and a folder with the base image, which mmdebstrap makes. Only what our Containerfile uses is understood.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """One instruction; ``flags`` are those that begin with two hyphens."""

    word: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments, of the JSON or of the plain form."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


def steps(text: str) -> list[Step]:
    """Return the instructions of a Containerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = []
    for instruction in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if instruction.strip():
            word, _, rest = instruction.strip().partition(" ")
            flags = {}
            while match := re.match(r"--([\w-]+)=(\S+)\s+", rest):
                flags[match[1]] = match[2]
                rest = rest[match.end() :]
            found.append(Step(word, flags, rest.strip()))
    return found


def ignores(patterns: str, name: str) -> bool:
    """Return whether a .containerignore excludes a file of the context: the last pattern that matches decides."""
    ignored = False
    for line in patterns.splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            keep, pattern = pattern.startswith("!"), pattern.removeprefix("!").removeprefix("**/")
            parts = Path(name).parts
            if any(fnmatch.fnmatch("/".join(parts[:end]), pattern) for end in range(1, len(parts) + 1)) or (
                line.startswith("**/") and any(fnmatch.fnmatch(part, pattern) for part in parts)
            ):
                ignored = not keep
    return ignored


class Built:
    """What was built: the folder of the last stage, and the configuration of the image."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.words: dict[str, list[str]] = {}
        self.texts: dict[str, str] = {}


def build(file: Path, context: Path, base: Path, work: Path, env: dict[str, str], arguments: dict[str, str]) -> Built:
    """Build below ``work``; ``env`` is added to the environment of each RUN, ``arguments`` are those of ARG."""
    known: dict[str, str] = {}
    stages: dict[str, Path] = {}
    built, root, directory = Built(work), work, "/"
    for step in steps(file.read_text("utf-8")):
        text = re.sub(r"\$\{(\w+)\}", lambda found: known[found[1]], step.text)
        words = step._replace(text=text).words if step.word != "RUN" else []
        if step.word == "ARG":
            name, _, default = text.partition("=")
            known[name] = arguments.get(name, default)
        elif step.word == "FROM":
            name = words[2] if len(words) == 3 else "final"
            root, directory = work / name, "/"
            stages[name] = root
            built = Built(root)
            if words[0] == "scratch":
                root.mkdir()
            else:
                subprocess.run(["cp", "-a", str(base), str(root)], check=True)
        elif step.word == "COPY":
            source = stages[step.flags["from"]] if "from" in step.flags else context
            _copy(source, root, directory, words, ignore=None if "from" in step.flags else context)
        elif step.word == "RUN":
            _run(root, directory, step.text, env | built.env)
        elif step.word == "WORKDIR":
            directory = text
            _inside(root, text).mkdir(parents=True, exist_ok=True)
        elif step.word in {"ENV", "LABEL"}:
            pairs = built.env if step.word == "ENV" else built.labels
            pairs.update(pair.split("=", 1) for pair in words)
        else:
            built.words[step.word], built.texts[step.word] = words, text
    built.words["WORKDIR"] = [directory]
    return built


def _inside(root: Path, name: str) -> Path:
    return root / name.lstrip("/")


def _copy(source: Path, root: Path, directory: str, words: list[str], ignore: Path | None) -> None:
    *names, target = words
    place = _inside(root, target) if target.startswith("/") else _inside(root, directory) / target
    patterns = (ignore / ".containerignore").read_text("utf-8") if ignore else ""
    for name in names:
        origin = _inside(source, name)
        if origin.is_dir() and not ignore:  # the content of a folder of another stage
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", f"{origin}/.", str(place)], check=True)
        elif origin.is_dir():
            for file in sorted(path for path in origin.rglob("*") if path.is_file()):
                if not ignores(patterns, str(file.relative_to(source))):
                    _copy_file(file, place / file.relative_to(origin))
        else:
            assert not ignores(patterns, name), f"{name} is not in the context"
            _copy_file(origin, place / origin.name if target.endswith("/") else place)


def _copy_file(origin: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(origin, place)


def _run(root: Path, directory: str, command: str, env: dict[str, str]) -> None:
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/", **env}
    script = f"cd {shlex.quote(directory)} && {command}"
    ended = subprocess.run(
        ["chroot", str(root), "/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == ended.returncode, f"{command}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"


def unwanted_writable(root: Path, user: int) -> list[str]:
    """Return what a user without rights could write below ``root``, special files and sticky folders apart."""
    found = []
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            if path.is_symlink():
                continue
            status = path.lstat()
            sticky = path.is_dir() and status.st_mode & 0o1000
            if (path.is_dir() or path.is_file()) and not sticky and (status.st_mode & 0o002 or status.st_uid == user):
                found.append(f"/{path.relative_to(root)}")
    return found
