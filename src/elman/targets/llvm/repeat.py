"""A repeat: a call of some steps and examples that is made again and again, with every buffer and every address kept.

To find these takes 20 us of Python, where a step of an LSTM of 64 units takes one. So the caller's numbers are copied into
buffers: that takes 0.1 us an array, and an address 0.4, or 0.8 of an array that is read-only, as states are.
"""

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from elman.rooms import aligned
from elman.targets.llvm import stretches
from elman.targets.llvm.chain import ENOUGH
from elman.targets.llvm.entry import block_of, check_of, enter_of
from elman.targets.llvm.memory import address, side_by_side
from elman.targets.llvm.order import dense
from elman.targets.threads import shared

if TYPE_CHECKING:
    from elman.targets.llvm.packing import Packed
    from elman.targets.llvm.program import LlvmProgram


LARGEST = 1 << 20
"""Bytes, of what passes and of workspace, that are kept for a repeat at the most."""


def is_small(program: "LlvmProgram", steps: int, batch: int) -> bool:
    """Whether calls of so many steps and examples of vectors can be repeats."""
    if program.graph.leaves("token") or program.has_totals or not 0 < steps <= stretches.steps_of(program, batch):
        return False
    each = sum(prod(shape) for shape in (*(shape for shape, _ in program.brought.values()), *program.given.values()))
    passing = steps * batch * each * program.dtype.itemsize
    kept: int = passing + program.workspace_of(program.room(batch, steps), batch)
    return kept <= LARGEST


class Repeat:
    """Buffers by name: inputs `[B, T, ...]` and first states `[B, ...]`, outputs `[B, T, ...]` and last states `[B, ...]`.

    One call at a time may have it.
    """

    def __init__(self, program: "LlvmProgram", prepared: "Packed", steps: int, batch: int) -> None:
        rows, room = dense(steps, batch), program.room(batch, steps)
        inputs = {name: (batch, steps, *shape) for name, (shape, _) in program.brought.items()}
        states = {name: (batch, *shape) for name, shape in program.state_shapes.items()}
        brought, found = side_by_side(inputs | states, program.dtype)
        self.inputs = {name: found[name] for name in inputs}
        self.outputs = {name: np.zeros((batch, steps, *shape), program.dtype) for name, shape in program.given.items()}
        self.first = {name: found[name] for name in states}
        self.last = {name: np.zeros_like(array) for name, array in self.first.items()}
        call = [steps, room, 0, 0, rows.order_address, rows.running_address, 0, 0]
        for array in (*self.inputs.values(), *self.outputs.values()):
            by_example, by_step = (stride // array.itemsize for stride in array.strides[:2])
            call += address(array), by_step, by_example
        for name in states:
            call += address(self.first[name]), address(self.last[name])
        words = program.table_of(call, prepared)
        table = np.frombuffer(words, np.int64)
        memory, code = aligned((program.workspace_of(room, batch),), np.dtype(np.uint8)), program.code_for(batch)
        block = block_of(code, (int(table.ctypes.data), address(memory), 0, batch, 0), brought)
        self._held, self._call = (brought, prepared, table, memory, code, block), (words, steps, rows)
        self._chains, self._block, self._work = program.chains, address(block), program.multiplications * steps * batch
        self._enter = enter_of(program.machine, program.dtype, self._work)
        self._check = check_of(program.machine, program.dtype)

    def run(self) -> bool:
        """Read the inputs and the first states, write the outputs and the last states; not if some number is not finite."""
        if shared.count == 1 if shared.is_asked else self._work < 2 * ENOUGH:
            return self._enter(self._block) == 1
        if not self._check(self._block):
            return False
        self._chains.compute(*self._call)  # threads may be worth it
        return True
