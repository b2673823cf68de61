"""A reload: what its checks have read is what it applies, whatever happens to the files meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock

from gateway.app.reload import Reload
from gateway.app.shared_database import SharedDatabase
from gateway.export import ExportPipeline
from gateway.http_client import Route
from gateway.identity import KeyFetcher
from gateway.serving import LocalServer
from gateway.settings import Settings
from gateway.telemetry import LogLevels, Metrics, ProcessStatus
from gateway.upstream import Registry
from web_memory import settings_of

HOOK = "https://events.example/"


class Scene:
    """The rooms that a reload may be refused by, on a memory reactor; ``between`` runs after their checks."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.pem, self.events = folder / "ca.pem", folder / "cert.pem", folder / "events.jsonl"
        self.issue("first.example")
        trustme.CA().cert_pem.write_to_path(str(self.ca))
        self.started = self.settings(tls=self.tls())
        self.reactor = MemoryReactorClock()
        self.metrics = Metrics(self.reactor.seconds, "test")
        self.routes: list[Route] = []
        self.notified: list[str] = []
        self.checks: list[list[str]] = []  # the problems at each check
        self.networks: list[Any] = []
        self.between: Callable[[], None] = lambda: None
        rng = random.Random(1)
        self.registry = Registry(
            self.reactor,
            self.started,
            on_change=lambda *_: None,
            rng=rng,
            source=self._source,
            environ={},
            reporter=SimpleNamespace(requested=lambda *_: None),
        )
        self.registry.start()
        self.server = LocalServer(
            self.reactor, self.registry, self.started, metrics=self.metrics, status_document=dict,
            rng=rng, keep=lambda _: succeed(None),
        )  # fmt: skip
        self.server.factory()
        webhooks: Any = SimpleNamespace(configure=lambda *_: succeed(None))
        self.pipeline = ExportPipeline(
            self.reactor, self.reactor.seconds, rng, "host", self.metrics.evaluations, self._sender
        )
        self.database = SharedDatabase(self.reactor, folder / "outbox.db", webhooks, self.pipeline)
        self.status = ProcessStatus("test", 0.0, lambda: 0)

    def _source(self, _plan: Any, _context: Any, network: Any) -> Any:
        self.networks.append(network)
        return SimpleNamespace(start=lambda *_: None, stop=lambda: succeed(None), fetch=Deferred)

    def _sender(self, _reactor: Any, route: Route) -> Any:
        self.routes.append(route)
        return SimpleNamespace(close=lambda: succeed(None))

    def issue(self, name: str) -> None:
        """Replace the certificate of the main port."""
        trustme.CA().issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(self.pem))

    def tls(self) -> dict[str, Any]:
        return {"enabled": True, "certificates": [{"cert": str(self.pem), "key": str(self.pem)}]}

    def settings(self, **values: Any) -> Settings:
        return settings_of({"tls": self.tls(), **values})

    def reload(self, settings: Settings) -> None:
        """Reload, with ``between`` after the last check."""

        def check_then_interfere(wanted: Settings) -> Any:
            checked = self.database.check(wanted)
            self.between()
            return checked

        database: Any = SimpleNamespace(check=check_then_interfere, configure=self.database.configure)
        source: Any = SimpleNamespace(read=lambda: SimpleNamespace(settings=settings, problems=(), warnings=()))
        history: Any = SimpleNamespace(configure=lambda _: None)
        keys = KeyFetcher(self.reactor, {}, use=self.server.use_issuer_keys, on_problem=lambda: None)
        diagnostics: Any = SimpleNamespace(reconfigure=lambda _: None)
        notifier: Any = SimpleNamespace(reloading=lambda: self.notified.append("reloading"), ready=self.notified.append)
        Reload(
            source, self.started, self.registry, self.server, database, history, keys, diagnostics, LogLevels(),
            self.metrics, self.status, notifier, lambda: self.checks.append(self.status.problems()), lambda: "serving",
            self.reactor.seconds,
        )()  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    # The exporter's database has a thread, which could not report to a reactor in memory and would never end.
    database = SimpleNamespace(open=lambda: None, run=lambda _: Deferred())
    monkeypatch.setattr("gateway.app.shared_database.Database", lambda *_: database)
    return Scene(tmp_path)


def test_ca_files_that_vanish_after_the_checks_are_not_read_again(scene: Scene) -> None:
    """The certificates that the checks have read are used by fetches and by the exporter."""
    pem = scene.ca.read_bytes()
    settings = scene.settings(
        upstream={"ca_file": str(scene.ca)},
        exporter={"endpoint_url": HOOK, "ca_file": str(scene.ca)},
        http={"api": {"enabled": False}},
    )
    scene.between = scene.ca.unlink
    routes = scene.server.site.routes
    scene.reload(settings)
    assert () == scene.status.reload_errors
    assert pem == scene.networks[-1].trust.pem
    assert [pem] == [route.trust.pem for route in scene.routes]
    assert routes is not scene.server.site.routes
    assert ["reloading", "serving"] == scene.notified


def test_a_key_file_that_cannot_be_used_refuses_the_reload(scene: Scene, logged_errors: Any) -> None:
    """The routes stay as they are; the reason names the option and the file, not what the file contains."""
    file = scene.ca.parent / "secret"
    identity = {"keys": [{"alg": "HS256", "secret_file": str(file)}]}
    settings = scene.settings(identity=identity, http={"api": {"users": "signed"}})
    routes = scene.server.site.routes
    for content, reason in (
        (None, f"identity.keys[0].secret_file: {file} cannot be used: No such file or directory"),
        (b"too-short", "identity.keys[0].secret_file: the secret has less than 32 bytes, as HS256 needs"),
        (b"\xff" * 40, f"identity.keys[0].secret_file: {file} cannot be used: not UTF-8 text"),
    ):
        if content is not None:
            file.write_bytes(content)
        scene.reload(settings)
        assert (reason,) == scene.status.reload_errors
        assert routes is scene.server.site.routes
    assert 3 == len(logged_errors.flush())
    file.write_bytes(b"s" * 32)
    scene.reload(settings)
    assert () == scene.status.reload_errors
    assert routes is not scene.server.site.routes


@pytest.mark.parametrize("broken", [False, True])
def test_certificates_that_change_after_the_checks_are_not_read_again(scene: Scene, broken: bool) -> None:
    """Whether the new files are good or not, the next connections get those that were checked."""
    scene.issue("second.example")
    scene.between = (lambda: scene.pem.write_text("broken")) if broken else (lambda: scene.issue("third.example"))
    used = []
    scene.server._certificates.use = used.append
    scene.reload(scene.settings())
    assert () == scene.status.reload_errors
    assert [b"second.example"] == [name_of(context) for context in used]
    assert ["reloading", "serving"] == scene.notified


def test_a_check_that_fails_changes_nothing(scene: Scene, logged_errors: Any) -> None:
    """The last room refuses, and the rooms that were checked before it keep their settings."""
    routes, network = scene.server.site.routes, scene.networks[-1]
    scene.reload(scene.settings(exporter={"endpoint_url": HOOK, "ca_file": str(scene.ca) + ".missing"}))
    problem = "exporter.ca_file cannot be read: No such file or directory"
    assert [problem] == list(scene.status.reload_errors)
    assert [[f"the last reload was refused, the old settings stay: {problem}"]] == scene.checks
    assert (routes, network) == (scene.server.site.routes, scene.networks[-1])
    assert [] == scene.routes
    assert ["reloading", "reload refused, see the log"] == scene.notified
    assert 1 == len(logged_errors.flush())


def test_changed_settings_that_need_a_restart_are_pending_until_they_are_as_at_the_start(scene: Scene) -> None:
    """The problem and the gauge follow each reload that is applied."""

    def pending() -> bool:
        return b"flaggateway_settings_restart_pending 1.0" in scene.metrics.render()

    scene.reload(scene.settings(diag={"port": 9999}))
    assert ([["these take a restart: diag.port"]], True) == (scene.checks, pending())
    scene.reload(scene.settings())
    assert ([], False) == (scene.checks[-1], pending())
    assert b"flaggateway_settings_last_reload_successful 1.0" in scene.metrics.render()


def test_systemd_is_notified_after_an_unexpected_error(scene: Scene, logged_errors: Any) -> None:
    """Otherwise it would wait for the end of the reload."""

    def fail() -> None:
        raise ZeroDivisionError

    scene.between = fail
    with pytest.raises(ZeroDivisionError):
        scene.reload(scene.settings())
    assert ["reloading", "reload refused, see the log"] == scene.notified
    assert ["internal error; the log has the details"] == list(scene.status.reload_errors)
    assert 1 == len(logged_errors.flush())


def name_of(context: Any) -> bytes:
    """Return the first name for which the certificate of a TLS context was issued."""
    from cryptography import x509
    from OpenSSL import SSL

    connection = SSL.Connection(context)
    names = (
        connection.get_certificate().to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName)
    )
    return names.value.get_values_for_type(x509.DNSName)[0].encode()
