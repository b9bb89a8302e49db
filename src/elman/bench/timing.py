"""Medians of interleaved repeats: turns go round all ways to run a thing, so that all have the same share of a busy machine.

Before a turn the process comes to rest (threads that another left spinning would take a core from this one), and the way is
run until it is warm. A turn gives the median of its calls, and the figure is the median of the turns.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from elman.gates import Array

TURN, WARM, TICK = 0.01, 0.003, 30e-6
"""Seconds: of calls in a turn, of calls before it, and of the calls that are timed together."""

TURNS = 3
"""At least."""

HOPELESS = 5.0
"""How many times slower than the best of its group a way may be."""

QUIET = 0.011
"""Seconds without work in which a process has come to rest."""

RESTLESS = 0.3
"""Seconds after which a process that does not come to rest is timed as it is."""


@dataclass(frozen=True)
class Way:
    """A way to run a thing: the call that is timed, its outputs `[B, T, ...]`, and what holds while it is timed.

    Ways of one group are told apart by their labels.
    """

    group: str
    label: str
    call: Callable[[], object]
    output: Callable[[], Array]
    around: Callable[[], AbstractContextManager[object]] = nullcontext


def interleaved(
    ways: Mapping[str, Way], rates: Mapping[str, Callable[[], float]], seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds a call of every way, the median over at least so many seconds of turns; and the best of every rate.

    What disturbs a rate makes it less than the machine can do. A way far slower than another of its group is not run again:
    on a busy machine more threads can be a thousandfold slower.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    best = dict.fromkeys(rates, 0.0)
    with _undisturbed():
        end, turn = time.perf_counter() + seconds, 0
        while turn < TURNS or time.perf_counter() < end:
            for name in _rotated([*ways], turn):
                rivals = [min(taken[rival]) for rival, way in ways.items() if way.group == ways[name].group and taken[rival]]
                if not taken[name] or min(taken[name]) <= HOPELESS * min(rivals):
                    rest()
                    taken[name].append(seconds_a_call(ways[name]))
            rest()
            for name, rate in rates.items():
                best[name] = max(best[name], rate())
            turn += 1
    return {name: statistics.median(values) for name, values in taken.items()}, best


def seconds_a_call(way: Way) -> float:
    """The median of a turn, once the way is warm; a call as long as a turn is warm by itself."""
    with way.around():
        calls, taken = 1, _seconds(way.call, 1)
        if taken >= TURN:
            return taken
        while taken < WARM:
            taken += _seconds(way.call, 1)
            calls += 1
        together = max(1, round(TICK * calls / taken))
        found: list[float] = []
        while sum(found) < TURN:
            found.append(_seconds(way.call, together))
    return statistics.median(found) / together


def rest() -> None:
    """Wait until the threads of this process have stopped spinning.

    What a thread takes on another core is booked at the system's ticks, up to ten milliseconds late.
    """
    end = time.perf_counter() + RESTLESS
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(QUIET)
        if time.process_time() - before < 0.0005:
            return


def _seconds(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


def _rotated(names: list[str], turn: int) -> list[str]:
    first = turn % len(names)
    return names[first:] + names[:first]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without collecting garbage in between."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
