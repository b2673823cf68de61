"""What a field of the schema says about itself beyond its type: description, secrecy, reload, readiness."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs
from msgspec import Meta

Secret = Literal["", "key", "all", "url", "userinfo"]
"""How a value is hidden.

``key`` leaves the last five characters, ``all`` nothing, ``url`` scheme and host, ``userinfo`` all but the
user, the password and the query of a URL.
"""

Later = Literal["", "error", "warn"]
"""Set on an option that is declared but not built yet: using it is an error, or a warning said once.

Whoever builds the option removes this one mark.
"""

_KEY: Final = "marks"


@attrs.frozen(kw_only=True)
class Marks:
    """The declarative extras of one field.

    ``later``, ``restart`` and ``hidden`` of a section hold for everything under it, unless said again below.
    """

    hidden: Secret = ""
    restart: bool = False
    later: Later = ""
    quiet: tuple[object, ...] = ()  # values that ask for nothing, so ``later`` stays silent about them
    env: tuple[str, ...] = ()  # suffixes of the environment name where they differ from the field's name
    aliases: tuple[str, ...] = ()  # other YAML spellings
    error: str = ""  # text of a problem with this value; may use {section}, {id}, {found} and {key}
    ours: bool = False  # not an option of the system we replace
    example: str = ""  # YAML of a telling value, for the sample file


def note(  # noqa: PLR0913 - each argument is one thing that a field can say
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    hidden: Secret = "",
    restart: bool = False,
    later: Later = "",
    quiet: tuple[object, ...] = (),
    env: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    error: str = "",
    ours: bool = False,
    example: str = "",
) -> Meta:
    """Return the annotation of a field: bounds for msgspec, and our own ``Marks`` in its extras."""
    marks = Marks(
        hidden=hidden,
        restart=restart,
        later=later,
        quiet=quiet,
        env=env,
        aliases=aliases,
        error=error,
        ours=ours,
        example=example,
    )
    bounds: dict[str, Any] = {name: bound for name, bound in (("ge", ge), ("gt", gt), ("le", le)) if bound is not None}
    return Meta(description=description, extra={_KEY: marks}, **bounds)


def marks_in(extra: dict[str, object] | None) -> Marks:
    """Return the marks that ``note`` put into a field's extras, or plain ones."""
    found = (extra or {}).get(_KEY)
    return found if isinstance(found, Marks) else Marks()
