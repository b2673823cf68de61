"""Messages for every endpoint of the current settings: about changes, SDKs, failed deliveries, and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from attrs import define

from gateway.flags import attributes_from_json
from gateway.webhooks.formats import (
    compose,
    compose_alert,
    compose_failure_message,
    compose_sdk_message,
    compose_test_message,
    failure_receivers,
)
from gateway.webhooks.store.stable_numbers import StableNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from gateway.flags import Attribute, Snapshot
    from gateway.settings import Settings
    from gateway.storage import Connection
    from gateway.webhooks.formats import Alert, Change, EndpointMessages, IntegerIds, Message


@define
class Composer:
    """Makes messages; ``settings`` is replaced by a reload, and ``hostname`` is part of some messages.

    ``change``, ``sdk`` and ``numbers`` run in the database's thread, so each reads ``settings`` once.
    """

    settings: Settings
    hostname: str

    def change(self, change: Change, ids: IntegerIds) -> list[EndpointMessages]:
        """Return the messages about a change, for each endpoint."""
        settings = self.settings
        defaults = _default_attributes(settings, change.sdk_id)
        return [compose(change, endpoint, ids, self._meta, defaults) for endpoint in settings.webhooks]

    def sdk(self, sdk_id: str, act: str, count: int, at: float, ids: IntegerIds) -> list[Message]:
        """Return the messages about an SDK that was ``added`` or ``removed`` for the ``count``-th time."""
        added = act == "added"
        messages = (compose_sdk_message(each, sdk_id, ids, at, count, added=added) for each in self.settings.webhooks)
        return [message for message in messages if message is not None]

    def alert(self, alert: Alert) -> list[Message]:
        """Return the messages about an alert."""
        messages = (compose_alert(alert, endpoint) for endpoint in self.settings.webhooks)
        return [message for message in messages if message is not None]

    def numbers(self, connection: Connection, now: float, *snapshots: Snapshot) -> StableNumbers:
        """Return the ``IntegerIds`` of a transaction."""
        settings = self.settings
        environments = {sdk_id: sdk.environment_id for sdk_id, sdk in settings.sdks.items() if sdk.environment_id}
        project = settings.project
        return StableNumbers(connection, now, environments, (project.id, project.name, project.organisation), snapshots)

    def failure_notices(self, failed: Message, reason: str, at: float) -> list[Message]:
        """Return the messages to other endpoints that ``failed`` was given up at ``at``."""
        receivers = failure_receivers(self.settings.webhooks, failed)
        return [compose_failure_message(endpoint, failed, reason, at) for endpoint in receivers]

    def test(self, name: str, at: float, rng: Random) -> Message | None:
        """Return a test message for the endpoint ``name``; None if the settings have no such endpoint."""
        for endpoint in self.settings.webhooks:
            if endpoint.name == name:
                return compose_test_message(endpoint, at, str(UUID(int=rng.getrandbits(128), version=4)), self._meta)
        return None

    @property
    def _meta(self) -> Mapping[str, str]:
        return {"hostname": self.hostname}


def _default_attributes(settings: Settings, sdk_id: str) -> Mapping[str, Attribute]:
    """Return the default user attributes of an SDK, as its streams have them."""
    sdk = settings.sdks.get(sdk_id)
    own = {} if sdk is None else attributes_from_json(sdk.default_user_attributes, bounded=False)
    return {**attributes_from_json(settings.default_user_attributes, bounded=False), **own}
