"""YAML text → raw values with line and column; keys given twice are refused.

Built on the parser's events rather than its nodes: a deeply nested text overflows the C stack when nodes are composed,
an event stream has no depth, and an alias cannot contain itself.
"""

from __future__ import annotations

import re
from typing import Final

import attrs
import yaml

from gateway.settings.parsing.raw import DEPTH_LIMIT, Entries, Items, Raw, Scalar, Unreadable, resolve

TEXT_LIMIT: Final = 4 * 1024 * 1024  # characters of a settings file; a thousand SDKs need a tenth of that.
ENTRY_LIMIT: Final = 200_000  # keys and items in all; merges multiply them, an honest file is far below.

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = "<<"
_QUOTED = re.compile(r"'([^']*)'?", re.DOTALL)


@attrs.define
class _Open:
    """A list or mapping whose end was not read yet."""

    node: Items | Entries
    anchor: str | None
    key: str | None = None
    merges: list[Raw] = attrs.field(factory=list)


def read_yaml(text: str) -> Raw | None:
    """Return the one document of ``text``, or None when it is empty; raises ``Unreadable``."""
    if len(text) > TEXT_LIMIT:
        raise Unreadable(f"longer than {TEXT_LIMIT} characters")
    try:
        return _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        # Only the parser's fixed words are repeated: what it quotes may be a password.
        reason = _QUOTED.sub(_unquoted, str(error.problem or "not valid YAML"))
        raise Unreadable(reason, mark.line + 1 if mark else None, mark.column + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        raise _unreadable_character(text, error.position) from None
    except UnicodeError:
        raise Unreadable("not valid text: a lone surrogate") from None


def _unquoted(match: re.Match[str]) -> str:
    return "…" if re.search(r"\w", match[1]) else match[0]


def _unreadable_character(text: str, position: int) -> Unreadable:
    before = text[:position]
    line = before.count("\n") + 1
    return Unreadable("a control character is not allowed", line, position - (before.rfind("\n") + 1) + 1)


@attrs.define
class _Builder:
    _root: Raw | None = None
    _stack: list[_Open] = attrs.field(factory=list)
    _anchors: dict[str, Raw] = attrs.field(factory=dict)
    _documents: int = 0
    _entries: int = 0

    def build(self, text: str) -> Raw | None:
        for event in yaml.parse(text, Loader=_Loader):
            self._take(event)
        return self._root

    def _take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise Unreadable("more than one document", line, column)
            case yaml.AliasEvent():
                self._alias(event.anchor or "", line, column)
            case yaml.ScalarEvent():
                self._scalar(event, line, column)
            case yaml.SequenceStartEvent():
                self._open(Items([], line, column), event, "seq")
            case yaml.MappingStartEvent():
                self._open(Entries({}, {}, line, column), event, "map")
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close()

    def _alias(self, anchor: str, line: int | None, column: int | None) -> None:
        if anchor not in self._anchors:
            raise Unreadable("an alias (*) without its anchor (&); quote a value that starts with *", line, column)
        self._place(self._anchors[anchor], line, column)

    def _scalar(self, event: yaml.ScalarEvent, line: int | None, column: int | None) -> None:
        plain, quoted = event.implicit
        text = event.value
        if plain:
            value = resolve(text)
        elif quoted or event.tag in {_TAG + "str", "!"}:
            value = text
        elif event.tag in {_TAG + kind for kind in ("int", "float", "bool", "null")}:
            value = resolve(text)
        else:
            raise Unreadable("a tag (!) that is not allowed; quote a value that starts with !", line, column)
        scalar = Scalar(text, value, line=line, column=column)
        merging = plain and text == _MERGE
        self._place(scalar, line, column, merging=merging)
        if event.anchor:
            self._anchors[event.anchor] = scalar

    def _open(self, node: Items | Entries, event: yaml.CollectionStartEvent, kind: str) -> None:
        if event.tag not in {None, "!", _TAG + kind}:
            raise Unreadable("a tag (!) that is not allowed; quote a value that starts with !", node.line, node.column)
        if len(self._stack) >= DEPTH_LIMIT:
            raise Unreadable(f"nested more than {DEPTH_LIMIT} levels deep", node.line, node.column)
        self._stack.append(_Open(node, event.anchor))

    def _close(self) -> None:
        closed = self._stack.pop()
        if isinstance(closed.node, Entries):
            self._merge(closed.node, closed.merges)
        if closed.anchor:
            self._anchors[closed.anchor] = closed.node
        self._place(closed.node, closed.node.line, closed.node.column)

    def _place(self, raw: Raw, line: int | None, column: int | None, *, merging: bool = False) -> None:
        """Put a finished value where it belongs: the list, the key or the value that is open."""
        self._count(1, line, column)
        if not self._stack:
            self._root = raw
            return
        parent = self._stack[-1]
        if isinstance(parent.node, Items):
            parent.node.items.append(raw)
        elif parent.key is None:
            parent.key = self._key(parent.node, raw, line, column, merging=merging)
        else:
            if parent.key == _MERGE:
                parent.merges.append(raw)
            else:
                parent.node.entries[parent.key] = raw
            parent.key = None

    def _key(self, node: Entries, raw: Raw, line: int | None, column: int | None, *, merging: bool) -> str:
        if not isinstance(raw, Scalar):
            raise Unreadable("a key must be text", line, column)
        if merging:
            return _MERGE
        if raw.text in node.marks:
            first = node.marks[raw.text][0]
            raise Unreadable(f"the same key as in line {first} once more", line, column)
        node.marks[raw.text] = (line or 0, column or 0)
        return raw.text

    def _merge(self, node: Entries, merges: list[Raw]) -> None:
        """Fill in what ``<<`` brings; keys written out win, and of several sources the first."""
        for merge in merges:
            for source in merge.items if isinstance(merge, Items) else [merge]:
                if not isinstance(source, Entries):
                    raise Unreadable("<< takes a mapping or a list of mappings", merge.line, merge.column)
                self._count(len(source.entries), merge.line, merge.column)
                for key, raw in source.entries.items():
                    node.entries.setdefault(key, raw)

    def _count(self, more: int, line: int | None, column: int | None) -> None:
        self._entries += more
        if self._entries > ENTRY_LIMIT:
            raise Unreadable(f"more than {ENTRY_LIMIT} keys and values", line, column)
