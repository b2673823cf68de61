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


def test_retry_after_is_a_minimum_and_cut_at_the_end() -> None:
    """A receiver may ask for more time than the schedule gives, not for more than there is."""
    scene = Scene(endpoint("ops", retry_for=3600))
    answers = [Attempt(429, "", 0.0, b"", "600"), Attempt(503, "", 0.0, b"", "999999"), BROKEN]
    scene.senders["http://ops/"].answer = lambda *_: answers.pop(0)
    scene.add("ops", "1")
    scene.pass_time(4000, step=5)
    times = [round(at - START) for (at,) in scene.store.rows("SELECT at FROM attempts ORDER BY number")]
    assert times == [0, 600, 3600]
    assert scene.store.states() == {"failed": 1}


def test_retry_after_may_be_a_date() -> None:
    """It means the same as so many seconds, and is cut at the end as they are."""
    scene = Scene(endpoint("ops", retry_for=3600))
    dates = [format_datetime(datetime.fromtimestamp(START + later, UTC), usegmt=True) for later in (900, 9_999_999)]
    answers = [*(Attempt(503, "", 0.0, b"", date) for date in dates), BROKEN]
    scene.senders["http://ops/"].answer = lambda *_: answers.pop(0)
    scene.add("ops", "1")
    scene.pass_time(4000, step=5)
    times = [round(at - START) for (at,) in scene.store.rows("SELECT at FROM attempts ORDER BY number")]
    assert times == [0, 900, 3600]
    assert scene.store.states() == {"failed": 1}


def test_after_three_days_the_others_are_told_what_failed_and_why() -> None:
    """Not a moment earlier, once, and with the last answer."""
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


def test_a_dead_endpoint_delays_nobody() -> None:
    """The healthy one gets everything while the other hangs."""
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
    """The next starts when one has ended and is written down."""
    scene = Scene(endpoint("ops", concurrency=limit))
    sender = scene.senders["http://ops/"]
    sender.answer = lambda *_: None
    scene.add("ops", *(str(number) for number in range(10)))
    assert len(sender.flying) == limit
    sender.flying[0].callback(FINE)
    assert len(sender.flying) == limit + 1
    assert scene.sent("ops") == [str(number) for number in range(limit + 1)]


def test_a_message_that_is_retried_does_not_hold_up_later_ones() -> None:
    """Order is that of the starts."""
    scene = Scene(endpoint("ops", concurrency=2))
    sender = scene.senders["http://ops/"]
    sender.answer = lambda headers, _: (
        BROKEN if headers["X-Flaggateway-Delivery"] == "1" and len(sender.sent) < 3 else FINE
    )
    scene.add("ops", "1", "2", "3")
    scene.pass_time(10)
    assert scene.sent("ops") == ["1", "2", "3", "1"]
    assert scene.store.states() == {"delivered": 3}


def test_one_call_in_flight_keeps_the_order_strictly() -> None:
    """A message waits until the one before it was taken or given up, however many wait and whatever comes meanwhile."""
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


def test_failure_is_told_to_the_others_and_never_about_itself() -> None:
    """DELIVERY_FAILED goes to the other envelopes; when it cannot be delivered either, nobody hears of that."""
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
    """An attempt that is cut is not written down: it is repeated after the next start."""
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


def test_an_attempt_is_written_down_when_the_disk_has_room_again() -> None:
    """A full disk must not make a delivered message be sent again."""
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


def test_other_settings_hold_from_the_next_attempt_on() -> None:
    """A new URL and a new secret are used for what still waits; what is in flight ends on the old connections."""
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


def test_an_endpoint_that_cannot_be_called_is_said_so_and_its_messages_wait(logged_errors) -> None:
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


def test_an_endpoint_that_can_be_called_no_longer_is_not_called_under_its_old_settings(logged_errors) -> None:
    """A reload that breaks its ca_file ends what was at work for it; its connections are closed, its messages wait."""
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


def test_failing_tells_since_when() -> None:
    """The first failure after the last success."""
    scene = Scene(endpoint("ops"))
    answers = [BROKEN, BROKEN, FINE]
    scene.senders["http://ops/"].answer = lambda *_: answers.pop(0)
    scene.add("ops", "1")
    scene.pass_time(10)
    assert scene.courier.failing() == {"ops": START}
    scene.pass_time(60)
    assert scene.courier.failing() == {}


def test_a_large_queue_is_not_read_into_memory() -> None:
    """However much waits, a window of it is held."""
    scene = Scene(endpoint("ops"))
    scene.senders["http://ops/"].answer = lambda *_: None
    scene.add("ops", *(str(number) for number in range(1000)))
    queue = scene.courier._queues["ops"]
    assert len(queue._held) <= 64 + 8
