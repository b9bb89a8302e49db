"""A row: one example at one step, as a kernel under construction sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from elman.targets.llvm.vectors import Value


@dataclass(frozen=True)
class Row:
    """One example at one step. Its numbers are computed where they are asked for: none waits in a register meanwhile."""

    find_step: Callable[[], Value]
    find_example: Callable[[], Value]
    find_in_chunk: Callable[[], Value]
    in_batch: Value

    @property
    def step(self) -> Value:
        """The step, as the caller counts."""
        return self.find_step()

    @property
    def example(self) -> Value:
        """The example, as the caller counts."""
        return self.find_example()

    @property
    def in_chunk(self) -> Value:
        """Its row in the arrays of the chunk."""
        return self.find_in_chunk()
