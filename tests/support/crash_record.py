"""What a crash test saw from outside, what the database recorded, and what must hold between the two.

Nothing here starts, sends or kills: see ``crash_scene``.  Each rule returns its violations as texts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import pairwise

from attrs import define, field, frozen

from receiver import Call

ON_ITS_WAY = 0.5  # seconds that a receiver may need to read what a dead gateway sent; a start takes longer
SURVIVES = 1.0  # seconds after which an evaluation that was answered survives a kill


@frozen
class Answer:
    """An evaluation as a client saw it."""

    sdk: str
    name: str  # the user's, of this evaluation alone
    value: object
    at: float  # monotonic, when the answer was there
    life: int  # how often the gateway had been killed before the request


@frozen
class Kill:
    """A moment at which the gateway was killed, and in which state."""

    how: str
    at: float  # monotonic, just before the signal
    over: float  # when it was dead; a call that was on its way may be taken until then, or a little later


@define
class Seen:
    """What happened, as it was seen from outside."""

    answers: list[Answer] = field(factory=list)
    kills: list[Kill] = field(factory=list)
    calls: dict[str, list[Call]] = field(factory=dict)  # by endpoint: each call that arrived
    taken: dict[str, list[Call]] = field(factory=dict)  # those that were answered with 2xx
    unsigned: list[str] = field(factory=list)  # calls whose signatures are not good
    batches: list[Call] = field(factory=list)  # each call that arrived at the exporter's receiver
    exported: list[tuple[str, str]] = field(factory=list)  # user and batch of each event that it took


@frozen
class Recorded:
    """The contents of the outbox in the end."""

    messages: list[tuple[str, str, bytes]]  # endpoint, id, body
    unanswered: set[tuple[str, str]]  # endpoint and id of messages with an attempt that had no whole answer in time
    changes: dict[str, list[tuple[object, object]]]  # by SDK: values before and after, in order
    last: dict[str, object]  # by SDK: the value of the last config


def lost(seen: Seen, recorded: Recorded) -> list[str]:
    """Every recorded message arrived."""
    taken = {(name, call.id, call.body) for name, calls in seen.taken.items() for call in calls}
    return [f"{name} never took {number}" for name, number, _ in set(recorded.messages) - taken]


def unrecorded(seen: Seen, recorded: Recorded) -> list[str]:
    """Nothing arrived that is not recorded."""
    known = set(recorded.messages)
    ids = {(name, number) for name, number, _ in known}
    arrived = {(name, call.id, call.body) for name, calls in seen.calls.items() for call in calls}
    return [
        f"{name} got {number}, which is recorded {'with another body' if (name, number) in ids else 'nowhere'}"
        for name, number, _ in arrived - known
    ]


def altered(seen: Seen) -> list[str]:
    """No id came twice with different bodies, refused calls included."""
    faults = []
    for name, calls in (*seen.calls.items(), ("exporter", seen.batches)):
        bodies = defaultdict(set)
        for call in calls:
            bodies[call.id].add(call.body)
        faults += [f"{name} got {number} with {len(each)} bodies" for number, each in bodies.items() if len(each) > 1]
    return faults


def repeated(seen: Seen, recorded: Recorded, concurrency: int) -> tuple[int, list[str]]:
    """A message that was taken came again only if a kill cut the attempt; returns how often that happened, too.

    Or if the answer did not arrive in time, as the attempt then records.
    At one kill no more messages of one endpoint can have been taken and not noted than may be in flight.
    """
    ends = [kill.over + ON_ITS_WAY for kill in seen.kills]
    faults, cut = [], Counter[tuple[str, int]]()
    for name, calls in seen.taken.items():
        times = defaultdict(list)
        for call in calls:
            times[call.id].append(call.at)
        for number, each in times.items():
            for before, after in pairwise(sorted(each)):
                kill = bisect_left(ends, before)
                if kill < len(ends) and seen.kills[kill].at <= after:
                    cut[name, kill] += 1
                elif (name, number) not in recorded.unanswered:
                    faults.append(f"{name} took {number} twice, and no kill was between")
    faults += [f"{name}: {many} in flight at kill {kill}" for (name, kill), many in cut.items() if many > concurrency]
    return cut.total(), faults


def broken_chains(recorded: Recorded) -> list[str]:
    """Each change starts where the one before ended, and the last one ends at the last config."""
    faults = []
    for sdk, changes in recorded.changes.items():
        faults += [f"{sdk}: {one} and then {other}" for one, other in pairwise(changes) if one[1] != other[0]]
        if changes and changes[-1][1] != recorded.last[sdk]:
            faults.append(f"{sdk}: the last change is {changes[-1]}, the last config {recorded.last[sdk]}")
    return faults


def published_only(seen: Seen, recorded: Recorded, *, one_process: bool) -> list[str]:
    """Each value that a client was shown is one that was recorded; one that changed so often, was so recorded.

    The second is for one process only: several need not have a new config at the same moment.
    """
    faults = []
    for sdk, changes in recorded.changes.items():
        shown = [answer.value for answer in seen.answers if answer.sdk == sdk]
        known = {value for change in changes for value in change}
        faults += [f"{sdk}: {value} was served and is not recorded" for value in set(shown) - known]
        switched = sum(one != other for one, other in pairwise(shown))
        if one_process and switched > len(changes):
            faults.append(f"{sdk}: {switched} changes were seen, {len(changes)} are recorded")
    return faults


def unexported(seen: Seen) -> list[str]:
    """Each evaluation that was answered more than a second before a kill was exported; all, if no kill came after."""
    exported = {name for name, _ in seen.exported}
    faults = []
    for answer in seen.answers:
        kill = seen.kills[answer.life] if answer.life < len(seen.kills) else None
        if answer.name not in exported and (kill is None or kill.at - answer.at > SURVIVES):
            when = "and no kill came" if kill is None else f"{kill.at - answer.at:.2f} s before a kill {kill.how}"
            faults.append(f"{answer.name} was answered {when}")
    return faults


def exported_twice(seen: Seen) -> list[str]:
    """No evaluation is in two batches."""
    batches = defaultdict(set)
    for name, batch in seen.exported:
        batches[name].add(batch)
    return [f"{name} is in {len(each)} batches" for name, each in batches.items() if len(each) > 1]
