"""The frame of a function under construction: loops, vectors, memory that is read and written in part."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import llvmlite.binding as llvm
from llvmlite import ir

from elman.rooms import LINE
from elman.targets.llvm.groups import Group
from elman.targets.llvm.vectors import INDEX, Value, Vectors

POINTER = ir.PointerType()


@dataclass(frozen=True)
class Shaping:
    """What a kernel is made for: vectors of `lanes` lanes, so many registers for them.

    The loop runs for one example at a time (`single`), or for any number. So many threads (`parts`) share the lanes of every
    value, or with `apart` the examples, where they must meet nevertheless: for totals.
    """

    lanes: int
    registers: int
    single: bool = False
    parts: int = 1
    apart: bool = False


@dataclass
class Over:
    """A loop under construction: its index, the carried values now, and (set by the body) for the next round.

    `following` is the next index, if the body sets it; `after` is where a body goes that leaves: then index and carried
    values are those of the round that was left.
    """

    index: Value
    now: list[Value]
    after: ir.Block
    next: list[Value] = field(default_factory=list)
    following: Value | None = None


class Frame:
    """A function and its builder."""

    def __init__(self, name: str, dtype: str, shaping: Shaping, arguments: Sequence[Value]) -> None:
        module = ir.Module(name)
        module.triple = llvm.get_process_triple()
        self._open(ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "run"), dtype, shaping)

    @classmethod
    def within(cls, other: "Frame", function: ir.Function) -> "Frame":
        """The frame of another function of the same module."""
        frame = Frame.__new__(Frame)
        frame._open(function, other.dtype, other.shaping)
        return frame

    def _open(self, function: ir.Function, dtype: str, shaping: Shaping) -> None:
        self.function, self.module, self.dtype, self.shaping = function, function.module, dtype, shaping
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self._vectors: dict[int, Vectors] = {}

    def index(self, number: int) -> Value:
        """An integer of the size of addresses."""
        return INDEX(number)

    def vectors(self, group: Group) -> Vectors:
        """Vectors for a group: no wider than its values are."""
        width, needed = self.shaping.lanes, int(group.shape[-1]) if group.shape else 1
        while width // 2 >= needed:
            width //= 2
        if width not in self._vectors:
            self._vectors[width] = Vectors(self.b, self.module, self.dtype, width)
        return self._vectors[width]

    @contextmanager
    def loop(self, start: Value, stop: Value, step: int = 1, carried: Sequence[Value] = ()) -> Iterator[Over]:
        """A loop that may have no round: `index` from start to below stop; after it, `next` holds the carried values."""
        b = self.b
        before = b.block
        head, body, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(INDEX)
        index.add_incoming(start, before)
        phis = [b.phi(value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", index, stop), body, after)
        b.position_at_end(body)
        over = Over(index, list(phis), after, list(phis))
        yield over
        following = b.add(index, self.index(step)) if over.following is None else over.following
        index.add_incoming(following, b.block)
        for phi, value in zip(phis, over.next, strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        over.next = list(phis)

    def room(self, v: Vectors, count: int) -> Value:
        """Memory for so many vectors while the function runs."""
        with self.b.goto_entry_block():
            room = self.b.alloca(v.type, count)
        room.align = LINE
        return room

    def _masked(self, v: Vectors, held: int) -> Value:
        lanes = [int(lane < held) for lane in range(v.width)]
        return ir.Constant(ir.VectorType(ir.IntType(1), v.width), lanes)

    def load_some(self, v: Vectors, pointer: Value, at: Value, held: int) -> Value:
        """The first `held` lanes from memory, the others 0."""
        name = f"llvm.masked.load.v{v.width}f{v.bits}.p0"
        kind = ir.FunctionType(v.type, [POINTER, ir.IntType(32), ir.VectorType(ir.IntType(1), v.width), v.type])
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        align = ir.IntType(32)(v.bits // 8)
        return self.b.call(function, [v.address(pointer, at), align, self._masked(v, held), v.zero])

    def store_some(self, v: Vectors, value: Value, pointer: Value, at: Value, held: int) -> None:
        """Store the first `held` lanes."""
        name = f"llvm.masked.store.v{v.width}f{v.bits}.p0"
        kind = ir.FunctionType(ir.VoidType(), [v.type, POINTER, ir.IntType(32), ir.VectorType(ir.IntType(1), v.width)])
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        align = ir.IntType(32)(v.bits // 8)
        self.b.call(function, [value, v.address(pointer, at), align, self._masked(v, held)])

    def copy_bytes(self, source: Value, target: Value, size: int) -> None:
        """Copy so many bytes from one address to another."""
        name = "llvm.memcpy.p0.p0.i64"
        kind = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, INDEX, ir.IntType(1)])
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        self.b.call(function, [target, source, self.index(size), ir.IntType(1)(0)])

    def prefetch(self, address: Value) -> None:
        """Bring near what will be read soon, if it is there at all."""
        name = "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [POINTER] + [ir.IntType(32)] * 3)
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        self.b.call(function, [address, ir.IntType(32)(0), ir.IntType(32)(3), ir.IntType(32)(1)])

    def smaller(self, x: Value, y: Value) -> Value:
        """The smaller of two integers."""
        return self.b.select(self.b.icmp_signed("<", x, y), x, y)
