"""Runs that can be differentiated: all that the gradient needs is held, or only the state every so many steps.

Between two such states the run is made again when the gradient comes there (Chen et al., Training deep nets with sublinear
memory cost, 2016): for twice the forward work T steps take memory for the square root of T, besides input and output.
"""

from collections.abc import Callable, Mapping
from math import isqrt

import numpy as np

from elman.flow import Flow
from elman.gates import Array
from elman.program import Program, Run
from elman.targets import Outcome, Prepared
from elman.trees import Tree


class Held:
    """Parameters, and what programs prepared of them: one value, so that nobody meets the one without the other."""

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        self.parameters = parameters
        self._prepared: dict[tuple[Program, str], Prepared] = {}

    def prepare(self, compiled: Program) -> Prepared:
        """What a program prepares of the parameters, kept for the next time; those that are learnt last for few runs."""
        lasting = not compiled.asked.gradient
        return self._kept(compiled, "forward", lambda: compiled.prepare(self.parameters, lasting=lasting))

    def prepare_backward(self, compiled: Program) -> Prepared:
        """The same for its backward direction."""
        return self._kept(compiled, "backward", lambda: compiled.prepare_backward(self.parameters))

    def _kept(self, compiled: Program, direction: str, make: Callable[[], Prepared]) -> Prepared:
        prepared = self._prepared.get((compiled, direction))
        if prepared is None:
            prepared = self._prepared[compiled, direction] = make()
        return prepared


def backward(
    compiled: Program,
    held: Held,
    run: Run,
    d_outputs: Mapping[str, Array],
    d_states: Tree,
    totals: Mapping[int, Array] | None = None,
) -> Outcome:
    """The gradients of a run, with the parameters that it had."""
    prepared = held.prepare_backward(compiled)
    return compiled.backward(held.parameters, run, d_outputs, d_states, prepared=prepared, totals=totals)


class Recomputed:
    """A run whose values are made again, stretch by stretch, when the gradient comes there.

    `plain` runs without a gradient, `compiled` with one. On the compiled target what comes out is equal to the bit, for both
    sum in one order; NumPy sums a product over all steps in an order of its own.
    """

    def __init__(
        self, plain: Program, compiled: Program, held: Held, flow: Flow, inputs: Mapping[str, Array], first: Tree
    ) -> None:
        self._compiled, self._held, self._flow, self._inputs = compiled, held, flow, inputs
        steps = len(flow.x)
        size = max(1, isqrt(max(steps - 1, 0)) + 1)
        parts = [slice(start, min(start + size, steps)) for start in range(0, steps, size)] or [slice(0, 0)]
        self._parts = parts[::-1] if flow.backwards else parts
        self._states: list[Tree] = []
        self.outputs: dict[str, Array] = {}
        self.last = first
        prepared = held.prepare(plain)
        for part in self._parts:
            self._states.append(self.last)
            outcome = self._run(plain, prepared, part, self.last).outcome
            self.last = outcome.states
            _put_together(self.outputs, outcome.outputs, part, steps)

    def _run(self, program: Program, prepared: Prepared, part: slice, states: Tree) -> Run:
        inputs = {name: value[part] for name, value in self._inputs.items()}
        lengths = self._flow.lengths
        left = None if lengths is None else lengths - part.start  # those beyond the stretch keep the order of examples
        return program.forward(prepared, inputs, states, lengths=left, backwards=self._flow.backwards)

    def backward(self, d_outputs: Mapping[str, Array], d_states: Tree) -> Outcome:
        """The gradients, from the last stretch to the first."""
        found = Outcome({}, d_states, {})
        outputs: dict[str, Array] = {}
        totals: Mapping[int, Array] | None = None
        for part, states in zip(reversed(self._parts), reversed(self._states), strict=True):
            run = self._run(self._compiled, self._held.prepare(self._compiled), part, states)
            d_here = {name: value[part] for name, value in d_outputs.items()}
            d_last = {name: found.states.get(f"d_{name}", d_states[name]) for name in states}
            found = backward(self._compiled, self._held, run, d_here, d_last, totals)
            totals = found.totals
            _put_together(outputs, found.outputs, part, len(self._flow.x))
        return Outcome(outputs, found.states, found.sums)


def _put_together(whole: dict[str, Array], outputs: Mapping[str, Array], part: slice, steps: int) -> None:
    """Lay the outputs of a stretch into those of all."""
    for name, value in outputs.items():
        if name not in whole:
            whole[name] = np.empty((steps, *value.shape[1:]), value.dtype)
        whole[name][part] = value
