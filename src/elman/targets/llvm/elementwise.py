"""Equations of numbers as machine code over every element of arrays, which stand anywhere; and sums of squares.

A kernel is given a table: how many arrays there are, the numbers that are the same for all elements, then of each array the
first of its elements, the one behind its last, counted through all arrays, and where inputs and outputs stand. Threads share
the elements. Unlike other kernels these leave denormal numbers as they are: so the bits are those of NumPy.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from struct import Struct, pack
from time import perf_counter
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from elman.gates import Array
from elman.graph import Graph
from elman.rooms import rooms
from elman.targets.elementwise import LANES, PART
from elman.targets.interface import Many
from elman.targets.llvm import engine
from elman.targets.llvm.crew import crew
from elman.targets.llvm.follow import Row
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.memory import address
from elman.targets.llvm.mode import Mode
from elman.targets.llvm.pace import Pace
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import FLOATS, INDEX, Value, Vectors
from elman.targets.llvm.words import WORDS
from elman.targets.threads import shared

FLOATING = {4: "f4x", 8: "d"}
"""A number in a word, by its bytes."""

ENOUGH = 1 << 17
"""Elements that a thread should have: some tenth of a millisecond of Adam."""


class _Kernel(Frame):
    """What the kernels of this file share: the table, and the way through the arrays."""

    def __init__(self, name: str, dtype: str, lanes: int) -> None:
        super().__init__(name, dtype, Shaping(lanes, 0), [POINTER, POINTER, INDEX, INDEX, INDEX])
        self._table, self._results, self._first, self._last, self._part = self.function.args
        self.wide, self.one = (Vectors(self.b, self.module, dtype, width) for width in (lanes, 1))

    def _word(self, at: Value) -> Value:
        return self.b.gep(self._table, [at], source_etype=INDEX)

    def _each_array(self, head: int, columns: int, do: Callable[[list[Value], Value, Value, Value], None]) -> None:
        """Call `do(addresses, begin, end, start)` for the elements of every array that are asked for."""
        b = self.b
        with self.loop(self.index(0), b.load(self._word(self.index(0)), typ=INDEX)) as over:
            row = b.add(b.mul(over.index, self.index(2 + columns)), self.index(head))
            start, stop = (b.load(self._word(b.add(row, self.index(k))), typ=INDEX) for k in (0, 1))
            addresses = [b.load(self._word(b.add(row, self.index(2 + k))), typ=POINTER) for k in range(columns)]
            begin = b.select(b.icmp_signed("<", start, self._first), self._first, start)
            do(addresses, b.sub(begin, start), b.sub(self.smaller(stop, self._last), start), start)


class GraphKernel(_Kernel):
    """A graph over elements."""

    def __init__(self, graph: Graph, dtype: str, lanes: int) -> None:
        super().__init__(f"elman_{graph.name}", dtype, lanes)
        self.graph, mode = graph, Mode(self, denormals=True)
        self._numbers = [
            self.b.load(self._word(self.index(1 + k)), align=8, typ=FLOATS[dtype][0])
            for k, _ in enumerate(graph.leaves("parameter"))
        ]
        columns = len(graph.leaves("input")) + len(graph.named("output"))
        self._each_array(1 + len(self._numbers), columns, self._elements)
        mode.restore()
        self.b.ret_void()

    def _elements(self, addresses: list[Value], begin: Value, end: Value, _: Value) -> None:
        b, width = self.b, self.index(self.wide.width)
        count = b.sub(end, begin)
        whole = b.add(begin, b.sub(count, b.srem(count, width)))
        for v, first, behind in ((self.wide, begin, whole), (self.one, whole, end)):
            numbers = [v.splat(number) for number in self._numbers]
            with self.loop(first, behind, v.width, carried=[v.zero]) as over:
                value = self._element(v, addresses, numbers, over.index)
                over.next = [v.add(over.now[0], v.subtract(value, value))]  # 0, or NaN where it is not finite
            with b.if_then(v.any(v.is_nan(over.next[0]))):
                b.store(self.index(1), b.gep(self._results, [self._part], source_etype=INDEX))

    def _element(self, v: Vectors, addresses: list[Value], numbers: list[Value], at: Value) -> Value:
        """Compute and store the outputs; returns the first."""
        graph, values = self.graph, list[Value]()
        same = dict(zip(graph.leaves("parameter").values(), numbers, strict=True))
        given = dict(zip(graph.leaves("input").values(), addresses, strict=False))
        for i, node in enumerate(graph.nodes):
            if node.gate == "constant":
                values.append(v.const(node.settings["value"]))
            elif i in given:
                values.append(v.load(given[i], at))
            else:
                values.append(same[i] if i in same else WORDS[node.gate](v, *(values[k] for k in node.inputs)))
        outputs = graph.named("output").values()
        for result, pointer in zip(outputs, addresses[len(given) :], strict=True):
            v.store(values[result], pointer, at)
        return values[next(iter(outputs))]


class SquaresKernel(_Kernel):
    """Sums of squares in float64, a part of an array at a time. Here elements count in parts."""

    def __init__(self, dtype: str, lanes: int) -> None:
        super().__init__("elman_squares", dtype, lanes)
        widths = (lanes if dtype == "float64" else lanes // 2), 1
        self.doubles, self.one_double = (Vectors(self.b, self.module, "float64", width) for width in widths)
        room = self.b.ptrtoint(self.room(self.doubles, LANES // self.doubles.width), INDEX)
        self._lanes = self.b.inttoptr(room, POINTER)  # vectors and numbers are read there
        mode = Mode(self, denormals=True)
        self._each_array(1, 2, self._parts)
        mode.restore()
        self.b.ret_void()

    def _parts(self, addresses: list[Value], begin: Value, end: Value, start: Value) -> None:
        b, [pointer, size] = self.b, addresses
        count = b.ptrtoint(size, INDEX)
        with self.loop(begin, end) as over:
            first = b.mul(over.index, self.index(PART))
            total = self._sum(pointer, first, self.smaller(b.add(first, self.index(PART)), count))
            self.one_double.store(total, self._results, b.add(start, over.index))

    def _sum(self, pointer: Value, first: Value, end: Value) -> Value:
        """The sum of some squares in lanes, which stand in memory, as the last of them are added one by one."""
        b, v, one = self.b, self.doubles, self.one_double
        count = b.sub(end, first)
        whole, steps = b.add(first, b.sub(count, b.srem(count, self.index(LANES)))), LANES // v.width
        with self.loop(first, whole, LANES, carried=[v.zero] * steps) as over:
            at = [b.add(over.index, self.index(k * v.width)) for k in range(steps)]
            over.next = [v.add(now, self._square(v, pointer, here)) for now, here in zip(over.now, at, strict=True)]
        for k, lanes in enumerate(over.next):
            v.store(lanes, self._lanes, self.index(k * v.width))
        with self.loop(whole, end) as rest:
            lane = b.sub(rest.index, whole)
            one.store(one.add(one.load(self._lanes, lane), self._square(one, pointer, rest.index)), self._lanes, lane)
        held = [v.load(self._lanes, self.index(k * v.width)) for k in range(steps)]
        while len(held) > 1:
            half = len(held) // 2
            held = [v.add(x, y) for x, y in zip(held[:half], held[half:], strict=True)]
        lanes = v.lanes(held[0])
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [one.add(x, y) for x, y in zip(lanes[:half], lanes[half:], strict=True)]
        return lanes[0]

    def _square(self, v: Vectors, pointer: Value, at: Value) -> Value:
        """The square of elements, which become float64 first: no square of a float32 overflows there."""
        if self.dtype == "float64":
            x = v.load(pointer, at)
        else:
            narrow = Vectors(self.b, self.module, self.dtype, v.width)
            x = self.b.fpext(narrow.load(pointer, at), v.type)
        return v.multiply(x, x)


class _Shared:
    """Compiled code over elements, and the threads that share them."""

    def __init__(self, machine: Machine, facts: Sequence[object], text: Callable[[], str]) -> None:
        self.machine, self._pace = machine, Pace()
        key = key_of("elementwise", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine, *facts)
        self.code = engine.compiled(key, text, machine)

    def run(self, table: bytes, results: int, count: int, unit: int) -> None:
        """Run over so many things of so many elements each, on as many threads as they are worth."""
        threads = min(shared.count, max(1, count * unit // ENOUGH))
        if threads > 1 and (shared.is_asked or self._pace.together) and crew.is_free:
            words = np.frombuffer(table, np.int64)
            at, cuts = address(words), [count * k // threads for k in range(threads + 1)]
            jobs = [(at, results, cuts[k], cuts[k + 1], k) for k in range(threads)]
            begun = perf_counter()
            if crew.run(self.code, jobs, self.machine):
                self._pace.took(True, (perf_counter() - begun) / count)
                return
        begun = perf_counter()
        self.code.call(table, results, 0, count, 0)
        if threads > 1:
            self._pace.took(False, (perf_counter() - begun) / count)


class LlvmElementwise:
    """A graph of numbers over arrays, compiled."""

    def __init__(self, graph: Graph, dtype: Any, machine: Machine) -> None:
        self.graph, self.dtype = graph, np.dtype(dtype)
        lanes = machine.bytes // self.dtype.itemsize
        facts = (graph.to_json(), self.dtype, lanes)
        self._shared = _Shared(machine, facts, lambda: str(GraphKernel(graph, self.dtype.name, lanes).module))
        self._inputs, self._numbers = tuple(graph.leaves("input")), tuple(graph.leaves("parameter"))
        self._outputs = tuple(graph.named("output"))
        head = "q" + FLOATING[self.dtype.itemsize] * len(self._numbers)
        self._head = Struct(head).pack
        self._flat = Struct(f"{head}0q{2 + len(self._inputs) + len(self._outputs)}q").pack

    def __call__(self, inputs: Mapping[str, Many], numbers: Mapping[str, float]) -> tuple[list[Array], bool]:
        """All elements in one call."""
        held = [_contiguous(inputs[name]) for name in self._inputs]
        same = [numbers[name] for name in self._numbers]
        lists = [many for many in held if isinstance(many, list)]
        size = sum(array.size for array in lists[0]) if lists else held[0].size
        made = [rooms.take((size,), self.dtype) for _ in self._outputs]
        if lists:
            ends = [0, *accumulate(array.size for array in lists[0])]
            rows = _rows(ends, *(_column(many, ends, self.dtype.itemsize) for many in (*held, *made)))
            table = self._head(len(lists[0]), *same) + rows
        else:
            table = self._flat(1, *same, 0, size, *map(address, held), *map(address, made))
        flags = np.zeros(shared.count, np.int64)
        if size:
            self._shared.run(table, address(flags), size, 1)
        return made, not any(flags.tolist())


def _column(many: Any, ends: Sequence[int], size: int) -> list[int]:
    """Where every array stands, or the part of the one flat array that goes with it."""
    if isinstance(many, list):
        return [address(array) for array in many]
    start = address(many)
    return [start + size * first for first in ends[:-1]]


def _rows(ends: Sequence[int], *columns: Sequence[int]) -> bytes:
    """What a table tells of each array: the first of its elements, the one behind its last, and words from the columns."""
    words = [*chain.from_iterable(zip(ends[:-1], ends[1:], *columns, strict=True))]
    return pack(f"{len(words)}q", *words)


def _contiguous(many: Many) -> Any:
    """Arrays, or one, in the order of their rows."""
    if isinstance(many, np.ndarray):
        return np.ascontiguousarray(many)
    return [array if array.flags.c_contiguous else np.ascontiguousarray(array) for array in many]


@lru_cache(maxsize=8)
def _squares(dtype: np.dtype[Any], machine: Machine) -> _Shared:
    lanes = machine.bytes // dtype.itemsize
    return _Shared(machine, ("squares", dtype, lanes), lambda: str(SquaresKernel(dtype.name, lanes).module))


class Squares:
    """Sums of squares of parts of arrays that stay where they are: what NumPy gives, to the bit.

    Those that are not in the order of their rows are copied, once.
    """

    def __init__(self, arrays: Sequence[Array], machine: Machine) -> None:
        self._held = [np.ascontiguousarray(array) for array in arrays]
        ends = [0, *accumulate(-(-array.size // PART) for array in self._held)]
        table = pack("q", len(self._held)) + _rows(ends, [*map(address, self._held)], [a.size for a in self._held])
        self._table, self._sums, self._count = np.frombuffer(table, np.int64), np.empty(ends[-1]), ends[-1]
        self._start, self._shared = address(self._sums), _squares(arrays[0].dtype, machine)

    def __call__(self) -> list[float]:
        """The sums, of the numbers that the arrays hold now."""
        if self._count:
            self._shared.run(self._table.tobytes(), self._start, self._count, PART)
        return self.found

    @property
    def found(self) -> list[float]:
        """The sums of the last run."""
        found: list[float] = self._sums.tolist()
        return found

    def rows(self, threads: int) -> list[list[Row]]:
        """The calls of each of so many threads, as rows of a chain."""
        cuts = [self._count * part // threads for part in range(threads + 1)]
        call = self._shared.code.address, address(self._table), self._start
        return [[(*call, *cut, part)] for part, cut in enumerate(pairwise(cuts))]


def sums_of_squares(arrays: Sequence[Array], machine: Machine) -> list[float]:
    """What `targets.elementwise.sums_of_squares` gives, of arrays of one floating type, to the bit."""
    return Squares(arrays, machine)() if arrays else []
