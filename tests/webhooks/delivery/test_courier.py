"""Delivery in virtual time: the schedule, Retry-After, expiry, isolation, concurrency, stopping."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest

from courier_scene import BROKEN, FINE, START, Scene, endpoint
from gateway.http_client import Attempt, TrustError
from gateway.settings import Endpoint
from gateway.webhooks.delivery.courier import GRACE

DAY = 86400


def test_what_arrives_is_delivered_and_sent_once() -> None:
    """One attempt, one row, no more calls."""
    scene = Scene(endpoint("ops"))
    scene.add("ops", "1", "2")
    scene.pass_time(100)
    assert scene.sent("ops") == ["1", "2"]
    assert scene.store.states() == {"delivered": 2}
    assert scene.store.rows("SELECT number, status, outcome FROM attempts") == [(1, 204, "answered 204")] * 2


def test_the_three_day_schedule_ends_with_one_last_try_and_failed() -> None:
    """5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h, 4 h, then every 6 h, and at the end of the three days."""
    scene = Scene(endpoint("ops"))
    scene.senders["http://ops/"].answer = lambda *_: BROKEN
    scene.add("ops", "1")
    scene.pass_time(3 * DAY + 100, step=5)
    times = [at - START for (at,) in scene.store.rows("SELECT at FROM attempts ORDER BY number")]
    gaps = [round(after - before) for before, after in pairwise(times)]
    assert gaps[:9] == [5, 30, 120, 600, 1800, 3600, 7200, 14400, 21600]
    assert set(gaps[9:-1]) == {21600}
    assert times[-1] == 3 * DAY
    assert scene.store.states() == {"failed": 1}
    assert scene.store.rows("SELECT reason FROM messages") == [("answered 503",)]


def test_a_message_that_is_too_large_for_its_receiver_fails_at_once() -> None:
    """The others go on, the endpoint counts as working, and another one gets a notice."""
    scene = Scene(endpoint("ops", concurrency=1), endpoint("well"))
    answers = [Attempt(413, "", 0.0, b"", "600"), FINE]
    scene.senders["http://ops/"].answer = lambda *_: answers.pop(0)
    scene.add("ops", "1", "2")
    scene.pass_time(1)
    assert scene.sent("ops") == ["1", "2"]
    assert [("1", "failed", "answered 413"), ("2", "delivered", "")] == scene.store.rows(
        "SELECT id, state, reason FROM messages WHERE endpoint = 'ops' ORDER BY id"
    )
    assert 1 == len(scene.sent("well"))
    assert scene.courier.failing() == {}


def test_retry_after_is_a_minimum_and_cut_at_the_end() -> None:
    """A receiver may postpone the next attempt, but not beyond the end of ``retry_for``."""
    scene = Scene(endpoint("ops", retry_for=3600))
    answers = [Attempt(429, "", 0.0, b"", "600"), Attempt(503, "", 0.0, b"", "999999"), BROKEN]
    scene.senders["http://ops/"].answer = lambda *_: answers.pop(0)
    scene.add("ops", "1")
    scene.pass_time(4000, step=5)
    times = [round(at - START) for (at,) in scene.store.rows("SELECT at FROM attempts ORDER BY number")]
    assert times == [0, 600, 3600]
    assert scene.store.states() == {"failed": 1}


def test_retry_after_may_be_a_date() -> None:
    """It has the same effect as a number of seconds."""
    scene = Scene(endpoint("ops", retry_for=3600))
    dates = [format_datetime(datetime.fromtimestamp(START + later, UTC), usegmt=True) for later in (900, 9_999_999)]
    answers = [*(Attempt(503, "", 0.0, b"", date) for date in dates), BROKEN]
    scene.senders["http://ops/"].answer = lambda *_: answers.pop(0)
    scene.add("ops", "1")
    scene.pass_time(4000, step=5)
    times = [round(at - START) for (at,) in scene.store.rows("SELECT at FROM attempts ORDER BY number")]
    assert times == [0, 900, 3600]
    assert scene.store.states() == {"failed": 1}


def test_after_three_days_other_endpoints_get_a_notice_of_the_failure() -> None:
    """Not earlier, once, and with the last answer."""
    scene = Scene(endpoint("dead"), endpoint("well"))
    scene.senders["http://dead/"].answer = lambda *_: BROKEN
    scene.add("dead", "1")
    scene.pass_time(3 * DAY - 10, step=5)
    assert scene.sent("well") == []
    assert scene.store.states() == {"pending": 1}
    scene.pass_time(20, step=5)
    assert len(scene.sent("well")) == 1
    body = json.loads(scene.store.rows("SELECT body FROM messages WHERE endpoint = 'well'")[0][0])
    assert body["type"] == "DELIVERY_FAILED"
    assert (body["data"]["messageId"], body["data"]["endpoint"], body["data"]["error"]) == ("1", "dead", "answered 503")
    assert body["createdTimestamp"] == (START + 3 * DAY) * 1000


def test_a_dead_endpoint_delays_no_other() -> None:
    """The healthy one gets all messages while the other hangs."""
    scene = Scene(endpoint("dead"), endpoint("well"))
    scene.senders["http://dead/"].answer = lambda *_: None
    many = [str(number) for number in range(100)]  # the fakes answer at once, one call deeper each time
    scene.add("dead", *many)
    scene.add("well", *many)
    scene.pass_time(5)
    assert scene.sent("well") == many
    assert len(scene.sent("dead")) == 8


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_no_more_than_concurrency_are_in_flight(limit: int) -> None:
    """The next attempt starts when the result of another is recorded."""
    scene = Scene(endpoint("ops", concurrency=limit))
    sender = scene.senders["http://ops/"]
    sender.answer = lambda *_: None
    scene.add("ops", *(str(number) for number in range(10)))
    assert len(sender.flying) == limit
    sender.flying[0].callback(FINE)
    assert len(sender.flying) == limit + 1
    assert scene.sent("ops") == [str(number) for number in range(limit + 1)]


def test_a_message_that_is_retried_does_not_delay_later_ones() -> None:
    """First attempts are made in order."""
    scene = Scene(endpoint("ops", concurrency=2))
    sender = scene.senders["http://ops/"]
    sender.answer = lambda headers, _: (
        BROKEN if headers["X-Flaggateway-Delivery"] == "1" and len(sender.sent) < 3 else FINE
    )
    scene.add("ops", "1", "2", "3")
    scene.pass_time(10)
    assert scene.sent("ops") == ["1", "2", "3", "1"]
    assert scene.store.states() == {"delivered": 3}


def test_a_concurrency_of_one_keeps_the_order_strictly() -> None:
    """A message waits until the one before it is delivered or given up, however many wait or are added meanwhile."""
    scene = Scene(endpoint("ops", concurrency=1, retry_for=60))
    sender = scene.senders["http://ops/"]
    first, last = "0", "99"
    sender.answer = lambda headers, _: BROKEN if headers["X-Flaggateway-Delivery"] in {first, last} else FINE
    scene.add("ops", *(str(number) for number in range(100)))
    scene.pass_time(4)
    assert scene.sent("ops") == ["0"]
    scene.add("ops", "100")
    scene.pass_time(120)
    sent = scene.sent("ops")
    assert sent == sorted(sent, key=int)
    assert list(dict.fromkeys(sent)) == [str(number) for number in range(101)]
    assert (4, 4) == (sent.count(first), sent.count(last))
    assert scene.store.states() == {"delivered": 99, "failed": 2}


def test_notices_of_a_failure_have_no_notices_of_their_own() -> None:
    """DELIVERY_FAILED goes to the other envelope endpoints; its own failure causes no further one."""
    scene = Scene(
        endpoint("dead", retry_for=0), endpoint("also", retry_for=0), endpoint("well"), endpoint("chat", format="slack")
    )
    scene.senders["http://dead/"].answer = lambda *_: BROKEN
    scene.senders["http://also/"].answer = lambda *_: BROKEN
    scene.add("dead", "1")
    scene.pass_time(10)
    rows = scene.store.rows("SELECT endpoint, type, state FROM messages ORDER BY endpoint, row")
    assert rows == [
        ("also", "DELIVERY_FAILED", "failed"),
        ("dead", "FLAG_UPDATED", "failed"),
        ("well", "DELIVERY_FAILED", "delivered"),
    ]
    body = json.loads(scene.store.rows("SELECT body FROM messages WHERE endpoint = 'well'")[0][0])
    assert (body["data"]["messageId"], body["data"]["endpoint"]) == ("1", "dead")


def test_a_stop_waits_for_what_is_in_flight_then_cuts_it() -> None:
    """An attempt that is cut is not recorded, and repeated after the next start."""
    scene = Scene(endpoint("ops"))
    sender = scene.senders["http://ops/"]
    sender.answer = lambda *_: None
    scene.add("ops", "1", "2")
    stopped = scene.courier.stop()
    sender.flying[0].callback(FINE)
    assert not stopped.called
    scene.pass_time(GRACE + 1)
    assert stopped.called
    assert sender.closed
    assert scene.store.states() == {"delivered": 1, "pending": 1}
    assert scene.store.rows("SELECT count(*) FROM attempts") == [(1,)]


def test_a_result_is_recorded_when_the_disk_has_room_again() -> None:
    """A full disk does not cause a delivered message to be sent again."""
    scene = Scene(endpoint("ops"))
    sender = scene.senders["http://ops/"]
    sender.answer = lambda *_: None
    scene.add("ops", "1")
    scene.store.connection.execute("PRAGMA query_only = 1")
    sender.flying[0].callback(FINE)
    scene.pass_time(5)
    assert scene.store.states() == {"pending": 1}
    scene.store.connection.execute("PRAGMA query_only = 0")
    scene.pass_time(5)
    assert scene.store.states() == {"delivered": 1}
    assert scene.sent("ops") == ["1"]


def test_new_settings_apply_from_the_next_attempt_on() -> None:
    """A new URL and a new secret are used for messages that wait; attempts in flight end on the old connections."""
    scene = Scene(endpoint("ops", concurrency=1))
    old = scene.senders["http://ops/"]
    old.answer = lambda *_: None
    scene.add("ops", "1", "2")
    scene.configure(Endpoint(name="ops", url="http://new/", concurrency=1, secret="s"))
    assert not old.closed
    old.flying[0].callback(FINE)
    scene.pass_time(1)
    assert old.closed
    assert scene.sent("new") == ["2"]
    assert "X-Hub-Signature-256" in scene.senders["http://new/"].sent[0]


def test_an_endpoint_with_unusable_settings_is_logged_and_its_messages_wait(logged_errors) -> None:
    """A broken ca_file stops one endpoint, not the others."""
    scene = Scene(endpoint("well"))

    def refuse(_reactor, route):
        if route.ca_file:
            raise TrustError("ca_file holds no certificate in PEM form")
        return scene.senders[route.url]

    scene.courier._make_sender = refuse
    scene.configure(endpoint("bad", ca_file="/x.pem"), endpoint("well"))
    scene.add("bad", "1")
    scene.add("well", "2")
    assert scene.sent("well") == ["2"]
    assert scene.store.states() == {"pending": 1, "delivered": 1}
    assert len(logged_errors.flush()) == 1


def test_an_endpoint_whose_new_settings_are_unusable_is_not_called_with_the_old_ones(logged_errors) -> None:
    """After a reload that breaks its ca_file its connections are closed, and its messages wait."""
    scene = Scene(endpoint("ops"))
    old = scene.senders["http://ops/"]
    old.answer = lambda *_: BROKEN
    scene.add("ops", "1")

    def refuse(_reactor, _route):
        raise TrustError("ca_file holds no certificate in PEM form")

    scene.courier._make_sender = refuse
    scene.configure(endpoint("ops", ca_file="/x.pem"))
    scene.pass_time(60, step=5)
    assert scene.sent("ops") == ["1"]
    assert old.closed
    assert scene.store.states() == {"pending": 1}
    assert len(logged_errors.flush()) == 1


def test_failing_begins_with_the_first_failure() -> None:
    """That is the first one after the last success."""
    scene = Scene(endpoint("ops"))
    answers = [BROKEN, BROKEN, FINE]
    scene.senders["http://ops/"].answer = lambda *_: answers.pop(0)
    scene.add("ops", "1")
    scene.pass_time(10)
    assert scene.courier.failing() == {"ops": START}
    scene.pass_time(60)
    assert scene.courier.failing() == {}


def test_a_large_queue_is_not_read_into_memory() -> None:
    """However many messages wait, a bounded window of them is read."""
    scene = Scene(endpoint("ops"))
    scene.senders["http://ops/"].answer = lambda *_: None
    scene.add("ops", *(str(number) for number in range(1000)))
    queue = scene.courier._queues["ops"]
    assert len(queue._held) <= 64 + 8
