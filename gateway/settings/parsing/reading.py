"""Raw values and environment variables → the structs of the schema, with every problem on the way.

The walk follows the schema, so it is as deep as the schema and no deeper, whatever was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from msgspec import inspect

from gateway.settings.fields import PREFIX, Field, Path, dotted, fields, inherited
from gateway.settings.marks import Later, Marks
from gateway.settings.parsing.coercion import Misfit, allowed, scalar, sort_of
from gateway.settings.parsing.raw import Entries, Items, Raw, Scalar, Unreadable, is_null, read_json
from gateway.settings.problems import Problem, shortened
from gateway.settings.schema.root import Section, Settings
from gateway.settings.sdk_ids import collisions, environment_prefix, looks_like_key
from gateway.settings.sdk_keys import mask_sdk_key
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Mapping

_SDKS: Final = f"{PREFIX}_SDKS"


class _Unset:
    """Stands for "no usable value here"; a problem may have been recorded."""


UNSET: Final = _Unset()


@attrs.frozen
class Place:
    """Where a value was written: a variable, or a line of the file."""

    variable: str = ""
    line: int | None = None
    column: int | None = None


@attrs.frozen
class Scope:
    """What holds where the walk stands."""

    path: Path = ()
    prefix: str | None = PREFIX  # of environment names; None inside lists, whose entries have none
    marks: Marks = Marks()  # noqa: RUF009 - frozen
    feature: Path = ()  # the outermost place that is marked as not built yet
    variable: str = ""  # the variable whose JSON is being read
    typed: bool = False  # text must be text by itself, and not a number that could be written as text


@attrs.define
class Reader:
    """Walks the schema once over what was written, and collects; for one document, so made anew for each."""

    environ: Mapping[str, str]
    problems: list[Problem] = attrs.field(factory=list)
    unknown: list[tuple[Path, type[Section], Place]] = attrs.field(factory=list)
    places: dict[Path, Place] = attrs.field(factory=dict)  # of every option that was set
    broken: set[Path] = attrs.field(factory=set)  # options with a problem, whose default stands in
    later: dict[Path, list[tuple[Path, Later]]] = attrs.field(factory=dict)
    variables: set[str] = attrs.field(factory=set)  # every name that means something
    _given: dict[Path, Raw] = attrs.field(factory=dict)  # SDK keys out of CONFIGCAT_SDKS

    def settings(self, raw: Raw | None) -> Settings:
        """Return the settings as written, defaults filled in; options with a problem have their default."""
        made = self._section(Settings, raw, Scope())
        assert isinstance(made, Settings)
        return made

    def report(self, path: Path, text: str, *, found: str = "", allowed: str = "", at: Place | None = None) -> None:
        """Record a problem with an option, at the place where it was set."""
        place = at or self.places.get(path, Place())
        self.broken.add(path)
        self.problems.append(
            Problem(
                path=dotted(path),
                text=replace_unprintable(text),
                variable=place.variable,
                found=found,
                allowed=allowed,
                line=place.line,
                column=place.column,
            )
        )

    def _section(self, section: type[Section], raw: Raw | None, scope: Scope) -> Section:
        left = dict(self._entries(raw, scope, allowed="a mapping of options"))
        values: dict[str, object] = {}
        for found in fields(section):
            below = self._below(found, scope)
            written = next((left.pop(name) for name in (found.name, *found.marks.aliases) if name in left), None)
            if found.section is not None:
                made = self._section(found.section, written, below)
                if found.marks.later and getattr(made, "enabled", True) is False:
                    self.later.pop(below.path, None)  # switched off: nothing is missed
                values[found.name] = made
                continue
            value = self._sdks(written, below) if found.entries else self._option(found, written, below, scope)
            values[found.name] = found.default() if isinstance(value, _Unset) else value
        self._leave(section, raw, left, scope)
        return section(**values)

    def _below(self, found: Field, scope: Scope) -> Scope:
        path = (*scope.path, found.name)
        return attrs.evolve(
            scope,
            path=path,
            prefix=scope.prefix and f"{scope.prefix}_{found.suffixes[0]}",
            marks=inherited(found.marks, scope.marks),
            feature=path if found.marks.later else scope.feature,
        )

    def _leave(self, section: type[Section], raw: Raw | None, left: Mapping[str, Raw], scope: Scope) -> None:
        marks = raw.marks if isinstance(raw, Entries) else {}
        for name in left:
            line, column = marks.get(name, (None, None))
            self.unknown.append(((*scope.path, name), section, Place(scope.variable, line, column)))

    def _entries(self, raw: Raw | None, scope: Scope, *, allowed: str) -> Mapping[str, Raw]:
        if isinstance(raw, Entries):
            return raw.entries
        if not is_null(raw) and raw is not None:
            self.report(
                scope.path, "not a mapping", found=sort_of(raw), allowed=allowed, at=_place(raw, scope.variable)
            )
        return {}

    def _option(self, found: Field, written: Raw | None, below: Scope, scope: Scope) -> object:
        """Return the value of one option: of its variable, else of the file, else nothing."""
        raw, variable = written, below.variable
        if scope.prefix is not None:
            names = [f"{scope.prefix}_{suffix}" for suffix in found.suffixes]
            self.variables.update(names)
            set_ = next((name for name in names if self.environ.get(name)), "")
            if set_:
                raw, variable = self._from_environment(found.kind, set_, below), set_
            elif below.path in self._given:
                raw, variable = self._given[below.path], _SDKS
        if raw is None or is_null(raw):
            return UNSET
        self.places[below.path] = _place(raw, variable)
        value = self.value(found.kind, raw, attrs.evolve(below, variable=variable, prefix=None))
        if below.marks.later and value not in below.marks.quiet:
            self.later.setdefault(below.feature, []).append((below.path, below.marks.later))
        return value

    def _from_environment(self, kind: inspect.Type, name: str, scope: Scope) -> Raw | None:
        text = self.environ[name]
        if not isinstance(kind, inspect.ListType | inspect.DictType):
            return Scalar(text, text, "environment")
        return self._json(text, name, scope.path, allowed(kind))

    def _json(self, text: str, name: str, path: Path, wanted: str) -> Raw | None:
        try:
            return read_json(text)
        except Unreadable as error:
            spot = f" at line {error.line}, column {error.column}" if error.line else ""
            cause = f"failed to read environment variable '{name}': {error.reason}{spot}"
            self.report(path, cause, allowed=f"JSON: {wanted}", at=Place(name))
            return None

    def value(self, kind: inspect.Type, raw: Raw, scope: Scope) -> object:
        """Return one value of any type, its parts included; ``UNSET`` after a problem."""
        if isinstance(kind, inspect.UnionType) and isinstance(raw, Items):
            kind = next((member for member in kind.types if isinstance(member, inspect.ListType)), kind)
            scope = attrs.evolve(scope, typed=True)
        match kind, raw:
            case inspect.ListType(), Items():
                parts = [
                    self.value(kind.item_type, item, attrs.evolve(scope, path=(*scope.path, index)))
                    for index, item in enumerate(raw.items)
                ]
                return UNSET if any(isinstance(part, _Unset) for part in parts) else parts
            case inspect.DictType(), Entries():
                pairs = {
                    key: self.value(kind.value_type, item, attrs.evolve(scope, path=(*scope.path, key)))
                    for key, item in raw.entries.items()
                }
                return UNSET if any(isinstance(part, _Unset) for part in pairs.values()) else pairs
            case inspect.StructType(cls=cls), Entries() if issubclass(cls, Section):
                return self._section(cls, raw, scope)
            case _, Scalar(value=value) if value is not None:
                texts = not scope.typed or isinstance(value, str)
                result = scalar(kind, raw) if texts else Misfit(allowed(kind), of_type=True)
            case _:
                result = Misfit(allowed(kind), of_type=True)
        if isinstance(result, Misfit):
            self._misfit(kind, raw, result, scope)
            return UNSET
        return result

    def _misfit(self, kind: inspect.Type, raw: Raw, misfit: Misfit, scope: Scope) -> None:
        """Say what was found, unless it may be a secret, and what is allowed; in the words of the contract if any."""
        open_ = isinstance(raw, Scalar) and not scope.marks.hidden and "{key}" not in scope.marks.error
        found = shortened(raw.text) if isinstance(raw, Scalar) and open_ else sort_of(raw)
        text = "wrong type" if misfit.of_type else "not allowed"
        if (
            scope.marks.error
            and not isinstance(kind, inspect.DictType | inspect.ListType)
            and ("{key}" in scope.marks.error or not misfit.of_type)
        ):
            words = [str(part) for part in scope.path]
            key = next((part for part in reversed(scope.path) if isinstance(part, str)), "")
            number = raw.text if isinstance(raw, Scalar) and open_ else ""
            text = scope.marks.error.format(section=words[0], id=words[1], found=number[:20], key=key)
        elif scope.variable:
            text = f"failed to read environment variable '{scope.variable}': {text}"
        self.report(scope.path, text, found=found, allowed=misfit.allowed, at=_place(raw, scope.variable))

    def _sdks(self, raw: Raw | None, scope: Scope) -> object:
        """Return every SDK of the file and of the environment; what both say about one is merged."""
        written = self._entries(raw, scope, allowed="a mapping of SDK id to options")
        keys = self._keys(scope)
        self.variables.add(_SDKS)
        made: dict[str, object] = {}
        for sdk_id in dict.fromkeys([*written, *keys]):
            if not self._usable(sdk_id, scope, keys):
                continue
            path = (*scope.path, sdk_id)
            entry = written.get(sdk_id)
            if entry is not None and is_null(entry):
                self.report(
                    path,
                    f"sdk-{sdk_id}: the SDK has no options",
                    found="nothing",
                    allowed="a mapping of options",
                    at=_place(entry),
                )
            if sdk_id in keys:
                self._given[(*path, "key")] = keys[sdk_id]
            below = attrs.evolve(scope, path=path, prefix=environment_prefix(sdk_id))
            made[sdk_id] = self._section(_sdk(), entry, below)
        for sdk_id, why in collisions(made):
            text = f"sdk-{sdk_id}: the names of this SDK's environment variables are not its own: {why}"
            self.report((*scope.path, sdk_id), text, allowed="another SDK id")
        return made

    def _keys(self, scope: Scope) -> Mapping[str, Raw]:
        text = self.environ.get(_SDKS)
        if not text:
            return {}
        wanted = "an object of SDK id to SDK key"
        raw = self._json(text, _SDKS, scope.path, wanted)
        return self._entries(raw, attrs.evolve(scope, variable=_SDKS), allowed=wanted)

    def _usable(self, sdk_id: str, scope: Scope, keys: Mapping[str, Raw]) -> bool:
        at = Place(_SDKS if sdk_id in keys else "")
        if not sdk_id:
            self.report(scope.path, "an SDK id must not be empty", at=at)
        elif looks_like_key(sdk_id):
            shown = mask_sdk_key(sdk_id)
            self.report(
                (*scope.path, shown), "this SDK id is an SDK key", allowed="ids to the left, keys to the right", at=at
            )
        elif sdk_id in keys and is_null(keys[sdk_id]):
            self.report((*scope.path, sdk_id), "the SDK has no key", found="nothing", allowed="an SDK key", at=at)
        else:
            return True
        return False


def _sdk() -> type[Section]:
    return next(found.entries for found in fields(Settings) if found.entries is not None)


def _place(raw: Raw, variable: str = "") -> Place:
    return Place(variable) if variable else Place("", raw.line, raw.column)
