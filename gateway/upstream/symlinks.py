"""What a path looks like now: every directory in which a change could lead it to other bytes.

Kubernetes puts a ConfigMap at ``dir/file -> ..data/file`` and ``..data -> ..2026_01_01``, and switches ``..data``:
so the directories of each link on the way matter, and not only that of the last one.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

LINK_LIMIT = 40  # symbolic links followed on one path, as in the Linux kernel
_ROOT = Path("/")

Place = tuple[str, int, int]  # path, device, inode


@frozen
class Sight:
    """Equal sights mean that the file most likely holds the same bytes.

    ``file`` is (device, inode, mtime ns, ctime ns, size) of the target, or None when there is none.
    ``directories`` are those to watch, each with its identity; a missing one is replaced by its nearest ancestor.
    ``names`` are the full paths of everything on the way, links and end included: nobody else's change matters.
    """

    file: tuple[int, ...] | None
    directories: tuple[Place, ...]
    names: frozenset[str]


def look(path: str) -> Sight:
    """Look at *path*; never raises."""
    directories, names = _way(Path(path).absolute())
    places = {place for name in directories if (place := _existing(name)) is not None}
    return Sight(_identity(path), tuple(sorted(places)), frozenset(map(str, names)))


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


def _way(path: Path) -> tuple[set[Path], set[Path]]:
    """The directory of each symbolic link on the way to *path* and that of its end; and all names on the way."""
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
    except OSError:  # no link, or nothing at all
        return None


def _existing(name: Path) -> Place | None:
    for directory in (name, *name.parents):
        try:
            found = directory.stat()
        except OSError:
            continue
        return str(directory), found.st_dev, found.st_ino
    return None
