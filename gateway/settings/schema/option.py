"""The annotation of a field of the schema: a description, bounds, and what else the gateway needs about an option."""

from typing import Any, Final, Literal

import attrs
from msgspec import Meta

Secret = Literal["", "key", "all", "url", "userinfo"]
"""How a value is masked.

``key`` leaves the last five characters, ``all`` nothing, ``url`` the scheme and the host, ``userinfo`` everything but
user, password and query of a URL.
"""

Unsupported = Literal["", "error", "warn"]
"""Marks an option that is declared but has no implementation yet: setting it is an error or a warning."""

_KEY: Final = "option"


@attrs.frozen(kw_only=True)
class OptionInfo:
    """What a field declares beyond its type, description and bounds.

    Options below a section inherit its ``unsupported``, ``restart``, ``hidden`` and ``not_in_configcat_proxy``.
    """

    hidden: Secret = ""
    restart: bool = False  # a change is applied by a restart only
    unsupported: Unsupported = ""
    supported_values: tuple[object, ...] = ()  # of an unsupported option, because they do not need the feature
    env: tuple[str, ...] = ()  # suffixes of the environment variable if they differ from the field's name
    aliases: tuple[str, ...] = ()  # other YAML keys
    error: str = ""  # text of a problem with this value; may contain {section}, {id}, {found} and {key}
    not_in_configcat_proxy: bool = False
    example: str = ""  # a value in YAML for the sample file


def option(  # noqa: PLR0913 - one argument for each property of an option
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    hidden: Secret = "",
    restart: bool = False,
    unsupported: Unsupported = "",
    supported_values: tuple[object, ...] = (),
    env: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    error: str = "",
    not_in_configcat_proxy: bool = False,
    example: str = "",
) -> Meta:
    """Return the annotation of a field: bounds for msgspec, and an ``OptionInfo`` in its extras."""
    info = OptionInfo(
        hidden=hidden,
        restart=restart,
        unsupported=unsupported,
        supported_values=supported_values,
        env=env,
        aliases=aliases,
        error=error,
        not_in_configcat_proxy=not_in_configcat_proxy,
        example=example,
    )
    bounds: dict[str, Any] = {name: bound for name, bound in (("ge", ge), ("gt", gt), ("le", le)) if bound is not None}
    return Meta(description=description, extra={_KEY: info}, **bounds)


def option_info(extra: dict[str, object] | None) -> OptionInfo:
    """Return the ``OptionInfo`` in a field's extras, or an empty one."""
    found = (extra or {}).get(_KEY)
    return found if isinstance(found, OptionInfo) else OptionInfo()
