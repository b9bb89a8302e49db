"""What the machine can do at most: multiply-adds and bytes read a second, by kernels of the compiled target's own emitter.

    multiply-add    as many sums in registers as a tile has, two numbers that stay in registers
    read            an array from its start to its end, over and over; each vector that is loaded goes into a multiply-add

On several threads each has its own array and all begin together; the rate is what all did by the time the last had ended.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Barrier, Thread

import llvmlite
import numpy as np

from elman.gates import Array
from elman.targets.llvm import engine
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.places import LINE
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX, Value, Vectors
from elman.targets.threads import available, cores

SAMPLE = 0.003
"""Seconds that a sample should take."""

LOADS = 8
"""Vectors that the reading kernel loads in a round, each into a sum of its own."""

NUMBERS = 32 * 64
"""Bytes for the sums of a kernel: as many as the largest machine has registers, of the widest vectors."""

LARGEST = 1 << 28
"""Bytes of the largest array that is read to measure a level."""

Rate = Callable[[], float]
"""A sample, in 10^9 a second."""


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
    """A kernel on a thread for each array, in as many rounds as make a sample long enough."""

    def __init__(self, code: engine.Code, arrays: Sequence[Array], work: float) -> None:
        self._code, self._arrays, self._work, self._rounds = code, arrays, work, 1
        self._numbers = [_filled(NUMBERS) for _ in arrays]
        while (taken := self._seconds()) < SAMPLE / 8:
            self._rounds *= 2
        self._rounds = max(1, round(self._rounds * SAMPLE / taken))

    def rate(self) -> float:
        """A sample."""
        return self._work * self._rounds / self._seconds() / 1e9

    def _seconds(self) -> float:
        start, spans = Barrier(len(self._arrays)), []

        def part(array: Array, numbers: Array) -> None:
            numbers[:] = NUMBER  # the last sample left its sums there
            data, there = array.ctypes.data, numbers.ctypes.data
            start.wait()
            begun = time.perf_counter()
            self._code.call(data, there, array.size, self._rounds, 0)
            spans.append((begun, time.perf_counter()))

        first, *others = zip(self._arrays, self._numbers, strict=True)
        threads = [Thread(target=part, args=each) for each in others]
        for k, thread in enumerate(threads, 1):
            thread.start()
            cores.place(thread.native_id, k)
        part(*first)
        for thread in threads:
            thread.join()
        return max(end for _, end in spans) - min(begun for begun, _ in spans)


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
