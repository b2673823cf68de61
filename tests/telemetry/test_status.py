"""The status document: the format and rules of ConfigCat Proxy, and our additions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry import ProcessStatus, Status

AT = 1685378200.0  # Mon, 29 May 2023 16:36:40 UTC
KEY = "configcat-sdk-1/AAAAAAAAAAAAAAAAAAAAAA/BBBBBBBBBBBBBBBBBBBBBB"


def status_of(*outcomes, sdk_id="a"):
    status = Status(lambda: AT)
    status.add(sdk_id, KEY, "online", "remote")
    for ok in outcomes:
        status.record(sdk_id, ok, "config fetched" if ok else "config fetch failed")
    return status


def source_of(status, sdk_id="a"):
    return status.document()["sdks"][sdk_id]["source"]


def test_document_has_the_format_of_configcat_proxy():
    """With the same fields, order and texts."""
    status = status_of(True)
    expected = {
        "status": "healthy",
        "sdks": {
            "a": {
                "key": "*" * (len(KEY) - 5) + "BBBBB",
                "mode": "online",
                "source": {
                    "type": "remote",
                    "status": "healthy",
                    "records": ["Mon, 29 May 2023 16:36:40 UTC: [ok] config fetched"],
                },
            }
        },
        "cache": {"status": "n/a", "records": None},
    }
    assert expected == status.document()
    assert ["status", "sdks", "cache"] == list(status.document())


def test_nothing_recorded_is_initializing_with_null_records():
    """Before its first record an SDK is initializing with null records, and so is the whole."""
    status = status_of()
    assert {"type": "remote", "status": "initializing", "records": None} == source_of(status)
    assert "initializing" == status.document()["status"]


@pytest.mark.parametrize(
    ("outcomes", "health"),
    [
        ((True,), "healthy"),
        ((False,), "down"),
        ((True, False), "healthy"),
        ((True, False, False), "degraded"),
        ((True, False, False, False), "degraded"),
        ((False, False), "down"),
        ((False, True), "healthy"),
        ((False, True, False), "healthy"),
        ((False, True, False, False), "degraded"),
        ((True, False, False, True), "healthy"),
        ((True, False, True, False), "healthy"),
    ],
)
def test_health_follows_the_last_two_records(outcomes, health):
    """First error: down; one error after success: healthy; two: degraded; one success heals."""
    assert health == source_of(status_of(*outcomes))["status"]


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_health_is_healthy_exactly_when_one_of_the_last_two_was_good(outcomes):
    """For any history: healthy if one of the last two records is good; else down until a first success."""
    health = source_of(status_of(*outcomes))["status"]
    if any(outcomes[-2:]):
        assert "healthy" == health
    else:
        assert ("degraded" if any(outcomes) else "down") == health


def test_an_sdk_with_an_invalid_key_is_down():
    """It does not stay initializing."""
    status = Status(lambda: AT)
    status.add("a", "nonsense", "online", "remote")
    status.record("a", False, "SDK key is invalid")
    assert "down" == source_of(status)["status"]
    assert "down" == status.root


@pytest.mark.parametrize(
    ("sdks", "root"),
    [
        ({"a": [True], "b": [True]}, "healthy"),
        ({"a": [True], "b": [False]}, "degraded"),
        ({"a": [False], "b": [False]}, "down"),
        ({"a": [True], "b": []}, "degraded"),
        ({"a": [False], "b": []}, "degraded"),
        ({"a": [], "b": []}, "initializing"),
    ],
)
def test_root_sums_up_the_sdks(sdks, root):
    """Down when all are down, healthy when all are healthy, degraded in between."""
    status = Status(lambda: AT)
    for sdk_id, outcomes in sdks.items():
        status.add(sdk_id, KEY, "online", "remote")
        for ok in outcomes:
            status.record(sdk_id, ok, "m")
    assert root == status.document()["status"]


def test_root_follows_registration_and_removal():
    """The health of the whole is computed again when an SDK is added or removed, before any record."""
    status = status_of(True)
    status.add("b", KEY, "online", "remote")
    assert "degraded" == status.root
    status.remove("b")
    assert "healthy" == status.root
    status.remove("a")
    assert "down" == status.root
    status.remove("a")
    assert {} == status.document()["sdks"]


def test_only_the_last_five_records_are_kept_oldest_first():
    """The list never has more than five entries, and ends with the newest."""
    now = [AT]
    status = Status(lambda: now[0])
    status.add("a", KEY, "offline", "file")
    for n in range(8):
        status.record("a", True, f"m{n}")
        now[0] += 1
    assert [f"m{n}" for n in range(3, 8)] == [line.split("] ")[1] for line in source_of(status)["records"]]
    assert source_of(status)["records"][0].startswith("Mon, 29 May 2023 16:36:43 UTC: ")


def test_adding_again_keeps_records_unless_something_shown_changed():
    """A reload keeps the history of an unchanged SDK; a new key starts a new one."""
    status = status_of(True)
    status.add("a", KEY, "online", "remote")
    assert source_of(status)["records"] is not None
    status.add("a", KEY[:-1] + "C", "online", "remote")
    assert source_of(status)["records"] is None


def test_late_records_of_a_removed_sdk_are_dropped():
    """A fetch that ends after its SDK was removed leaves no trace."""
    status = status_of(True)
    status.remove("a")
    status.record("a", True, "late")
    assert {} == status.document()["sdks"]


def test_records_hold_no_secret_no_line_break_and_are_bounded():
    """Whatever text comes in, a record is one short line without a key."""
    status = status_of()
    status.record("a", False, f"no answer for {KEY}\nforged: line {'x' * 1000}")
    (record,) = source_of(status)["records"]
    assert "AAAAAA" not in record
    assert "\n" not in record
    assert len(record) < 400


@pytest.mark.parametrize(("key", "masked"), [("tooshort", "***short"), ("anything", "***thing"), ("abc", "***")])
def test_keys_are_masked_as_in_configcat_proxy(key, masked):
    """All characters but the last five are stars; short keys are all stars."""
    status = Status(lambda: AT)
    status.add("a", key, "online", "remote")
    assert masked == status.document()["sdks"]["a"]["key"]


def test_documents_are_independent():
    """Changing a returned document changes nothing inside."""
    status = status_of(True)
    status.document()["sdks"]["a"]["source"]["records"].clear()
    assert 1 == len(source_of(status)["records"])


def test_last_error_is_that_of_the_latest_fetch_only():
    """An error is shown until the next success."""
    status = status_of(False)
    assert "config fetch failed" == status.last_error("a")
    status.record("a", True, "config fetched")
    assert status.last_error("a") is None
    assert status.last_error("unknown") is None


def test_gateway_section_has_version_uptime_streams_and_reloads():
    """Our own section includes the result of the last reload."""
    now = [AT]
    process = ProcessStatus("1.2.3", AT, lambda: 7)
    status = Status(lambda: now[0], process)
    now[0] = AT + 61.9
    assert {
        "version": "1.2.3",
        "uptime_seconds": 61,
        "streams": 7,
        "reloads": 0,
        "last_reload": None,
        "reload_errors": [],
        "restart_pending": [],
        "problems": [],
    } == status.document()["gateway"]
    process.reloaded(AT, [f"http.port: bad\n{KEY}"])
    section = status.document()["gateway"]
    assert {"time": "Mon, 29 May 2023 16:36:40 GMT", "outcome": "refused"} == section["last_reload"]
    assert ["http.port: bad\\nconfigcat-sdk-[redacted]"] == section["reload_errors"]
    process.reloaded(AT)
    section = status.document()["gateway"]
    assert ("applied", [], 2) == (section["last_reload"]["outcome"], section["reload_errors"], section["reloads"])


def test_a_refused_reload_and_a_pending_restart_are_problems():
    """The first reason is shown; an applied reload ends the first problem, settings as at the start the second."""
    process = ProcessStatus("0.2.0", AT - 61, lambda: 7)
    assert [] == process.problems()
    process.reloaded(AT, ["http.port: bad"])
    assert ["the last reload was refused, the old settings stay: http.port: bad"] == process.problems()
    process.reloaded(AT, ["http.port: bad", "sdks.a: bad"])
    text = "the last reload was refused, the old settings stay; the first of 2 reasons: http.port: bad"
    assert [text] == process.problems()
    process.restart_needed(["http.port", "diag.port"])
    process.reloaded(AT)
    assert ["these take a restart: http.port, diag.port"] == process.problems()
    assert ["http.port", "diag.port"] == process.describe(AT)["restart_pending"]
    process.restart_needed([])
    assert [] == process.problems()


def test_only_an_sdk_with_good_fetches_is_healthy():
    """One that is new, failing or unknown is not."""
    status = status_of()
    assert (False, False) == (status.is_healthy("a"), status.is_healthy("x"))
    status.record("a", True, "config fetched")
    assert status.is_healthy("a")
    for _ in range(2):
        status.record("a", False, "config fetch failed")
    assert not status.is_healthy("a")


def test_a_cached_config_is_shown_with_its_age_until_a_fetch_succeeds():
    """Two fields of our own follow those of ConfigCat Proxy; a clock that was set back gives no negative age."""
    status = status_of()
    status.stale("a", AT - 90.5)
    sdk = status.document()["sdks"]["a"]
    assert (["key", "mode", "source", "stale", "config_age_seconds"], True, 90) == (
        list(sdk),
        sdk["stale"],
        sdk["config_age_seconds"],
    )
    assert (90, 90) == (status.stale_age("a"), status.oldest_stale_age)
    status.stale("a", AT + 10)
    assert 0 == status.stale_age("a")
    status.stale("a", None)
    assert ["key", "mode", "source"] == list(status.document()["sdks"]["a"])
    assert (None, None) == (status.stale_age("a"), status.oldest_stale_age)


def test_an_sdk_with_a_cached_config_is_degraded_instead_of_down():
    """Its flags are served, which ``down`` would deny."""
    status = status_of()
    status.stale("a", AT - 90)
    for _ in range(3):
        status.record("a", False, "config fetch failed")
        assert ("degraded", "degraded") == (source_of(status)["status"], status.root)
    status.record("a", True, "config fetched")
    assert "healthy" == source_of(status)["status"]


def test_the_oldest_cached_config_counts_and_unknown_sdks_do_not():
    """A removed SDK takes its age with it; another source keeps it."""
    status = status_of()
    status.add("b", KEY, "online", "remote")
    status.stale("a", AT - 10)
    status.stale("b", AT - 20)
    status.stale("c", AT - 30)
    assert (20, None) == (status.oldest_stale_age, status.stale_age("c"))
    status.add("b", KEY, "offline", "file")
    assert 20 == status.stale_age("b")
    status.remove("b")
    assert 10 == status.oldest_stale_age
