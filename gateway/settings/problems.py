"""Errors and warnings about the settings; they never contain a secret."""

import attrs

from gateway.text import replace_unprintable

SHOWN = 60  # characters of a value in a problem; longer values are cut.


@attrs.frozen(kw_only=True)
class Problem:
    """One error or warning.

    ``path`` is the YAML path of the option, empty if no single option is concerned; ``variable`` is the environment
    variable that set it, if any; ``line`` and ``column`` of the YAML file count from 1.
    """

    path: str
    text: str
    variable: str = ""
    found: str = ""
    allowed: str = ""
    line: int | None = None
    column: int | None = None

    @property
    def where(self) -> str:
        """The variable or the YAML path, with line and column if they are known."""
        place = self.variable or self.path
        if self.line is None:
            return place
        position = f"line {self.line}, column {self.column}" if self.column is not None else f"line {self.line}"
        return f"{place} ({position})" if place else position

    def __str__(self) -> str:
        details = "; ".join(
            f"{word} {what}" for word, what in (("found", self.found), ("allowed:", self.allowed)) if what
        )
        text = f"{self.text} ({details})" if details else self.text
        return f"{self.where}: {text}" if self.where else text

    def as_dict(self) -> dict[str, object]:
        """Return the set fields as plain values, for JSON."""
        return {name: value for name, value in attrs.asdict(self).items() if value not in ("", None)}


def shortened(text: str) -> str:
    """Return a text in quotes, cut to ``SHOWN`` characters, without control characters."""
    clean = replace_unprintable(text)
    return f"'{clean}'" if len(clean) <= SHOWN else f"'{clean[:SHOWN]}…'"
