"""Gates that read an operand whole: sums and softmax, parts put together, products with a matrix that each example has.

They run example by example.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from elman.shapes import Shape
from elman.targets.llvm.groups import Group
from elman.targets.llvm.places import Place, columns, lines_of
from elman.targets.llvm.sums import LANES, met, summed
from elman.targets.llvm.vectors import Value, Vectors
from elman.targets.llvm.words import WORDS

if TYPE_CHECKING:
    from elman.targets.llvm.kernel import Kernel
    from elman.targets.llvm.row import Row

WHOLE = ("sum", "mean", "softmax", "log_softmax", "cross_entropy", "product", "lookup", "transpose", "concatenate", "pad")
"""The gates that are computed here; each is a method of that name."""


class Whole:
    """One such gate for one example. What is `known` already is what gates before it found of the same row."""

    def __init__(self, kernel: "Kernel", group: Group, phase: str, row: "Row", known: dict[tuple[str, int], Value]) -> None:
        self.kernel, self.phase, self.row, self._known = kernel, phase, row, known
        [self.index] = group.nodes
        self.node = kernel.graph.nodes[self.index]
        self.b = kernel.b
        self.v: Vectors = kernel.vectors(Group(group.nodes, (LANES,), True))
        self.one = Vectors(kernel.b, kernel.module, kernel.dtype, 1)

    def run(self) -> None:
        """Compute and store it."""
        getattr(self, "_" + self.node.gate)(*self.node.inputs)

    # --- gates --------------------------------------------------------------------------------------------------------

    def _sum(self, x: int) -> None:
        self._put_number(self._total(x, lambda v, value: value))

    def _mean(self, x: int) -> None:
        count = 1
        for size in self._shape(x):
            count *= int(size)
        total = self._total(x, lambda v, value: value)
        self._put_number(self.one.divide(total, self.one.const(float(count))))

    def _softmax(self, x: int) -> None:
        """exp(x - max) over its sum."""
        highest, target = self._highest(x), self._targets()[0]
        if (total := self._known.get(("exponentials", x))) is not None:
            self._each(x, lambda v, value: v.divide(_power(v, value, highest), v.splat(total)))
            return
        self._each(x, lambda v, value: _power(v, value, highest))
        total = self._total_of(target, self._shape(x), lambda v, value: value)
        self._each_at(target, self._shape(x), lambda v, value: v.divide(value, v.splat(total)))

    def _log_softmax(self, x: int) -> None:
        """x - max - ln of the sum of exp(x - max)."""
        highest, total = self._highest(x), self._exponentials(x)
        scale = WORDS["log"](self.one, total)
        self._each(x, lambda v, value: v.subtract(v.subtract(value, v.splat(highest)), v.splat(scale)))

    def _cross_entropy(self, x: int, token: int) -> None:
        """-(x[token] - max - ln of the sum of exp(x - max))."""
        highest, total = self._highest(x), self._exponentials(x)
        here = self.kernel.token(Place("input", self.kernel.graph.nodes[token].name), self.row)
        pointer, offset = self._pointer(x)
        chosen = self.one.load(pointer, self.b.add(here, self.kernel.index(offset)))
        likelihood = self.one.subtract(self.one.subtract(chosen, highest), WORDS["log"](self.one, total))
        self._put_number(self.one.negate(likelihood))

    def _product(self, matrix: int, vector: int) -> None:
        """A matrix that each example has, times a vector: from 0, column after column."""
        rows, width = (int(size) for size in self._shape(matrix))
        stride = self._columns(matrix)
        (w, w_offset), (x, x_offset) = self._pointer(matrix), self._pointer(vector)
        kernel, b = self.kernel, self.b

        def block(v: Vectors, first: Value) -> None:
            with kernel.loop(kernel.index(0), kernel.index(width), carried=[v.zero]) as over:
                at = b.add(b.mul(first, kernel.index(stride)), b.add(over.index, kernel.index(w_offset)))
                column = v.gather(w, at, kernel.index(stride))
                value = v.broadcast(x, b.add(over.index, kernel.index(x_offset)))
                over.next = [v.fma(column, value, over.now[0])]
            for place in self._targets():
                v.store(over.next[0], kernel.pointer(place, self.row, self.node.shape), first)

        whole = rows // self.v.width * self.v.width
        with kernel.loop(kernel.index(0), kernel.index(whole), self.v.width) as over:
            block(self.v, over.index)
        with kernel.loop(kernel.index(whole), kernel.index(rows)) as over:
            block(self.one, over.index)

    def _lookup(self, matrix: int, token: int) -> None:
        """Column `token` of a matrix that each example has."""
        kernel, (w, offset) = self.kernel, self._pointer(matrix)
        rows, stride = int(self._shape(matrix)[0]), self._columns(matrix)
        here = self.b.add(kernel.token(Place("input", kernel.graph.nodes[token].name), self.row), kernel.index(offset))
        with kernel.loop(kernel.index(0), kernel.index(rows)) as over:
            value = self.one.load(w, self.b.add(self.b.mul(over.index, kernel.index(stride)), here))
            for place in self._targets():
                self.one.store(value, kernel.pointer(place, self.row, self.node.shape), over.index)

    def _transpose(self, x: int) -> None:
        rows, width = (int(size) for size in self._shape(x))
        pointer, offset = self._pointer(x)
        kernel, b, stride = self.kernel, self.b, self._columns(x)
        with kernel.loop(kernel.index(0), kernel.index(rows)) as i, kernel.loop(kernel.index(0), kernel.index(width)) as j:
            at = b.add(b.mul(i.index, kernel.index(stride)), b.add(j.index, kernel.index(offset)))
            value = self.one.load(pointer, at)
            for place in self._targets():
                line = b.mul(j.index, kernel.index(columns(self.node.shape, not place.is_callers)))
                self.one.store(value, kernel.pointer(place, self.row, self.node.shape), b.add(line, i.index))

    def _concatenate(self, *parts: int) -> None:
        """Vectors one behind the other, or the rows of matrices."""
        behind = 0
        for part in parts:
            self._copy_lines(part, behind)
            shape = self._shape(part)
            behind += int(shape[0]) if shape else 1

    def _pad(self, x: int) -> None:
        """Zeros before and behind."""
        for place in self._targets():
            pointer = self.kernel.pointer(place, self.row, self.node.shape)
            lines, width = _lines(self.node.shape)
            size = (lines - 1) * columns(self.node.shape, not place.is_callers) + width
            with self.kernel.loop(self.kernel.index(0), self.kernel.index(size)) as over:
                self.one.store(self.one.zero, pointer, over.index)
        self._copy_lines(x, int(self.node.settings["before"]))

    # --- parts --------------------------------------------------------------------------------------------------------

    def _shape(self, index: int) -> Shape:
        return self.kernel.graph.nodes[index].shape

    def _pointer(self, index: int) -> tuple[Value, int]:
        """The address of a value's row, and the element at which it begins there."""
        source = self.kernel.grouping.source(index)
        place = self.kernel.places.home(source.node, self.phase)
        shape, offset = self._shape(source.node), source.offset
        if len(shape) > 1 and not place.is_callers:
            offset = offset // int(shape[1]) * columns(shape, True)
        return self.kernel.pointer(place, self.row, shape), offset

    def _columns(self, index: int) -> int:
        place = self.kernel.places.home(self.kernel.grouping.source(index).node, self.phase)
        return columns(self._shape(index), not place.is_callers)

    def _targets(self) -> list[Place]:
        return self.kernel.places.written(self.index, self.phase)

    def _put_number(self, value: Value) -> None:
        for place in self._targets():
            self.one.store(value, self.kernel.pointer(place, self.row, ()), self.kernel.index(0))

    def _elements(
        self, pointer: Value, offset: int, stride: int, shape: Shape, do: Callable[[Vectors, Value, Value], None]
    ) -> None:
        """Do something with every element: with vectors, and one by one at the end of a line; `do(v, at, j)`."""
        kernel, b = self.kernel, self.b
        lines, width = _lines(shape)
        whole = width // self.v.width * self.v.width
        with kernel.loop(kernel.index(0), kernel.index(lines)) as line:
            start = b.add(b.mul(line.index, kernel.index(stride)), kernel.index(offset))
            with kernel.loop(kernel.index(0), kernel.index(whole), self.v.width) as over:
                do(self.v, b.add(start, over.index), b.add(b.mul(line.index, kernel.index(width)), over.index))
            with kernel.loop(kernel.index(whole), kernel.index(width)) as over:
                do(self.one, b.add(start, over.index), b.add(b.mul(line.index, kernel.index(width)), over.index))

    def _each(self, x: int, change: Callable[[Vectors, Value], Value]) -> None:
        """Store what becomes of every element."""
        pointer, offset = self._pointer(x)
        stride, kernel = self._columns(x), self.kernel
        lines, width = _lines(self._shape(x))
        for place in self._targets():
            target = kernel.pointer(place, self.row, self.node.shape)
            wide = columns(self.node.shape, not place.is_callers)

            def do(v: Vectors, at: Value, j: Value, target: Value = target, wide: int = wide) -> None:
                where = (
                    j
                    if lines == 1
                    else self.b.add(
                        self.b.mul(self.b.sdiv(j, kernel.index(width)), kernel.index(wide)),
                        self.b.srem(j, kernel.index(width)),
                    )
                )
                v.store(change(v, v.load(pointer, at)), target, where)

            self._elements(pointer, offset, stride, self._shape(x), do)

    def _each_at(self, place: Place, shape: Shape, change: Callable[[Vectors, Value], Value]) -> None:
        """Change every element where it stands, and copy it to the other places."""
        kernel = self.kernel
        pointer = kernel.pointer(place, self.row, shape)
        others = [kernel.pointer(other, self.row, shape) for other in self._targets() if other != place]

        def do(v: Vectors, at: Value, j: Value) -> None:
            value = change(v, v.load(pointer, at))
            for target in (pointer, *others):
                v.store(value, target, at)

        self._elements(pointer, 0, columns(shape, not place.is_callers), shape, do)

    def _copy_lines(self, x: int, behind: int) -> None:
        pointer, offset = self._pointer(x)
        is_matrix, width = len(self.node.shape) > 1, int(self.node.shape[-1])
        for place in self._targets():
            target = self.kernel.pointer(place, self.row, self.node.shape)
            wide = columns(self.node.shape, not place.is_callers)

            def do(v: Vectors, at: Value, j: Value, target: Value = target, wide: int = wide) -> None:
                j = self.b.add(j, self.kernel.index(behind * width if is_matrix else behind))
                v.store(v.load(pointer, at), target, self._spread(j, width, wide) if is_matrix else j)

            self._elements(pointer, offset, self._columns(x), self._shape(x), do)

    def _spread(self, j: Value, width: int, wide: int) -> Value:
        """Where element j of a matrix of `width` columns stands, if its rows are `wide` apart."""
        b, index = self.b, self.kernel.index
        return b.add(b.mul(b.sdiv(j, index(width)), index(wide)), b.srem(j, index(width)))

    def _highest(self, x: int) -> Value:
        """The largest element: the same number in any order (NaN, where there is one)."""
        if ("highest", x) in self._known:
            return self._known["highest", x]
        pointer, offset = self._pointer(x)
        kernel, (lines, width) = self.kernel, _lines(self._shape(x))
        assert lines == 1, "a softmax is over a vector"
        first = self.one.load(pointer, kernel.index(offset))
        whole = width // self.v.width * self.v.width
        with kernel.loop(kernel.index(0), kernel.index(whole), self.v.width, carried=[self.v.splat(first)]) as over:
            at = self.b.add(over.index, kernel.index(offset))
            over.next = [self.v.maximum(over.now[0], self.v.load(pointer, at))]
        highest = met(self.v, over.next, Vectors.maximum)
        with kernel.loop(kernel.index(whole), kernel.index(width), carried=[highest]) as over:
            at = self.b.add(over.index, kernel.index(offset))
            over.next = [self.one.maximum(over.now[0], self.one.load(pointer, at))]
        self._known["highest", x] = over.next[0]
        return over.next[0]

    def _exponentials(self, x: int) -> Value:
        """The sum of exp(x - max)."""
        if ("exponentials", x) not in self._known:
            highest = self._highest(x)
            self._known["exponentials", x] = self._total(x, lambda v, value: _power(v, value, highest))
        return self._known["exponentials", x]

    def _total(self, x: int, change: Callable[[Vectors, Value], Value]) -> Value:
        pointer, offset = self._pointer(x)
        return summed(self.kernel, self.v, pointer, offset, self._columns(x), _lines(self._shape(x)), change)

    def _total_of(self, place: Place, shape: Shape, change: Callable[[Vectors, Value], Value]) -> Value:
        pointer = self.kernel.pointer(place, self.row, shape)
        return summed(self.kernel, self.v, pointer, 0, columns(shape, not place.is_callers), _lines(shape), change)


def _power(v: Vectors, x: Value, highest: Value) -> Value:
    """exp(x - highest), which is 1 at most."""
    return WORDS["exp"](v, v.subtract(x, v.splat(highest)))


def _lines(shape: Shape) -> tuple[int, int]:
    return lines_of(shape), columns(shape, False)
