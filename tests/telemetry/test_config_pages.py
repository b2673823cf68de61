"""The pages about held configs: access, decisions, errors."""

import pytest

from gateway.settings import Diag, Settings
from gateway.telemetry import Metrics, Readiness, Status, make_diagnostics_site
from memory_port import MemoryPort

SECRET = {"Authorization": "Bearer s"}
HELD = {"sdk_id": "my shop", "reason": "30 of 30 flags would vanish"}


class FakeConfigs:
    """Holds one config, of the SDK "my shop"; the SDK "other" has none."""

    def __init__(self):
        self.held = HELD
        self.decided = []

    def held_configs(self):
        return [] if self.held is None else [self.held]

    def accept_config(self, sdk_id):
        return self._decide("accept", sdk_id)

    def reject_config(self, sdk_id):
        return self._decide("reject", sdk_id)

    def _decide(self, act, sdk_id):
        if sdk_id not in ("my shop", "other"):
            raise KeyError(sdk_id)
        self.decided.append((act, sdk_id))
        held, self.held = (self.held, None) if sdk_id == "my shop" else (None, self.held)
        return held


class Port(MemoryPort):
    """The diagnostics server with these pages."""

    def __init__(self, auth=None, configs=None):
        self.configs = configs or FakeConfigs()
        status = Status(lambda: 0.0)
        settings = Settings(diag=Diag(auth_headers=auth or {}))
        metrics = Metrics(lambda: 0.0, "test")
        self.site = make_diagnostics_site(
            status, metrics, Readiness(list, status), settings, self.clock, configs=self.configs
        )


@pytest.mark.parametrize("act", ["accept", "reject"])
def test_a_held_config_is_listed_and_decided(act):
    """The answer is the held config; a second decision has none."""
    port = Port()
    assert (200, {"held": [HELD]}) == port.ask("/configs")
    assert (200, {f"{act}ed": HELD}) == port.ask(f"/configs/my%20shop/{act}", "POST")
    assert [(act, "my shop")] == port.configs.decided
    assert (200, {"held": []}) == port.ask("/configs")
    assert (409, {"error": "no config of SDK my shop is held"}) == port.ask(f"/configs/my%20shop/{act}", "POST")


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/configs/nowhere/accept", "POST", 404),
        ("/configs/other/reject", "POST", 409),
        ("/configs/other/accept", "GET", 405),
        ("/configs", "POST", 405),
        ("/configs/other/forget", "POST", 404),
        ("/configs/other", "GET", 404),
        ("/configs//accept", "POST", 404),
    ],
)
def test_what_cannot_be_decided(path, method, code):
    """Nothing is decided, and the status says why."""
    port = Port()
    assert code == port.ask(path, method)[0]
    assert HELD == port.configs.held


def test_decisions_need_the_headers_or_this_machine():
    """The same rule as for deliveries: the headers if there are any, else only callers on the same machine."""
    port = Port(auth=SECRET)
    assert 401 == port.ask("/configs/other/accept", "POST")[0]
    assert 409 == port.ask("/configs/other/accept", "POST", headers=SECRET, peer="192.0.2.1")[0]
    port = Port()
    assert 403 == port.ask("/configs/other/accept", "POST", peer="192.0.2.1")[0]
    assert 403 == port.ask("/configs/other/accept", "POST", headers={"Origin": "https://evil.example"})[0]
    assert 403 == port.ask("/configs", host="evil.example:8051")[0]
    assert [] == port.configs.decided
    assert b"/configs\n" in port.ask("/")[1]
