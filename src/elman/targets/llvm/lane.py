"""A lane: one example step after step, with every buffer and every address kept from call to call."""

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.rooms import LINE, aligned
from elman.targets.llvm.crew import crew
from elman.targets.llvm.memory import address
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
        self.inputs = {name: inputs.get(name, np.zeros(shape, kind)) for name, (shape, kind) in program.brought.items()}
        self.outputs = {name: np.zeros(shape, program.dtype) for name, shape in program.given.items()}
        first = {name: np.array(states[name], program.dtype) for name in program.state_names}
        self.states = first, {name: state.copy() for name, state in first.items()}
        call = [1, 1, 0, 0, order.ctypes.data, running.ctypes.data, 0, 0]
        for array in (*self.inputs.values(), *self.outputs.values()):
            call += array.ctypes.data, 0, 0
        self._counter = aligned((LINE // 8,), np.dtype(np.int64))
        call[FIELDS.index("counter")], turns = address(self._counter), []
        for turn in (0, 1):  # matrices are walked there and back again
            call[FIELDS.index("turn")] = turn
            ends = [self.states[which][name].ctypes.data for name in program.state_names for which in (turn, 1 - turn)]
            turns.append(np.frombuffer(program.table_of([*call, *ends], prepared), np.int64))
        memory = aligned((program.workspace_of(1, 1),), np.dtype(np.uint8))
        memory[:] = 0
        self._held = prepared, memory, order, running, turns
        self._run, self._program = program.code_for(1).call, program
        self._turns = [(int(table.ctypes.data), address(memory), 0, 1, 0) for table in turns]

    def step(self, turn: int) -> None:
        """Read the inputs and the states of a turn, write the outputs and the states of the other."""
        self._run(*self._turns[turn])


class WideLane(Lane):
    """A lane of so large matrices that threads share its lanes, where that is faster."""

    def __init__(
        self, program: "LlvmProgram", prepared: "Packed", states: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> None:
        super().__init__(program, prepared, states, inputs)
        self._pace, self._parts = program.pace(0), min(shared.count, program.blocks)
        self._jobs = [[(*each[:-1], part) for part in range(self._parts)] for each in self._turns]

    def step(self, turn: int) -> None:
        """Read the inputs and the states of a turn, write the outputs and the states of the other."""
        wanted = shared.count >= self._parts if shared.is_asked else self._pace.together
        begun = perf_counter()
        together = wanted and crew.is_free and self._together(turn)
        if not together:
            super().step(turn)
        self._pace.took(together, perf_counter() - begun)

    def _together(self, turn: int) -> bool:
        self._counter[0] = 0
        code = self._program.code_for(1, self._parts)
        return crew.run(code, self._jobs[turn], self._program.machine, address(self._counter))
