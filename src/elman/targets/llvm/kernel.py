"""The kernel: one function that runs a plan over all steps of some examples, from IR builder to text.

    run(table, workspace, first, last)    examples `first` to `last` (sorted, longest first) of the table's arrays

The table holds integers and addresses in the order of `Table`. Chunk by chunk of time the kernel computes what needs no
state (all rows of the chunk), goes step by step through the loop, and computes what feeds no state. A row is one step of one
example; two small arrays say which. An example joins when its first step comes and retires after its last.
"""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from elman.passes import Plan
from elman.shapes import Shape
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.groups import Group, Grouping
from elman.targets.llvm.places import LINE, Place, Places, elements
from elman.targets.llvm.recipe import Walk, walks
from elman.targets.llvm.table import FIELDS, Table
from elman.targets.llvm.tiles import Tile
from elman.targets.llvm.vectors import FLOATS, INDEX, Value
from elman.targets.llvm.whole import Whole


@dataclass
class Row:
    """One example at one step: the step, the example as the caller counts, its row in the chunk and among the examples."""

    step: Value
    example: Value
    in_chunk: Value
    in_batch: Value


class Kernel(Frame):
    """Builds the IR of a plan; `str(kernel.module)` is its text."""

    def __init__(self, plan: Plan, dtype: str, shaping: Shaping) -> None:
        super().__init__(f"elman_{plan.graph.name}", dtype, shaping, [POINTER, POINTER, INDEX, INDEX])
        self.plan, self.graph = plan, plan.graph
        self.grouping = Grouping(plan)
        self.places = Places(self.grouping)
        self.table = Table(self.grouping, self.places)
        self._build()

    # --- memory -------------------------------------------------------------------------------------------------------

    def pointer(self, place: Place, row: Row, shape: Shape) -> Value:
        """The address of the row of a value."""
        b, element = self.b, FLOATS[self.dtype][0]
        if place.kind == "shared":
            return self._fields["base", place]
        if place.kind in ("input", "output"):
            offset = b.add(
                b.mul(row.step, self._fields["by step", place]), b.mul(row.example, self._fields["by example", place])
            )
            return b.gep(self._fields["base", place], [offset], source_etype=element)
        where = row.in_chunk if place.kind == "chunk" else row.in_batch
        base = b.load(self._turning[place], typ=POINTER) if place in self._turning else self._bases[place]
        return b.gep(base, [b.mul(where, self.index(elements(shape, True)))], source_etype=element)

    def token(self, place: Place, row: Row) -> Value:
        """The token of a row."""
        b = self.b
        offset = b.add(
            b.mul(row.step, self._fields["by step", place]), b.mul(row.example, self._fields["by example", place])
        )
        return b.load(b.gep(self._fields["base", place], [offset], source_etype=INDEX), typ=INDEX)

    def packed(self, walk: Walk) -> Value:
        """The address of the packed matrices of a walk."""
        return self._fields["pack", walk]

    def turned(self, matrix: int) -> Value:
        """The address of a matrix that is packed column by column."""
        return self._fields["turned", matrix]

    # --- the function -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        b = self.b
        table, self._workspace, self._first, self._last = self.function.args
        self._read_table(table)
        self._lay_out()
        self._ran = b.alloca(INDEX)
        b.store(self.index(0), self._ran)
        steps, chunk = self._fields["field", "steps"], self._fields["field", "chunk"]
        rounds = b.sdiv(b.sub(b.add(steps, chunk), self.index(1)), chunk)
        with self.loop(self.index(0), rounds) as over:
            start = b.mul(over.index, chunk)
            stop = self.smaller(b.add(start, chunk), steps)
            self._chunk(start, stop)
        b.ret_void()

    def _read_table(self, table: Value) -> None:
        self._fields: dict[tuple[str, Any], Value] = {}
        for position, name in enumerate(self.table.names):
            address = self.b.gep(table, [self.index(position)], source_etype=INDEX)
            is_number = name[0] in ("by step", "by example") or name in [("field", n) for n in FIELDS[:3]]
            self._fields[name] = self.b.load(address, typ=INDEX if is_number else POINTER)

    def _lay_out(self) -> None:
        """Find the arrays of the workspace, one after another, each from a new line of the cache."""
        b, size = self.b, FLOATS[self.dtype][1] // 8
        batch = b.sub(self._last, self._first)
        rows = b.mul(self._fields["field", "chunk"], batch)
        at = self._workspace
        self._bases: dict[Place, Value] = {}

        def take(bytes_each: int, count: Value) -> Value:
            nonlocal at
            here, length = at, b.mul(count, self.index(bytes_each))
            padded = b.and_(b.add(length, self.index(LINE - 1)), self.index(-LINE))
            at = b.gep(at, [padded], source_etype=ir.IntType(8))
            return here

        self._row_steps, self._row_examples = take(8, rows), take(8, rows)
        for place, row, by_step in self.places.segments():
            self._bases[place] = take(row * size, rows if by_step else batch)
        self._turning = {place: b.alloca(POINTER) for place in self._bases if place.kind in ("now", "next")}
        for place, slot in self._turning.items():
            b.store(self._bases[place], slot)

    def _step(self, k: Value) -> Value:
        """The step of a round: counted from the start, or from the end."""
        last = self.b.sub(self._fields["field", "steps"], self.index(1))
        return self.b.select(self.b.trunc(self._fields["field", "backwards"], ir.IntType(1)), self.b.sub(last, k), k)

    def _running(self, step: Value) -> Value:
        """How many of this call's examples run at a step."""
        b = self.b
        array = b.gep(self._fields["field", "running"], [step], source_etype=INDEX)
        mine = b.sub(self.smaller(b.load(array, typ=INDEX), self._last), self._first)
        return b.select(b.icmp_signed("<", mine, self.index(0)), self.index(0), mine)

    def _example(self, row: Value) -> Value:
        """The caller's number of an example."""
        address = self.b.gep(self._fields["field", "order"], [self.b.add(self._first, row)], source_etype=INDEX)
        return self.b.load(address, typ=INDEX)

    def _chunk(self, start: Value, stop: Value) -> None:
        rows = self._list_rows(start, stop)
        phases = self.places.phases
        self._phase("before", phases["before"], rows)
        if self.plan.recurrent:
            self._loop_over_steps(phases["loop"], start, stop)
        self._phase("after", phases["after"], rows)

    def _list_rows(self, start: Value, stop: Value) -> Value:
        """Write down step and example of every row of the chunk; returns how many there are."""
        b = self.b
        with self.loop(start, stop, carried=[self.index(0)]) as over:
            step = self._step(over.index)
            count = self._running(step)
            with self.loop(self.index(0), count) as inner:
                at = b.add(over.now[0], inner.index)
                b.store(step, b.gep(self._row_steps, [at], source_etype=INDEX))
                b.store(self._example(inner.index), b.gep(self._row_examples, [at], source_etype=INDEX))
            over.next = [b.add(over.now[0], count)]
        return over.next[0]

    def _phase(self, phase: str, groups: list[Group], rows: Value) -> None:
        """Groups over all rows of a chunk."""
        b = self.b

        def row(at: Value) -> Row:
            step = b.load(b.gep(self._row_steps, [at], source_etype=INDEX), typ=INDEX)
            example = b.load(b.gep(self._row_examples, [at], source_etype=INDEX), typ=INDEX)
            return Row(step, example, at, at)

        for group in groups:
            self._group(group, phase, rows, row)

    def _loop_over_steps(self, groups: list[Group], start: Value, stop: Value) -> None:
        b = self.b
        with self.loop(start, stop, carried=[self.index(0)]) as over:
            step = self._step(over.index)
            count = self._running(step)
            self._join(count)
            begin = over.now[0]

            def row(at: Value) -> Row:
                return Row(step, self._example(at), b.add(begin, at), at)

            for group in groups:
                self._group(group, "loop", count, row)
            self._retire(over.index, count)
            for name in self.graph.leaves("state"):
                slots = [self._turning[Place(kind, name)] for kind in ("now", "next")]
                now, following = (b.load(slot, typ=POINTER) for slot in slots)
                b.store(following, slots[0])
                b.store(now, slots[1])
            over.next = [b.add(begin, count)]

    def _join(self, count: Value) -> None:
        """Bring the states of the examples that run for the first time."""
        with self.loop(self.b.load(self._ran, typ=INDEX), count) as over:
            for name in self.graph.leaves("state"):
                self._copy_state(Place("first", name), Place("now", name), over.index)
        self.b.store(count, self._ran)

    def _retire(self, k: Value, count: Value) -> None:
        """Hand over the states of the examples whose last step this was."""
        b = self.b
        following = b.add(k, self.index(1))
        is_last = b.icmp_signed(">=", following, self._fields["field", "steps"])
        inside = b.select(is_last, k, following)
        left = b.select(is_last, self.index(0), self._running(self._step(inside)))
        with self.loop(left, count) as over:
            for name in self.graph.leaves("state"):
                self._copy_state(Place("next", name), Place("last", name), over.index)

    def _copy_state(self, source: Place, target: Place, row: Value) -> None:
        """Copy one example's state between the caller's array and the workspace."""
        b, element = self.b, FLOATS[self.dtype][0]
        shape = self.graph.nodes[self.graph.leaves("state")[str(source.which)]].shape
        lines, width = (int(shape[0]) if len(shape) > 1 else 1), int(shape[-1]) if shape else 1
        example, size = self._example(row), self.index(elements(shape, False))

        def at(place: Place) -> Value:
            if place.kind in ("first", "last"):
                return b.gep(self._fields["base", place], [b.mul(example, size)], source_etype=element)
            base = b.load(self._turning[place], typ=POINTER)
            return b.gep(base, [b.mul(row, self.index(elements(shape, True)))], source_etype=element)

        here, there = at(source), at(target)
        pad = elements(shape, True) // lines
        strides = [width if place.kind in ("first", "last") else pad for place in (source, target)]
        with self.loop(self.index(0), self.index(lines)) as over:
            ends = [
                b.gep(pointer, [b.mul(over.index, self.index(stride))], source_etype=element)
                for pointer, stride in zip((here, there), strides, strict=True)
            ]
            self.copy_bytes(ends[0], ends[1], width * FLOATS[self.dtype][1] // 8)

    # --- groups -------------------------------------------------------------------------------------------------------

    def _group(self, group: Group, phase: str, rows: Value, row: Any) -> None:
        """A group over some rows: vectors of lanes outside, so that their weights stay near; rows inside."""
        if group.whole:
            with self.loop(self.index(0), rows) as over:
                Whole(self, group, phase, row(over.index)).run()
            return
        lines = int(group.shape[0]) if len(group.shape) > 1 else 1
        if lines == 1:
            self._line(group, phase, rows, row, self.index(0))
            return
        with self.loop(self.index(0), self.index(lines)) as over:
            self._line(group, phase, rows, row, over.index)

    def _line(self, group: Group, phase: str, rows: Value, row: Any, line: Value) -> None:
        v = self.vectors(group)
        width = int(group.shape[-1]) if group.shape else 1
        whole, rest = divmod(width, v.width)
        sums = max([len(walk.sums) for walk in walks(self.grouping, group)], default=1)
        done: Value = self.index(0)
        for tall in self.shaping.examples if phase == "loop" else self.shaping.rows:
            done = self._rows_of(group, phase, (done, rows), row, line, tall, (whole, rest, sums))

    def _rows_of(
        self,
        group: Group,
        phase: str,
        span: tuple[Value, Value],
        row: Any,
        line: Value,
        tall: int,
        size: tuple[int, int, int],
    ) -> Value:
        """All rows that fill tiles of this height; returns the first that is left."""
        b, (whole, rest, sums), (start, stop) = self.b, size, span
        v = self.vectors(group)
        # A row by itself takes its weights straight from memory; several keep them, beside their sums, in registers.
        registers = self.shaping.registers
        most = registers // 2 if tall == 1 else (registers - 2) // (tall + 1) * tall
        vectors = whole + (rest > 0)
        wide = max(1, min(most // (tall * sums), vectors))
        wide = -(-vectors // -(-vectors // wide))  # as even as can be
        full = b.sdiv(b.sub(stop, start), self.index(tall))
        end = b.add(start, b.mul(full, self.index(tall)))

        def over_rows(block: Value, vectors: int, held: int) -> None:
            with self.loop(start, end, tall) as over:
                rows = [row(b.add(over.index, self.index(r))) for r in range(tall)]
                Tile(self, group, phase, rows, block, vectors, held, line).run()

        tiles, left = divmod(whole, wide)
        if tiles:
            with self.loop(self.index(0), self.index(tiles * wide), wide) as over:
                over_rows(over.index, wide, v.width)
        if left:
            over_rows(self.index(tiles * wide), left, v.width)
        if rest:
            over_rows(self.index(whole), 1, rest)
        return end
