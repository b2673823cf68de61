"""Readiness: 200 only when every first fetch has ended and somebody is served."""

from gateway.telemetry import Readiness, SdkState, Status


def readiness_of(*states, status=None):
    return Readiness(states, status or Status(lambda: 0.0))


def test_ready_when_all_first_fetches_ended_and_one_sdk_serves():
    """One SDK that serves is enough once none is loading."""
    verdict = readiness_of(SdkState("a", False, True), SdkState("b", False, False)).check()
    assert (200, True, "ready") == (verdict.code, verdict.body["ready"], verdict.body["reason"])
    assert [True, False] == [sdk["serving"] for sdk in verdict.body["sdks"].values()]


def test_not_ready_while_a_first_fetch_runs():
    """An SDK whose first fetch has not ended is named."""
    verdict = readiness_of(("a", False, True), ("b", True, False)).check()
    assert 503 == verdict.code
    assert "waiting for the first fetch of: b" == verdict.body["reason"]
    assert "upstream.timeout" in verdict.body["sdks"]["b"]["why"]


def test_not_ready_when_nobody_serves_and_the_reason_can_be_acted_on():
    """With no config at all the last error and the things to check are told."""
    status = Status(lambda: 0.0)
    status.add("a", "k", "online", "remote")
    status.record("a", False, "unexpected response received: 404 Not Found")
    verdict = readiness_of(("a", False, False), status=status).check()
    assert (503, "no SDK has a config to serve") == (verdict.code, verdict.body["reason"])
    assert (
        "no config yet: unexpected response received: 404 Not Found; "
        "the log has the details; check SDK key, network, or the file it comes from"
    ) == verdict.body["sdks"]["a"]["why"]


def test_a_failing_upstream_behind_a_good_config_stays_ready():
    """Serving the last good config is ready, and says that it is old."""
    status = Status(lambda: 0.0)
    status.add("a", "k", "online", "remote")
    status.record("a", False, "config fetch failed")
    verdict = readiness_of(("a", False, True), status=status).check()
    assert 200 == verdict.code
    assert (
        "serving the last good config; the latest fetch failed: config fetch failed"
        == (verdict.body["sdks"]["a"]["why"])
    )


def test_no_sdk_is_not_ready():
    """A gateway without SDKs cannot take traffic."""
    assert (503, "no SDK is configured") == ((v := readiness_of().check()).code, v.body["reason"])


def test_shutdown_is_not_ready_for_good():
    """Once stopping, the answer is 503 even though SDKs still serve."""
    readiness = readiness_of(("a", False, True))
    assert 200 == readiness.check().code
    readiness.stop()
    assert (503, "the gateway is shutting down") == (readiness.check().code, readiness.check().body["reason"])


def test_every_check_asks_again():
    """The states are read at each check, not remembered."""
    states = [("a", True, False)]
    readiness = Readiness(states, Status(lambda: 0.0))
    assert 503 == readiness.check().code
    states[0] = ("a", False, True)
    assert 200 == readiness.check().code
