"""The settings that are being written, with their origin and the remarks that become comments."""

from __future__ import annotations

import re
from typing import Final

import attrs

from gateway.settings import id_collisions
from gateway.text import replace_unprintable

Path = tuple[str | int, ...]

PLACEHOLDER: Final = "PUT-YOUR-SDK-KEY-HERE"
_NO_ID: Final = re.compile(r"[^a-z0-9._~-]+")


@attrs.frozen
class Entry:
    """The value of an option, and the name of the setting that it comes from; empty for one that was added."""

    value: object
    source: str = ""


@attrs.frozen
class Note:
    """One setting that becomes no option, and the reason."""

    source: str
    reason: str


@attrs.define
class Draft:
    """Options by their path, and what is to be known about settings without one."""

    entries: dict[Path, Entry] = attrs.field(factory=dict)
    remarks: dict[Path, list[str]] = attrs.field(factory=dict)  # comments above an option or a section
    no_equal: list[Note] = attrs.field(factory=list)
    always: list[Note] = attrs.field(factory=list)
    unusable: list[Note] = attrs.field(factory=list)
    unknown: list[str] = attrs.field(factory=list)
    found: dict[str, object] = attrs.field(factory=dict)  # what a rule leaves for a later one or for ``finish``
    _ids: dict[str, str] = attrs.field(factory=dict)

    def set(self, path: Path, value: object, source: str = "", *remarks: str) -> None:
        """Set an option; a later value of the same option has priority."""
        self.entries[path] = Entry(value, source)
        for remark in remarks:
            self.remark(path, remark)

    def get(self, *path: str | int) -> object:
        """Return the value of an option, or None."""
        entry = self.entries.get(path)
        return entry.value if entry else None

    def drop(self, path: Path) -> None:
        """Remove an option and everything below it."""
        for each in [each for each in self.entries if each[: len(path)] == path]:
            del self.entries[each]

    def remark(self, path: Path, text: str) -> None:
        """Add a comment above an option or a section, once."""
        texts = self.remarks.setdefault(path, [])
        if text and text not in texts:
            texts.append(text)

    def sdk_id(self, name: str) -> str:
        """Return the SDK id for the name of an environment, a project or a flag set; the same one for the same name."""
        if name not in self._ids:
            plain = _NO_ID.sub("-", name.lower()).strip("-.") or "sdk"
            taken = set(self._ids.values())
            while plain in taken or list(id_collisions([*taken, plain])):
                plain += "-sdk"
            self._ids[name] = plain
        return self._ids[name]

    def placeholder(self, sdk_id: str, source: str, vendor: str) -> None:
        """Add an SDK whose key the user puts in, because the flags of another vendor cannot be read."""
        path: Path = ("sdks", sdk_id)
        self.set((*path, "key"), PLACEHOLDER, source)
        self.remark(
            path,
            f"Flags in the format of {vendor} cannot be read yet. Create them in ConfigCat and put the SDK key here, or"
            " write them as config JSON and add: offline: {enabled: true, local: {file_path: FLAGS.json}}",
        )

    @property
    def sdk_ids(self) -> list[str]:
        """The ids of the SDKs so far."""
        return list(dict.fromkeys(str(path[1]) for path in self.entries if path[0] == "sdks"))


def dotted(path: Path) -> str:
    """Return the name of a setting: ``retrievers[0].kind``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return replace_unprintable(text)
