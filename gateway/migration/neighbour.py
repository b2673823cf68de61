"""What a module about a neighbour consists of: how its settings are read, and the table of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from gateway.migration.draft import Path
from gateway.migration.values import unchanged

if TYPE_CHECKING:
    from gateway.migration.draft import Draft

Tree = Mapping[str, object]


class Unreadable(ValueError):
    """The settings of the neighbour cannot be read; the text gives the place and no value."""


@attrs.frozen
class To:
    """The setting becomes an option; each ``*`` of the path stands for the part that a ``*`` of the name matched."""

    path: str
    convert: Callable[[object], object] = unchanged  # raises ``Unusable``
    remark: str = ""


@attrs.frozen
class NoEqual:
    """The setting has no equal, for a reason that ends with what to do instead."""

    reason: str


@attrs.frozen
class Always:
    """The setting needs no option, because the gateway always works in that way."""

    reason: str


UPSTREAM: Final = "flags come from ConfigCat's CDN, from `sdks.<id>.base_url` or from a file"
"""The reason for settings that name the service of another vendor."""

ORIGIN_ROUTES: Final = ("api", "sse", "ofrep", "cdn_proxy")
"""The groups of routes whose CORS is set, where a neighbour has one setting for all of them."""

Special = Callable[["Draft", Path, object], None]
"""A rule for settings that belong together: gets the path of the setting and its value, and changes the draft."""

Rule = To | NoEqual | Always | Special
Rules = Mapping[str, Rule]
"""Rules by the dotted name of a setting; ``*`` matches any one part, and the number of a list's item."""


@attrs.frozen(kw_only=True)
class Neighbour:
    """One neighbour of the gateway."""

    name: str  # on the command line
    title: str
    file: str  # what its settings usually are called, for texts
    read: Callable[[str], Tree]  # raises ``Unreadable``
    rules: Rules
    finish: Callable[[Draft], None]  # adds what the settings do not contain, such as an SDK
    same_name: Callable[[str], str] = str  # so that names in another case are equal
    environment: bool = False  # whether the settings are environment variables
