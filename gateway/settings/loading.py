"""Loading the settings: parse, apply the schema and the rules, and fill in effective values.

defaults ──► YAML ──► environment ──► rules ──► effective values
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

import attrs
import msgspec

from gateway.settings.fields import ID, PREFIX, Path, dotted, fields, options
from gateway.settings.parsing.nodes import Node, ParseError
from gateway.settings.parsing.settings_reader import SettingsReader, Source
from gateway.settings.parsing.yaml_text import read_yaml
from gateway.settings.problems import Problem, shortened
from gateway.settings.rules.access import access_errors
from gateway.settings.rules.callers import caller_errors, caller_warnings
from gateway.settings.rules.cors import cors_errors
from gateway.settings.rules.exposure import exposure_notes
from gateway.settings.rules.general import Exists, Finding, errors, warnings
from gateway.settings.rules.headers import header_errors, header_warnings
from gateway.settings.rules.identity import identity_errors, identity_warnings
from gateway.settings.rules.outgoing import outgoing_errors, outgoing_warnings
from gateway.settings.schema import Level, Log, Sdk, Section, Settings
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNKNOWN_LIMIT: Final = 50  # warnings about unknown names, each of which needs a search for similar names.
NAME_LIMIT: Final = 80  # characters of a name for which similar names are searched.
POLL_INTERVAL: Final = 60  # seconds; the effective value of an interval of 0 or less.

# Kubernetes sets these variables in every pod of a namespace that has a service called configcat-….
_KUBERNETES = re.compile(r".*_(SERVICE_(HOST|PORT(_.+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.+)?)?)", re.DOTALL)

_S = TypeVar("_S", bound=Section)


@attrs.frozen(kw_only=True)
class Loaded:
    """The result of ``load``: settings, or None and every problem; warnings and notes in both cases.

    A note is about what any client may do by default; an option that is set, be it to its default, has none.
    """

    settings: Settings | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    path: str = ""  # of the file that was read; empty without a file
    readable: Settings | None = None  # as set, with defaults for unusable values; None if there was nothing to read
    unusable: tuple[Path, ...] = ()  # options whose value has a wrong form, so that ``readable`` has a default for them

    def settings_for(self, *sections: str) -> Settings | None:
        """Return settings in which these sections are as set, whatever is wrong elsewhere; None if they are unusable.

        Rules are not checked: a section may name a file that does not exist.
        """
        if any(not path or path[0] in sections for path in self.unusable):
            return None
        return self.readable

    def problems_of(self, *sections: str) -> tuple[Problem, ...]:
        """Return the problems of these sections, and those of the whole file."""
        return tuple(each for each in self.problems if not each.path or re.split(r"[.\[]", each.path)[0] in sections)


def load(
    text: str | None, environ: Mapping[str, str], *, path: str = "", exists: Exists = lambda _path: True
) -> Loaded:
    """Return the settings of a YAML text and the environment, or every problem in them; never raises.

    ``text`` is None without a file, and ``path`` is its name in messages. ``exists`` returns whether a file exists.
    Problems of single values come before those of rules, and none contains a secret.
    """
    reader = SettingsReader(environ)
    written = reader.settings(_parse(text, path, reader))
    unusable = tuple(reader.invalid)
    rules = (
        errors(written, exists),
        cors_errors(written),
        header_errors(written),
        access_errors(written),
        identity_errors(written, exists),
        caller_errors(written),
        outgoing_errors(written, exists),
    )
    for finding in chain.from_iterable(rules):
        _report(finding, reader)
    doubts = (warnings, header_warnings, identity_warnings, caller_warnings, outgoing_warnings)
    doubtful = [
        reader.sources.get(finding.path, Source()).problem(finding.path, finding.text)
        for finding in chain.from_iterable(check(written) for check in doubts)
    ]
    trimmed = [at.problem(path, "the value has white space around it, which is ignored") for path, at in reader.trimmed]
    found = (*_unsupported(reader), *_unknown(reader), *trimmed, *doubtful)
    problems = tuple(reader.problems)
    settings = effective(written)
    return Loaded(
        settings=None if problems else settings,
        problems=problems,
        warnings=found,
        notes=tuple(
            Source().problem(note.path, note.text, allowed=note.allowed)
            for note in exposure_notes(written)
            if note.path not in reader.sources
        ),
        path=path,
        readable=settings,
        unusable=unusable,
    )


def _parse(text: str | None, path: str, reader: SettingsReader) -> Node | None:
    if text is None:
        return None
    try:
        return read_yaml(text)
    except ParseError as error:
        file = f" from config file {path}" if path else ""
        reader.report((), f"failed to parse YAML{file}: {error.reason}", at=Source("", error.line, error.column))
        return None


def _report(finding: Finding, reader: SettingsReader) -> None:
    """Report a finding, unless the option already has a problem, so that its default was checked instead."""
    path = finding.path
    if any(path[: len(invalid)] == invalid or invalid[: len(path)] == path for invalid in reader.invalid if invalid):
        return
    if () in reader.invalid and path == ("sdks",):  # a file that cannot be parsed has no SDKs
        return
    above = (path[:length] for length in range(len(path), 0, -1))
    source = next((reader.sources[up] for up in above if up in reader.sources), None)
    reader.report(path, finding.text, found=finding.found, allowed=finding.allowed, at=source)
    reader.invalid.discard(path)


def _unsupported(reader: SettingsReader) -> Iterator[Problem]:
    """Yield one warning for each unsupported feature in use; report those that must not be ignored as problems."""
    for feature, found in reader.unsupported.items():
        refused = [path for path, severity in found if severity == "error"]
        for path in refused:
            text = "not supported yet; ignoring it would change which config is served"
            reader.report(path, text, allowed="leave it out")
        ignored = [path for path, severity in found if severity == "warn"]
        if ignored and not refused:
            names = ", ".join(dotted(path) for path in ignored[:5] if path != feature)
            names += ", …" if len(ignored) > 5 else ""
            text = "not supported yet, ignored" + (f": {names}" if names else "")
            yield reader.sources.get(ignored[0], Source()).problem(feature, text)


def _unknown(reader: SettingsReader) -> Iterator[Problem]:
    found = 0
    for path, section, source in reader.unknown:
        found += 1
        if found <= UNKNOWN_LIMIT:
            hint = _hint(_similar_option(str(path[-1]), section, path))
            yield source.problem(path, f"unknown option {shortened(str(path[-1]))}, ignored{hint}")
    for name in sorted(reader.environ):
        if not name.startswith(f"{PREFIX}_") or not reader.environ[name] or name in reader.variables:
            continue
        if _KUBERNETES.fullmatch(name):
            continue
        found += 1
        if found <= UNKNOWN_LIMIT:
            hint = _hint(_similar(name, sorted(reader.variables)))
            yield Source(replace_unprintable(name)).problem((), f"unknown environment variable, ignored{hint}")
    if found > UNKNOWN_LIMIT:
        yield Problem(path="", text=f"{found - UNKNOWN_LIMIT} more unknown options, ignored")


def _hint(similar: str) -> str:
    return f"; did you mean {similar}?" if similar else ""


def _similar_option(name: str, section: type[Section], path: Path) -> str:
    """Return the path of the option with the same name in another section, else with the most similar one."""
    siblings = {spelling: field.name for field in fields(section) for spelling in (field.name, *field.info.aliases)}
    elsewhere: dict[str, str] = {}
    for option in sorted(options(), key=lambda option: bool(option.info.unsupported)):
        # Options before sections of the same name, which end earlier in the path.
        for end in range(len(option.path), 0, -1):
            if option.field.entry is None and option.path[end - 1] != ID:
                elsewhere.setdefault(str(option.path[end - 1]), dotted(option.path[:end]))
    if name in elsewhere:  # the right name in the wrong section
        return elsewhere[name]
    similar = _similar(name, list(siblings))
    if similar:
        return dotted((*path[:-1], siblings[similar]))
    return elsewhere.get(_similar(name, list(elsewhere)), "")


def _similar(name: str, known: list[str]) -> str:
    if len(name) > NAME_LIMIT:
        return ""
    # Differences of case and between - and _ are frequent in YAML, so they do not count.
    lower = {candidate.lower(): candidate for candidate in reversed(known)}
    close = get_close_matches(name.lower().replace("-", "_"), list(lower), n=1, cutoff=0.6)
    return lower[close[0]] if close else ""


def effective(settings: Settings) -> Settings:
    """Return settings in which every log level, ``offline.enabled`` and poll interval has its effective value.

    The function is idempotent.
    """
    levelled = _with_levels(settings, settings.log.level)
    sdks = {sdk_id: _effective_sdk(sdk, settings) for sdk_id, sdk in levelled.sdks.items()}
    return msgspec.structs.replace(levelled, sdks=sdks)


def _effective_sdk(sdk: Sdk, settings: Settings) -> Sdk:
    offline = sdk.offline
    if offline.enabled is None:
        follows = settings.offline.enabled
        offline = msgspec.structs.replace(offline, enabled=follows, use_cache=follows)
        if follows:
            offline = msgspec.structs.replace(offline, cache_poll_interval=settings.offline.cache_poll_interval)
    return msgspec.structs.replace(
        sdk,
        poll_interval=sdk.poll_interval if sdk.poll_interval > 0 else POLL_INTERVAL,
        offline=offline,
    )


def _with_levels(section: _S, level: Level) -> _S:
    """Set every missing level below to ``log.level``, also that of streams, which do not inherit from ``http.log``."""
    changed: dict[str, object] = {}
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Log):
            changed[name] = value if value.level else Log(level=level)
        elif isinstance(value, Section):
            changed[name] = _with_levels(value, level)
        elif name == "sdks" and isinstance(value, dict):
            changed[name] = {sdk_id: _with_levels(sdk, level) for sdk_id, sdk in value.items()}
    return msgspec.structs.replace(section, **changed)
