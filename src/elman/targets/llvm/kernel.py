"""The kernel: one function that runs a plan over all steps of some examples, from IR builder to text.

    run(table, workspace, first, last, part)    examples `first` to `last` (sorted, longest first) of the table's arrays

The table holds integers and addresses in the order of `Table`. Chunk by chunk of time the kernel computes what needs no
state (all rows of the chunk), goes step by step through the loop, and computes what feeds no state. A row is one step of one
example; two small arrays say which. An example joins when its first step comes and retires after its last.

Where threads share the lanes (`Shaping.parts`), each runs the kernel with the same workspace and its own `part`: it computes
its tiles of every group, and meets the others before it reads what they have computed.
"""

from functools import partial
from typing import Any

from llvmlite import ir

from elman.passes import Plan
from elman.shapes import Shape
from elman.targets.llvm.blocks import FAR, Blocks, heights
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.groups import Group, Grouping
from elman.targets.llvm.meeting import Meeting
from elman.targets.llvm.mode import Mode
from elman.targets.llvm.places import LINE, Place, Places, elements
from elman.targets.llvm.recipe import Walk
from elman.targets.llvm.row import Row
from elman.targets.llvm.table import FIELDS, NUMBERS, Table
from elman.targets.llvm.tiles import Tile
from elman.targets.llvm.vectors import FLOATS, INDEX, Value
from elman.targets.llvm.whole import Whole


class Kernel(Frame):
    """Builds the IR of a plan; `str(kernel.module)` is its text."""

    def __init__(self, plan: Plan, dtype: str, shaping: Shaping) -> None:
        super().__init__(f"elman_{plan.graph.name}", dtype, shaping, [POINTER, POINTER, INDEX, INDEX, INDEX])
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
        table, self._workspace, self._first, self._last, self._part = self.function.args
        mode = Mode(self)
        self._read_table(table)
        parts = self.shaping.parts
        self._meeting = Meeting(self, parts, self._fields["field", "counter"]) if parts > 1 else None
        self._lay_out()
        weights = sum(self.plan.multiplications(phase) for phase in ("before", "loop", "after")) * FLOATS[self.dtype][1] // 8
        self._is_far = weights > FAR * parts
        self._is_back = b.trunc(self._fields["field", "turn"], ir.IntType(1))
        self._ran = b.alloca(INDEX)
        b.store(self.index(0), self._ran)
        steps = self._fields["field", "steps"]
        with self.loop(self.index(0), steps) as over:
            over.following = self._chunk(over.index, steps)
        mode.restore()
        b.ret_void()

    def _read_table(self, table: Value) -> None:
        self._fields: dict[tuple[str, Any], Value] = {}
        for position, name in enumerate(self.table.names):
            address = self.b.gep(table, [self.index(position)], source_etype=INDEX)
            is_number = name[0] in ("by step", "by example") or name in [("field", n) for n in FIELDS[:NUMBERS]]
            self._fields[name] = self.b.load(address, typ=INDEX if is_number else POINTER)

    def _lay_out(self) -> None:
        """Find the arrays of the workspace, one after another, each from a new line of the cache."""
        b, size = self.b, FLOATS[self.dtype][1] // 8
        batch = b.sub(self._last, self._first)
        rows = self._fields["field", "room"]
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

    def _chunk(self, start: Value, steps: Value) -> Value:
        """The steps from `start` on that there is room for; returns the first that is left."""
        stop, rows = self._list_rows(start, steps)
        phases = self.places.phases
        self._phase("before", phases["before"], rows)
        if self.plan.recurrent:
            self._loop_over_steps(phases["loop"], start, stop)
        self._phase("after", phases["after"], rows)
        return stop

    def _list_rows(self, start: Value, steps: Value) -> tuple[Value, Value]:
        """Write down step and example of every row of a chunk; returns where it stops, and how many rows there are."""
        b = self.b
        with self.loop(start, steps, carried=[self.index(0)]) as over:
            step = self._step(over.index)
            count = self._running(step)
            following = b.add(over.now[0], count)
            fits = b.append_basic_block("fits")
            b.cbranch(b.icmp_signed(">", following, self._fields["field", "room"]), over.after, fits)
            b.position_at_end(fits)
            with self.loop(self.index(0), count) as inner:
                at = b.add(over.now[0], inner.index)
                b.store(step, b.gep(self._row_steps, [at], source_etype=INDEX))
                b.store(self._example(inner.index), b.gep(self._row_examples, [at], source_etype=INDEX))
            over.next = [following]
        return over.index, over.next[0]

    def _phase(self, phase: str, groups: list[Group], rows: Value) -> None:
        """Groups over all rows of a chunk."""
        b = self.b

        def listed(array: Value, at: Value) -> Value:
            return b.load(b.gep(array, [at], source_etype=INDEX), typ=INDEX)

        def row(at: Value) -> Row:
            return Row(partial(listed, self._row_steps, at), partial(listed, self._row_examples, at), lambda: at, at)

        for group in groups:
            self._group(group, phase, rows, row)

    def _loop_over_steps(self, groups: list[Group], start: Value, stop: Value) -> None:
        b = self.b
        with self.loop(start, stop, carried=[self.index(0)]) as over:
            step = self._step(over.index)
            count = self._running(step)
            self._is_back = b.trunc(b.add(over.index, self._fields["field", "turn"]), ir.IntType(1))
            self._join(count)
            begin = over.now[0]

            def row(at: Value) -> Row:
                return Row(lambda: step, partial(self._example, at), lambda: b.add(begin, at), at)

            for group in groups:
                self._group(group, "loop", count, row)
            self._retire(over.index, count)
            for name in self.graph.leaves("state"):
                slots = [self._turning[Place(kind, name)] for kind in ("now", "next")]
                now, following = (b.load(slot, typ=POINTER) for slot in slots)
                b.store(following, slots[0])
                b.store(now, slots[1])
            over.next = [b.add(begin, count)]
        self._is_back = b.trunc(self._fields["field", "turn"], ir.IntType(1))

    def _join(self, count: Value) -> None:
        """Bring the states of the examples that run for the first time. All who share the work write the same there."""
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
        with self.loop(b.add(left, self._part), count, self.shaping.parts) as over:
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
        """A group over some rows; who shares the work meets the others after it."""
        if group.whole:
            with self.loop(*self._share(rows)) as over:
                Whole(self, group, phase, row(over.index)).run()
        else:
            lines = int(group.shape[0]) if len(group.shape) > 1 else 1
            with self.loop(self.index(0), self.index(lines)) as over:
                self._line(group, phase, rows, row, over.index)
        if self._meeting:
            self._meeting.meet()

    def _share(self, count: Value) -> tuple[Value, Value]:
        """Where the part of `count` things that this thread does begins and ends."""
        b, parts = self.b, self.shaping.parts
        if parts == 1:
            return self.index(0), count
        first, behind = b.mul(count, self._part), b.mul(count, b.add(self._part, self.index(1)))
        return b.sdiv(first, self.index(parts)), b.sdiv(behind, self.index(parts))

    def _line(self, group: Group, phase: str, rows: Value, row: Any, line: Value) -> None:
        """A vector, or a row of a matrix. Threads share its lanes or, where these are too few for all, the examples."""
        blocks = Blocks.of(self.grouping, group, self.vectors(group).width, self.shaping.parts)
        done, stop = (self.index(0), rows) if blocks.parts > 1 else self._share(rows)
        for tall, least in heights(blocks.sums, self.shaping, phase == "loop"):
            left = self.b.sub(stop, done)
            tiles = self.b.sdiv(self.b.add(left, self.index(tall - least)), self.index(tall))
            end = self.smaller(self.b.add(done, self.b.mul(tiles, self.index(tall))), stop)

            def tile(
                block: Value, vectors: int, held: int, tall: int = tall, span: tuple[Value, Value] = (done, end)
            ) -> None:
                last = self.b.sub(span[1], self.index(1))
                with self.loop(span[0], span[1], tall) as over:

                    def row_at(r: Value) -> Row:
                        found: Row = row(self.smaller(self.b.add(over.index, r), last))
                        return found

                    Tile(self, group, phase, row_at, tall, block, vectors, held, line).run()

            self._over_blocks(blocks, blocks.wide(tall, self.shaping.registers), tile)
            done = end

    def _over_blocks(self, blocks: Blocks, wide: int, tile: Any) -> None:
        """Tiles of so many vectors of lanes: outside of the rows, so that their weights stay near."""
        b = self.b
        full, total = blocks.whole // wide, -(-blocks.count // wide)
        first, behind = self._share(self.index(total)) if blocks.parts > 1 else (self.index(0), self.index(total))
        if full:
            start = b.mul(first, self.index(wide))
            stop = b.mul(self.smaller(behind, self.index(full)), self.index(wide))
            with self.loop(start, stop, wide) as over:
                block = over.index
                if self._is_far:  # there and back again: what was read last is still near
                    there = b.sub(b.add(start, stop), b.add(block, self.index(wide)))
                    block = b.select(self._is_back, there, block)
                tile(block, wide, blocks.lanes)
        if total > full:
            with b.if_then(b.icmp_signed("==", behind, self.index(total))):
                tile(self.index(full * wide), blocks.count - full * wide, blocks.held)
