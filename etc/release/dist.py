"""Build everything that a release consists of: python etc/release/dist.py [FOLDER], by default ``dist``.

Wheel, sdist, image context, chart, SBOM and checksums are made from the commit that is checked out, in a copy of it.
Two builds of one commit with the same versions of the tools are equal, byte for byte: times are those of the commit,
and owners, permissions and orders are fixed.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = "flaggateway"
# What an image is built from, beside what the Containerfile copies.
CONTEXT: Final = ("Containerfile", ".containerignore", ".dockerignore")
CHART: Final = Path("charts") / NAME


def main(target: Path) -> None:
    """Build into the folder, which is made and must not contain files of another version."""
    target.mkdir(parents=True, exist_ok=True)
    epoch = int(git("log", "-1", "--format=%ct"))
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / NAME
        source.mkdir()
        unpack(subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout, source)
        version = version_of(source)
        made = [
            *python_packages(source, target, epoch),
            archive(target / f"{NAME}-{version}-image-context.tar.gz", context(source), epoch),
        ]
        made.append(archive(target / f"{NAME}-chart-{version}.tgz", chart(source), epoch))
        made.append(bill_of_materials(target / f"{NAME}-{version}.cdx.json", source, version))
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(made))
    (target / "SHA256SUMS").write_text(sums)
    for file in (*sorted(made), target / "SHA256SUMS"):
        print(f"{file.stat().st_size:>9}  {file}")


def git(*arguments: str) -> str:
    """Return what git prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def unpack(content: bytes, target: Path) -> None:
    """Unpack a tar archive of our own."""
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        opened.extractall(target, filter="data")


def version_of(source: Path) -> str:
    """Return the version that the package has."""
    found = re.search(r'^__version__ = "(.+)"$', (source / "gateway/__init__.py").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def python_packages(source: Path, target: Path, epoch: int) -> list[Path]:
    """Build sdist and wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, str(source)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (sdist,), (wheel,) = Path(folder).glob("*.tar.gz"), Path(folder).glob("*.whl")
        made = target / wheel.name
        made.write_bytes(wheel.read_bytes())
        return [repacked(sdist, target / sdist.name, epoch), made]


def repacked(sdist: Path, target: Path, epoch: int) -> Path:
    """Write an sdist again: setuptools stores the times and the owner of the files of the build."""
    with tempfile.TemporaryDirectory() as folder:
        unpack(gzip.decompress(sdist.read_bytes()), Path(folder))
        return archive(target, {path: Path(folder) / path for path in below(Path(folder))}, epoch)


def below(folder: Path) -> list[Path]:
    """Return the files in a folder, sorted, by their path from it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def context(source: Path) -> dict[Path, Path]:
    """Return the files of the image context: the Containerfile and what it copies."""
    names = list(CONTEXT)
    for line in (source / "Containerfile").read_text("utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            names += line.split()[1:-1]
    files = {}
    for name in names:
        path = source / name
        found = [path.relative_to(source)] if path.is_file() else [Path(name) / each for each in below(path)]
        files |= {each: source / each for each in found}
    return files


def chart(source: Path) -> dict[Path, Path]:
    """Return the files of the Helm chart, without those of its tests."""
    files = (path for path in below(source / CHART) if path.parts[0] != "golden")
    return {Path(NAME) / path: source / CHART / path for path in files}


def archive(target: Path, files: dict[Path, Path], epoch: int) -> Path:
    """Write a compressed tar archive whose bytes depend on names, contents and the executable bit only."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for name in sorted(files):
            data = files[name].read_bytes()  # a link becomes the file that it names
            entry = tarfile.TarInfo(name.as_posix())
            entry.size, entry.mtime = len(data), epoch
            entry.mode = 0o755 if files[name].stat().st_mode & 0o100 else 0o644
            opened.addfile(entry, io.BytesIO(data))
    with target.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as compressed:
        compressed.write(content.getvalue())
    return target


def bill_of_materials(target: Path, source: Path, version: str) -> Path:
    """Write the SBOM in CycloneDX's format: the package and what it needs, in the versions of this environment."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("".join(f"{name}=={found}\n" for name, found in sorted(needed(NAME).items())))
        command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", str(listed)]
        command += ["--output-reproducible", "--of", "JSON", "--sv", "1.6", "--mc-type", "application"]
        made = subprocess.run(command, check=True, capture_output=True, cwd=source).stdout
    document = json.loads(made)
    document.setdefault("metadata", {})["component"] = {
        "type": "application",
        "bom-ref": NAME,
        "name": NAME,
        "version": version,
        "purl": f"pkg:pypi/{NAME}@{version}",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    for component in document["components"]:
        del component["description"]  # the line of the temporary file
    target.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
    return target


def needed(name: str) -> dict[str, str]:
    """Return the packages that a package needs at run time, directly or not, with their installed versions."""
    found: dict[str, str] = {}
    waiting = [(name, frozenset[str]())]
    done: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        package, extras = each = waiting.pop()
        if each in done:
            continue
        done.add(each)
        distribution = importlib.metadata.distribution(package)
        if package != name:
            found[normal(distribution.metadata["Name"])] = distribution.version
        for text in distribution.requires or []:
            requirement = requirement_of(text)
            wanted = [{"extra": extra} for extra in extras or {""}]
            if requirement.marker is None or any(requirement.marker.evaluate(extra) for extra in wanted):
                waiting.append((normal(requirement.name), frozenset(requirement.extras)))
    return found


def requirement_of(text: str):  # noqa: ANN201 - of a package without a type here
    """Return a parsed requirement."""
    from packaging.requirements import Requirement

    return Requirement(text)


def normal(name: str) -> str:
    """Return the name of a package as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist").absolute())
