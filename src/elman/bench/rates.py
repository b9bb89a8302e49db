"""What the machine can do at most: multiply-adds and bytes read a second, by kernels of the compiled target's own emitter.

    multiply-add    as many sums in registers as a tile has, two numbers that stay in registers
    read            an array from its start to its end, over and over; each vector that is loaded goes into a multiply-add

On several threads each has its own array, and takes sample after sample. A rate is what all did together between the ends of
two samples of the first, at best: another process may take a core at any moment, and a thread may begin late.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Barrier, Thread

import llvmlite
import numpy as np

from elman.gates import Array
from elman.rooms import LINE
from elman.targets.llvm import engine
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX, Value, Vectors
from elman.targets.threads import available, cores

SAMPLE, SAMPLES = 0.0005, 8
"""Seconds that a sample should take, less than a turn of another process; and how many are taken in a row."""

LOADS = 8
"""Vectors that the reading kernel loads in a round, each into a sum of its own."""

NUMBERS = 32 * 64
"""Bytes for the sums of a kernel: as many as the largest machine has registers, of the widest vectors."""

LARGEST = 1 << 28
"""Bytes of the largest array that is read to measure a level."""

Rate = Callable[[], float]
"""The best of some samples, in 10^9 a second."""


# --- the kernels ------------------------------------------------------------------------------------------------------


class Kernel(Frame):
    """A function `run(data, numbers, size, rounds, 0)` under construction: some sums in registers, `numbers` at its end."""

    def __init__(self, name: str, machine: Machine) -> None:
        lanes = machine.bytes // 4
        super().__init__(name, "float32", Shaping(lanes, machine.registers), [POINTER, POINTER, *[INDEX] * 3])
        self.data, self.numbers, self.size, self.rounds, _ = self.function.args
        self.v = Vectors(self.b, self.module, self.dtype, lanes)

    def text(self, sums: Sequence[Value]) -> str:
        """The module; the sums go to memory, so that none is left out."""
        for position, total in enumerate(sums):
            self.v.store(total, self.numbers, self.index(position * self.v.width))
        self.b.ret_void()
        return str(self.module)


def multiplying(machine: Machine) -> str:
    """The IR of the kernel that multiplies and adds."""
    kernel = Kernel("multiply_add", machine)
    v = kernel.v
    x1, x2 = v.load(kernel.data, kernel.index(0)), v.load(kernel.data, kernel.index(v.width))
    with kernel.loop(kernel.index(0), kernel.rounds, carried=[v.zero] * _sums(machine)) as over:
        over.next = [v.fma(x1, x2, total) for total in over.now]
    return kernel.text(over.next)


def reading(machine: Machine) -> str:
    """The IR of the kernel that reads."""
    kernel = Kernel("read", machine)
    v, b = kernel.v, kernel.b
    x = v.broadcast(kernel.numbers, kernel.index(0))
    with kernel.loop(kernel.index(0), kernel.rounds, carried=[v.zero] * LOADS) as rounds:
        with kernel.loop(kernel.index(0), kernel.size, LOADS * v.width, rounds.now) as over:
            places = [b.add(over.index, kernel.index(k * v.width)) for k in range(LOADS)]
            over.next = [v.fma(v.load(kernel.data, at), x, total) for at, total in zip(places, over.now, strict=True)]
        rounds.next = over.next
    return kernel.text(rounds.next)


def _sums(machine: Machine) -> int:
    """As many as a tile has: some registers are left for what is multiplied."""
    return machine.registers * 3 // 4


# --- samples ----------------------------------------------------------------------------------------------------------


class Gauge:
    """Both kernels, compiled for a machine."""

    def __init__(self, machine: Machine) -> None:
        self._vector = machine.bytes
        self._operations = 2.0 * _sums(machine) * machine.bytes // 4
        self._multiply, self._read = (compiled(text, machine) for text in (multiplying(machine), reading(machine)))

    def multiply_add(self, threads: int) -> Rate:
        """GFLOP/s of so many threads together; a multiply-add is two operations."""
        arrays = [_filled(2 * self._vector) for _ in range(threads)]
        return Meter(self._multiply, arrays, self._operations * threads).rate

    def read(self, size: int, threads: int) -> Rate:
        """GB/s at which threads together read `size` bytes, each its share, over and over."""
        block = LOADS * self._vector
        share = max(1, -(-size // (threads * block))) * block
        return Meter(self._read, [_filled(share) for _ in range(threads)], float(share * threads)).rate


def compiled(text: str, machine: Machine) -> engine.Code:
    """A kernel as machine code."""
    return engine.compiled(key_of(emitter(), text, machine, llvmlite.__version__), lambda: text, machine)


class Meter:
    """A kernel on a thread for each array, in as many rounds as make a sample long enough, as one thread alone tells."""

    def __init__(self, code: engine.Code, arrays: Sequence[Array], work: float) -> None:
        self._code, self._arrays, self._work, self._rounds = code, arrays, work, 1
        self._numbers = [_filled(NUMBERS) for _ in arrays]
        while (taken := self._alone()) < SAMPLE / 8:
            self._rounds *= 2
        self._rounds = max(1, round(self._rounds * SAMPLE / taken))

    def rate(self) -> float:
        """The best of some samples."""
        return self._work / len(self._arrays) * self._rounds * fastest(self._together()) / 1e9

    def _alone(self) -> float:
        """Seconds of a sample of one thread, at best."""
        return float(np.diff(self._ends(self._arrays[0], self._numbers[0])).min())

    def _together(self) -> list[Array]:
        """When each thread ended its samples; the first time is when it began."""
        start, found = Barrier(len(self._arrays)), list[Array]()

        def part(array: Array, numbers: Array) -> None:
            start.wait()
            found.append(self._ends(array, numbers))

        first, *others = zip(self._arrays, self._numbers, strict=True)
        threads = [Thread(target=part, args=each) for each in others]
        for k, thread in enumerate(threads, 1):
            thread.start()
            cores.place(thread.native_id, k)
        part(*first)
        for thread in threads:
            thread.join()
        return found

    def _ends(self, array: Array, numbers: Array) -> Array:
        numbers[:] = NUMBER  # the last samples left their sums there
        data, there, ends = array.ctypes.data, numbers.ctypes.data, [time.perf_counter()]
        for _ in range(SAMPLES):
            self._code.call(data, there, array.size, self._rounds, 0)
            ends.append(time.perf_counter())
        return np.array(ends)


def fastest(ends: Sequence[Array]) -> float:
    """Samples a second of threads together, at best, given when each ended its samples, and first when it began.

    Between the ends of two samples of the first the others did some part of theirs. Where they did not run side by side it
    is what all did from the first beginning to the last end.

    >>> fastest([np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 4.0])])  # a sample and a half in the first second
    1.5
    """
    begun, ended = max(each[0] for each in ends), min(each[-1] for each in ends)
    inside = ends[0][(ends[0] >= begun) & (ends[0] <= ended)]
    if len(inside) < 2:
        return sum(len(each) - 1 for each in ends) / float(max(each[-1] for each in ends) - min(each[0] for each in ends))
    done = np.sum([np.interp(inside, each, np.arange(len(each))) for each in ends], axis=0)
    return float((np.diff(done) / np.diff(inside)).max())


def rising(rates: Mapping[int, float]) -> dict[int, float]:
    """Rates by number of threads, none below one of fewer threads: who may use two can leave one idle.

    >>> rising({1: 5.0, 2: 3.0, 4: 8.0})
    {1: 5.0, 2: 5.0, 4: 8.0}
    """
    return {count: max(rate for fewer, rate in rates.items() if fewer <= count) for count in rates}


NUMBER = np.float32(1e-3)


def _filled(size: int) -> Array:
    """An array of so many bytes that begins with a line of the cache; its pages are there, as they are written."""
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    array: Array = memory[start : start + size].view(np.float32)
    array[:] = NUMBER
    return array


# --- the levels -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """A level of memory: its bytes (None: all there is), and the bytes that each thread reads to measure it."""

    name: str
    size: int | None
    read: int


USUAL = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}
"""Taken where the system does not tell."""


@cache
def caches() -> dict[str, int]:
    """Bytes of the caches of a core, as Linux tells them, or as they usually are."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            found[f"L{level}"] = int(size[:-1]) << 10
    return found if "L1" in found else USUAL


def levels(known: dict[str, int], threads: int) -> list[Level]:
    """The levels to measure: of a cache half is read, less of a large one that others share, and four times the last."""
    found, below = [], 0
    for name, size in known.items():
        found.append(Level(name, size, min(size // 2, max(4 * below, 1 << 20))))
        below = size
    beyond = 4 * below // threads
    return [*found, Level("memory", None, beyond)] if beyond * threads <= LARGEST else found


def counts(most: int | None) -> list[int]:
    """Numbers of threads to try: 1, 2, 4 and so on up to the most, or to the cores that this process may use."""
    most = available() if most is None else most
    return sorted({most, *(1 << power for power in range(most.bit_length()))})
