"""A lane: one example step after step, with every buffer and every address kept from call to call."""

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.rooms import LINE, aligned
from elman.targets.llvm.crew import Job, crew
from elman.targets.llvm.entry import block_of, enter_of
from elman.targets.llvm.memory import address, side_by_side
from elman.targets.llvm.table import FIELDS
from elman.targets.threads import shared

if TYPE_CHECKING:
    from elman.targets.llvm.program import LlvmProgram, Packed


WIDE = 1 << 20
"""Bytes of matrices of a lane beyond which threads may share them: one thread reads them in some ten microseconds."""


class Lane:
    """Buffers for one step of one example: `x` and `y` by name, and two for every state.

    A step of turn 0 reads the states of turn 0 and writes those of turn 1, and the other way round: until its caller counts
    the step as done, it has not been.
    """

    def __init__(
        self, program: "LlvmProgram", prepared: "Packed", states: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> None:
        order, running = np.zeros(1, np.int64), np.ones(1, np.int64)
        own = {name: each for name, each in program.brought.items() if name not in inputs}
        numbers = {name: shape for name, (shape, kind) in own.items() if kind == program.dtype}
        brought, numbered = side_by_side(numbers, program.dtype)
        given = {**inputs, **numbered}
        self.inputs = {n: given[n] if n in given else np.zeros(shape, kind) for n, (shape, kind) in program.brought.items()}
        self.outputs = {name: np.zeros(shape, program.dtype) for name, shape in program.given.items()}
        first = {name: np.array(states[name], program.dtype) for name in program.state_names}
        self.states = first, {name: state.copy() for name, state in first.items()}
        call = [1, 1, 0, 0, order.ctypes.data, running.ctypes.data, 0, 0]
        for array in (*self.inputs.values(), *self.outputs.values()):
            call += array.ctypes.data, 0, 0
        self._counter = aligned((LINE // 8,), np.dtype(np.int64))
        call[FIELDS.index("counter")], tables = address(self._counter), []
        for turn in (0, 1):  # matrices are walked there and back again
            call[FIELDS.index("turn")] = turn
            ends = [self.states[which][name].ctypes.data for name in program.state_names for which in (turn, 1 - turn)]
            tables.append(np.frombuffer(program.table_of([*call, *ends], prepared), np.int64))
        memory = aligned((program.workspace_of(1, 1),), np.dtype(np.uint8))
        memory[:] = 0
        self._program, self._brought = program, brought
        self._jobs: list[Job] = [(int(table.ctypes.data), address(memory), 0, 1, 0) for table in tables]
        code = program.code_for(1)
        blocks = [block_of(code, job, brought) for job in self._jobs]
        self._held = prepared, memory, order, running, tables, code, blocks
        self._enter = enter_of(program.machine, program.dtype, program.multiplications)
        self._blocks = [address(block) for block in blocks]

    def step(self, turn: int) -> bool:
        """Read the inputs and the states of a turn, write the outputs and the states of the other.

        Not if a number that was brought is NaN or infinite.
        """
        return self._enter(self._blocks[turn]) == 1


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
        code = self._program.code_for(1, self._parts)
        return crew.run(code, self._shared[turn], self._program.machine, address(self._counter))
