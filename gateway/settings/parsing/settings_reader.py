"""Read nodes and environment variables into the structs of the schema, and collect every problem.

The recursion follows the schema, so its depth does not depend on the input.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs
from msgspec import UNSET, UnsetType, inspect

from gateway.settings.fields import PREFIX, Field, Path, dotted, fields, inherited
from gateway.settings.parsing.coercion import InvalidValue, allowed_values, convert, describe
from gateway.settings.parsing.nodes import ListNode, MappingNode, Node, ParseError, ScalarNode, is_empty, read_json
from gateway.settings.problems import Problem, shortened
from gateway.settings.schema import Sdk, Section, Settings
from gateway.settings.schema.option import OptionInfo, Unsupported
from gateway.settings.sdk_ids import collisions, environment_prefix, looks_like_key, mask_sdk_key
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Mapping

_SDKS: Final = f"{PREFIX}_SDKS"
# No header, URL or password can contain them: control characters except tab, and bytes that are not UTF-8.
_UNUSABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


@attrs.frozen
class Source:
    """Where a value was set: an environment variable, or a position in the file."""

    variable: str = ""
    line: int | None = None
    column: int | None = None

    def problem(self, path: Path, text: str, *, found: str = "", allowed: str = "") -> Problem:
        """Return a problem with the value that was set here."""
        return Problem(
            path=dotted(path),
            text=replace_unprintable(text),
            variable=self.variable,
            found=found,
            allowed=allowed,
            line=self.line,
            column=self.column,
        )


@attrs.frozen
class _Context:
    """The position in the schema, and what its sections declare for everything below."""

    path: Path = ()
    prefix: str | None = PREFIX  # of environment variables; None inside lists, whose items have none
    info: OptionInfo = OptionInfo()  # noqa: RUF009 - OptionInfo is frozen
    feature: Path = ()  # the outermost section or option that is marked as unsupported
    variable: str = ""  # the variable whose JSON is being read
    text_only: bool = False  # a number or boolean is not accepted as text


@attrs.define
class SettingsReader:
    """Reads one file and environment, and collects what was found; used once."""

    environ: Mapping[str, str]
    problems: list[Problem] = attrs.field(factory=list)
    unknown: list[tuple[Path, type[Section], Source]] = attrs.field(factory=list)
    sources: dict[Path, Source] = attrs.field(factory=dict)  # of every option that was set
    invalid: set[Path] = attrs.field(factory=set)  # options with a problem, which have their default
    unsupported: dict[Path, list[tuple[Path, Unsupported]]] = attrs.field(factory=dict)  # by feature
    trimmed: list[tuple[Path, Source]] = attrs.field(factory=list)  # secrets that had white space around them
    variables: set[str] = attrs.field(factory=set)  # every name that belongs to an option
    _sdk_keys: dict[Path, Node] = attrs.field(factory=dict)  # from CONFIGCAT_SDKS

    def settings(self, node: Node | None) -> Settings:
        """Return the settings as written, with defaults for options that are not set or have a problem."""
        made = self._section(Settings, node, _Context())
        assert isinstance(made, Settings)
        return made

    def report(self, path: Path, text: str, *, found: str = "", allowed: str = "", at: Source | None = None) -> None:
        """Record a problem with an option, by default at the position where it was set."""
        source = at or self.sources.get(path, Source())
        self.invalid.add(path)
        self.problems.append(source.problem(path, text, found=found, allowed=allowed))

    def _section(self, section: type[Section], node: Node | None, context: _Context) -> Section:
        left = dict(self._entries(node, context, allowed="a mapping of options"))
        values: dict[str, object] = {}
        for found in fields(section):
            path = (*context.path, found.name)
            below = attrs.evolve(
                context,
                path=path,
                prefix=context.prefix and f"{context.prefix}_{found.suffixes[0]}",
                info=inherited(found.info, context.info),
                feature=path if found.info.unsupported else context.feature,
            )
            written = next((left.pop(name) for name in (found.name, *found.info.aliases) if name in left), None)
            if found.section is not None:
                made = self._section(found.section, written, below)
                if found.info.unsupported and getattr(made, "enabled", True) is False:
                    self.unsupported.pop(path, None)  # switched off, so its other options do not matter
                values[found.name] = made
                continue
            value = self._sdks(written, below) if found.entry else self._option(found, written, below, context.prefix)
            values[found.name] = found.default() if isinstance(value, UnsetType) else value
        positions = node.key_positions if isinstance(node, MappingNode) else {}
        for name in left:
            source = Source(context.variable, *positions.get(name, (None, None)))
            self.unknown.append(((*context.path, name), section, source))
        return section(**values)

    def _entries(self, node: Node | None, context: _Context, *, allowed: str) -> Mapping[str, Node]:
        if isinstance(node, MappingNode):
            return node.entries
        if node is not None and not is_empty(node):
            at = _source(node, context.variable)
            text = "not a mapping"
            if isinstance(node, ScalarNode) and not context.variable:
                text += "; each key needs a colon and a space after it"
            self.report(context.path, text, found=describe(node), allowed=allowed, at=at)
        return {}

    def _option(self, found: Field, written: Node | None, below: _Context, prefix: str | None) -> object:
        """Return the value of one option from its environment variable, else from the file, else ``UNSET``."""
        node, variable = written, below.variable
        if prefix is not None:
            names = [f"{prefix}_{suffix}" for suffix in found.suffixes]
            self.variables.update(names)
            set_ = next((name for name in names if self.environ.get(name)), "")
            if set_:
                node, variable = self._from_environment(found.kind, set_, below.path), set_
            elif below.path in self._sdk_keys:
                node, variable = self._sdk_keys[below.path], _SDKS
        if node is None or is_empty(node):
            return UNSET
        self.sources[below.path] = _source(node, variable)
        value = self._value(found.kind, node, attrs.evolve(below, variable=variable, prefix=None))
        if below.info.unsupported and value not in below.info.supported_values:
            self.unsupported.setdefault(below.feature, []).append((below.path, below.info.unsupported))
        return value

    def _from_environment(self, kind: inspect.Type, name: str, path: Path) -> Node | None:
        text = self.environ[name]
        if not isinstance(kind, inspect.ListType | inspect.DictType):
            return ScalarNode(text, text, "environment")
        example = '["a","b"]' if isinstance(kind, inspect.ListType) else '{"name":"value"}'
        return self._json(text, name, path, f"{allowed_values(kind)}, such as {example}")

    def _json(self, text: str, name: str, path: Path, allowed: str) -> Node | None:
        try:
            return read_json(text)
        except ParseError as error:
            position = f" at line {error.line}, column {error.column}" if error.line else ""
            cause = f"failed to read environment variable '{name}': {error.reason}{position}"
            self.report(path, cause, allowed=f"JSON: {allowed}", at=Source(name))
            return None

    def _value(self, kind: inspect.Type, node: Node, context: _Context) -> object:
        """Return one value of any type; ``UNSET`` if the value or a part of it has a problem."""
        if isinstance(kind, inspect.UnionType) and isinstance(node, ListNode):
            kind = next((member for member in kind.types if isinstance(member, inspect.ListType)), kind)
            context = attrs.evolve(context, text_only=True)
        match kind, node:
            case inspect.ListType(), ListNode():
                items = [
                    self._value(kind.item_type, item, attrs.evolve(context, path=(*context.path, index)))
                    for index, item in enumerate(node.items)
                ]
                return UNSET if any(isinstance(item, UnsetType) for item in items) else items
            case inspect.DictType(), MappingNode():
                pairs = {
                    key: self._value(kind.value_type, item, attrs.evolve(context, path=(*context.path, key)))
                    for key, item in node.entries.items()
                }
                return UNSET if any(isinstance(item, UnsetType) for item in pairs.values()) else pairs
            case inspect.StructType(cls=cls), MappingNode() if issubclass(cls, Section):
                return self._section(cls, node, context)
            case _, ScalarNode(value=value) if value is not None and (not context.text_only or isinstance(value, str)):
                result = convert(kind, node)
            case _:
                result = InvalidValue(allowed_values(kind), wrong_type=True)
        if isinstance(result, InvalidValue):
            self._report_value(kind, node, result, context)
            return UNSET
        return self._secret(result, node, context) if isinstance(result, str) and context.info.hidden else result

    def _secret(self, text: str, node: Node, context: _Context) -> object:
        """Return a secret without white space around it; ``UNSET`` if the rest cannot be used.

        A file or variable often ends with a line break that does not belong to the secret.
        """
        at = _source(node, context.variable)
        stripped = text.strip()
        if text and not stripped:
            self.report(context.path, "contains only white space", allowed="leave it out, or set a value", at=at)
            return UNSET
        if _UNUSABLE.search(stripped):
            text = "contains a line break or control character, or is not UTF-8"
            self.report(context.path, text, allowed="one line of text", at=at)
            return UNSET
        if stripped != text:
            self.trimmed.append((context.path, at))
        return stripped

    def _report_value(self, kind: inspect.Type, node: Node, invalid: InvalidValue, context: _Context) -> None:
        """Report a refused value, without the value itself where it may be a secret.

        The text is that of the option's ``error`` if it has one, because it is ConfigCat Proxy's text.
        """
        error = context.info.error
        public = isinstance(node, ScalarNode) and not context.info.hidden and "{key}" not in error
        written = node.text if isinstance(node, ScalarNode) and public else ""
        found = shortened(written) if public else describe(node)
        text = "wrong type" if invalid.wrong_type else "not allowed"
        in_collection = isinstance(kind, inspect.DictType | inspect.ListType)
        if error and not in_collection and ("{key}" in error or not invalid.wrong_type):
            words = [str(part) for part in context.path]
            key = next((part for part in reversed(context.path) if isinstance(part, str)), "")
            text = error.format(section=words[0], id=words[1], found=written[:20], key=key)
        elif context.variable:
            text = f"failed to read environment variable '{context.variable}': {text}"
        at = _source(node, context.variable)
        self.report(context.path, text, found=found, allowed=invalid.allowed, at=at)

    def _sdks(self, node: Node | None, context: _Context) -> object:
        """Return every SDK of the file and of the environment; an SDK in both is merged."""
        written = self._entries(node, context, allowed="a mapping of SDK id to options")
        keys = self._keys(context)
        self.variables.add(_SDKS)
        made: dict[str, object] = {}
        for sdk_id in dict.fromkeys([*written, *keys]):
            if not self._usable(sdk_id, context, keys):
                continue
            path = (*context.path, sdk_id)
            entry = written.get(sdk_id)
            if entry is not None and is_empty(entry):
                text, at = f"sdk-{sdk_id}: the SDK has no options", _source(entry)
                self.report(path, text, found="nothing", allowed="a mapping of options", at=at)
            if sdk_id in keys:
                self._sdk_keys[(*path, "key")] = keys[sdk_id]
            made[sdk_id] = self._section(
                Sdk, entry, attrs.evolve(context, path=path, prefix=environment_prefix(sdk_id))
            )
        for sdk_id, reason in collisions(made):
            text = f"sdk-{sdk_id}: the environment variables of this SDK are ambiguous: {reason}"
            self.report((*context.path, sdk_id), text, allowed="another SDK id")
        return made

    def _keys(self, context: _Context) -> Mapping[str, Node]:
        text = self.environ.get(_SDKS)
        if not text:
            return {}
        allowed = 'an object of SDK id to SDK key, such as {"my-sdk":"<SDK key>"}'
        node = self._json(text, _SDKS, context.path, allowed)
        return self._entries(node, attrs.evolve(context, variable=_SDKS), allowed=allowed)

    def _usable(self, sdk_id: str, context: _Context, keys: Mapping[str, Node]) -> bool:
        at = Source(_SDKS if sdk_id in keys else "")
        if not sdk_id:
            self.report(context.path, "an SDK id must not be empty", at=at)
        elif looks_like_key(sdk_id):
            path = (*context.path, mask_sdk_key(sdk_id))
            self.report(path, "this SDK id is an SDK key", allowed="SDK ids as keys, SDK keys as values", at=at)
        elif sdk_id in keys and is_empty(keys[sdk_id]):
            self.report((*context.path, sdk_id), "the SDK has no key", found="nothing", allowed="an SDK key", at=at)
        else:
            return True
        return False


def _source(node: Node, variable: str = "") -> Source:
    return Source(variable) if variable else Source("", node.line, node.column)
