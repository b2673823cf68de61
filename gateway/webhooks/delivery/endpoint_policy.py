"""The current settings as messages, headers and decisions: where the pure half of the room meets the other."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from attrs import define, field, frozen

from gateway import __version__
from gateway.flags import attributes_from_json
from gateway.http_client import extra_headers, headers_for
from gateway.webhooks.delivery.retry import Step, follow
from gateway.webhooks.formats.compose import compose, failure_message, sdk_message, test_message
from gateway.webhooks.formats.message import secrets_of
from gateway.webhooks.formats.subscription import failure_receivers
from gateway.webhooks.store.stable_numbers import Numbers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from random import Random

    from gateway.flags import Attribute, Snapshot
    from gateway.http_client import Attempt
    from gateway.settings import Endpoint, Settings
    from gateway.webhooks.formats.change import Change
    from gateway.webhooks.formats.message import Ids, Message, Told
    from gateway.webhooks.store.message_table import Letter


@define
class Voice:
    """Puts changes into words; ``settings`` may be replaced at any time, each call sees one or the other.

    The ``Teller`` methods are called in the database's thread, so each reads ``settings`` once.
    """

    settings: Settings
    hostname: str

    def tell(self, change: Change, ids: Ids) -> Sequence[Told]:
        """See ``Teller``."""
        settings = self.settings
        defaults = default_attributes(settings, change.sdk_id)
        return [compose(change, endpoint, ids, self.meta, defaults) for endpoint in settings.webhooks]

    def tell_sdk(self, sdk_id: str, act: str, count: int, at: float, ids: Ids) -> Sequence[Message]:
        """See ``Teller``."""
        told = (
            sdk_message(endpoint, sdk_id, ids, at, count, added=act == "added") for endpoint in self.settings.webhooks
        )
        return [message for message in told if message is not None]

    def numbers(self, connection: sqlite3.Connection, now: float, snapshots: tuple[Snapshot, ...] = ()) -> Numbers:
        """See ``Teller``."""
        settings = self.settings
        environments = {sdk_id: sdk.environment_id for sdk_id, sdk in settings.sdks.items() if sdk.environment_id}
        project = settings.project
        fields = (project.id, project.name, project.organisation)
        return Numbers(connection, now, environments, fields, snapshots)

    @property
    def meta(self) -> Mapping[str, str]:
        """What every notifier message says about this node."""
        return {"hostname": self.hostname}

    def test(self, name: str, at: float, rng: Random) -> Message | None:
        """Return a test of the endpoint ``name``; None when there is no such endpoint."""
        for endpoint in self.settings.webhooks:
            if endpoint.name == name:
                return test_message(endpoint, at, str(UUID(int=rng.getrandbits(128), version=4)), self.meta)
        return None


def default_attributes(settings: Settings, sdk_id: str) -> Mapping[str, Attribute]:
    """Return the default user attributes that count for an SDK, as its streams have them."""
    sdk = settings.sdks.get(sdk_id)
    own = {} if sdk is None else attributes_from_json(sdk.default_user_attributes, bounded=False)
    return {**attributes_from_json(settings.default_user_attributes, bounded=False), **own}


@frozen
class EndpointRules:
    """The ``Rules`` of one endpoint of the settings, made anew by a reload: an attempt has one set of secrets."""

    endpoint: Endpoint
    voice: Voice
    rng: Random
    _secrets: tuple[str, ...] = field(init=False)
    _extra: Sequence[tuple[str, str]] = field(init=False)

    @_secrets.default
    def _read_secrets(self) -> tuple[str, ...]:
        return secrets_of(self.endpoint)

    @_extra.default
    def _read_extra(self) -> Sequence[tuple[str, str]]:
        return extra_headers(self.endpoint.headers)

    @property
    def name(self) -> str:
        """See ``Rules``."""
        return self.endpoint.name

    @property
    def concurrency(self) -> int:
        """See ``Rules``."""
        return self.endpoint.concurrency

    def headers(self, letter: Letter, now: float) -> Sequence[tuple[str, str]]:
        """See ``Rules``."""
        message, secrets = letter.message, self._secrets
        ours = headers_for(message.id, message.format, message.body, secrets, int(now), letter.sequence, __version__)
        return [*ours, *self._extra]

    def step(self, letter: Letter, attempt: Attempt, began: float, now: float) -> Step:
        """See ``Rules``."""
        first = letter.first_try if letter.first_try is not None else began
        retry_for = self.endpoint.retry_for
        return follow(attempt, first, now, letter.tries - letter.earlier + 1, retry_for, self.rng.random())

    def notices(self, letter: Letter, attempt: Attempt, now: float) -> Sequence[Message]:
        """See ``Rules``."""
        receivers = failure_receivers(self.voice.settings.webhooks, letter.message)
        return [failure_message(endpoint, letter.message, attempt.text, now) for endpoint in receivers]
