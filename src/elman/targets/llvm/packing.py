"""How a program's parameters are packed for its kernel, and its totals unpacked: lists of moves, made once for a program."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import prod

import numpy as np

from elman.gates import Array
from elman.passes import Plan
from elman.rooms import LINE, rooms
from elman.shapes import Shape
from elman.targets.interface import Prepared
from elman.targets.llvm.groups import summed
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.memory import address
from elman.targets.llvm.moves import FIELDS, Move, Moves, Strides
from elman.targets.llvm.places import PAD, columns, lines_of
from elman.targets.llvm.recipe import Walk
from elman.targets.llvm.table import Table

ROWS, COLUMNS = FIELDS.index("rows"), FIELDS.index("columns")


@dataclass
class Packed(Prepared):
    """Parameters as the kernel reads them: the end of the table, and the memory that it points into."""

    static: bytes = b""
    held: Array | None = None


class Packing:
    """What a kernel reads of the parameters alone: panels, matrices column by column, and values as they are."""

    def __init__(self, plan: Plan, table: Table, dtype: np.dtype[np.floating], machine: Machine) -> None:
        self._graph, self._dtype, self._lanes = plan.graph, dtype, machine.bytes // dtype.itemsize
        self._moves, self._sources, self._size = list[Move](), list[tuple[int, bool]](), 0
        starts = []
        count = len(table.shared) + len(table.walks) + len(table.turned)
        for name, which in table.names[len(table.names) - count :]:
            starts.append(self._size)
            if name == "pack":
                self._panels(which)
            elif name == "turned":
                self._columns(which)
            else:
                self._whole(which.which)
        self._starts = np.array(starts, np.int64) * dtype.itemsize
        self._made, self._again = Moves(self._moves, dtype, machine), False

    def packed(self, shared: Mapping[int, Array]) -> tuple[Array, bytes]:
        """The memory that everything is packed into, and the end of a table, which points into it.

        The first time NumPy does it: who runs forward packs once, and would wait longer for the code.
        """
        memory = self.memory()
        if self._sources:
            arrays = self.arrays(shared)
            if self._again:
                self._made.run(arrays, tuple(array.strides for array in arrays), memory)
            else:
                self._made.run_on_numpy(arrays, memory)
                self._again = True
        return memory, self.static(memory)

    def memory(self) -> Array:
        """What everything can be packed into."""
        return rooms.take((self._size,), self._dtype, line=True)

    def static(self, memory: Array) -> bytes:
        """The end of a table, which points into the memory."""
        return (self._starts + address(memory)).tobytes()

    def arrays(self, shared: Mapping[int, Array]) -> list[Array]:
        """What is packed, as matrices."""
        typed = [(shared[i].astype(self._dtype, copy=False), flat) for i, flat in self._sources]
        return [array.reshape(-1, 1) if flat else array for array, flat in typed]

    def parameters(self) -> tuple[str, ...] | None:
        """The names of the parameters that stand as they are, or turned, in the arrays that are packed; or None."""
        names = [self._parameter(index) for index, _ in self._sources]
        return None if None in names else tuple(name for name in names if name is not None)

    def pack_at(self, starts: Iterable[int], strides: Strides, memory: int) -> None:
        """Pack arrays of which the addresses are known."""
        if self._sources:
            self._made.run_at(starts, strides, memory)

    @property
    def moves(self) -> Moves:
        """How matrices get there."""
        return self._made

    def _parameter(self, index: int) -> str | None:
        node = self._graph.nodes[index]
        if node.gate == "transpose":
            return self._parameter(node.inputs[0])
        return node.name if node.gate == "parameter" else None

    def _shape(self, index: int) -> Shape:
        return tuple(int(size) for size in self._graph.nodes[index].shape)

    def _add(self, index: int, move: Move, *, flat: bool = False) -> None:
        self._moves.append(move)
        self._sources.append((index, flat))

    def _take(self, size: int) -> None:
        """So many elements, then on to the next line of the cache."""
        line = LINE // self._dtype.itemsize
        self._size += -(-size // line) * line

    def _panels(self, walk: Walk) -> None:
        """Matrices side by side: for every vector of lanes all columns, for every column the lanes of each matrix."""
        matrices = walk.matrices(self._graph)
        rows, width = self._shape(matrices[0])
        lanes = self._lanes
        while lanes // 2 >= rows:
            lanes //= 2
        each = len(matrices) * lanes
        for k, index in enumerate(matrices):
            self._add(index, Move(rows, width, lanes, self._size + k * lanes, width * each, each))
        self._take(-(-rows // lanes) * width * each)

    def _columns(self, index: int) -> None:
        rows, width = self._shape(index)
        wide = columns((rows,), True)
        self._add(index, Move(rows, width, self._lanes, self._size, self._lanes, wide))
        self._take(width * wide)

    def _whole(self, index: int) -> None:
        """A value that is read as it is, with a vector's width to spare behind it."""
        size = prod(self._shape(index))
        self._add(index, Move(size, 1, self._lanes, self._size, self._lanes, 0), flat=True)
        self._take(size + PAD)


class Fixed:
    """Moves whose tables stay: `words` are the addresses of the memory and of the sources, which may change."""

    def __init__(self, moves: Moves, strides: Strides, memory: Array) -> None:
        self._table, self._code, self._held = moves.table(strides), moves.code, memory
        self.words = np.empty(1 + len(strides), np.int64)
        self.words[0] = address(memory)

    def rows(self, threads: int) -> list[tuple[int, ...]]:
        """The call of each of so many threads, which make about as much of the moves each, as rows of a chain."""
        sizes = np.cumsum(self._table[:, ROWS] * self._table[:, COLUMNS])
        cuts = [0, *np.searchsorted(sizes, sizes[-1] * np.arange(1, threads) / threads).tolist(), len(sizes)]
        return [(self._code.address, address(self.words), address(self._table), *cut, 0) for cut in pairwise(cuts)]


class Unpacking:
    """Totals, which are padded, scattered columns as rows, in the shapes that the graph gives them."""

    def __init__(self, plan: Plan, table: Table, dtype: np.dtype[np.floating], machine: Machine) -> None:
        lanes, size = machine.bytes // dtype.itemsize, dtype.itemsize
        self._lying, self._shapes = dict[int, tuple[int, int]](), dict[int, Shape]()
        self._dtype, self._machine = dtype, machine
        moves, strides, start = list[Move](), [], 0
        for index in table.totals:
            shape = tuple(int(size) for size in plan.graph.nodes[index].shape)
            is_scatter = summed(plan, index)[0] == "scatter"
            lines, width = (shape[0], shape[1]) if is_scatter else (lines_of(shape), columns(shape, False))
            lying = (width, columns(shape[:1], True)) if is_scatter else (lines, columns(shape, True))
            self._lying[index], self._shapes[index] = lying, shape
            strides.append((lying[1] * size, size) if is_scatter else (size, lying[1] * size))
            moves.append(Move(width, lines, lanes, start, lanes, width, False))
            start += lines * width
        self._size, self._strides, self._moves, self._run = start, tuple(strides), moves, Moves(moves, dtype, machine).run
        line = LINE // size
        self._padded = -(-sum(map(prod, self._lying.values())) // line) * line
        self.bytes = self._padded * size

    def zeros(self, sections: int) -> dict[int, Array]:
        """Totals before the first row."""
        memory, totals = self.room(sections)
        memory[:] = 0
        return totals

    def room(self, sections: int) -> tuple[Array, dict[int, Array]]:
        """Memory for the totals of so many sections, which may hold anything yet, and these as views of it."""
        memory = rooms.take((sections, self._padded), self._dtype, line=True)
        return memory, self._views(memory, self._lying)

    def unpacked(self, totals: Mapping[int, Array]) -> dict[int, Array]:
        """What was summed in all sections, apart from the totals, which may go on."""
        memory = rooms.take((self._size,), self._dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # as machine code adds
            added = [reduce(np.add, totals[i]) for i in self._shapes]
        self._run(added, self._strides, memory)
        return self._views(memory, self._shapes)

    def into(self, flat: Array, places: Sequence[tuple[int, int]], totals: Mapping[int, Array]) -> "Fixed":
        """The moves of the totals of one section, by node, into places of a flat array, where all stay where they are."""
        order = {index: k for k, index in enumerate(self._shapes)}
        chosen = [order[index] for index, _ in places]
        moves = [self._moves[k]._replace(into=start) for k, (_, start) in zip(chosen, places, strict=True)]
        strides = tuple(self._strides[k] for k in chosen)
        fixed = Fixed(Moves(moves, self._dtype, self._machine), strides, flat)
        fixed.words[1:] = [address(totals[index]) for index, _ in places]
        return fixed

    def _views(self, memory: Array, shapes: Mapping[int, Shape]) -> dict[int, Array]:
        found, start = {}, 0
        for index, shape in shapes.items():
            stop = start + prod(shape)
            found[index] = memory[..., start:stop].reshape((*memory.shape[:-1], *shape))
            start = stop
        return found
