"""Tiles: a group computed for a few examples and a few vectors of lanes at a time, all in registers.

A tile walks along the operand of its products once, every sum of it in a register of its own; what is done with the sums
follows lane by lane, and only what others read is stored. How large a tile is changes no bit of what it computes.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING

from llvmlite import ir

from elman.shapes import Shape
from elman.targets.llvm.blocks import side_by_side
from elman.targets.llvm.groups import Group
from elman.targets.llvm.places import Place, columns
from elman.targets.llvm.recipe import Sum, Walk, walks
from elman.targets.llvm.vectors import Value, Vectors
from elman.targets.llvm.words import WORDS

if TYPE_CHECKING:
    from elman.targets.llvm.kernel import Kernel
    from elman.targets.llvm.row import Row


Rows = Callable[[Value], "Row"]
"""The rows of a tile, by their number in it."""


class Tile:
    """One tile of a group: `count` rows, `vectors` vectors of lanes from `block` on, of row `line` of a matrix.

    The last of its vectors holds `held` lanes of the value; the others are whole.
    """

    def __init__(
        self, kernel: "Kernel", group: Group, phase: str, rows: Rows, count: int, block: Value, vectors: int, held: int,
        line: Value,
    ) -> None:  # fmt: skip
        self.kernel, self.group, self.phase, self.row_at = kernel, group, phase, rows
        self.rows = [rows(kernel.index(r)) for r in range(count)]
        self.block, self.vectors, self.held, self.line = block, vectors, held, line
        self.v: Vectors = kernel.vectors(group)
        self.b: ir.IRBuilder = kernel.b
        self._values: dict[tuple[int, int, int], Value] = {}
        self._numbers: dict[tuple[int, int], Value] = {}
        self._computed = frozenset[int]() if group.copy else frozenset(group.nodes)

    def run(self) -> None:
        """Compute all and store what others read."""
        for walk in walks(self.kernel.grouping, self.group):
            self._walk(walk)
        totals = [each.node for walk in walks(self.kernel.grouping, self.group) for each in walk.sums]
        if len(self.rows) > 1 and set(self.group.nodes) > self._summed(totals):
            self._finish_row_by_row(totals)
        else:
            for r in range(len(self.rows)):
                self._finish(r)

    def _finish(self, r: int) -> None:
        """What is done with the sums of a row."""
        for u in range(self.vectors):
            for index in self.group.nodes:
                for place in self.kernel.places.written(index, self.phase):
                    self._store(self.value(index, r, u), place, index, r, u)

    def _summed(self, totals: Sequence[int]) -> set[int]:
        """Sums, and the products that they begin with."""
        inputs = {i for total in totals for i in self.kernel.graph.nodes[total].inputs}
        return {*totals, *(i for i in inputs if self.kernel.graph.nodes[i].gate == "product")}

    def _finish_row_by_row(self, totals: Sequence[int]) -> None:
        """In a loop over the rows: they do not share anything, and together they would not fit into the registers."""
        v, b, kernel = self.v, self.b, self.kernel
        size = self.vectors * len(totals)
        parked = kernel.room(v, len(self.rows) * size)
        for r in range(len(self.rows)):
            for k, (u, total) in enumerate(product(range(self.vectors), totals)):
                v.store(self._values[total, r, u], parked, kernel.index((r * size + k) * v.width))
        with kernel.loop(kernel.index(0), kernel.index(len(self.rows))) as over:
            row, at = self.row_at(over.index), b.mul(over.index, kernel.index(size * v.width))
            one = Tile(kernel, self.group, self.phase, lambda _: row, 1, self.block, self.vectors, self.held, self.line)
            for k, (u, total) in enumerate(product(range(self.vectors), totals)):
                one._values[total, 0, u] = v.load(parked, b.add(at, kernel.index(k * v.width)))
            one._finish(0)

    # --- products -----------------------------------------------------------------------------------------------------

    def _walk(self, walk: Walk) -> None:
        """Every sum of a walk: as many side by side as registers can hold, the others in another walk."""
        most = max(1, side_by_side(len(self.rows), self.kernel.shaping.registers) // self.vectors)
        count = len(walk.sums)
        times = -(-count // most)
        for k in range(times):
            self._walk_once(walk, range(count * k // times, count * (k + 1) // times))

    def _walk_once(self, walk: Walk, chosen: range) -> None:
        """Some sums of a walk, side by side along the operand."""
        v, b, kernel = self.v, self.b, self.kernel
        sums, lanes = walk.sums, v.width
        pack = kernel.packed(walk)
        operands = [self._pointer(walk.operand.node, r, walk.operand.offset) for r in range(len(self.rows))]
        cells = [(r, u, s) for r in range(len(self.rows)) for u in range(self.vectors) for s in chosen]
        start = [self._start(sums[s], r, u) for r, u, s in cells]
        size = walk.length * len(sums) * lanes
        panels = [
            v.address(pack, b.mul(b.add(self.block, kernel.index(u)), kernel.index(size))) for u in range(self.vectors)
        ]
        with kernel.loop(kernel.index(0), kernel.index(walk.length), carried=start) as over:
            i, now = over.index, dict(zip(cells, over.now, strict=True))
            at = b.mul(i, kernel.index(len(sums) * lanes))
            weights = {
                (u, s): v.load(panels[u], b.add(at, kernel.index(s * lanes))) for u in range(self.vectors) for s in chosen
            }
            for r in range(len(self.rows)):
                x = v.broadcast(operands[r], i)
                for u in range(self.vectors):
                    for s in chosen:
                        now[r, u, s] = v.fma(weights[u, s], x, now[r, u, s])
            over.next = [now[cell] for cell in cells]
        for (r, u, s), total in zip(cells, over.next, strict=True):
            self._values[sums[s].node, r, u] = total

    def _start(self, each: Sum, r: int, u: int) -> Value:
        return self.v.zero if each.start is None else self.value(each.start, r, u)

    # --- values -------------------------------------------------------------------------------------------------------

    def value(self, index: int, r: int, u: int) -> Value:
        """A vector of a value, for one example."""
        key = (index, r, u)
        if key not in self._values:
            waiting = [index]
            while waiting:  # no recursion: a chain of gates may be thousands long
                missing = [i for i in self._lanewise_inputs(waiting[-1]) if (i, r, u) not in self._values]
                if missing:
                    waiting += missing
                    continue
                node = waiting.pop()
                self._values[node, r, u] = self._made(node, r, u)
        return self._values[key]

    def _lanewise_inputs(self, index: int) -> list[int]:
        node = self.kernel.graph.nodes[index]
        if index not in self._computed or node.gate not in WORDS:
            return []
        return list(node.inputs)

    def _made(self, index: int, r: int, u: int) -> Value:
        graph = self.kernel.graph
        node = graph.nodes[index]
        if node.gate == "constant" and not node.shape:
            return self.v.const(float(node.settings["value"]))
        if node.gate == "expand":
            return self._number(node.inputs[0], r)
        source = self.kernel.grouping.source(index)
        if index not in self._computed:
            return self._load(source.node, source.offset, index, r, u)
        if node.gate in WORDS:
            return WORDS[node.gate](self.v, *(self._values[i, r, u] for i in node.inputs))
        return getattr(self, "_" + node.gate)(index, r, u)

    def _outer(self, index: int, r: int, u: int) -> Value:
        left, right = self.kernel.graph.nodes[index].inputs
        x1 = self._element(left, r, self.line)
        source = self.kernel.grouping.source(right)
        return self.v.multiply(x1, self._load(source.node, source.offset, right, r, u))

    def _lookup(self, index: int, r: int, u: int) -> Value:
        """Column `token` of a matrix, which is packed turned: a row for every token."""
        matrix, token = self.kernel.graph.nodes[index].inputs
        width = columns(self.kernel.graph.nodes[index].shape, True)
        at = self.b.mul(self._token(token, r), self.kernel.index(width))
        return self.v.load(self.kernel.turned(matrix), self.b.add(at, self._lane(u)))

    def _one_hot(self, index: int, r: int, u: int) -> Value:
        token = self._token(self.kernel.graph.nodes[index].inputs[0], r)
        return self.v.at_lane(self.b.sub(token, self._lane(u)))

    # --- memory -------------------------------------------------------------------------------------------------------

    def _lane(self, u: int) -> Value:
        """The first lane of a vector, as an element of its row."""
        return self.b.mul(self.b.add(self.block, self.kernel.index(u)), self.kernel.index(self.v.width))

    def _pointer(self, index: int, r: int, offset: int = 0) -> Value:
        node = self.kernel.graph.nodes[index]
        place = self.kernel.places.home(index, self.phase)
        pointer = self._row(place, node.shape, r)
        return self.v.address(pointer, self.kernel.index(offset)) if offset else pointer

    def _row(self, place: Place, shape: Shape, r: int) -> Value:
        """The address of a value's row."""
        return self.kernel.pointer(place, self.rows[r], shape)

    def _at(self, place: Place, shape: Sequence[int], u: int, offset: int = 0) -> Value:
        """Element of a row of memory at which a vector of this tile begins."""
        lane = self._lane(u)
        if offset:
            lane = self.b.add(lane, self.kernel.index(offset))
        if len(shape) < 2:
            return lane
        return self.b.add(self.b.mul(self.line, self.kernel.index(columns(tuple(shape), not place.is_callers))), lane)

    def _load(self, node: int, offset: int, index: int, r: int, u: int) -> Value:
        graph = self.kernel.graph
        shape = graph.nodes[index].shape
        place = self.kernel.places.home(node, self.phase)
        if not shape:
            return self._number(node, r)
        if len(shape) > 1 and offset and not place.is_callers:
            offset = offset // int(shape[1]) * columns(shape, True)
        pointer = self._row(place, graph.nodes[node].shape, r)
        at = self._at(place, shape, u, offset)
        if self._is_partial(u) and (place.is_callers or offset):
            return self.kernel.load_some(self.v, pointer, at, self.held)
        return self.v.load(pointer, at)

    def _store(self, value: Value, place: Place, index: int, r: int, u: int) -> None:
        shape = self.kernel.graph.nodes[index].shape
        pointer, at = self._row(place, shape, r), self._at(place, shape, u)
        if self._is_partial(u) and place.is_callers:
            self.kernel.store_some(self.v, value, pointer, at, self.held)
        else:
            self.v.store(value, pointer, at)

    def _is_partial(self, u: int) -> bool:
        return u == self.vectors - 1 and self.held < self.v.width

    def _number(self, index: int, r: int) -> Value:
        """A number that stands in memory, in every lane."""
        node = self.kernel.graph.nodes[index]
        if node.gate == "constant":
            return self.v.const(float(node.settings["value"]))
        if (index, r) not in self._numbers:
            self._numbers[index, r] = self._element(index, r, self.kernel.index(0))
        return self._numbers[index, r]

    def _element(self, index: int, r: int, at: Value) -> Value:
        source = self.kernel.grouping.source(index)
        return self.v.broadcast(self._pointer(source.node, r, source.offset), at)

    def _token(self, index: int, r: int) -> Value:
        name = self.kernel.graph.nodes[index].name
        return self.kernel.token(Place("input", name), self.rows[r])
