"""The state of a path: the file at its end, and every directory in which a change could lead to another file.

Kubernetes puts a ConfigMap at ``dir/file -> ..data/file`` and ``..data -> ..2026_01_01``, and switches ``..data``:
so the directories of all links on the way matter, not only that of the last one.
"""

from pathlib import Path
from typing import Final

from attrs import frozen

LINK_LIMIT: Final = 40  # symbolic links followed on one path, as in the Linux kernel
_ROOT: Final = Path("/")

Directory = tuple[str, int, int]  # path, device, inode


@frozen
class PathState:
    """Equal states mean that the file most likely holds the same bytes.

    ``file`` is (device, inode, mtime ns, ctime ns, size) of the target, or None when it is missing.
    ``directories`` are those to watch, each with its identity; a missing one is replaced by its nearest ancestor.
    ``names`` are the full paths of all links on the way and of the end; changes of other files do not matter.
    """

    file: tuple[int, ...] | None
    directories: tuple[Directory, ...]
    names: frozenset[str]


def path_state(path: str) -> PathState:
    """Return the state of ``path``; never raises."""
    directories, names = _way(Path(path).absolute())
    found = {directory for name in directories if (directory := _existing(name)) is not None}
    return PathState(_identity(path), tuple(sorted(found)), frozenset(map(str, names)))


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


def _way(path: Path) -> tuple[set[Path], set[Path]]:
    """Return the directories of all links on the way to ``path`` and of its end, and all names on the way."""
    found: set[Path] = set()
    names: set[Path] = set()
    todo = list(path.parts[:0:-1])
    at, links = _ROOT, 0
    while todo and links <= LINK_LIMIT:
        part = todo.pop()
        if part == "..":
            at = at.parent
            continue
        here = at / part
        names.add(here)
        target = _target(here)
        if target is None:
            if not todo:
                found.add(at)
            at = here
            continue
        found.add(at)
        links += 1
        if target.is_absolute():
            at = _ROOT
        todo += [step for step in target.parts if step != "/"][::-1]
    return found, names


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:  # not a link, or missing
        return None


def _existing(name: Path) -> Directory | None:
    for directory in (name, *name.parents):
        try:
            found = directory.stat()
        except OSError:
            continue
        return str(directory), found.st_dev, found.st_ino
    return None
