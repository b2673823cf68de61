"""Parse YAML text to nodes with line and column; a key that occurs twice is an error.

This uses the events of PyYAML's parser instead of its nodes, because composing nodes of a deeply nested text overflows
the C stack. With events an alias also cannot contain itself.
"""

import re
from typing import Final

import attrs
import yaml

from gateway.settings.parsing.nodes import DEPTH_LIMIT, ListNode, MappingNode, Node, ParseError, ScalarNode, resolve

TEXT_LIMIT: Final = 4 * 1024 * 1024  # characters of a settings file; a thousand SDKs need a tenth.
ENTRY_LIMIT: Final = 200_000  # keys and items in total, because merges can multiply them; far above any real file.

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = "<<"
# Parts of PyYAML's texts, of the parser in C and of that in Python.
_HINTS: Final = {
    "cannot start any token": "a value that starts with this character needs quotes",
    "node content": "a value that starts with a special character, such as ':', needs quotes",
    "mapping values are not allowed": "the line is indented too far, or a value that contains ': ' needs quotes",
    "expected key": "the line is not indented like those above it, or they contain an open bracket or quote",
    "expected <block end>": "the line is not indented like those above it, or they contain an open bracket or quote",
    "unexpected end of stream": "a quote is not closed",
    "expected ',' or": "a bracket is not closed",
    "expected ':'": "a colon is missing after a key",
}
_QUOTED = re.compile(r"'([^']*)'?", re.DOTALL)


@attrs.define
class _Open:
    """A list or mapping whose end has not been read yet."""

    node: ListNode | MappingNode
    anchor: str | None
    key: str | None = None
    merges: list[Node] = attrs.field(factory=list)


def read_yaml(text: str) -> Node | None:
    """Return the document in ``text``, or None if it is empty.

    :raises ParseError: if it is not valid YAML, too long or too deep, has a key twice, or uses other tags.
    """
    if len(text) > TEXT_LIMIT:
        raise ParseError(f"longer than {TEXT_LIMIT} characters")
    try:
        return _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        # Quoted text is removed from the parser's message, because it may be a password.
        reason = _QUOTED.sub(_without_text, str(error.problem or "not valid YAML"))
        line = text.split("\n")[mark.line : mark.line + 1] if mark else []
        reason += _hint(reason, line[0] if line else "")
        raise ParseError(reason, mark.line + 1 if mark else None, mark.column + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        raise _invalid_character(text, error.position) from None
    except UnicodeError:
        raise ParseError("not valid Unicode: it contains a lone surrogate") from None


def _hint(reason: str, line: str) -> str:
    """Return the likely cause of one of the parser's errors, because its texts are about its grammar."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; the line is indented with a tab, YAML allows only spaces"
    return next((f"; {hint}" for part, hint in _HINTS.items() if part in reason), "")


def _without_text(match: re.Match[str]) -> str:
    return "…" if re.search(r"\w", match[1]) else match[0]


def _invalid_character(text: str, position: int) -> ParseError:
    before = text[:position]
    line = before.count("\n") + 1
    return ParseError("a control character is not allowed", line, position - (before.rfind("\n") + 1) + 1)


@attrs.define
class _Builder:
    _root: Node | None = None
    _stack: list[_Open] = attrs.field(factory=list)
    _anchors: dict[str, Node] = attrs.field(factory=dict)
    _documents: int = 0
    _entries: int = 0

    def build(self, text: str) -> Node | None:
        for event in yaml.parse(text, Loader=_Loader):
            self._handle(event)
        return self._root

    def _handle(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise ParseError("more than one document", line, column)
            case yaml.AliasEvent():
                self._alias(event.anchor or "", line, column)
            case yaml.ScalarEvent():
                self._scalar(event, line, column)
            case yaml.SequenceStartEvent():
                self._open(ListNode([], line, column), event, "seq")
            case yaml.MappingStartEvent():
                self._open(MappingNode({}, {}, line, column), event, "map")
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close()

    def _alias(self, anchor: str, line: int | None, column: int | None) -> None:
        if anchor not in self._anchors:
            raise ParseError(
                "an alias (*) without its anchor (&); a value that starts with * needs quotes", line, column
            )
        self._add(self._anchors[anchor], line, column)

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
            raise ParseError("a tag (!) that is not allowed; a value that starts with ! needs quotes", line, column)
        scalar = ScalarNode(text, value, line=line, column=column)
        merging = plain and text == _MERGE
        self._add(scalar, line, column, merging=merging)
        if event.anchor:
            self._anchors[event.anchor] = scalar

    def _open(self, node: ListNode | MappingNode, event: yaml.CollectionStartEvent, kind: str) -> None:
        if event.tag not in {None, "!", _TAG + kind}:
            raise ParseError(
                "a tag (!) that is not allowed; a value that starts with ! needs quotes", node.line, node.column
            )
        if len(self._stack) >= DEPTH_LIMIT:
            raise ParseError(f"nested more than {DEPTH_LIMIT} levels deep", node.line, node.column)
        self._stack.append(_Open(node, event.anchor))

    def _close(self) -> None:
        closed = self._stack.pop()
        if isinstance(closed.node, MappingNode):
            self._merge(closed.node, closed.merges)
        if closed.anchor:
            self._anchors[closed.anchor] = closed.node
        self._add(closed.node, closed.node.line, closed.node.column)

    def _add(self, child: Node, line: int | None, column: int | None, *, merging: bool = False) -> None:
        """Add a complete node to the open list or mapping, as an item, a key or a value."""
        self._count(1, line, column)
        if not self._stack:
            self._root = child
            return
        parent = self._stack[-1]
        if isinstance(parent.node, ListNode):
            parent.node.items.append(child)
        elif parent.key is None:
            parent.key = self._key(parent.node, child, line, column, merging=merging)
        else:
            if parent.key == _MERGE:
                parent.merges.append(child)
            else:
                parent.node.entries[parent.key] = child
            parent.key = None

    def _key(self, node: MappingNode, child: Node, line: int | None, column: int | None, *, merging: bool) -> str:
        if not isinstance(child, ScalarNode):
            raise ParseError("a key must be text", line, column)
        if merging:
            return _MERGE
        if child.text in node.key_positions:
            first = node.key_positions[child.text][0]
            raise ParseError(f"the key already exists in line {first}", line, column)
        node.key_positions[child.text] = (line or 0, column or 0)
        return child.text

    def _merge(self, node: MappingNode, merges: list[Node]) -> None:
        """Add the keys of ``<<``; explicit keys have priority, then earlier sources over later ones."""
        for merge in merges:
            for source in merge.items if isinstance(merge, ListNode) else [merge]:
                if not isinstance(source, MappingNode):
                    raise ParseError("<< must be followed by a mapping or a list of mappings", merge.line, merge.column)
                self._count(len(source.entries), merge.line, merge.column)
                for key, child in source.entries.items():
                    node.entries.setdefault(key, child)

    def _count(self, more: int, line: int | None, column: int | None) -> None:
        self._entries += more
        if self._entries > ENTRY_LIMIT:
            raise ParseError(f"more than {ENTRY_LIMIT} keys and values", line, column)
