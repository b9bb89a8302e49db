"""A plan with the microseconds that its phases take at this machine's limit, measured when they are asked for."""

from collections.abc import Mapping
from functools import cache

from elman.bench.limits import Speed, by_phase, limit_at, work
from elman.bench.rates import Gauge, counts, rising
from elman.bench.timing import rest
from elman.errors import MissingLibraryError, SettingError
from elman.passes import Plan
from elman.targets.llvm.machine import Machine, current
from elman.targets.threads import shared

SAMPLES = 5
"""Samples of a rate; the best counts."""


def expected(plan: Plan, batch: int = 1) -> str:
    """A plan with the microseconds that each phase takes at least on this machine, for a step of so many examples.

    `print(expected(rnn.plan))`; `elman show --limits` prints it of every layer of a model. It stands here, and
    `print(rnn.plan)` goes without, since it measures: some tenths of a second for a new size, and never twice the same to
    the last place. Raises `SettingError` for a batch below 1, `MissingLibraryError` where nothing can be compiled.
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise SettingError(f"expected: batch={batch!r} must be a number of examples, 1 or more")
    machine = current()
    if machine is None:
        raise MissingLibraryError("expected: this machine has no fused multiply-add, so there is nothing to measure it with")
    return told(plan, batch, speeds(machine, plan.bytes_read("loop"), plan.itemsize))


def told(plan: Plan, batch: int, speeds: Mapping[int, Speed]) -> str:
    """The same for a machine of these speeds, on the number of threads that is best."""
    does = work(plan)
    count = min(speeds, key=lambda n: limit_at(does, batch, speeds[n]))
    speed = speeds[count]
    reading = f", {speed.gb:.1f} GB/s" if speed.gb else ""
    examples, threads = (f"{n} {word}{'s' * (n > 1)}" for n, word in ((batch, "example"), (count, "thread")))
    least = f"{limit_at(does, batch, speed):.3f} us a step of {examples}"
    return f"{plan.table(by_phase(plan, batch, speed))}\n  {least}: {speed.gflops:.1f} GFLOP/s{reading} on {threads}"


def speeds(machine: Machine, size: int, itemsize: int) -> dict[int, Speed]:
    """What a machine does with numbers of so many bytes, reading `size` bytes over and over, by number of threads."""
    known = counts(shared.count)
    gflops = rising({threads: _best(machine, threads, None) * 4 / itemsize for threads in known})  # measured with float32
    gb = rising({threads: _best(machine, threads, size) for threads in known}) if size else dict.fromkeys(known)
    return {threads: Speed(gflops[threads], gb[threads]) for threads in known}


@cache
def _best(machine: Machine, threads: int, size: int | None) -> float:
    """GB/s at which threads read so many bytes, or (None) their GFLOP/s, measured once."""
    gauge = Gauge(machine)
    rate = gauge.multiply_add(threads) if size is None else gauge.read(size, threads)
    rest()
    return max(rate() for _ in range(SAMPLES))
