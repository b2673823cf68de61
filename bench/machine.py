"""Memory and processor time of processes, and a description of the machine, from /proc."""

# ruff: noqa: RUF001  (mathematical signs are part of the printed table)

from __future__ import annotations

import contextlib
import os
import platform
import resource
import subprocess
from importlib.metadata import version
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


def raise_limit() -> int:
    """Raise the limit of open files to the hard limit, also for child processes, and return it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def family(pid: int) -> list[int]:
    """Return the ids of a process and its descendants, the process first."""
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:
        found.extend(parents.get(member, ()))
    return found


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def proportional(pid: int) -> int:
    """Return the memory of a process in bytes, of pages shared with other processes its part (PSS)."""
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def peak(pid: int) -> int:
    """Return the largest resident memory that a process has had, in bytes."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def kernel() -> int:
    """Return the memory in bytes that the kernel of this machine uses for objects, stacks and page tables."""
    wanted = {"Slab:", "KernelStack:", "PageTables:"}
    lines = (PROC / "meminfo").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.split()[0] in wanted)


def own_processor() -> float:
    """Return the user and system time of this process in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def processor(pid: int) -> float:
    """Return the user and system time of a process in seconds."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    coarse = (int(fields[11]) + int(fields[12])) / TICKS
    with contextlib.suppress(OSError, ValueError, IndexError):
        tasks = (PROC / str(pid) / "task").iterdir()
        fine = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        if abs(fine - coarse) < 0.05 + coarse * 0.02:  # nanoseconds instead of ticks of 10 ms, if both agree
            return fine
    return coarse


def descriptors(pid: int) -> int:
    """Return the number of open file descriptors of a process."""
    return len(list((PROC / str(pid) / "fd").iterdir()))


def _git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return ran.stdout.strip()


def describe() -> dict[str, str]:
    """Return the facts about machine and versions that the report lists."""
    model = ""
    with contextlib.suppress(OSError):
        lines = (PROC / "cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": f"{os.cpu_count()} × {model or platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Twisted": version("twisted"),
        "Klein": version("klein"),
        "commit": _git("rev-parse", "--short", "HEAD")
        + (" with uncommitted changes" if _git("status", "--porcelain") else ""),
        "load average at the start": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }
