"""Where a kernel finds what it reads and writes: the caller's arrays through the table, its own in the workspace."""

from typing import Any

from llvmlite import ir

from elman.passes import Plan
from elman.rooms import LINE
from elman.shapes import Shape
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.groups import Grouping
from elman.targets.llvm.places import PAD, Place, Places, columns, elements, lines_of
from elman.targets.llvm.recipe import Walk
from elman.targets.llvm.row import Row
from elman.targets.llvm.table import FIELDS, NUMBERS, Table
from elman.targets.llvm.vectors import FLOATS, INDEX, Value, Vectors


class Arrays(Frame):
    """The arrays of a plan, and the examples of a call."""

    def __init__(self, plan: Plan, dtype: str, shaping: Shaping) -> None:
        super().__init__(f"elman_{plan.graph.name}", dtype, shaping, [POINTER, POINTER, INDEX, INDEX, INDEX])
        self.plan, self.graph = plan, plan.graph
        self.grouping = Grouping(plan)
        self.places = Places(self.grouping)
        self.table = Table(self.grouping, self.places)
        self._given, self._workspace, self._first, self._last, self._part = self.function.args

    def pointer(self, place: Place, row: Row, shape: Shape) -> Value:
        """The address of the row of a value."""
        b, element = self.b, FLOATS[self.dtype][0]
        if place.kind in ("shared", "sum"):
            return self._fields["base", place]
        if place.kind in ("input", "output"):
            return b.gep(self._fields["base", place], [self._offset(place, row)], source_etype=element)
        if place.kind == "brief":
            return self._bases[place]
        where = row.in_chunk if place.kind == "chunk" else row.in_batch
        base = b.load(self._turning[place], typ=POINTER) if place in self._turning else self._bases[place]
        return b.gep(base, [b.mul(where, self.index(elements(shape, True)))], source_etype=element)

    def token(self, place: Place, row: Row) -> Value:
        """The token of a row."""
        where = self.b.gep(self._fields["base", place], [self._offset(place, row)], source_etype=INDEX)
        return self.b.load(where, typ=INDEX)

    def _offset(self, place: Place, row: Row) -> Value:
        """Where a row stands in an array of the caller."""
        b = self.b
        by_step = b.mul(row.step, self._fields["by step", place])
        return b.add(by_step, b.mul(row.example, self._fields["by example", place]))

    def packed(self, walk: Walk) -> Value:
        """The address of the packed matrices of a walk."""
        return self._fields["pack", walk]

    def turned(self, matrix: int) -> Value:
        """The address of a matrix that is packed column by column."""
        return self._fields["turned", matrix]

    # --- the call --------------------------------------------------------------------------------------------------------

    def _read_table(self) -> None:
        self._fields: dict[tuple[str, Any], Value] = {}
        for position, name in enumerate(self.table.names):
            address = self.b.gep(self._given, [self.index(position)], source_etype=INDEX)
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
        brief, v = self.places.brief, Vectors(b, self.module, self.dtype, PAD)
        ends = [start + elements(self.graph.nodes[i].shape, True) for i, start in brief.items()]
        room = b.inttoptr(b.ptrtoint(self.room(v, max(ends) // PAD), INDEX), POINTER) if ends else None
        self._bases |= {Place("brief", index): v.address(room, self.index(start)) for index, start in brief.items()}
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

    def _copy_state(self, source: Place, target: Place, row: Value) -> None:
        """Copy one example's state between the caller's array and the workspace."""
        b, element = self.b, FLOATS[self.dtype][0]
        shape = self.graph.nodes[self.graph.leaves("state")[str(source.which)]].shape
        lines, width = lines_of(shape), columns(shape, False)
        example, size = self._example(row), self.index(elements(shape, False))

        def at(place: Place) -> Value:
            if place.kind in ("first", "last"):
                return b.gep(self._fields["base", place], [b.mul(example, size)], source_etype=element)
            base = b.load(self._turning[place], typ=POINTER)
            return b.gep(base, [b.mul(row, self.index(elements(shape, True)))], source_etype=element)

        here, there = at(source), at(target)
        strides = [columns(shape, place.kind not in ("first", "last")) for place in (source, target)]
        with self.loop(self.index(0), self.index(lines)) as over:
            ends = [
                b.gep(pointer, [b.mul(over.index, self.index(stride))], source_etype=element)
                for pointer, stride in zip((here, there), strides, strict=True)
            ]
            self.copy_bytes(ends[0], ends[1], width * FLOATS[self.dtype][1] // 8)
