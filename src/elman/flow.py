"""What flows through layers: an input and how it is read, what a layer makes of it, and the way back.

Inside, time comes first: inputs and outputs are `[T, B, ...]`, states are trees of arrays `[B, ...]` by name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from elman.gates import Array
from elman.passes.carry import CUT, RESET
from elman.trees import Tree

Back = Callable[[Array, Tree], tuple[dict[str, Array], Array | None, Tree]]
"""From gradients for the output and the last state to those for the parameters, the input and the first state."""


@dataclass(eq=False, slots=True)
class Flow:
    """An input on its way through layers: `x` `[T, B, I]` or tokens `[T, B]`, and how it is read.

    `reset` `[T, B]` tells before which steps something new begins, whichever way it is read; with `backwards` that is from
    the last step to the first, each example from its last. `inner` says that nobody wants the gradient for `x`.
    """

    x: Array
    tokens: bool
    lengths: Array | None = None
    reset: Array | None = None
    truncate: int | None = None
    gradient: bool = False
    overlap: tuple[int, int] | None = None
    recompute: bool = False
    inner: bool = False
    noise: np.random.Generator | None = None
    backwards: bool = False

    def flags(self) -> dict[str, Array]:
        """Truth values `[T, B]` by the name of an input: what a reset or a cut means to the direction of this reading."""
        found = {}
        if self.reset is not None:
            found[RESET] = self._parted(self.reset) if self.backwards else self.reset
        if self.truncate is not None:
            found[CUT] = self._cut(self.truncate)
        return found

    def _parted(self, reset: Array) -> Array:
        """Resets read backwards: before step t a reset parts t - 1 from t, so it comes before t - 1."""
        parted = np.zeros_like(reset)
        parted[:-1] = reset[1:]
        if self.lengths is not None:  # nothing is parted from the padding
            parted &= np.arange(1, len(reset) + 1)[:, None] < self.lengths
        return parted

    def _cut(self, every: int) -> Array:
        """Cuts before every so many steps as they are read; the first state is where the caller's own gradient goes on."""
        read = np.arange(len(self.x))[:, None]
        if self.backwards:
            read = (len(self.x) if self.lengths is None else self.lengths) - 1 - read
        every = min(every, len(self.x) + 1)
        return np.broadcast_to((read % every == 0) & (read != 0), self.x.shape[:2])


@dataclass(eq=False, slots=True)
class Passed:
    """What a layer gives: `y` `[T, B, H]`, the last states, the values asked for, the way back; and what is below a pool."""

    y: Array
    states: Tree
    values: dict[str, Array]
    back: Back | None = None
    below: Array | None = None


def time_first(value: Array, batch: int | None) -> Array:
    """From `[B, T, ...]`, or `[T, ...]` for one sequence, to `[T, B, ...]`."""
    return value[:, None] if batch is None else value.swapaxes(0, 1)


def outward(value: Array, batch: int | None) -> Array:
    """From `[T, B, ...]` to `[B, T, ...]`, or `[T, ...]` for one sequence."""
    return value[:, 0] if batch is None else value.swapaxes(0, 1)
