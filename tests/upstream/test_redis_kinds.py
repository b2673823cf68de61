"""The kinds of Redis: users with few rights, TLS, a cluster, Sentinel; a real server for each."""

from __future__ import annotations

from queue import Empty, Queue

import pytest
import trustme

from eventually import eventually
from gateway.settings import Redis
from gateway.settings.schema.base import Tls
from gateway.settings.schema.cache import Sentinel
from gateway.upstream.config_cache import Entry, cache_key
from gateway.upstream.shared import RedisCache
from gateway.upstream.shared.interface import Reading, Stored, Unavailable
from gateway.upstream.shared.redis_client import RedisClient, RedisFailed
from gateway.upstream.shared.watcher import Watcher
from redis_server import RedisServer, redis_server, sentinels
from shared_nodes import KEY, DirectCache

ENTRY = cache_key(KEY)
WAIT = 60.0
PASSWORD = "p" * 20
RIGHTS = (
    f"resetchannels resetkeys ~test:* ~{ENTRY} &test:* &__redis__:invalidate -@all +evalsha +eval +get +set +getrange "
    "+setrange +del +hget +hmget +hset +hdel +hgetall +time +publish +subscribe +ping +client|id +client|tracking "
    "+select"
)


class Listener:
    """A watcher whose calls the test takes; it stops with the test."""

    def __init__(self, client: RedisClient) -> None:
        self.calls: Queue[str | None] = Queue()
        self.announced: Queue[str | None] = Queue()
        channels = {"test:changed": self.calls.put, "test:refresh": self.announced.put}
        self.watcher = Watcher(client, channels, lambda: [ENTRY], self.calls.put)
        self.watcher.start()

    def hears(self, key: str | None) -> bool:
        """Wait until it is called with this key; None stands for a new connection."""
        try:
            while self.calls.get(timeout=WAIT) != key:
                pass
        except Empty:
            return False
        return True

    def hears_nothing_more(self) -> None:
        while not self.calls.empty():
            self.calls.get_nowait()


@pytest.fixture
def listen():
    """Listeners that end with the test."""
    made: list[Listener] = []

    def start(client: RedisClient) -> Listener:
        made.append(Listener(client))
        return made[-1]

    yield start
    for listener in made:
        listener.watcher.stop()
        listener.watcher._thread.join(WAIT)
        assert not listener.watcher._thread.is_alive()


def exchange(settings: Redis) -> tuple[DirectCache, RedisClient]:
    """Store an entry, replace it, confirm it, read it, and take and give up the lease; return what did it."""
    client = RedisClient(settings)
    cache = DirectCache(client, "a")
    first = cache.put(ENTRY, None, 0, Entry(1, '"1"', b"{1}"), "tag1").result
    assert isinstance(first, Stored)
    second = cache.put(ENTRY, first.place, 1, Entry(2, '"2"', b"{2}"), "tag2").result
    assert isinstance(second, Stored)
    assert second.place.version == first.place.version + 1
    assert cache.touch(ENTRY, '"2"').result.version == second.place.version
    reading = cache.look(ENTRY, None, lease=True, max_bytes=1024, tags=True).result
    assert isinstance(reading, Reading)
    assert ((b"{2}", '"2"'), ("tag1", "tag2")) == ((reading.found.entry.body, reading.found.place.etag), reading.tags)
    assert reading.mine
    cache.give_up_lease(ENTRY)
    assert {"a": '{"version": "1"}'} == cache.meet('{"version": "1"}', 15.0).result.reports
    return cache, client


def test_a_user_with_the_documented_rights_can_do_everything(listen):
    """And nothing else."""
    with redis_server() as server:
        with server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", *RIGHTS.split())
        settings = Redis(addresses=[server.address], user="gateway", password=PASSWORD)
        _, client = exchange(settings)
        listener = listen(client)
        assert listener.hears(None)
        assert listener.watcher.state.tracking
        with server.client() as admin:
            admin.set(ENTRY, "1\n2\n3")
        assert listener.hears(ENTRY)
        with pytest.raises(RedisFailed, match="may not run a command"):
            client.run(_script("return redis.call('KEYS', '*')"), (), ())
        client.drop()


def _script(text):
    from gateway.upstream.shared.redis_client import Script

    return Script.of(text)


def test_a_wrong_password_is_named(listen):
    """The reason is another one than that of a network fault, and does not contain the password."""
    with redis_server("--requirepass", PASSWORD, password=PASSWORD) as server:
        client = RedisClient(Redis(addresses=[server.address], password="wrong"))
        with pytest.raises(RedisFailed, match=r"^it refuses user or password$"):
            client.run(_script("return 1"), (), ())


def test_without_the_right_to_track_messages_of_gateways_still_arrive(listen):
    """Some providers do not allow ``CLIENT TRACKING``."""
    with redis_server() as server, server.client() as admin:
        rights = RIGHTS.replace("+client|tracking ", "").split()
        admin.execute_command("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", *rights)
        settings = Redis(addresses=[server.address], user="gateway", password=PASSWORD)
        listener = listen(RedisClient(settings))
        assert listener.hears(None)
        assert not listener.watcher.state.tracking
        admin.publish("test:refresh", ENTRY)
        admin.publish("test:changed", ENTRY)
        assert listener.hears(ENTRY)
        assert ENTRY == listener.announced.get(timeout=WAIT)


def test_the_listener_survives_a_server_that_is_killed(listen):
    """It connects again, and has every key looked at, because it may have missed a message."""
    with redis_server() as server:
        client = RedisClient(Redis(addresses=[server.address]))
        listener = listen(client)
        assert listener.hears(None)
        listener.hears_nothing_more()
        server.kill()
        eventually(lambda: not listener.watcher.state.connected, limit=WAIT)
        server.start()
        assert listener.hears(None)


def test_the_listener_notices_a_server_that_hangs(listen, monkeypatch):
    """A connection to it stays open, and nothing arrives."""
    monkeypatch.setattr("gateway.upstream.shared.watcher.QUIET_SECONDS", 1.0)
    with redis_server() as server:
        listener = listen(RedisClient(Redis(addresses=[server.address])))
        assert listener.hears(None)
        server.hang()
        try:
            eventually(lambda: not listener.watcher.state.connected, limit=WAIT)
            assert "no answer within 1 s" == listener.watcher.state.reason
        finally:
            server.resume()
        assert listener.hears(None)


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """A certificate authority that this process trusts, and where its files are."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


@pytest.mark.parametrize(
    ("name", "server_name", "refused"),
    [("127.0.0.1", "", False), ("redis.example", "", True), ("redis.example", "redis.example", False)],
)
def test_tls(authority, tmp_path, listen, name, server_name, refused):
    """The certificate must be valid for the address, or for the configured name."""
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no")
    server = RedisServer(*files, tls=True, ssl=True, ssl_cert_reqs="none")
    try:
        certificate = authority.issue_cert(name)
        certificate.cert_chain_pems[0].write_to_path(server.home / "cert.pem")
        certificate.private_key_pem.write_to_path(server.home / "key.pem")
        server.start()
        settings = Redis(addresses=[server.address], tls=Tls(enabled=True, server_name=server_name))
        if refused:
            with pytest.raises(RedisFailed, match=r"^the TLS handshake failed$"):
                RedisClient(settings).run(_script("return 1"), (), ())
        else:
            _, client = exchange(settings)
            assert listen(client).hears(None)
            client.drop()
    finally:
        server.close()


def test_a_cluster(listen):
    """One node with all slots; writes of other programs are noticed by reading, those of gateways at once."""
    with redis_server("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1") as server:
        with server.client() as admin:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            eventually(lambda: "ok" == admin.cluster("info")["cluster_state"], limit=WAIT)
        _, client = exchange(Redis(addresses=[server.address, f"localhost:{server.port}"]))
        assert client.is_cluster
        listener = listen(client)
        assert listener.hears(None)
        cache = DirectCache(client, "b")
        reading = cache.look(ENTRY, None, lease=False, max_bytes=1024).result
        cache.put(ENTRY, reading.place, 0, Entry(3, '"3"', b"{3}"), "tag3")
        assert listener.hears(ENTRY)
        client.drop()


@pytest.mark.slow
def test_sentinel_names_the_new_primary(listen):
    """After the primary was killed, entries are stored at the replica that Sentinel has promoted."""
    with redis_server() as primary, redis_server("--replicaof", "127.0.0.1", str(primary.port)) as replica:
        with replica.client() as admin:
            eventually(lambda: "up" == admin.info("replication")["master_link_status"], replica.log, limit=WAIT)
        with sentinels(primary, "main", 3) as addresses:
            cache, client = exchange(Redis(addresses=addresses, sentinel=Sentinel(name="main")))
            listener = listen(client)
            assert listener.hears(None)
            with replica.client() as admin:
                eventually(lambda: admin.get(ENTRY) is not None, limit=WAIT)
            primary.kill()

            def stored() -> bool:
                try:
                    reading = cache.look(ENTRY, None, lease=False, max_bytes=1024).result
                    put = cache.put(ENTRY, reading.place, 2, Entry(9, '"9"', b"{9}"), "tag9").result
                except RedisFailed:
                    return False
                return isinstance(put, Stored)

            eventually(stored, limit=WAIT)
            with replica.client() as admin:
                assert b"{9}" in admin.get(ENTRY)
            assert listener.hears(None)
            client.drop()


def test_a_server_that_is_not_there_is_a_reason():
    """Neither the constructor nor ``drop`` raises."""
    client = RedisClient(Redis(addresses=["127.0.0.1:1"]))
    with pytest.raises(RedisFailed, match=r"^the connection failed$"):
        client.run(_script("return 1"), (), ())
    client.drop()


def test_a_replica_that_was_a_primary_is_left(listen):
    """Its connection is closed, so that the next command looks the address up again."""
    with redis_server() as server:
        settings = Redis(addresses=[server.address])
        cache, client = exchange(settings)
        base = cache.look(ENTRY, None, lease=False, max_bytes=1024).result.place
        with server.client() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(RedisFailed, match="it is a replica"):
            cache.put(ENTRY, base, 9, Entry(9, '"9"', b"{9}"), "tag9")
        assert client._client is None


def test_unavailable_has_a_reason():
    """For the status page."""
    cache = RedisCache(None, Redis(), name="test", node="a")
    assert Unavailable("it does not answer") == cache.look(ENTRY, None, lease=False, max_bytes=1).result
    assert Tls() == Redis().tls


def test_a_node_is_cut_off_once_there_was_no_answer_for_two_seconds(monkeypatch):
    """What a server refuses has reached it, and one that answers again ends it at once."""
    now = [100.0]
    monkeypatch.setattr("gateway.upstream.shared.redis_cache.monotonic", lambda: now[0])
    cache = RedisCache(None, Redis(), name="test", node="a")
    cache._note("put", Unavailable("its memory is full", refused=True))
    now[0] += 10
    assert not cache.cut_off()
    cache._note("look", Unavailable("no answer within 1 s"))
    assert not cache.cut_off()
    now[0] += 2.1
    cache._note("look", Unavailable("no answer within 1 s"))
    assert cache.cut_off()
    cache._note("look", None)
    assert not cache.cut_off()


def test_a_server_that_answers_again_is_no_problem_whatever_failed_before():
    """A kind of command that failed may not be needed again for days; what a server refuses stays a problem."""
    cache = RedisCache(None, Redis(), name="test", node="a")
    cache._note("put", Unavailable("no answer within 1 s"))
    assert "no answer within 1 s" in cache.problems()[0]
    cache._note("look", None)
    assert [] == cache.problems()
    cache._note("put", Unavailable("its memory is full", refused=True))
    cache._note("look", None)
    assert "its memory is full" in cache.problems()[0]
    cache._note("put", None)
    assert [] == cache.problems()
