"""The figures of a run as text of 80 columns, row by row as they come, and as plain data."""

import math
import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import llvmlite
import numpy as np
from rich.console import Console
from rich.text import Text

from elman.bench.goals import Check, checks
from elman.bench.peers import Peer
from elman.bench.processes import Start
from elman.bench.rates import Level
from elman.bench.run import TOLERANCE, TWIN, Result
from elman.targets.llvm.machine import Machine
from elman.viz.terminal import say

TITLES = {
    "sequences": "whole sequences of vectors, us a step (T = 200, or 100 of a batch; input = H)",
    "tokens": "whole sequences of tokens, vocabulary {vocabulary}, us a step",
    "written": "cells as users write them, us a step (twin: a built-in one, as many products)",
    "steps": "rnn.step, one step a call, us a call",
    "pushes": "Stream.push, one step a call, us a call",
}


BUSY = 0.2
"""A share of the best speed by which none is less on a quiet machine."""


@dataclass(frozen=True)
class Facts:
    """What was measured on and with: the machine and its speeds by level and number of threads, versions, load.

    `spread`: by what share of the best the median of these speeds was less, where that was most.
    """

    machine: Machine
    levels: Sequence[Level]
    speeds: Mapping[str, Mapping[int, float]]
    peers: Sequence[Peer]
    counts: Sequence[int]
    seconds: float
    load: float | None
    spread: float = 0.0

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what a figure depends on."""
        ours = {"Python": platform.python_version(), "NumPy": np.__version__, "llvmlite": llvmlite.__version__}
        return ours | {peer.name: peer.version for peer in self.peers}


@dataclass
class Found:
    """All that a run has measured so far."""

    results: list[Result] = field(default_factory=list)
    start: Start | None = None
    memory: float | None = None

    @property
    def checks(self) -> list[Check]:
        """The figures that have goals, and what sums up the others."""
        return checks(self.results, self.start, self.memory)


def load() -> float | None:
    """How many threads of all processes wanted a core, over the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def processor() -> str:
    """What the processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# --- plain data -------------------------------------------------------------------------------------------------------


def document(facts: Facts, found: Found) -> dict[str, Any]:
    """Everything as plain data."""
    return {
        "machine": {
            "processor": processor(),
            "target": facts.machine.name,
            "threads": list(facts.counts),
            "caches": {level.name: level.size for level in facts.levels if level.size is not None},
            "gflops": _by_threads(facts.speeds["multiply-add"]),
            "gb_s": {level.name: _by_threads(facts.speeds[level.name]) for level in facts.levels},
            "load": [facts.load, load()],
            "spread": facts.spread,
            "busy": busy(facts, found.results),
        },
        "versions": facts.versions,
        "seconds": facts.seconds,
        "points": [entry(result) for result in found.results],
        "start_ms": None if found.start is None else asdict(found.start),
        "memory_bytes": found.memory,
        "checks": [asdict(check) | {"reached": check.reached} for check in found.checks],
    }


def entry(result: Result) -> dict[str, Any]:
    """A result as plain data."""
    point = result.point
    return {
        "part": point.part,
        "cell": point.cell,
        "B": point.batch,
        "H": point.hidden,
        "I": point.input,
        "V": point.vocabulary,
        "T": 1 if point.stepwise else point.steps,
        "us": result.us,
        "limit_us": result.limit,
        "limits_us": _by_threads(result.limits),
        "share_of_limit": result.share,
        "multiplications": {"loop": result.work.loop, "outside": result.work.outside},
        "recurrent_bytes": result.work.bytes,
        "gflops": _by_threads({n: speed.gflops for n, speed in result.speeds.items()}),
        "gb_s": _by_threads({n: speed.gb for n, speed in result.speeds.items()}),
        "peers": {
            name: {"us": us, "way": label, "ratio": us / result.us, "ways": dict(result.peers[name])}
            for name, (label, us) in result.best.items()
        },
        "ratio": result.ratio,
        "built_in": None if result.twin is None else dict(zip(("cell", "us"), result.twin, strict=True)),
        "refused": {name: apart if math.isfinite(apart) else None for name, apart in result.refused.items()},
    }


def _by_threads(values: Mapping[int, Any]) -> dict[str, Any]:
    return {str(count): value for count, value in values.items()}


# --- text -------------------------------------------------------------------------------------------------------------


def head(console: Console, facts: Facts) -> None:
    """Print what is measured on and with."""
    wanted = "" if facts.load is None else f", load {facts.load:.1f}"
    versions = ", ".join(f"{name}\u00a0{version}" for name, version in facts.versions.items())  # which stay together
    told = textwrap.fill(versions, 80, break_long_words=False, break_on_hyphens=False).replace("\u00a0", " ")
    say(console, f"{processor()}, {facts.machine.name}, float32{wanted}\n{told}\n")
    names = "".join(f"{count} thread{'s' * (count != 1)}".rjust(12) for count in facts.counts)
    _print(console, f"{'this machine':24}{names}", "bold")
    reads = {level.name: f"{level.name}, {_bytes(level.read)} read" for level in facts.levels}
    for name, speeds in facts.speeds.items():
        shown = "".join(f"{speeds[count]:12.0f}" for count in facts.counts)
        say(console, f"{reads.get(name, name):24}{shown} {'GB/s' if name in reads else 'GFLOP/s'}")
    tell_busy(console, facts, [])


class Table:
    """Prints results as they come, with a new head wherever a part or a vocabulary begins, or other peers do."""

    def __init__(self, console: Console, peers: Sequence[Peer]) -> None:
        self.console, self.peers = console, [peer.name for peer in peers]
        self._head: tuple[object, ...] = ()

    def add(self, result: Result) -> None:
        """Print a row; in red where a peer is faster."""
        point, others = result.point, self._others(result)
        if self._head[:2] != (point.part, point.vocabulary):
            say(self.console, "\n" + TITLES[point.part].format(vocabulary=point.vocabulary))
        if self._head != (point.part, point.vocabulary, others):
            self._head = point.part, point.vocabulary, others
            columns = "".join(f"{name:>8}{'ratio':>6}" for name in others)
            _print(self.console, f"{'cell':10}{'B':>4}{'H':>5}{'elman':>8}{'limit':>7}{'%':>4}{columns}", "bold")
        share = f"{100 * result.share:.0f}"
        line = Text(f"{_short(point.cell):10}{point.batch:4}{point.hidden:5}{number(result.us):>8}")
        line.append(f"{number(result.limit):>7}{share:>4}")
        for name in others:
            line.append(*self._column(result, name))
        self.console.print(line, soft_wrap=True)

    def _others(self, result: Result) -> tuple[str, ...]:
        """What elman is compared with, in the order of the columns."""
        known = [name for name in self.peers if name in result.peers or name in result.refused]
        return tuple(known if result.twin is None else [TWIN, *known])

    def _column(self, result: Result, name: str) -> tuple[str, str]:
        if name in result.refused:
            return f"{'wrong':>8}{'-':>6}", "yellow"
        us = result.twin[1] if name == TWIN and result.twin is not None else result.best[name][1]
        return f"{number(us):>8}{number(us / result.us):>6}", "red" if name != TWIN and us < result.us else ""


def tell_processes(console: Console, found: Found) -> None:
    """Print what cold starts take, and a long sequence."""
    start = found.start
    if start is not None:
        _print(console, f"\n{'ms of a new process':20}{'import':>8}{'first':>8}{'compiled':>10}{'stored':>8}", "bold")
        times = f"{start.imported:8.0f}{start.first:8.0f}{start.compiled:10.0f}{start.stored:8.1f}"
        say(console, f"{'lstm 128':20}{times}")
    if found.memory is not None:
        say(console, f"\na million tokens through lstm 128, chunk by chunk: {found.memory / 1e6:.1f} MB")


def busy(facts: Facts, results: Sequence[Result]) -> list[str]:
    """Why limits and shares are not to be trusted, a line of 80 columns each; none on a quiet machine."""
    told = []
    if facts.spread > BUSY:
        told.append(f"busy: these speeds were {facts.spread:.0%} less half of the time; limits and shares say little")
    alone = min(facts.counts)
    best = max([facts.speeds["multiply-add"][alone], *(result.speeds[alone].gflops for result in results)])
    slow = [result for result in results if result.speeds[alone].gflops < (1 - BUSY) * best]
    if slow:
        least = min(result.speeds[alone].gflops for result in slow)
        told.append(f"busy: at {len(slow)} of {len(results)} points one thread reached {least:.0f} of {best:.0f} GFLOP/s")
    return told


def tell_busy(console: Console, facts: Facts, results: Sequence[Result]) -> None:
    """Print why limits and shares are not to be trusted, if so."""
    for line in busy(facts, results):
        _print(console, line, "yellow")


def tell_checks(console: Console, found: Found) -> None:
    """Print what was reached, and which peers were not timed."""
    if found.checks:
        _print(console, f"\n{'':58}{'figure':>8}{'goal':>6}", "bold")
    for check in found.checks:
        _print(console, _told(check), {None: "", False: "red", True: "green"}[check.reached])
    for result in found.results:
        for name, apart in result.refused.items():
            where = f"{result.point.part} {result.point.cell} {result.point.sizes}"
            say(console, f"{name} was not timed at {where}: its outputs differ by {apart:.2g}, not {TOLERANCE}")


def _told(check: Check) -> str:
    goal = "" if check.goal is None else f"{check.goal:6.4g} {'reached' if check.reached else 'missed'}"
    return f"{check.part:10}{_short(check.cell):11}{check.figure:37}{number(check.measured):>8}{goal}".rstrip()


def _short(cell: str) -> str:
    return cell if len(cell) <= 10 else cell[:9] + "."


def number(value: float) -> str:
    """Three digits, or more where they stand before the point; five at most.

    >>> number(0.12345), number(12.345), number(1234.5)
    ('0.123', '12.3', '1234')
    """
    if value >= 99999.5:
        return f"{value:.0e}"
    places = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{places}f}"


def _bytes(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def _print(console: Console, text: str, style: str) -> None:
    """Columns, which never wrap."""
    console.print(Text(text, style=style), soft_wrap=True)
