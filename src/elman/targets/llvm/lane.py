"""Lanes: examples that go on step after step, with every buffer and every address kept from call to call."""

from collections.abc import Mapping
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.rooms import LINE, aligned
from elman.targets.llvm.chain import Chains
from elman.targets.llvm.crew import Job, crew
from elman.targets.llvm.entry import block_of, enter_of
from elman.targets.llvm.memory import address, side_by_side
from elman.targets.llvm.order import Rows
from elman.targets.llvm.table import ORDER
from elman.targets.threads import shared

if TYPE_CHECKING:
    from elman.targets.llvm.packing import Packed
    from elman.targets.llvm.program import LlvmProgram


WIDE = 1 << 20
"""Bytes of matrices of a lane beyond which threads may share them: one thread reads them in some ten microseconds."""


class Buffers:
    """Buffers for one step of some examples: `x` and `y` by name, and two for every state.

    A step of turn 0 reads the states of turn 0 and writes those of turn 1, and the other way round: until its caller counts
    the step as done, it has not been. `count` examples stand side by side; None: one stands alone, without an axis for it.
    """

    def __init__(
        self,
        program: "LlvmProgram",
        prepared: "Packed",
        states: Mapping[str, Array],
        inputs: Mapping[str, Array],
        count: int | None = None,
    ) -> None:
        axes, examples = (() if count is None else (count,)), 1 if count is None else count
        self.program, self.prepared, self.rows = program, prepared, Rows(np.arange(examples), np.array([examples]))
        self.inputs = {
            name: inputs.get(name, np.zeros((*axes, *shape), kind)) for name, (shape, kind) in program.brought.items()
        }
        self.outputs = {name: np.zeros((*axes, *shape), program.dtype) for name, shape in program.given.items()}
        first = {name: np.array(states[name], program.dtype, order="C") for name in program.state_names}
        self.states = first, {name: state.copy() for name, state in first.items()}
        self._counter = aligned((LINE // 8,), np.dtype(np.int64))
        self.calls = [self._call(turn, examples) for turn in (0, 1)]  # matrices are walked there and back again

    def _call(self, turn: int, examples: int) -> list[int]:
        """What the table of a step begins with."""
        call = [1, examples, 0, turn, self.rows.order_address, self.rows.running_address, address(self._counter), 0]
        for array in (*self.inputs.values(), *self.outputs.values()):
            call += array.ctypes.data, 0, array.size // max(examples, 1)
        ends = (turn, 1 - turn)
        return call + [self.states[which][name].ctypes.data for name in self.program.state_names for which in ends]


class Lane(Buffers):
    """One example step after step."""

    def __init__(
        self, program: "LlvmProgram", prepared: "Packed", states: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> None:
        own = {name: each for name, each in program.brought.items() if name not in inputs}
        numbers = {name: shape for name, (shape, kind) in own.items() if kind == program.dtype}
        self._brought, numbered = side_by_side(numbers, program.dtype)
        super().__init__(program, prepared, states, {**inputs, **numbered})
        memory = aligned((program.workspace_of(1, 1),), np.dtype(np.uint8))
        memory[:] = 0
        tables = [np.frombuffer(program.table_of(call, prepared), np.int64) for call in self.calls]
        self._jobs: list[Job] = [(int(table.ctypes.data), address(memory), 0, 1, 0) for table in tables]
        code = program.code_for(1)
        blocks = [block_of(code, job, self._brought) for job in self._jobs]
        self._held = memory, tables, code, blocks
        self._enter = enter_of(program.machine, program.dtype, program.multiplications)
        self._blocks = [address(block) for block in blocks]

    def step(self, turn: int) -> bool:
        """Read the inputs and the states of a turn, write the outputs and the states of the other.

        Not if a number that was brought is NaN or infinite.
        """
        return self._enter(self._blocks[turn]) == 1


class RowsLane(Buffers):
    """Many examples side by side, of which all take a step, or some; threads share it as they share any call."""

    _chosen: tuple[Array | None, Rows] | None = None

    @cached_property
    def _chains(self) -> tuple[Chains, Chains]:
        return Chains(self.program), Chains(self.program)

    @cached_property
    def _tables(self) -> list[tuple[Rows | None, bytes]]:
        return [(None, b"")] * 2

    def choose(self, rows: Array | None) -> None:
        """Let these rows, or all, take the next steps."""
        if self._chosen is None or self._chosen[0] is not rows:
            self._chosen = rows, self.rows if rows is None else Rows(rows, np.array([len(rows)]))

    def step(self, turn: int) -> bool:
        """Read the inputs and the states of a turn, write the outputs and the states of the other."""
        chosen, rows = self._chosen or (None, self.rows)
        if chosen is not None:  # the others stay as they are
            for name, state in self.states[turn].items():
                self.states[1 - turn][name][...] = state
        self._chains[turn].compute(self._table(turn, rows), 1, rows)
        return True

    def _table(self, turn: int, rows: Rows) -> bytes:
        """The table of a step of these rows, the same as long as they are."""
        known, table = self._tables[turn]
        if known is not rows:
            call = self.calls[turn].copy()
            call[ORDER : ORDER + 2] = rows.order_address, rows.running_address
            table = self.program.table_of(call, self.prepared)
            self._tables[turn] = rows, table
        return table


class WideLane(Lane):
    """A lane of so large matrices that threads share its lanes, where that is faster."""

    def __init__(
        self, program: "LlvmProgram", prepared: "Packed", states: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> None:
        super().__init__(program, prepared, states, inputs)
        self._pace, self._parts = program.pace(0), min(shared.count, program.blocks)
        self._shared = [[(*each[:-1], part) for part in range(self._parts)] for each in self._jobs]

    def step(self, turn: int) -> bool:
        """Read the inputs and the states of a turn, write the outputs and the states of the other, as a lane does."""
        wanted = shared.count >= self._parts if shared.is_asked else self._pace.together
        begun = perf_counter()
        together = wanted and crew.is_free and bool(np.isfinite(self._brought).all()) and self._together(turn)
        done = together or super().step(turn)
        self._pace.took(together, perf_counter() - begun)
        return done

    def _together(self, turn: int) -> bool:
        self._counter[0] = 0
        code = self.program.code_for(1, self._parts)
        return crew.run(code, self._shared[turn], self.program.machine, address(self._counter))
