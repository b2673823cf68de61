"""Text and environment → settings, or everything that is wrong with them.

defaults ──► YAML ──► environment ──► rules ──► effective values
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import attrs

from gateway.settings.effective import effective
from gateway.settings.fields import PREFIX, Path, dotted, fields, options
from gateway.settings.parsing.raw import Raw, Unreadable
from gateway.settings.parsing.reading import Place, Reader
from gateway.settings.parsing.yaml_text import read_yaml
from gateway.settings.problems import Problem, shortened
from gateway.settings.rules.general import Exists, Finding, errors
from gateway.settings.rules.outgoing import outbound_errors, outbound_notices
from gateway.settings.rules.unsupported import later_errors
from gateway.settings.sdk_keys import valid_key
from gateway.text import replace_unprintable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.settings.schema.root import Section, Settings

UNKNOWN_LIMIT: Final = 50  # warnings about unknown names; more of them help nobody, and each costs a search.
NAME_LIMIT: Final = 80  # characters of a name that is worth a search for its neighbour.

_STRANGE_KEY: Final = "no SDK key has this form, so nothing will be fetched for this SDK"

# Kubernetes puts these into every pod of a namespace that has a service called configcat-…; nobody wrote them.
_INJECTED = re.compile(r".*_(SERVICE_(HOST|PORT(_.+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.+)?)?)", re.DOTALL)


@attrs.frozen(kw_only=True)
class Loaded:
    """The outcome of ``load``: settings, or every problem that stands against them; warnings either way."""

    settings: Settings | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    path: str = ""  # of the file that was read; empty when there was none


def load(
    text: str | None, environ: Mapping[str, str], *, path: str = "", exists: Exists = lambda _path: True
) -> Loaded:
    """Return the settings that a YAML text and the environment amount to.

    ``text`` is None when there is no file; ``path`` only serves messages. ``exists`` tells whether a named file is
    there; without it nobody looks. Never raises, whatever was written: all problems are in the result, those of single
    values before those of rules, and none of them shows a secret.
    """
    reader = Reader(environ)
    raw = _document(text, path, reader)
    written = reader.settings(raw)
    for finding in (*errors(written, exists), *outbound_errors(written, exists), *later_errors(written)):
        _record(finding, reader)
    warnings = (*_later(reader), *_unknown(reader), *_doubtful(written, reader))
    problems = tuple(reader.problems)
    return Loaded(settings=None if problems else effective(written), problems=problems, warnings=warnings, path=path)


def _document(text: str | None, path: str, reader: Reader) -> Raw | None:
    if text is None:
        return None
    try:
        return read_yaml(text)
    except Unreadable as error:
        source = f" from config file {path}" if path else ""
        reader.report((), f"failed to parse YAML{source}: {error.reason}", at=Place("", error.line, error.column))
        return None


def _record(finding: Finding, reader: Reader) -> None:
    """Add a finding, unless its option is already known to be wrong: then its value is only a stand-in."""
    path = finding.path
    if any(path[: len(broken)] == broken or broken[: len(path)] == path for broken in reader.broken if broken):
        return
    if () in reader.broken and path == ("sdks",):  # an unreadable file has no SDKs; that is not the news
        return
    place = next((reader.places[up] for up in _upwards(path) if up in reader.places), None)
    reader.report(path, finding.text, found=finding.found, allowed=finding.allowed, at=place)
    reader.broken.discard(path)


def _upwards(path: Path) -> Iterator[Path]:
    return (path[:length] for length in range(len(path), 0, -1))


def _later(reader: Reader) -> Iterator[Problem]:
    """Yield one warning per feature that does not exist yet; what may not be ignored becomes a problem."""
    for feature, found in reader.later.items():
        wanted = [path for path, later in found if later == "error"]
        for path in wanted:
            text = "not available in this version of flaggateway, which would serve something else without it"
            reader.report(path, text, allowed="leave it out")
        names = [path for path, later in found if later == "warn"]
        if names and not wanted:
            parts = ", ".join(dotted(name) for name in names[:5] if name != feature) + (", …" if len(names) > 5 else "")
            text = "not available in this version of flaggateway, ignored" + (f": {parts}" if parts else "")
            yield _warning(feature, text, reader.places.get(names[0], Place()))


def _unknown(reader: Reader) -> Iterator[Problem]:
    found = 0
    for path, section, place in reader.unknown:
        found += 1
        if found <= UNKNOWN_LIMIT:
            near = _near_key(str(path[-1]), section, path)
            yield _warning(path, f"unknown option {shortened(str(path[-1]))}, ignored", place, near)
    for name in sorted(reader.environ):
        if not name.startswith(f"{PREFIX}_") or not reader.environ[name] or name in reader.variables:
            continue
        if _INJECTED.fullmatch(name):
            continue
        found += 1
        if found <= UNKNOWN_LIMIT:
            near = _nearest(name, sorted(reader.variables))
            yield _warning((), "unknown environment variable, ignored", Place(replace_unprintable(name)), near)
    if found > UNKNOWN_LIMIT:
        yield Problem(path="", text=f"{found - UNKNOWN_LIMIT} more unknown options, ignored")


def _near_key(name: str, section: type[Section], path: Path) -> str:
    """Return the path of a known option that was probably meant: of this section, else of any."""
    siblings = {spelling: field.name for field in fields(section) for spelling in (field.name, *field.marks.aliases)}
    near = _nearest(name, list(siblings))
    if near:
        return dotted((*path[:-1], siblings[near]))
    elsewhere: dict[str, str] = {}
    for option in sorted(options(), key=lambda option: bool(option.later)):
        if option.field.entries is None:
            elsewhere.setdefault(str(option.path[-1]), dotted(option.path))
    return elsewhere.get(_nearest(name, list(elsewhere)), "")


def _nearest(name: str, known: list[str]) -> str:
    if len(name) > NAME_LIMIT:
        return ""
    # YAML written by hand mixes - and _, and cases; both count as no difference.
    same = {candidate.lower(): candidate for candidate in reversed(known)}
    close = get_close_matches(name.lower().replace("-", "_"), list(same), n=1, cutoff=0.6)
    return same[close[0]] if close else ""


def _doubtful(settings: Settings, reader: Reader) -> Iterator[Problem]:
    """Yield what is allowed and probably not meant."""
    if settings.tls.enabled and settings.tls.min_version in {"1.0", "1.1"}:
        path: Path = ("tls", "min_version")
        yield _warning(path, "TLS 1.0 and 1.1 are unsafe", reader.places.get(path, Place()))
    for sdk_id, sdk in settings.sdks.items():
        path = ("sdks", sdk_id, "key")
        if sdk.key and not sdk.offline.enabled and not valid_key(sdk.key, custom_base=bool(sdk.base_url)):
            yield _warning(path, _STRANGE_KEY, reader.places.get(path, Place()))
        path = ("sdks", sdk_id, "offline", "local", "file_path")
        if sdk.offline.local.file_path and not sdk.offline.enabled:
            text = f"has no effect: sdks.{sdk_id}.offline.enabled is not true"
            yield _warning(path, text, reader.places.get(path, Place()))
    for notice in outbound_notices(settings):
        yield _warning(notice.path, notice.text, reader.places.get(notice.path, Place()))


def _warning(path: Path, text: str, place: Place, near: str = "") -> Problem:
    meant = f"; did you mean {near}?" if near else ""
    return Problem(
        path=dotted(path),
        text=replace_unprintable(text) + meant,
        variable=place.variable,
        line=place.line,
        column=place.column,
    )
