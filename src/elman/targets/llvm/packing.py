"""How a program's parameters are packed for its kernel, and its totals unpacked: lists of moves, made once for a program."""

from collections.abc import Mapping
from math import prod

import numpy as np

from elman.gates import Array
from elman.passes import Plan
from elman.rooms import LINE, rooms
from elman.shapes import Shape
from elman.targets.llvm.groups import summed
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.memory import address
from elman.targets.llvm.moves import Move, Moves
from elman.targets.llvm.places import PAD, columns, lines_of
from elman.targets.llvm.recipe import Walk
from elman.targets.llvm.table import Table


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
        memory = rooms.take((self._size,), self._dtype, line=True)
        if self._sources:
            typed = [(shared[i].astype(self._dtype, copy=False), flat) for i, flat in self._sources]
            arrays = [array.reshape(-1, 1) if flat else array for array, flat in typed]
            if self._again:
                self._made.run(arrays, tuple(array.strides for array in arrays), memory)
            else:
                self._made.run_on_numpy(arrays, memory)
                self._again = True
        return memory, (self._starts + address(memory)).tobytes()

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


class Unpacking:
    """Totals, which are padded, scattered columns as rows, in the shapes that the graph gives them."""

    def __init__(self, plan: Plan, table: Table, dtype: np.dtype[np.floating], machine: Machine) -> None:
        self._dtype, lanes, size = dtype, machine.bytes // dtype.itemsize, dtype.itemsize
        self._lying, self._shapes = dict[int, tuple[int, int]](), dict[int, Shape]()
        moves, strides, start = [], [], 0
        for index in table.totals:
            shape = tuple(int(size) for size in plan.graph.nodes[index].shape)
            is_scatter = summed(plan, index)[0] == "scatter"
            lines, width = (shape[0], shape[1]) if is_scatter else (lines_of(shape), columns(shape, False))
            lying = (width, columns(shape[:1], True)) if is_scatter else (lines, columns(shape, True))
            self._lying[index], self._shapes[index] = lying, shape
            strides.append((lying[1] * size, size) if is_scatter else (size, lying[1] * size))
            moves.append(Move(width, lines, lanes, start, lanes, width, False))
            start += lines * width
        self._size, self._strides, self._run = start, tuple(strides), Moves(moves, dtype, machine).run
        self._padded = sum(map(prod, self._lying.values()))

    def zeros(self) -> dict[int, Array]:
        """Totals before the first row."""
        memory = rooms.take((self._padded,), self._dtype, line=True)
        memory[:] = 0
        return self._views(memory, self._lying)

    def unpacked(self, totals: Mapping[int, Array]) -> dict[int, Array]:
        """What was summed, apart from the totals, which may go on."""
        memory = rooms.take((self._size,), self._dtype)
        self._run([totals[i] for i in self._shapes], self._strides, memory)
        return self._views(memory, self._shapes)

    def _views(self, memory: Array, shapes: Mapping[int, Shape]) -> dict[int, Array]:
        found, start = {}, 0
        for index, shape in shapes.items():
            stop = start + prod(shape)
            found[index] = memory[start:stop].reshape(shape)
            start = stop
        return found
