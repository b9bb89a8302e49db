"""Matrices laid out anew by machine code: a list of moves, each of one matrix, as many as there are in one call.

A move reads element (r, c) of a matrix at `r by_row + c by_column` and puts so many rows, `lanes` of them, side by side:
block b of these begins at `b per_block`, its column c at `c per_column` behind. So kernels get panels, and gradients go from
padded totals to where callers want them. Lanes behind the last row become 0 with `fill`, else what is there stays.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from struct import Struct
from typing import NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from elman.gates import Array
from elman.targets.llvm import engine
from elman.targets.llvm.frame import POINTER, Frame, Shaping
from elman.targets.llvm.machine import Machine
from elman.targets.llvm.memory import address
from elman.targets.llvm.store import emitter, key_of
from elman.targets.llvm.vectors import INDEX, Value, Vectors

Strides = tuple[tuple[int, ...], ...]
"""Bytes from row to row and from column to column, of each source."""


class Move(NamedTuple):
    """Where a matrix goes: sizes, and distances in elements, `into` from the start of the memory on."""

    rows: int
    columns: int
    lanes: int
    into: int
    per_block: int
    per_column: int
    fill: bool = True


FIELDS = ("into", "rows", "columns", "lanes", "blocks", "per_block", "per_column", "fill", "by_row", "by_column")
"""Words of a move in the table, which stays; addresses come besides, the target's and then those of the sources."""


class Moves:
    """Some moves into one memory, which are made again and again."""

    def __init__(self, moves: Sequence[Move], dtype: np.dtype[np.floating], machine: Machine) -> None:
        self._moves, self._dtype, self._machine, self._size = tuple(moves), dtype, machine, dtype.itemsize
        self._rows = [(m.into, *m[:3], -(-m.rows // m.lanes), *m[4:6], int(m.fill)) for m in moves]
        self._pack = Struct(f"{1 + len(moves)}q").pack
        self._laid = Strides(), np.empty(0, np.int64), 0

    def run(self, sources: Sequence[Array], strides: Strides, memory: Array) -> None:
        """Make every move from its source, whose strides are those of rows and columns, in bytes."""
        self.run_at(map(address, sources), strides, address(memory))

    def run_at(self, sources: Iterable[int], strides: Strides, memory: int) -> None:
        """The same, of sources and into a memory of which the addresses are known."""
        known, table, start = self._laid
        if known != strides:  # such as at first; another thread may change it at the same time
            table = self.table(strides)
            start = address(table)
            self._laid = strides, table, start
        self.code.call(self._pack(memory, *sources), start, 0, len(table), 0)

    def table(self, strides: Strides) -> Array:
        """The words of the moves."""
        rows = [(*row, *(step // self._size for step in steps)) for row, steps in zip(self._rows, strides, strict=True)]
        return np.array(rows, np.int64)

    @cached_property
    def code(self) -> engine.Code:
        """The function that makes moves."""
        return _compiled(self._dtype.name, self._machine)

    def run_on_numpy(self, sources: Sequence[Array], memory: Array) -> None:
        """The same for those who make them once: they would wait longer for the code than for NumPy."""
        for move, source in zip(self._moves, sources, strict=True):
            blocks, left = divmod(move.rows, move.lanes)
            axes = blocks + (left > 0), move.columns, move.lanes
            steps = [step * self._size for step in (move.per_block, move.per_column, 1)]
            into = np.lib.stride_tricks.as_strided(memory[move.into :], axes, steps)
            whole = blocks * move.lanes
            into[:blocks] = source[:whole].reshape(blocks, move.lanes, move.columns).transpose(0, 2, 1)
            if left:
                into[blocks, :, :left] = source[whole:].T
                if move.fill:
                    into[blocks, :, left:] = 0


@lru_cache(maxsize=16)
def _compiled(dtype: str, machine: Machine) -> engine.Code:
    lanes = machine.bytes // np.dtype(dtype).itemsize
    key = key_of("moves", emitter(), llvmlite.__version__, llvm.llvm_version_info, machine, dtype)
    return engine.compiled(key, lambda: str(MoveKernel(dtype, lanes).module), machine)


class MoveKernel(Frame):
    """The moves from `first` to `last` of a table."""

    def __init__(self, dtype: str, lanes: int) -> None:
        super().__init__("elman_moves", dtype, Shaping(lanes, 0), [POINTER, POINTER, INDEX, INDEX, INDEX])
        addresses, table, first, last, _ = self.function.args
        self.wide, self.one = (Vectors(self.b, self.module, dtype, width) for width in (lanes, 1))
        with self.loop(first, last) as over:
            row = self.b.mul(over.index, self.index(len(FIELDS)))
            self._words = {name: self._word(table, self.b.add(row, self.index(k))) for k, name in enumerate(FIELDS)}
            self._from = self._word(addresses, self.b.add(over.index, self.index(1)), POINTER)
            self._into = self.wide.address(self._word(addresses, self.index(0), POINTER), self._words["into"])
            self._move()
        self.b.ret_void()

    def _word(self, words: Value, at: Value, kind: Value = INDEX) -> Value:
        return self.b.load(self.b.gep(words, [at], source_etype=INDEX), typ=kind)

    def _move(self) -> None:
        """Whole vectors, as far as there are such and one of the strides is 1; the rest element by element."""
        b, word, width = self.b, self._words, self.index(self.wide.width)
        nothing, columns = self.index(0), word["columns"]
        fits = b.icmp_signed("==", word["lanes"], width)
        blocks = b.select(fits, b.sdiv(word["rows"], width), nothing)
        along, across = (b.icmp_signed("==", word[name], self.index(1)) for name in ("by_row", "by_column"))
        copied = b.select(along, columns, nothing)
        turned = b.select(b.and_(across, b.not_(along)), b.mul(b.sdiv(columns, width), width), nothing)
        with self.loop(nothing, blocks) as over:
            with self.loop(nothing, copied) as column:
                self._copy(over.index, column.index)
            with self.loop(nothing, turned, self.wide.width) as column:
                self._turn(over.index, column.index)
        self._one_by_one(nothing, blocks, b.select(along, copied, turned))
        self._one_by_one(blocks, word["blocks"], nothing)

    def _source(self, row: Value, column: Value) -> Value:
        return self.b.add(self.b.mul(row, self._words["by_row"]), self.b.mul(column, self._words["by_column"]))

    def _target(self, block: Value, column: Value) -> Value:
        return self.b.add(self.b.mul(block, self._words["per_block"]), self.b.mul(column, self._words["per_column"]))

    def _copy(self, block: Value, column: Value) -> None:
        """A column whose rows stand side by side."""
        first = self.b.mul(block, self.index(self.wide.width))
        value = self.wide.load(self._from, self._source(first, column))
        self.wide.store(value, self._into, self._target(block, column))

    def _turn(self, block: Value, column: Value) -> None:
        """As many columns as rows, whose columns stand side by side."""
        b, v = self.b, self.wide
        first = b.mul(block, self.index(v.width))
        rows = [self._source(b.add(first, self.index(k)), column) for k in range(v.width)]
        for k, value in enumerate(self._transposed([v.load(self._from, at) for at in rows])):
            v.store(value, self._into, self._target(block, b.add(column, self.index(k))))

    def _transposed(self, rows: list[Value]) -> list[Value]:
        """The square of these rows with its axes swapped: quarters change places, then quarters of quarters."""
        count, apart = len(rows), len(rows) // 2
        while apart:
            masks = [[j if not j & apart else count + j - apart for j in range(count)]]
            masks += [[j + apart if not j & apart else count + j for j in range(count)]]
            places = [ir.Constant(ir.VectorType(ir.IntType(32), count), mask) for mask in masks]
            for i in (i for i in range(count) if not i & apart):
                pair = rows[i], rows[i + apart]
                rows[i], rows[i + apart] = (self.b.shuffle_vector(*pair, mask) for mask in places)
            apart //= 2
        return rows

    def _one_by_one(self, first: Value, last: Value, column: Value) -> None:
        """Blocks element by element, from a column on."""
        b, word = self.b, self._words
        is_filled = b.icmp_signed("!=", word["fill"], self.index(0))
        with self.loop(first, last) as over:
            start = b.mul(over.index, word["lanes"])
            left = self.smaller(b.sub(word["rows"], start), word["lanes"])
            with self.loop(column, word["columns"]) as inner:
                into = self._target(over.index, inner.index)
                with self.loop(self.index(0), left) as lane:
                    value = self.one.load(self._from, self._source(b.add(start, lane.index), inner.index))
                    self.one.store(value, self._into, b.add(into, lane.index))
                with self.loop(left, b.select(is_filled, word["lanes"], left)) as lane:
                    self.one.store(self.one.zero, self._into, b.add(into, lane.index))
