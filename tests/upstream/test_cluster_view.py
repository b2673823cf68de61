"""The view of the cluster: nodes come and go, are behind, have other settings or the same name; on a real Redis."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from gateway.settings import Redis
from gateway.upstream.shared.cluster_view import BEHIND_SECONDS, DIFFERENT_SECONDS, ClusterView
from gateway.upstream.shared.redis_client import RedisClient
from redis_server import redis_server
from shared_nodes import DirectCache


@pytest.fixture(scope="module")
def client():
    """A client of one Redis for this file."""
    with redis_server() as server:
        made = RedisClient(Redis(addresses=[server.address]))
        yield made
        made.drop()


class Member:
    """One node and what it reports."""

    def __init__(self, client, clock, name):
        self.settings = "s"
        self.shop = 1
        self.more = {"tag": "0123456789abcdef", "since": 1_000.0, "lag": None}
        self.counts = []
        self.cache = DirectCache(client, name)
        self.view = ClusterView(clock, self.cache, self.report, lambda: 1_000_000.0, self.counts.append)

    def report(self):
        sdks = {"shop": {"v": self.shop, "polls": self.cache.node == "a"} | self.more}
        whole = {"version": "1", "started": 1.0, "workers": 1, "streams": 7, "draining": False}
        return whole | {"settings": self.settings, "sdks": sdks}


@pytest.fixture
def cluster(client):
    """Two nodes on one clock, in an empty Redis."""
    client._current().flushall()
    clock = Clock()
    members = [Member(client, clock, name) for name in "ab"]
    for member in members:
        member.view.start()
    clock.advance(5)
    yield clock, *members
    for member in members:
        member.cache.cut = False
        member.view.stop()


def names(member):
    return [node["node"] for node in member.view.document()["nodes"]]


def test_each_node_sees_all(cluster):
    """With what they serve, and which of them polls."""
    _, a, b = cluster
    assert (["a", "b"], ["a", "b"]) == (names(a), names(b))
    shown = a.view.document()
    assert ("a", {"shop": 1}) == (shown["node"], shown["sdks"])
    assert [True, False] == [node["sdks"]["shop"]["polls"] for node in shown["nodes"]]
    assert [7, 7] == [node["streams"] for node in shown["nodes"]]
    assert [] == a.view.problems()
    assert 2 == a.counts[-1]


def test_each_node_shows_config_age_and_lag(cluster):
    """A node of an earlier version does not report them."""
    clock, a, b = cluster
    a.more["lag"] = 0.0123456
    b.more = {}
    clock.advance(5)
    clock.advance(5)
    first, other = (node["sdks"]["shop"] for node in a.view.document()["nodes"])
    assert ("0123456789abcdef", "1970-01-01T00:16:40", 0.012) == (
        first["config"],
        first["since"][:19],
        first["lag_seconds"],
    )
    assert ("", None, None) == (other["config"], other["since"], other["lag_seconds"])
    assert [1, 1] == [first["version"], other["version"]]


def test_a_node_that_leaves_is_gone_at_once(cluster):
    """A planned stop is no missing node."""
    clock, a, b = cluster
    b.view.stop()
    clock.advance(5)
    assert ["a"] == names(a)


def test_a_node_that_stays_behind_is_a_problem(cluster):
    """A change takes milliseconds; only what lasts is reported, with a text that does not change."""
    clock, a, b = cluster
    a.shop = 2
    clock.advance(5)
    clock.advance(5)
    assert [] == a.view.problems()
    clock.pump([5.0] * int(BEHIND_SECONDS / 5 + 1))
    (text,) = problems = a.view.problems()
    assert "node b serves an older config of SDK shop than other nodes since 1970-01-12T13:46:40" in text
    clock.advance(5)
    assert problems == a.view.problems()
    b.shop = 2
    clock.advance(5)
    clock.advance(5)
    assert [] == a.view.problems()


def test_different_settings_that_last_are_a_problem(cluster):
    """A rolling deployment has them for a while."""
    clock, a, b = cluster
    b.settings = "t"
    clock.pump([5.0] * 3)
    assert [] == a.view.problems()
    clock.pump([5.0] * int(DIFFERENT_SECONDS / 5 + 1))
    (text,) = a.view.problems()
    assert "different settings" in text


def test_two_nodes_with_one_name_are_a_problem(cluster, client):
    """Both would hold the lease for polling, and overwrite each other's report."""
    clock, a, _ = cluster
    twin = Member(client, clock, "a")
    twin.view.start()
    clock.advance(5)
    assert [] == a.view.problems()
    clock.advance(5)
    (text,) = a.view.problems()
    assert text == "two gateways have the node name a: set cluster.node to a different one on each"
    twin.view.stop()


def test_a_restart_is_no_second_node(cluster, client):
    """The report of the run before is still there."""
    clock, a, _ = cluster
    a.view._repeating.stop()  # killed
    again = Member(client, clock, "a")
    again.view.start()
    clock.pump([5.0] * 3)
    assert [] == again.view.problems()
    again.view.stop()


def test_without_redis_there_is_no_view_and_no_guess(cluster):
    """Nodes that cannot be asked are not shown as if they were there."""
    clock, a, _ = cluster
    a.cache.cut = True
    clock.advance(5)
    assert ([], 0) == (names(a), a.counts[-1])


@pytest.mark.parametrize("report", ["", "{", "[]", '{"boot": 1}', '{"sdks": {"a": 1}}'])
def test_a_report_that_cannot_be_read_is_left_out(cluster, report):
    """As from another version of the gateway."""
    clock, a, _ = cluster
    DirectCache(a.cache._client, "odd").meet(report or " ", 15.0)
    clock.advance(5)
    assert ["a", "b"] == names(a)
