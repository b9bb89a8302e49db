"""A lane: one example step after step, with every buffer and every address kept from call to call."""

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.targets.llvm.places import LINE

if TYPE_CHECKING:
    from elman.targets.llvm.program import LlvmProgram, Packed


class Lane:
    """Buffers for one step of one example: `x` and `y` by name, and the states, which a step changes in place."""

    def __init__(
        self, program: "LlvmProgram", prepared: "Packed", states: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> None:
        order, running = np.zeros(1, np.int64), np.ones(1, np.int64)
        self.inputs = {name: inputs.get(name, np.zeros(shape, kind)) for name, (shape, kind) in program.brought.items()}
        self.outputs = {name: np.zeros(shape, program.dtype) for name, shape in program.given.items()}
        self.states = {name: np.array(states[name], program.dtype) for name in program.state_names}
        call = [1, 1, 0, order.ctypes.data, running.ctypes.data]
        for array in (*self.inputs.values(), *self.outputs.values()):
            call += array.ctypes.data, 0, 0
        for array in self.states.values():  # read at the beginning of a step, written at its end
            call += array.ctypes.data, array.ctypes.data
        table = program.table_of(call, prepared)
        memory = np.zeros(program.workspace_of(1, 1) + LINE, np.uint8)
        workspace = memory.ctypes.data + -memory.ctypes.data % LINE
        self._held = prepared, memory, order, running, table
        self._run, self._arguments = program.code_for(1).call, (ctypes.addressof(table), workspace, 0, 1)

    def step(self) -> None:
        """Read the inputs, write the outputs, carry the states on."""
        self._run(*self._arguments)
