"""Long calls, stretch by stretch of time: Python hears a signal only between two calls of machine code.

Each stretch goes on from the states and the totals of the one before it, so the bits are those of a single call.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.rooms import rooms
from elman.targets.interface import Outcome, Prepared

if TYPE_CHECKING:
    from elman.targets.llvm.program import LlvmProgram

STRETCH = 1e9
"""Multiplications of a stretch of one example: a fifth of a second on a busy machine, a tenth of it on another."""

READ = 8
"""Rows that are computed in the time that it takes to read the matrices for them."""

LANE = 64
"""Multiplications that take as long as what elementwise gates do to one lane."""


def steps_of(program: "LlvmProgram", batch: int) -> int:
    """How many steps a stretch has."""
    step = program.multiplications * (batch + READ - 1) / READ + LANE * batch * program.blocks * program.lanes
    return max(1, int(STRETCH / max(step, 1)))


def run(
    program: "LlvmProgram",
    size: int,
    prepared: Prepared,
    inputs: Mapping[str, Array],
    states: Mapping[str, Array],
    *,
    lengths: Array | None,
    backwards: bool,
    inward: bool,
    totals: Mapping[int, Array] | None,
) -> Outcome:
    """Run over so many steps at a time; the rest is as a program's own `run`."""
    steps, batch = next(iter(inputs.values())).shape[:2]
    live = steps if lengths is None else min(steps, int(lengths.max(initial=0)))
    parts = [slice(start, min(start + size, live)) for start in range(0, live, size)] or [slice(0, 0)]
    outputs, found = _rooms(program, steps, batch, inward, padded=lengths is not None), Outcome({}, dict(states), {})
    for part in reversed(parts) if backwards else parts:
        found = program.run(
            prepared,
            {name: value[part] for name, value in inputs.items()},
            found.states,
            lengths=None if lengths is None else lengths - part.start,  # those beyond the stretch keep the order of examples
            backwards=backwards,
            inward=inward,
            totals=totals,
            into={name: value[part] for name, value in outputs.items()},
        )
        totals = found.totals
    return Outcome(outputs, found.states, found.sums, found.totals)


def _rooms(program: "LlvmProgram", steps: int, batch: int, inward: bool, *, padded: bool) -> dict[str, Array]:
    """Outputs `[T, B, ...]` that lie as those of a single call do."""
    found = {}
    for name, shape in program.given.items():
        axes = (steps, batch, *shape) if inward else (batch, steps, *shape)
        room = np.zeros(axes, program.dtype) if padded else rooms.take(axes, program.dtype)
        found[name] = room if inward else room.swapaxes(0, 1)
    return found
