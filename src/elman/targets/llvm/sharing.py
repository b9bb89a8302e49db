"""How threads share a call: each has some examples or, where those are too few or matrices large, some of the lanes."""

from collections.abc import Sequence
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from elman.gates import Array
from elman.rooms import LINE, aligned
from elman.targets.llvm.crew import Job, crew
from elman.targets.llvm.engine import Code
from elman.targets.llvm.memory import address, workspaces
from elman.targets.llvm.order import Rows
from elman.targets.llvm.table import FIELDS
from elman.targets.threads import shared

if TYPE_CHECKING:
    from elman.targets.llvm.packing import Packed
    from elman.targets.llvm.program import LlvmProgram

ENOUGH = 4e6
"""Multiplications that a thread should have: some tenth of a millisecond, for waking a thread takes a twentieth."""

MEET = 6e4
"""Multiplications of a thread in a step that are worth to meet after it, which takes half a microsecond."""

NEAR = 1 << 22
"""Bytes of matrices beyond which threads would rather not each read all of them."""


ROWS = 4
"""Examples of a thread from which on threads with totals have examples of their own: what one core has written another gets
at the speed of memory, so sharing lanes at every step gained nothing for lstm 128 with 32 examples."""

LONG = 1e10
"""Multiplications of a call that is too long to find out first what one thread takes."""


def compute(program: "LlvmProgram", prepared: "Packed", call: list[int], rows: Rows) -> None:
    """Run a program on as many threads as the work is worth."""
    batch = len(rows.order)
    work = program.multiplications * batch * call[FIELDS.index("steps")]
    threads = shared.useful(work, ENOUGH)
    if threads == 1:
        _alone(program, prepared, call, batch)
        return
    way, parts = way_of(program, batch, threads)
    pace = program.pace(batch)
    wanted = parts > 1 and (shared.is_asked or pace.together or work > LONG) and crew.is_free
    if wanted and way != "examples":
        program.code_for(batch, parts, apart=way == "apart")  # compiled before the clock runs
    else:
        program.code_for(batch)
    begun = perf_counter()
    if not wanted:
        together = False
    elif way == "examples":
        together = _with_examples(program, prepared, call, rows, parts)
    else:
        together = _in_one_workspace(program, prepared, call, rows, parts, way == "apart")
    if not together:
        _alone(program, prepared, call, batch)
    pace.took(together, (perf_counter() - begun) / max(rows.count, 1))


def way_of(program: "LlvmProgram", batch: int, threads: int) -> tuple[str, int]:
    """What so many threads share, and how many of them are worth it: examples; lanes; or, `apart`, examples and totals."""
    if program.has_totals and batch >= ROWS * threads:
        return "apart", threads
    enough = shared.useful(program.multiplications * batch, MEET * program.meetings) if program.meetings else threads
    lanes = min(enough, threads, program.blocks)
    if program.has_totals or (lanes > 1 and (batch < threads or program.weights > NEAR)):
        return "lanes", lanes
    return "examples", min(threads, batch)


def _alone(program: "LlvmProgram", prepared: "Packed", call: list[int], batch: int) -> None:
    memory = workspaces.take(program.workspace_of(call[FIELDS.index("room")], batch))
    try:
        program.code_for(batch).call(program.table_of(call, prepared), address(memory), 0, batch, 0)
    finally:
        workspaces.give(memory)


def _with_examples(program: "LlvmProgram", prepared: "Packed", call: list[int], rows: Rows, parts: int) -> bool:
    spans = [(first, last) for first, last in pairwise(rows.shares(parts)) if first < last]
    room, code = call[FIELDS.index("room")], program.code_for(len(rows.order))
    memories = [workspaces.take(program.workspace_of(room, last - first)) for first, last in spans]
    table = np.frombuffer(program.table_of(call, prepared), np.int64)
    jobs = [(int(table.ctypes.data), address(m), first, last, 0) for m, (first, last) in zip(memories, spans, strict=True)]
    return _run(program, code, jobs, memories)


def _in_one_workspace(
    program: "LlvmProgram", prepared: "Packed", call: list[int], rows: Rows, parts: int, apart: bool
) -> bool:
    """Each has some of the lanes, or `apart` some of the examples and of the totals."""
    counter, cuts, batch = aligned((LINE // 8,), np.dtype(np.int64)), np.array(rows.shares(parts), np.int64), len(rows.order)
    counter[:] = 0
    call[FIELDS.index("counter")], call[FIELDS.index("cuts")] = address(counter), address(cuts)
    memory = workspaces.take(program.workspace_of(call[FIELDS.index("room")], batch))
    table = np.frombuffer(program.table_of(call, prepared), np.int64)
    jobs = [(int(table.ctypes.data), address(memory), 0, batch, part) for part in range(parts)]
    return _run(program, program.code_for(batch, parts, apart=apart), jobs, [memory], address(counter))


def _run(program: "LlvmProgram", code: Code, jobs: Sequence[Job], memories: Sequence[Array], counter: int = 0) -> bool:
    try:
        return crew.run(code, jobs, program.machine, counter)
    finally:
        for memory in reversed(memories):  # so that each thread gets its own again, which its core has near
            workspaces.give(memory)
