"""What a process has seen of its clients, as it is sent between processes and shown by the API."""

import msgspec


class SeenAgent(msgspec.Struct, array_like=True):
    """A user agent with the SDK that it names: how many of the taken requests, and when the last, in Unix seconds."""

    user_agent: str
    sdk: str
    taken: int
    last: float


class UnknownFlag(msgspec.Struct, array_like=True):
    """A flag that requests named and that no config had."""

    sdk_id: str
    key: str
    requests: int
    last: float


class SeenKey(msgspec.Struct, array_like=True):
    """A key of a caller: ``number`` 0 is its first, 1 the second; how many requests, and when the last."""

    caller: str
    number: int
    requests: int
    last: float


class SeenClients(msgspec.Struct, array_like=True):
    """What one process has seen since its start; ``asked`` has the flags that were named, by SDK."""

    agents: list[SeenAgent]
    unknown: list[UnknownFlag]
    asked: dict[str, list[str]]
    keys: list[SeenKey] = []
