"""The limit of a point: the least time a step could take on this machine, from the plan and from what the machine can do.

    limit = min over n threads of  max(2 B M / f(n), W / r(n)) + 2 B M' / f(n)

    M      multiplications of matrix products in the loop over time, for one step of one example (`plan.multiplications`)
    M'     those outside of it: the product with the input, hoisted for all steps at once; none for a token, a look-up
    W      bytes of the matrices that the loop meets at every step
    f(n)   operations a second of n threads, a multiply-add being two
    r(n)   bytes a second that n threads read from wherever W bytes lie, if each reads the n-th part of them over and over

Where a call is a single step nothing can be hoisted, so all is in the loop. Left out is what can be hidden or is small:
activations, inputs, outputs and states, and what threads take to meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from elman.passes import Plan
from elman.passes.schedule import PHASES, READ


@dataclass(frozen=True)
class Work:
    """Multiplications of one step of one example, in the loop and outside of it, and bytes of matrices that a step reads."""

    loop: int
    outside: int
    bytes: int

    @property
    def total(self) -> int:
        """All multiplications."""
        return self.loop + self.outside


@dataclass(frozen=True)
class Speed:
    """What some threads together do in a second: GFLOP/s, and GB/s of what is to be read (None where nothing is)."""

    gflops: float
    gb: float | None


def work(plan: Plan, *, stepwise: bool = False) -> Work:
    """What a plan has to do in a step; `stepwise` where a call is a single one."""
    inside = ("before", "loop", "after") if stepwise else ("loop",)
    loop, all_of_them = (sum(map(plan.multiplications, phases)) for phases in (inside, ("before", "loop", "after")))
    return Work(loop, all_of_them - loop, plan.bytes_read(*inside))


def limit(work: Work, batch: int, speeds: Mapping[int, Speed]) -> float:
    """Microseconds a step, on the number of threads that is best."""
    return min(limit_at(work, batch, speed) for speed in speeds.values())


def limit_at(work: Work, batch: int, speed: Speed) -> float:
    """Microseconds a step, on threads of this speed.

    >>> limit_at(Work(loop=500, outside=250, bytes=6000), 2, Speed(gflops=1.0, gb=2.0))  # max(2, 3) + 1
    4.0
    """
    computing, reading = 2 * batch * work.loop / speed.gflops, work.bytes / speed.gb if speed.gb else 0.0
    return (max(computing, reading) + 2 * batch * work.outside / speed.gflops) / 1e3


def by_phase(plan: Plan, batch: int, speed: Speed) -> dict[str, float]:
    """The limit in parts: microseconds of each phase, for a step of so many examples, or once for the parameters."""
    found = {}
    for phase in PHASES:
        count, loop = plan.multiplications(phase), phase == "loop"
        part = Work(count, 0, plan.bytes_read(phase)) if loop else Work(0, count, 0)
        found[phase] = limit_at(part, 1 if READ[phase] == "once" else batch, speed)
    return found
