"""Pooled: layers, and on them a cell that sums up what they gave so far; at a sequence's end that is the pooled sequence."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from elman import cells
from elman.errors import SettingError
from elman.flow import Flow, Passed
from elman.gates import Array
from elman.layer import Layer
from elman.passes import Plan
from elman.rnn import RNN
from elman.shapes import written
from elman.states import State
from elman.trees import Tree

POOLS = {"mean": cells.running_mean, "max": cells.running_max}
"""How what was given so far becomes one vector."""

POOL = "pool"
"""What the pool's part of a state is called."""


class Pooled(Layer):
    """Layers whose output is the running mean, or the running maximum, of what they give.

    Parameters, values and the fields of the state are those of the layers; the state has a part `pool` besides, which may be
    left out of a state that is given. Truncation does not cut the pool: every step keeps its share of the gradient. Raises
    `SettingError` for layers whose output is no vector.
    """

    def __init__(self, layer: Layer, pool: str) -> None:
        if pool not in POOLS:
            raise SettingError(f"Pooled: pool={pool!r} is unknown; it is one of {', '.join(POOLS)}")
        if len(layer.output_shape) != 1:
            raise SettingError(f"Pooled: the output of {layer.name} is {written(layer.output_shape)}; a vector is wanted")
        if POOL in layer._zero_states(1):
            raise SettingError(f"Pooled: {layer.name} has a state {POOL!r} already; rename it")
        first: Any = next(iter(layer._leaves().values()))
        width = int(layer.output_shape[0])
        self.layer, self.pool, self.name, self.dtype = layer, pool, layer.name, layer.dtype
        self._pool = RNN(POOLS[pool], input=width, dtype=layer.dtype.name, target=first.target)
        self.input_shape, self.output_shape = layer.input_shape, layer.output_shape

    def __repr__(self) -> str:
        return f"Pooled({self.layer!r}, {self.pool})"

    @property
    def values(self) -> tuple[str, ...]:
        """Names of all that `inspect` can show."""
        return self.layer.values

    def _parameters_by_name(self) -> dict[str, Array]:
        return dict(self.layer.parameters)

    def _checked(self, values: Mapping[str, Any]) -> Any:
        return self.layer._checked(values)

    def _set(self, checked: Any) -> None:
        self.layer._set(checked)

    def _initial(self, batch: int) -> Tree:
        return {**self.layer._initial(batch), POOL: self._pool._initial(batch)}

    def _zero_states(self, batch: int) -> Tree:
        return {**self.layer._zero_states(batch), POOL: self._pool._zero_states(batch)}

    @property
    def _reads_from_end(self) -> bool:
        return self.layer._reads_from_end

    @property
    def _drops(self) -> bool:
        return self.layer._drops

    def _turned(self) -> Array:
        return np.zeros(self.output_shape, bool)

    def _leaves(self) -> dict[str, Layer]:
        return self.layer._leaves()

    def _plans(self, *, tokens: bool = False) -> tuple[Plan, ...]:
        return self.layer._plans(tokens=tokens)

    def _state_in(self, given: Any, batch: int | None) -> Tree | None:
        if not (isinstance(given, Mapping) and POOL in given):
            inner = self.layer._state_in(given, batch)
            return None if inner is None else {**inner, POOL: self._pool._initial(1 if batch is None else batch)}
        rest: Any = {name: value for name, value in given.items() if name != POOL}
        if isinstance(given, State):
            rest = State(rest, cell=given.cell, batch=given.batch, equations=given.equations)
        pool = self._pool._state_in(given[POOL], batch)
        inner = self.layer._state_in(rest, batch)
        return {**(self.layer._initial(1 if batch is None else batch) if inner is None else inner), POOL: pool}

    def _state_out(self, states: Tree, batch: int | None) -> State:
        inner = self.layer._state_out({name: value for name, value in states.items() if name != POOL}, batch)
        fields = {**inner, POOL: self._pool._state_out(states[POOL], batch)}
        return State(fields, cell=self.name, batch=batch, equations=inner.equations)

    def _through(self, flow: Flow, states: Tree | None) -> Passed:
        return self._pass(flow, states)  # the layers below are cut, the pool is not

    def _pass(self, flow: Flow, states: Tree | None, keep: tuple[str, ...] = ()) -> Passed:
        given = self._initial(flow.x.shape[1]) if states is None else states
        inner = None if states is None else {name: value for name, value in given.items() if name != POOL}
        below = self.layer._through(flow, inner) if flow.overlap else self.layer._pass(flow, inner, keep)
        read = replace(flow, x=below.y, tokens=False, truncate=None, overlap=None, inner=False)
        above = self._pool._pass(read, given[POOL])

        def back(dy: Array, d_states: Tree) -> tuple[dict[str, Array], Array | None, Tree]:
            assert above.back is not None, "a gradient was asked for"
            assert below.back is not None, "a gradient was asked for"
            _, d_y, d_pool = above.back(dy, d_states[POOL])
            assert d_y is not None, "a pool reads vectors"
            found, d_x, first = below.back(d_y, {name: value for name, value in d_states.items() if name != POOL})
            return found, d_x, {**first, POOL: d_pool}

        last = {**below.states, POOL: above.states}
        return Passed(above.y, last, below.values, back if flow.gradient else None, below.y)
