"""The metrics of logins to the diagnostics port."""

from typing import Final, Literal

from gateway.telemetry.series import Counter, Family

Outcome = Literal["verified", "wrong", "limited"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("verified", "wrong", "limited")


class LoginMetrics:
    """Counts logins whose password was verified; those that are remembered from earlier are not counted."""

    def __init__(self) -> None:
        self._logins = Counter("flaggateway_diag_logins", "Logins to the diagnostics port.", ("outcome",))
        for outcome in OUTCOMES:
            self._logins.add((outcome,), 0)

    @property
    def families(self) -> tuple[Family, ...]:
        """The metrics for the registry."""
        return (self._logins,)

    def count(self, outcome: Outcome) -> None:
        """Count a login."""
        self._logins.add((outcome,), 1)
