"""What was measured, against what elman means to reach: geometric means over the cells of a part, and the worst points."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from elman.bench.grid import BUILT_IN
from elman.bench.peers.equations import WRITTEN
from elman.bench.processes import Start
from elman.bench.run import Result

MEANS = {
    "sequences": {"elman": 2.0, "gru": 1.4, "lstm": 1.3},
    "tokens": dict.fromkeys(BUILT_IN, 1.5),
}
"""Geometric means of the ratio to the best peer; in sequences no point may be slower than it."""

SHARE, FROM = 0.8, 1.0
"""The share of the limit that whole sequences should have, wherever that is more than so many microseconds."""

STEP = ("ORT", 3.0)
"""How many times the rate of a peer single steps of lstm should have."""

PUSH, PUSHED = 3.0, 64
"""Microseconds that a push to a stream of lstm may take, and the size of its state."""

TWIN = 1.3
"""How many times the time of the built-in cell a cell may take that users write, multiplication for multiplication."""

AS_WRITTEN, AT = {"PyTorch": 15.0, "JAX": 3.0}, (1, 128)
"""The ratios such cells should have to the same equations in the words of peers, and at which batch and hidden size."""

STARTS = {"imported": ("import elman, ms", 300.0), "compiled": ("first call, ms", 100.0), "stored": ("stored, ms", 5.0)}
MEMORY = 64.0
"""MB that a million tokens may take."""


@dataclass(frozen=True)
class Check:
    """A figure of a part and a cell, and its goal (None: it has none)."""

    part: str
    cell: str
    figure: str
    measured: float
    goal: float | None
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.measured <= self.goal if self.at_most else self.measured >= self.goal


def checks(results: Sequence[Result], start: Start | None = None, memory: float | None = None) -> list[Check]:
    """All figures, part by part and cell by cell; then those of processes."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.point.part, result.point.cell), []).append(result)
    found = [check for (part, cell), group in groups.items() for check in OF[part](part, cell, group)]
    for name, (figure, goal) in STARTS.items() if start is not None else ():
        found.append(Check("starts", "lstm", figure, getattr(start, name), goal, at_most=True))
    if memory is not None:
        found.append(Check("memory", "lstm", "MB for a million tokens", memory / 1e6, MEMORY, at_most=True))
    return found


def _whole(part: str, cell: str, group: Sequence[Result]) -> Iterator[Check]:
    """Against the best peer in the mean and at worst, and against the limit."""
    ratios = {result.point: result.ratio for result in group if result.ratio is not None}
    if ratios:
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        yield Check(part, cell, "ratio to best peer, geometric mean", mean, MEANS[part].get(cell))
        worst = min(ratios, key=lambda point: ratios[point])
        goal = 1.0 if part == "sequences" and cell in BUILT_IN else None
        yield Check(part, cell, f"worst ratio, {worst.sizes}", ratios[worst], goal)
    large = [result for result in group if part == "sequences" and result.limit > FROM]
    if large:
        low = min(large, key=lambda result: result.share)
        yield Check(part, cell, f"worst share of limit, {low.point.sizes}", low.share, SHARE)


def _written(part: str, cell: str, group: Sequence[Result]) -> Iterator[Check]:
    """Against the built-in cell, and against the same equations in the words of peers."""
    twins = {result.point: result.us / result.twin[1] for result in group if result.twin is not None}
    if twins:
        worst = max(twins, key=lambda point: twins[point])
        yield Check(part, cell, f"worst time to the twin, {worst.sizes}", twins[worst], TWIN, at_most=True)
    for result in group:
        if (result.point.batch, result.point.hidden) == AT:
            for peer, goal in AS_WRITTEN.items():
                times = [us for label, us in result.peers.get(peer, {}).items() if label.endswith(WRITTEN)]
                if times:
                    yield Check(part, cell, f"ratio to {peer} {WRITTEN}, {result.point.sizes}", min(times) / result.us, goal)


def _calls(part: str, cell: str, group: Sequence[Result]) -> Iterator[Check]:
    """Against a peer, and in microseconds."""
    peer, times = STEP
    for result in group:
        if peer in result.ratios:
            goal = times if cell == "lstm" else None
            yield Check(part, cell, f"ratio to {peer}, {result.point.sizes}", result.ratios[peer], goal)
        if (part, cell, result.point.hidden) == ("pushes", "lstm", PUSHED):
            yield Check(part, cell, f"us a push, {result.point.sizes}", result.us, PUSH, at_most=True)


OF = {"sequences": _whole, "tokens": _whole, "written": _written, "steps": _calls, "pushes": _calls}
"""What is asked of a part."""
