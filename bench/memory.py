"""Processor time of evaluating all flags for new users in memory, by mix: python -m bench.memory [SECONDS]

It prints JSON: by mix the microseconds from the attributes of a user to the JSON of all values. ``make bench`` measures
the same mixes with requests; this is for comparing interpreters and builds (``bench/interpreters.py``).
"""

from __future__ import annotations

import itertools
import json
import sys
import time

from bench import configs
from bench.request_rows import FLAGS
from gateway.flags import User, attributes_from_json, load

MIXES = {"light": configs.light, "usual": configs.usual, "heavy": configs.heavy}
BATCH = 500  # users that are made before the clock starts


def cost(mix: configs.Mix, seconds: float) -> float:
    """Return the microseconds of one user."""
    snapshot = load(configs.config(FLAGS, mix), "")
    numbers = itertools.count()
    spent, done = 0.0, -2  # the first two batches are not counted
    while spent < seconds:
        users = [configs.user(next(numbers)) for _ in range(BATCH)]
        start = time.process_time()
        for user in users:
            snapshot.evaluate_all(User(attributes_from_json(user))).json()
        took = time.process_time() - start
        done += 1
        spent += took if done > 0 else 0.0
    return spent / (done * BATCH) * 1e6


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(json.dumps({name: round(cost(mix, seconds), 2) for name, mix in MIXES.items()}))


if __name__ == "__main__":
    main()
