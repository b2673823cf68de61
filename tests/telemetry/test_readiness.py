"""Readiness: 200 only when every first fetch has ended and an SDK has a config."""

from gateway.telemetry import Readiness, SdkState, Status


def readiness_of(*states, status=None):
    return Readiness(lambda: [SdkState(*state) for state in states], status or Status(lambda: 0.0))


def test_ready_when_all_first_fetches_ended_and_one_sdk_serves():
    """One SDK that serves is enough once none is loading."""
    result = readiness_of(SdkState("a", False, True), SdkState("b", False, False)).check()
    assert (200, True, "ready") == (result.code, result.body["ready"], result.body["reason"])
    assert [True, False] == [sdk["serving"] for sdk in result.body["sdks"].values()]


def test_not_ready_while_a_first_fetch_runs():
    """An SDK whose first fetch has not ended is named."""
    result = readiness_of(("a", False, True), ("b", True, False)).check()
    assert 503 == result.code
    assert "waiting for the first fetch of: b" == result.body["reason"]
    assert "upstream.timeout" in result.body["sdks"]["b"]["why"]


def test_not_ready_when_no_sdk_has_a_config_and_the_reason_is_given():
    """With the last error and the things to check."""
    status = Status(lambda: 0.0)
    status.add("a", "k", "online", "remote")
    status.record("a", False, "unexpected response received: 404 Not Found")
    result = readiness_of(("a", False, False), status=status).check()
    assert (503, "no SDK has a config to serve") == (result.code, result.body["reason"])
    assert (
        "no config yet: unexpected response received: 404 Not Found; check SDK key, network, or the file it comes from"
    ) == result.body["sdks"]["a"]["why"]


def test_a_failing_upstream_behind_a_good_config_stays_ready():
    """The last good config is served, and the text contains the error."""
    status = Status(lambda: 0.0)
    status.add("a", "k", "online", "remote")
    status.record("a", False, "config fetch failed")
    result = readiness_of(("a", False, True), status=status).check()
    assert 200 == result.code
    assert (
        "serving the last good config; the latest fetch failed: config fetch failed"
        == (result.body["sdks"]["a"]["why"])
    )


def test_no_sdk_is_not_ready():
    """A gateway without SDKs cannot take traffic."""
    assert (503, "no SDK is configured") == ((result := readiness_of().check()).code, result.body["reason"])


def test_shutdown_is_not_ready_for_good():
    """Once stopping, the answer is 503 even though SDKs still serve."""
    readiness = readiness_of(("a", False, True))
    assert 200 == readiness.check().code
    readiness.stop()
    assert (503, "the gateway is shutting down") == (readiness.check().code, readiness.check().body["reason"])


def test_every_check_reads_the_current_states():
    """None are kept from the check before."""
    states = [("a", True, False)]
    readiness = Readiness(lambda: [SdkState(*state) for state in states], Status(lambda: 0.0))
    assert 503 == readiness.check().code
    states[0] = ("a", False, True)
    assert 200 == readiness.check().code


def test_a_cached_config_is_ready_and_stale_with_its_age():
    """The texts name the age and what the fetch does; without one, ``stale`` is false."""
    status = Status(lambda: 1000.0)
    status.add("a", "k", "online", "remote")
    readiness = readiness_of(("a", False, True), ("b", False, False), status=status)
    assert (False, {"serving", "why"}) == (readiness.check().body["stale"], set(readiness.check().body["sdks"]["a"]))
    status.stale("a", 700.0)
    result = readiness.check()
    assert (200, True, True) == (result.code, result.body["ready"], result.body["stale"])
    waiting = "serving the cached config, fetched 300 s ago; the first fetch has not ended yet"
    assert {"serving": True, "why": waiting, "stale": True, "config_age_seconds": 300} == result.body["sdks"]["a"]
    assert "stale" not in result.body["sdks"]["b"]
    status.record("a", False, "config fetch failed")
    failed = "serving the cached config, fetched 300 s ago; the latest fetch failed: config fetch failed"
    assert failed == readiness.check().body["sdks"]["a"]["why"]
