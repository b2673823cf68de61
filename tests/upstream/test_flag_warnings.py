"""Log lines about flags that fail, in a config that is served."""

from __future__ import annotations

import msgspec
import pytest
from twisted.logger import LogLevel, globalLogPublisher

from gateway.settings import Settings
from gateway.upstream.outcome import Fetched

SETTINGS = msgspec.convert({"sdks": {"shop": {"key": "a" * 22 + "/" + "b" * 22}}}, Settings)


@pytest.fixture
def logged():
    """Every log event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def test_flags_that_fail_are_named_once(stage, logged):
    """The log names the flags of a served config that fail, and why; it also has a line when none fails any more."""
    flags = {f"bad{number}": {"t": 0} for number in range(7)} | {"line\nfeed": 7, "flag": {"t": 0, "v": {"b": True}}}
    broken = msgspec.json.encode({"f": flags})
    stage.open(SETTINGS).start()
    (source,) = stage.sources["shop"]
    source.deliver(Fetched(broken, "1"))
    (event,) = [event for event in logged if event["log_level"] >= LogLevel.warn]
    assert (8, 9) == (event["count"], event["all"])
    assert "'bad0': setting value is nil" in event["shown"]
    assert "bad5" not in event["shown"]
    logged.clear()
    del flags["bad1"]
    source.wake()
    source.deliver(Fetched(msgspec.json.encode({"f": flags}), "2"))
    assert [] == [event for event in logged if event["log_level"] >= LogLevel.warn]
    source.wake()
    source.deliver("sound")
    assert "SDK {sdk_id}: no flag fails any more" == logged[-1]["log_format"]
