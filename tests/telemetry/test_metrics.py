"""Metrics: right numbers, closed labels, bounded memory, and a hot path that is cheap."""

import re
import timeit
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry import Metrics
from gateway.telemetry.http_metrics import REQUEST_BUCKETS, ROUTE_LIMIT
from gateway.telemetry.metrics import FLAG_LIMIT, OUTCOMES


class Now:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def metrics(now):
    return Metrics(now, "1.2.3")


def samples(metrics):
    """Parse the exposition with the client library's own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    return samples(metrics).get((name, frozenset(labels.items())))


def labels_of(metrics, name, label):
    return {dict(labels)[label] for (sample, labels) in samples(metrics) if sample == name}


def connections(metrics, flag, sdk="a"):
    return value(metrics, "configcat_stream_connections", sdk=sdk, type="sse", flag=flag)


def test_connections_are_counted_per_flag():
    """Each flag's gauge is the number of its own streams, not the SDK's total as in ConfigCat Proxy."""
    metrics = Metrics(lambda: 0.0, "1")
    for flag in ("x", "x", "y", None):
        metrics.stream_opened("a", flag)
    metrics.stream_opened("b", "x")
    metrics.stream_closed("a", "x")
    assert (1, 1, 1, 1) == (
        connections(metrics, "x"),
        connections(metrics, "y"),
        connections(metrics, "[ALL]"),
        connections(metrics, "x", sdk="b"),
    )


def test_messages_are_counted_per_flag(metrics):
    """Sent frames add up under the label of their stream."""
    metrics.stream_opened("a", None)
    metrics.frames_sent("a", None, 3)
    metrics.frames_sent("a", None, 2)
    assert 5 == value(metrics, "configcat_stream_msg_sent_total", sdk="a", type="sse", flag="[ALL]")


def test_flag_labels_are_capped_and_openings_match_closings(metrics):
    """Beyond the cap flags share one series, which returns to zero as well."""
    flags = [f"flag{n}" for n in range(FLAG_LIMIT + 50)]
    for flag in flags:
        metrics.stream_opened("a", flag)
    assert FLAG_LIMIT + 1 == len(labels_of(metrics, "configcat_stream_connections", "flag"))
    assert 50 == connections(metrics, "[OTHER]")
    for flag in flags:
        metrics.stream_closed("a", flag)
    assert (0, 0) == (connections(metrics, "[OTHER]"), connections(metrics, "flag0"))


@pytest.mark.parametrize("flag", ["a\nb", 'quote"', "back\\slash", "\ud800", "ü✓", "x" * 300])
def test_odd_flag_keys_cannot_break_the_page(metrics, flag):
    """Any key a config can hold leaves the exposition parseable."""
    metrics.stream_opened("a", flag)
    metrics.stream_closed("a", flag)
    assert 0 in [v for (name, _), v in samples(metrics).items() if name == "configcat_stream_connections"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", None])), max_size=30))
def test_opening_and_closing_the_same_streams_leaves_zero(streams):
    """For any streams, the gauges after closing all of them are zero."""
    metrics = Metrics(lambda: 0.0, "1")
    for sdk, flag in streams:
        metrics.stream_opened(sdk, flag)
    for sdk, flag in reversed(streams):
        metrics.stream_closed(sdk, flag)
    assert {0.0} >= {v for (name, _), v in samples(metrics).items() if name == "configcat_stream_connections"}


def test_streams_of_a_removed_sdk_do_not_restore_its_series(metrics):
    """Also when they end after the SDK was removed."""
    metrics.stream_opened("a", "x")
    metrics.fetched("a", "changed", 0.1)
    metrics.config_applied("a")
    metrics.pushed("a", 0.1)
    metrics.sdk_removed("a")
    metrics.stream_closed("a", "x")
    metrics.frames_sent("a", "x", 1)
    assert not [labels for (_, labels) in samples(metrics) if ("sdk", "a") in labels]


def test_an_sdk_that_is_added_again_counts_its_new_streams(metrics):
    """Older streams that close late are not subtracted from those opened since."""
    for _ in range(3):
        metrics.stream_opened("a", "x")
    metrics.sdk_removed("a")
    assert 3 == connections(metrics, "x")
    metrics.stream_closed("a", "x")
    metrics.stream_opened("a", "x")
    metrics.frames_sent("a", "x", 1)
    assert 3 == connections(metrics, "x")
    metrics.stream_closed("a", "x")
    metrics.stream_closed("a", "x")
    assert 1 == connections(metrics, "x")
    assert 1 == value(metrics, "configcat_stream_msg_sent_total", sdk="a", type="sse", flag="x")


def test_answers_are_counted_with_route_method_and_status(metrics):
    """A request counts once, and its time falls into the buckets of ConfigCat Proxy, bounds included."""
    metrics.answered("/api/{sdkId}/eval", "POST", 200, 0.005)
    metrics.answered("/api/{sdkId}/eval", "POST", 200, 0.3)
    metrics.answered("/api/{sdkId}/eval", "POST", 400, 99.0)
    route = {"route": "/api/{sdkId}/eval"}
    name = "flaggateway_http_request_duration_seconds"
    assert 2 == value(metrics, "flaggateway_http_requests_total", **route, method="POST", status="200")
    assert 1 == value(metrics, "flaggateway_http_requests_total", **route, method="POST", status="400")
    assert [1, 1, 2, 2, 3] == [
        value(metrics, f"{name}_bucket", **route, le=le) for le in ("0.005", "0.25", "0.5", "10.0", "+Inf")
    ]
    assert (3, pytest.approx(99.305)) == (
        value(metrics, f"{name}_count", **route),
        value(metrics, f"{name}_sum", **route),
    )
    assert len(REQUEST_BUCKETS) + 1 == len([s for s in samples(metrics) if s[0] == f"{name}_bucket"])


def test_answers_have_the_names_of_the_proxy_too(metrics):
    """The series and labels that ConfigCat Proxy's dashboard reads; the others are sums of them."""
    metrics.answered("/api/{sdkId}/eval", "POST", 200, 0.3)
    metrics.answered_elsewhere("/api/{sdkId}/eval", "POST", 200, [2, *[0] * len(REQUEST_BUCKETS)], 0.004)
    metrics.answered("/api/{sdkId}/eval", "POST", 400, 0.001)
    name = "configcat_http_server_request_duration_seconds"
    labels = {"http_route": "/api/{sdkId}/eval", "http_request_method": "POST", "http_response_status_code": "200"}
    assert (3, pytest.approx(0.304)) == (
        value(metrics, f"{name}_count", **labels),
        value(metrics, f"{name}_sum", **labels),
    )
    assert 2 == value(metrics, f"{name}_bucket", **labels, le="0.005")
    assert 4 == value(metrics, "flaggateway_http_request_duration_seconds_count", route="/api/{sdkId}/eval")
    assert (4, {("POST", 200, 3), ("POST", 400, 1)}) == (
        metrics.requests_total,
        {answer[1:] for answer in metrics.answers()},
    )


def test_requests_to_the_cdn_are_counted_by_status_while_the_sdk_is_configured(metrics):
    """Those without an answer have an empty status; after the SDK was removed, a late one brings no series back."""
    name = "configcat_http_client_request_duration_seconds"
    metrics.sdk_added("a", lambda: True)
    for status in (200, 304, 304, None, 9999):
        metrics.config_requested("a", status, 0.01)
    labels = {"configcat_sdk_id": "a", "configcat_source": "sdk", "http_request_method": "GET"}
    expected = {"200": 1, "304": 2, "": 1, "[OTHER]": 1}
    assert expected == {
        status: value(metrics, f"{name}_count", **labels, http_response_status_code=status) for status in expected
    }
    metrics.sdk_removed("a")
    metrics.config_requested("a", 200, 0.01)
    assert set() == labels_of(metrics, f"{name}_count", "configcat_sdk_id")


def test_the_text_is_that_of_the_client_library(metrics):
    """Every family: names, types, helps, labels in order, escapes and values, as ``generate_latest`` writes them."""
    metrics.sdk_added("a", lambda: True)
    metrics.stream_opened("a", 'quote " backslash \\ line\n')
    metrics.frames_sent("a", 'quote " backslash \\ line\n', 12_345_678)
    metrics.answered("/x", "GET", 200, 0.1)
    metrics.config_requested("a", None, 0.1)
    metrics.loop_lag(1e-7)
    for family in metrics._families:
        registry = SimpleNamespace(collect=lambda family=family: [family.family()])
        library = re.sub(r'\{(?:(.*),)?(le="[^"]*")(?:,(.*))?\}', _le_last, generate_latest(registry).decode())
        assert library == family.text()


def _le_last(found):
    return "{" + ",".join(part for part in (found[1], found[3], found[2]) if part) + "}"


def test_odd_methods_statuses_and_routes_share_series(metrics):
    """Values that a client chooses never become labels, and are not kept."""
    for n in range(2000):
        metrics.answered("/x", f"M{n}", 200, 0.1)
    metrics.answered("/x", "GET", 9999, 0.1)
    metrics.answered("", "GET", 404, 0.1)
    for n in range(ROUTE_LIMIT * 2):
        metrics.answered(f"/r{n}", "GET", 200, 0.1)
    total = "flaggateway_http_requests_total"
    assert 2000 == value(metrics, total, route="/x", method="[OTHER]", status="200")
    assert 1 == value(metrics, total, route="/x", method="GET", status="[OTHER]")
    assert 1 == value(metrics, total, route="[NONE]", method="GET", status="404")
    assert len(labels_of(metrics, total, "route")) <= ROUTE_LIMIT + 1
    assert len(metrics._known_answers) <= ROUTE_LIMIT + 2


def test_fetches_are_counted_by_outcome_from_a_closed_set(metrics):
    """Known outcomes have their series; others share one."""
    for outcome in (*OUTCOMES, "http://user:pw@host/"):
        metrics.fetched("a", outcome, 0.2)
    assert {*OUTCOMES, "[OTHER]"} == labels_of(metrics, "flaggateway_fetches_total", "outcome")
    assert len(OUTCOMES) + 1 == value(metrics, "flaggateway_fetch_duration_seconds_count", sdk="a")


def test_config_age_counts_from_the_last_good_fetch(metrics, now):
    """A success starts the age again, a failure lets it grow, and an SDK that never loaded ages too."""

    def age(sdk):
        return value(metrics, "flaggateway_config_age_seconds", sdk=sdk)

    assert age("a") is None
    metrics.fetched("a", "changed", 0.1)
    metrics.fetched("b", "timeout", 30.0)
    now.seconds += 60
    metrics.fetched("a", "not_modified", 0.1)
    metrics.fetched("b", "timeout", 30.0)
    now.seconds += 5
    metrics.fetched("a", "connect", 0.1)
    assert (5, 65) == (age("a"), age("b"))


def test_a_confirmation_without_a_fetch_resets_the_age(metrics, now):
    """As a file source gives it while the file stays as it was read."""
    metrics.fetched("a", "changed", 0.1)
    now.seconds += 90
    metrics.config_confirmed("a")
    now.seconds += 5
    assert 5 == value(metrics, "flaggateway_config_age_seconds", sdk="a")


def test_a_cached_config_is_stale_until_that_is_ended(metrics, now):
    """By a fetch, or without one by None, which leaves the age."""
    for fetched_at, stale in ((now.seconds - 300, 1), (None, 0)):
        metrics.config_stale("a", fetched_at)
        assert stale == value(metrics, "flaggateway_config_stale", sdk_id="a")
        assert 300 == value(metrics, "flaggateway_config_age_seconds", sdk="a")


def test_reloads_leave_their_result_and_the_time_of_the_last_success(metrics):
    """The start counts as a success; a refused reload leaves its time."""
    name = "flaggateway_settings_last_reload_"
    metrics.started(100.0)
    assert (1, 100) == (value(metrics, f"{name}successful"), value(metrics, f"{name}success_timestamp_seconds"))
    metrics.reloaded(False, 200.0)
    assert (0, 100) == (value(metrics, f"{name}successful"), value(metrics, f"{name}success_timestamp_seconds"))
    metrics.reloaded(True, 300.0)
    assert (1, 300) == (value(metrics, f"{name}successful"), value(metrics, f"{name}success_timestamp_seconds"))
    pending = [value(metrics, "flaggateway_settings_restart_pending")]
    for now_pending in (True, False):
        metrics.restart_pending(now_pending)
        pending.append(value(metrics, "flaggateway_settings_restart_pending"))
    assert [0, 1, 0] == pending


def test_an_sdk_is_up_while_it_is_healthy(metrics):
    """The state at the scrape counts; a removed SDK has no series."""
    healthy = [False]
    metrics.sdk_added("a", lambda: healthy[0])
    assert 0 == value(metrics, "flaggateway_sdk_up", sdk_id="a")
    healthy[0] = True
    assert 1 == value(metrics, "flaggateway_sdk_up", sdk_id="a")
    metrics.sdk_removed("a")
    assert None is value(metrics, "flaggateway_sdk_up", sdk_id="a")


def test_changes_refusals_drops_reloads_and_lag_are_counted(metrics):
    """Each remaining method moves its own series by one."""
    metrics.config_applied("a")
    metrics.stream_refused("connections")
    metrics.stream_refused("whatever")
    metrics.stream_dropped("stalled")
    metrics.pushed("a", 0.02)
    metrics.reloaded(True, 5.0)
    metrics.reloaded(False, 6.0)
    metrics.reloaded(False, 7.0)
    metrics.loop_lag(0.003)
    assert [1, 1, 1, 1, 1, 1, 2, 1] == [
        value(metrics, "flaggateway_config_changes_total", sdk="a"),
        value(metrics, "flaggateway_streams_refused_total", reason="connections"),
        value(metrics, "flaggateway_streams_refused_total", reason="[OTHER]"),
        value(metrics, "flaggateway_streams_dropped_total", reason="stalled"),
        value(metrics, "flaggateway_push_duration_seconds_count", sdk="a"),
        value(metrics, "flaggateway_reloads_total", outcome="applied"),
        value(metrics, "flaggateway_reloads_total", outcome="refused"),
        value(metrics, "flaggateway_reactor_lag_seconds_bucket", le="0.005"),
    ]


def test_rare_events_are_visible_as_zero_from_the_start(metrics):
    """An alert on the first refusal, drop or failed reload has a zero to start from."""
    assert (0, 0, 0) == (
        value(metrics, "flaggateway_streams_refused_total", reason="address"),
        value(metrics, "flaggateway_streams_dropped_total", reason="stalled"),
        value(metrics, "flaggateway_reloads_total", outcome="refused"),
    )


def test_build_info_and_process_series_are_there(metrics):
    """The version, and the process metrics of the client library."""
    page = metrics.render().decode()
    assert "flaggateway_build_info{" in page
    assert 'version="1.2.3"' in page
    assert "process_open_fds " in page
    assert "python_gc_collections_total" in page
    assert "_created" not in page


def test_two_gateways_in_one_process_share_nothing(now):
    """Every instance has a registry of its own."""
    one, other = Metrics(now, "1"), Metrics(now, "1")
    one.config_applied("a")
    assert value(other, "flaggateway_config_changes_total", sdk="a") is None


def test_counting_an_answer_is_cheap(metrics):
    """The hot path stays far below the cost of a request (some 50 µs), even on a busy machine."""
    metrics.answered("/x", "GET", 200, 0.001)
    best = min(timeit.repeat(lambda: metrics.answered("/x", "GET", 200, 0.001), number=2000, repeat=7)) / 2000
    assert best < 20e-6


def test_a_cached_config_is_stale_until_a_fetch_succeeds(metrics, now):
    """Its age counts from the fetch of the earlier run, through failed fetches; a removed SDK has no series."""
    metrics.config_stale("a", 900.0)
    metrics.fetched("a", "connect", 0.1)
    now.seconds = 1010.0
    assert (1, 110) == (
        value(metrics, "flaggateway_config_stale", sdk_id="a"),
        value(metrics, "flaggateway_config_age_seconds", sdk="a"),
    )
    metrics.fetched("a", "not_modified", 0.1)
    assert (0, 0) == (
        value(metrics, "flaggateway_config_stale", sdk_id="a"),
        value(metrics, "flaggateway_config_age_seconds", sdk="a"),
    )
    metrics.fetched("b", "connect", 0.1)
    assert 0 == value(metrics, "flaggateway_config_stale", sdk_id="b")
    metrics.sdk_removed("a")
    assert {"b"} == labels_of(metrics, "flaggateway_config_stale", "sdk_id")


def test_dropped_log_lines_are_taken_at_each_scrape(metrics):
    """Those of this process, and those that workers report."""
    assert 0 == value(metrics, "flaggateway_log_lines_dropped_total")
    lines = iter([2, 0, 5])
    metrics.take_dropped_lines_from(lambda: next(lines))
    metrics.log_lines_dropped(10)
    assert [12, 12, 17] == [value(metrics, "flaggateway_log_lines_dropped_total") for _ in range(3)]
