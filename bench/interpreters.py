"""Processor time with several interpreters or builds, measured in turns: python -m bench.interpreters NAME=PYTHON…

``PYTHON`` is the interpreter of an environment with the gateway, optionally followed by ``,PATH``, a folder whose
``gateway`` is used instead of this checkout's (a compiled copy). Without wrk only the rows in memory are measured.

Each row shows the median of the rounds, the least time, and the median of the ratios to the first interpreter. Ratios
compare what ran within the same round, so a slow phase of the machine meets all of them.
"""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import attrs

from bench import configs, wrk
from bench.request_rows import FLAGS
from bench.servers import ONE, ROOT, Server

ROUNDS = 9
MEMORY_SECONDS = 0.2  # of each mix
SERVED = {"eval": "evaluate one, served", "eval-all": "evaluate all, served"}
SERVED_SECONDS = 1


@attrs.frozen
class Interpreter:
    name: str
    python: str
    root: Path


def parse(argument: str) -> Interpreter:
    name, _, rest = argument.partition("=")
    python, _, root = rest.partition(",")
    return Interpreter(name, str(Path(python).absolute()), Path(root).absolute() if root else ROOT)


def in_memory(interpreter: Interpreter) -> dict[str, float]:
    """Return the microseconds of ``bench.memory`` by row."""
    command = [interpreter.python, "-m", "bench.memory", str(MEMORY_SECONDS)]
    env = os.environ | {"PYTHONPATH": str(interpreter.root)}
    ran = subprocess.run(command, cwd=interpreter.root, env=env, capture_output=True, text=True, check=True)
    return {f"evaluate all in memory, {mix} mix": found for mix, found in json.loads(ran.stdout).items()}


def table(samples: dict[str, list[list[float]]], names: list[str]) -> str:
    """Return a Markdown table; ``samples`` has by row one list per round, in the order of ``names``."""
    lines = [f"| µs of processor time | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for row, rounds in samples.items():
        cells = []
        for place in range(len(names)):
            values = [each[place] for each in rounds]
            ratio = median(each[place] / each[0] for each in rounds)
            cells.append(f"{median(values):.3g} (least {min(values):.3g}, {ratio:.2f} ×)")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    interpreters = [parse(argument) for argument in sys.argv[1:]]
    if len(interpreters) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    samples: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        config = configs.config(FLAGS)
        servers = []
        if wrk.available():
            for each in interpreters:
                server = Server(ONE, Path(folder), config, root=each.root, python=each.python)
                servers.append(stack.enter_context(server))
                wrk.warm_up(server)
        for number in range(ROUNDS):
            found: list[dict[str, float]] = [{} for _ in interpreters]
            places = range(len(interpreters))
            for place in places if number % 2 == 0 else reversed(places):  # what runs first is often slower
                found[place] |= in_memory(interpreters[place])
                for route, row in SERVED.items() if servers else ():
                    found[place][row] = wrk.run(servers[place], route, FLAGS, SERVED_SECONDS)["cpu_us"]
            for row in found[0]:
                samples.setdefault(row, []).append([each[row] for each in found])
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    print(table(samples, [each.name for each in interpreters]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
