"""Totals over all steps and examples: what gradients of parameters are, summed behind the loop, chunk after chunk of time.

A total of outer products is one product of two matrices, whose rows are the steps of the examples. Every element of a total
is added up in the order in which these rows run, each addition rounded once, and goes on from chunk to chunk where it
stood: neither chunks, nor tiles, nor threads, which share the elements, change a bit of it.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from llvmlite import ir

from elman.targets.llvm.frame import POINTER, Frame
from elman.targets.llvm.groups import Group, summed
from elman.targets.llvm.places import Place, columns, elements
from elman.targets.llvm.vectors import INDEX, Value, Vectors

if TYPE_CHECKING:
    from elman.targets.llvm.kernel import Kernel
    from elman.targets.llvm.row import Row


AHEAD = 8
"""Rows between what is summed and what is brought near: they are some KB apart, further than machines look by themselves."""


class Total:
    """One total over the rows of a chunk."""

    def __init__(self, kernel: "Kernel", group: Group, rows: Value, row: "Callable[[Value], Row]") -> None:
        self.kernel, self.rows, self.row = kernel, rows, row
        [self.index] = group.nodes
        self.b, self.graph = kernel.b, kernel.graph
        self.gate, self.operands = summed(kernel.plan, self.index)
        self.into = kernel.pointer(Place("sum", self.index), row(kernel.index(0)), ())

    def run(self) -> None:
        """Add the rows."""
        {"outer": self._outer, "scatter": self._scatter}.get(self.gate, self._plain)()

    def _rows_of(self, operand: int) -> tuple[Value, int]:
        """Where the rows of a value stand, and elements from one to the next."""
        kernel, source = self.kernel, self.kernel.grouping.source(operand)
        shape = self.graph.nodes[source.node].shape
        pointer = kernel.pointer(Place("chunk", source.node), self.row(kernel.index(0)), shape)
        lines, rest = divmod(source.offset, columns(shape, False))  # a part begins with a line of a matrix
        start = lines * columns(shape, True) + rest if len(shape) > 1 else source.offset
        return kernel.vectors(Group((), ())).address(pointer, kernel.index(start)), elements(shape, True)

    def _outer(self) -> None:
        left, right = (int(self.graph.nodes[i].shape[0]) for i in self.operands)
        v = self.kernel.vectors(Group((), (right,)))
        blocks = -(-right // v.width)
        (x1, stride1), (x2, stride2) = (self._rows_of(i) for i in self.operands)
        tall, wide = tile_of(blocks, self.kernel.shaping.registers)
        sizes = Sizes(v.width, tall, wide, left, blocks, columns((right,), True), stride1, stride2)
        function = products(self.kernel, sizes)
        begin, behind = self.kernel.share(self.kernel.index(sizes.tiles))
        self.b.call(function, [self.into, x1, x2, self.rows, begin, behind])

    def _plain(self) -> None:
        """Of values as they stand: all their elements, one after another."""
        x, stride = self._rows_of(self.operands[0])
        shape = self.graph.nodes[self.operands[0]].shape
        count = elements(shape, True) if len(shape) > 1 else int(shape[0]) if shape else 1

        def add(v: Vectors, lanes: Sequence[Value]) -> None:
            totals = [v.load(self.into, at) for at in lanes]
            with self.kernel.loop(self.kernel.index(0), self.rows, carried=totals) as over:
                row = self.b.mul(over.index, self.kernel.index(stride))
                over.next = [v.add(total, v.load(x, self.b.add(row, at))) for total, at in zip(over.now, lanes, strict=True)]
            for total, at in zip(over.next, lanes, strict=True):
                v.store(total, self.into, at)

        self._over_lanes(count, add)

    def _scatter(self) -> None:
        """Of vectors put into columns: the columns stand as rows, one for each token."""
        x, stride = self._rows_of(self.operands[0])
        size = int(self.graph.nodes[self.operands[0]].shape[0])
        token = Place("input", self.graph.nodes[self.operands[1]].name)

        def add(v: Vectors, lanes: Sequence[Value]) -> None:
            with self.kernel.loop(self.kernel.index(0), self.rows) as over:
                row = self.b.mul(over.index, self.kernel.index(stride))
                column = self.kernel.token(token, self.row(over.index))
                start = self.b.mul(column, self.kernel.index(columns((size,), True)))
                for lane in lanes:
                    at = self.b.add(start, lane)
                    v.store(v.add(v.load(self.into, at), v.load(x, self.b.add(row, lane))), self.into, at)

        self._over_lanes(size, add)

    def _over_lanes(self, count: int, add: Callable[[Vectors, Sequence[Value]], None]) -> None:
        """A few vectors of lanes at a time; threads share them."""
        kernel, b = self.kernel, self.b
        v = kernel.vectors(Group((), (count,)))
        blocks = -(-count // v.width)
        wide = min(blocks, 8)

        def lanes(first: Value, vectors: int) -> list[Value]:
            return [b.mul(b.add(first, kernel.index(u)), kernel.index(v.width)) for u in range(vectors)]

        begin, behind = kernel.share(kernel.index(-(-blocks // wide)))
        whole = kernel.smaller(behind, kernel.index(blocks // wide))
        with kernel.loop(begin, whole) as over:
            add(v, lanes(b.mul(over.index, kernel.index(wide)), wide))
        if blocks % wide:
            with b.if_then(b.icmp_signed("==", behind, kernel.index(-(-blocks // wide)))):
                add(v, lanes(kernel.index(blocks // wide * wide), blocks % wide))


class Sizes(NamedTuple):
    """Of a product that is summed over rows: lanes of a vector, rows and vectors of a tile, rows and vectors of the total,
    and elements from row to row of the total and of both operands.
    """

    width: int
    tall: int
    wide: int
    lines: int
    blocks: int
    pad: int
    stride1: int
    stride2: int

    @property
    def tiles(self) -> int:
        """How many tiles stand one below another."""
        return -(-self.lines // self.tall)


def tile_of(blocks: int, registers: int) -> tuple[int, int]:
    """Rows and vectors of lanes of a tile whose sums registers hold, with an operand for each vector."""
    most = 4 if registers > 16 else 2
    wide = -(-blocks // -(-blocks // most))
    return min((registers - 2) // wide - 1, 8 if wide > 1 else 12), wide


def products(frame: Frame, sizes: Sizes) -> ir.Function:
    """`products(into, x1, x2, rows, begin, behind)`: tiles of into[j, i] += x1[n, j] x2[n, i] over the rows n.

    One function for all totals of the same sizes.
    """
    name = "products." + ".".join(map(str, sizes))
    if name in frame.module.globals:
        return frame.module.globals[name]
    function = ir.Function(frame.module, ir.FunctionType(ir.VoidType(), [POINTER] * 3 + [INDEX] * 3), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    inner = Frame.within(frame, function)
    into, x1, x2, rows, begin, behind = function.args
    b, v = inner.b, Vectors(inner.b, frame.module, frame.dtype, sizes.width)

    def tile(first: Value, tall: int, block: Value, vectors: int) -> None:
        lane = b.mul(block, INDEX(sizes.width))
        sums = v.address(into, b.add(b.mul(first, INDEX(sizes.pad)), lane))
        at = [INDEX(r * sizes.pad + u * sizes.width) for r in range(tall) for u in range(vectors)]
        left, right = v.address(x1, first), [v.address(x2, b.add(lane, INDEX(u * sizes.width))) for u in range(vectors)]
        with inner.loop(INDEX(0), rows, carried=[v.load(sums, here) for here in at]) as over:
            row1, row2 = b.mul(over.index, INDEX(sizes.stride1)), b.mul(over.index, INDEX(sizes.stride2))
            operands = [v.load(pointer, row2) for pointer in right]
            ahead = b.add(over.index, INDEX(AHEAD))
            for pointer, stride in [*((pointer, sizes.stride2) for pointer in right), (left, sizes.stride1)]:
                inner.prefetch(v.address(pointer, b.mul(ahead, INDEX(stride))))
            now = iter(over.now)
            over.next = []
            for r in range(tall):
                x = v.broadcast(left, b.add(row1, INDEX(r)))
                over.next += [v.fma(operand, x, next(now)) for operand in operands]
        for total, here in zip(over.next, at, strict=True):
            v.store(total, sums, here)

    def column(block: Value, vectors: int) -> None:
        """All tiles that share lanes: what is read of x2 stays near meanwhile."""
        whole = sizes.lines // sizes.tall
        with inner.loop(begin, inner.smaller(behind, INDEX(whole))) as over:
            tile(b.mul(over.index, INDEX(sizes.tall)), sizes.tall, block, vectors)
        if sizes.lines % sizes.tall:
            with b.if_then(b.icmp_signed("==", behind, INDEX(sizes.tiles))):
                tile(INDEX(whole * sizes.tall), sizes.lines % sizes.tall, block, vectors)

    with inner.loop(INDEX(0), INDEX(sizes.blocks // sizes.wide)) as over:
        column(b.mul(over.index, INDEX(sizes.wide)), sizes.wide)
    if sizes.blocks % sizes.wide:
        column(INDEX(sizes.blocks // sizes.wide * sizes.wide), sizes.blocks % sizes.wide)
    b.ret_void()
    return function
