"""A point, measured: elman and every way of every peer in turns, and the machine's speeds in between."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from elman.bench.grid import BUILT_IN, Point
from elman.bench.limits import Speed, Work, limit, limit_at, work
from elman.bench.peers import Peer
from elman.bench.problems import OURS, Problem
from elman.bench.rates import Gauge, Level, rising
from elman.bench.timing import Way, interleaved
from elman.gates import Array

TOLERANCE = 1e-4
"""What outputs may differ by; a peer that gives other numbers is not timed."""

TWIN = "twin"
"""What the built-in cell is called that a cell of a user is compared with."""


@dataclass(frozen=True)
class Result:
    """What was measured of a point: microseconds a step.

    `peers`: of each peer, those of every way by its label. `refused`: peers that gave other numbers, and the largest
    difference. `speeds`: what the machine could do meanwhile, by number of threads. `twin`: of a cell as users write them,
    the built-in cell nearest to it in multiplications, and what as many of them would take it.
    """

    point: Point
    us: float
    work: Work
    speeds: Mapping[int, Speed]
    peers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    refused: Mapping[str, float] = field(default_factory=dict)
    twin: tuple[str, float] | None = None

    @property
    def limit(self) -> float:
        """Microseconds that a step takes at least."""
        return limit(self.work, self.point.batch, self.speeds)

    @property
    def limits(self) -> dict[int, float]:
        """The same on each number of threads."""
        return {count: limit_at(self.work, self.point.batch, speed) for count, speed in self.speeds.items()}

    @property
    def share(self) -> float:
        """The limit's share of the time."""
        return self.limit / self.us

    @property
    def best(self) -> dict[str, tuple[str, float]]:
        """Of each peer the fastest way, and its time."""
        return {peer: min(ways.items(), key=lambda item: item[1]) for peer, ways in self.peers.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """Of each peer its best time as a multiple of elman's."""
        return {peer: us / self.us for peer, (_, us) in self.best.items()}

    @property
    def ratio(self) -> float | None:
        """The same of the best peer; None without peers."""
        return min(self.ratios.values(), default=None)


class Bench:
    """Measures points with these peers, at these numbers of threads."""

    def __init__(self, peers: Sequence[Peer], gauge: Gauge, counts: Sequence[int]) -> None:
        self.peers, self.gauge, self.counts = peers, gauge, counts

    def measured(self, point: Point, seconds: float) -> Result:
        """Measure a point for so many seconds, once every peer has shown that it runs the same net."""
        problem = Problem(point)
        ways, refused = self._ways(problem)
        does = work(problem.plan, stepwise=point.stepwise)
        has_twin = point.part == "written" and point.cell not in BUILT_IN and does.total > 0
        twin, times_as_many = _twin(point, does) if has_twin else (None, 1.0)
        if twin is not None:
            ways.append(twin.way(TWIN))
        taken, rates = interleaved({f"{way.group} {way.label}": way for way in ways}, self._rates(does), seconds)
        times: dict[str, dict[str, float]] = {}
        for way in ways:
            each = taken[f"{way.group} {way.label}"] / (1 if point.stepwise else point.steps)
            times.setdefault(way.group, {})[way.label] = 1e6 * each
        us = times.pop(OURS)[""]
        scaled = None if twin is None else (twin.point.cell, times.pop(TWIN)[""] * times_as_many)
        gflops = rising({n: rates[f"multiply-add {n}"] for n in self.counts})
        gb = rising({n: rates[f"read {n}"] for n in self.counts}) if does.bytes else dict.fromkeys(self.counts)
        speeds = {n: Speed(gflops[n], gb[n]) for n in self.counts}
        return Result(point, us, does, speeds, times, refused, scaled)

    def levels(self, levels: Sequence[Level], samples: int = 9) -> tuple[dict[str, dict[int, float]], float]:
        """The machine by itself: GFLOP/s, and GB/s of each level, by number of threads, the best of some turns.

        And by what share of the best the median turn was less, where that was most: on a quiet machine a few hundredths.
        """
        rates = {("multiply-add", n): self.gauge.multiply_add(n) for n in self.counts}
        rates |= {(level.name, n): self.gauge.read(level.read * n, n) for level in levels for n in self.counts}
        turns = [{key: rate() for key, rate in rates.items()} for _ in range(samples)]
        taken = {key: [turn[key] for turn in turns] for key in rates}
        spread = max(1 - statistics.median(found) / max(found) for found in taken.values())
        names = dict.fromkeys(name for name, _ in rates)
        return {name: rising({n: max(taken[name, n]) for n in self.counts}) for name in names}, spread

    def _ways(self, problem: Problem) -> tuple[list[Way], dict[str, float]]:
        """Elman, and all ways of the peers that give the same; of the others, how far apart they are."""
        ours = problem.way()
        expected, ways, refused = ours.output(), [ours], {}
        for peer in self.peers:
            found = list(peer.ways(problem.net, self.counts))
            apart = max((apart_by(expected, way) for way in found), default=0.0)
            if apart > TOLERANCE:
                refused[peer.name] = apart
            else:
                ways += found
        return ways, refused

    def _rates(self, does: Work) -> dict[str, Callable[[], float]]:
        rates = {f"multiply-add {n}": self.gauge.multiply_add(n) for n in self.counts}
        if does.bytes:
            rates |= {f"read {n}": self.gauge.read(does.bytes, n) for n in self.counts}
        return rates


def apart_by(expected: Array, way: Way) -> float:
    """The largest difference of what a way gives; infinity where it is NaN, or of another shape."""
    with way.around():
        found = way.output()
    if found.shape != expected.shape:
        return math.inf
    apart = float(np.abs(found - expected).max())
    return apart if math.isfinite(apart) else math.inf


def _twin(point: Point, does: Work) -> tuple[Problem, float]:
    """The built-in cell of the same sizes nearest in multiplications, and how many times as many those of a cell are."""
    twins = [Problem(Point("sequences", name, point.batch, point.hidden)) for name in BUILT_IN]
    times = {twin: does.total / work(twin.plan).total for twin in twins}
    nearest = min(twins, key=lambda twin: abs(math.log(times[twin])))
    return nearest, times[nearest]
