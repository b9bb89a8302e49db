"""The kernel: one function that runs a plan over all steps of some examples, from IR builder to text.

    run(table, workspace, first, last, part)    examples `first` to `last` (sorted, longest first) of the table's arrays

The table holds integers and addresses in the order of `Table`. Chunk by chunk of time the kernel computes what needs no
state (all rows of the chunk), goes step by step through the loop, and computes what feeds no state. A row is one step of one
example; two small arrays say which. An example joins when its first step comes and retires after its last.

Threads that share lanes (`Shaping.parts`) run the kernel on one workspace, each its own `part` of the tiles, and meet.
"""

from functools import partial
from typing import Any

from llvmlite import ir

from elman.passes import Plan
from elman.targets.llvm.arrays import Arrays
from elman.targets.llvm.blocks import FAR, Blocks, heights
from elman.targets.llvm.frame import POINTER, Shaping
from elman.targets.llvm.groups import Group
from elman.targets.llvm.meeting import Meeting
from elman.targets.llvm.mode import Mode
from elman.targets.llvm.places import Place, lines_of
from elman.targets.llvm.row import Row
from elman.targets.llvm.strands import Strand
from elman.targets.llvm.tiles import Tile
from elman.targets.llvm.totals import Total
from elman.targets.llvm.vectors import FLOATS, INDEX, Value
from elman.targets.llvm.whole import Whole

ABREAST = 4
"""Vectors of a row that are computed together where nothing is multiplied by matrices: enough not to wait for each other."""


class Kernel(Arrays):
    """Builds the IR of a plan; `str(kernel.module)` is its text."""

    def __init__(self, plan: Plan, dtype: str, shaping: Shaping) -> None:
        super().__init__(plan, dtype, shaping)
        self._build()

    # --- the function -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        b = self.b
        mode = Mode(self)
        self._read_table()
        parts = self.shaping.parts
        self._meeting = Meeting(self, parts, self._fields["field", "counter"]) if parts > 1 else None
        self._lay_out()
        self._find_own()
        weights = sum(self.plan.multiplications(phase) for phase in ("before", "loop", "after")) * FLOATS[self.dtype][1] // 8
        self._is_far = weights > FAR * parts
        self._is_back = b.trunc(self._fields["field", "turn"], ir.IntType(1))
        self._ran = b.alloca(INDEX)
        b.store(self.index(0), self._ran)
        with self.loop(self.index(0), steps := self._fields["field", "steps"]) as over:
            over.following = self._chunk(over.index, steps)
        mode.restore()
        b.ret_void()

    def _find_own(self) -> None:
        """The examples that this thread has to itself, where threads have such."""
        cuts, element = self._fields["field", "cuts"], self.b.add(self._part, self.index(1))
        ends = (self.b.gep(cuts, [at], source_etype=INDEX) for at in (self._part, element))
        self._own = [self.b.load(end, typ=INDEX) for end in ends] if self.shaping.apart else None

    def own(self, begin: Value, stop: Value) -> tuple[Value, Value]:
        """Which of some examples a thread has to itself."""
        if self._own is None:
            return begin, stop
        first, behind = self._own
        return self.b.select(self.b.icmp_signed("<", begin, first), first, begin), self.smaller(stop, behind)

    def _chunk(self, start: Value, steps: Value) -> Value:
        """The steps from `start` on that there is room for; returns the first that is left."""
        stop, rows = self._list_rows(start, steps)
        strands = self.places.strands
        self._phase("before", strands["before"], rows)
        if self.plan.recurrent:
            self._loop_over_steps(strands["loop"], start, stop)
            self._come_together()
        self._phase("after", [strand for strand in strands["after"] if not strand[0].total], rows)
        self._phase("after", [strand for strand in strands["after"] if strand[0].total], rows)
        return stop

    def _come_together(self) -> None:
        """Where each thread has examples of its own, meet before rows of others are read, or written over."""
        if self._meeting and self.shaping.apart:
            self._meeting.meet()

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

    def _phase(self, phase: str, strands: list[Strand], rows: Value) -> None:
        """Strands over all rows of a chunk."""
        b = self.b

        def listed(array: Value, at: Value) -> Value:
            return b.load(b.gep(array, [at], source_etype=INDEX), typ=INDEX)

        def row(at: Value) -> Row:
            return Row(partial(listed, self._row_steps, at), partial(listed, self._row_examples, at), lambda: at, at)

        for strand in strands:
            self._strand(strand, phase, rows, row)
        self._come_together()

    def _loop_over_steps(self, strands: list[Strand], start: Value, stop: Value) -> None:
        b = self.b
        with self.loop(start, stop, carried=[self.index(0)]) as over:
            step = self._step(over.index)
            count = self._running(step)
            self._is_back = b.trunc(b.add(over.index, self._fields["field", "turn"]), ir.IntType(1))
            self._join(count)
            begin = over.now[0]

            def row(at: Value) -> Row:
                return Row(lambda: step, partial(self._example, at), lambda: b.add(begin, at), at)

            for strand in strands:
                self._strand(strand, "loop", count, row)
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
        with self.loop(*self.own(self.b.load(self._ran, typ=INDEX), count)) as over:
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
        mine = (b.add(left, self._part), count, self.shaping.parts) if self._own is None else (*self.own(left, count), 1)
        with self.loop(*mine) as over:
            for name in self.graph.leaves("state"):
                self._copy_state(Place("next", name), Place("last", name), over.index)

    # --- groups -------------------------------------------------------------------------------------------------------

    def _strand(self, strand: Strand, phase: str, rows: Value, row: Any) -> None:
        """A strand over some rows; who shares the work meets the others after it."""
        [group, *more] = strand
        if group.total:
            Total(self, group, rows, row).run()
        elif more or group.whole:
            with self.loop(*self._rows(phase, rows)) as over:
                known: dict[tuple[str, int], Value] = {}
                for group in strand:
                    self._group_of_row(group, phase, row(over.index), known)
        else:
            with self.loop(self.index(0), self.index(lines_of(group.shape))) as over:
                self._line(group, phase, rows, row, over.index)
        if self._meeting and not self.shaping.apart:
            self._meeting.meet()

    def _group_of_row(self, group: Group, phase: str, row: Row, known: dict[tuple[str, int], Value]) -> None:
        """A group that needs no product, for a row of which something may be known."""
        if group.whole:
            Whole(self, group, phase, row, known).run()
            return
        blocks = Blocks.of(self.grouping, group, self.vectors(group).width, 1)
        with self.loop(self.index(0), self.index(lines_of(group.shape))) as line:

            def tile(block: Value, vectors: int, held: int) -> None:
                Tile(self, group, phase, lambda _: row, 1, block, vectors, held, line.index).run()

            self._over_blocks(blocks, min(blocks.count, ABREAST), tile)

    def _rows(self, phase: str, count: Value) -> tuple[Value, Value]:
        """The rows of a phase that a thread does: of a step its own examples, of a chunk a part of the rows."""
        return self.own(self.index(0), count) if phase == "loop" and self.shaping.apart else self.share(count)

    def share(self, count: Value) -> tuple[Value, Value]:
        """Where the part of `count` things that this thread does begins and ends."""
        b, parts = self.b, self.shaping.parts
        if parts == 1:
            return self.index(0), count
        first, behind = b.mul(count, self._part), b.mul(count, b.add(self._part, self.index(1)))
        return b.sdiv(first, self.index(parts)), b.sdiv(behind, self.index(parts))

    def _line(self, group: Group, phase: str, rows: Value, row: Any, line: Value) -> None:
        """A vector, or a row of a matrix. Threads share its lanes or, where these are too few for all, the examples."""
        parts = 1 if self.shaping.apart else self.shaping.parts
        blocks = Blocks.of(self.grouping, group, self.vectors(group).width, parts)
        done, stop = (self.index(0), rows) if blocks.parts > 1 else self._rows(phase, rows)
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
        first, behind = self.share(self.index(total)) if blocks.parts > 1 else (self.index(0), self.index(total))
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
