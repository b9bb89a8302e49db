"""How threads share a kernel: each has some examples or, where those are too few or matrices large, some of the lanes."""

from typing import TYPE_CHECKING

from elman.targets.threads import shared

if TYPE_CHECKING:
    from elman.targets.llvm.program import LlvmProgram

MEET = 6e4
"""Multiplications of a thread in a step that are worth to meet after it, which takes half a microsecond."""

NEAR = 1 << 22
"""Bytes of matrices beyond which threads would rather not each read all of them."""

ROWS = 4
"""Examples of a thread from which on threads with totals have examples of their own: what one core has written another gets
at the speed of memory, so sharing lanes at every step gained nothing for lstm 128 with 32 examples."""


def way_of(program: "LlvmProgram", batch: int, threads: int) -> tuple[str, int]:
    """What so many threads share, and how many of them are worth it: examples; lanes; or, `apart`, examples and totals."""
    if program.has_totals and batch >= ROWS * threads:
        return "apart", threads
    enough = shared.useful(program.multiplications * batch, MEET * program.meetings) if program.meetings else threads
    lanes = min(enough, threads, program.blocks)
    if program.has_totals or (lanes > 1 and (batch < threads or program.weights > NEAR)):
        return "lanes", lanes
    return "examples", min(threads, batch)
