"""RNN: a cell unrolled over time, with its parameters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from elman.checks import (
    checked_dtype,
    checked_lengths,
    checked_parameters,
    checked_reset,
    checked_seed,
    checked_sequence,
    checked_target,
    checked_truncate,
)
from elman.errors import SettingError, ShapeError
from elman.gates import Array
from elman.graph import Graph
from elman.passes import Plan
from elman.passes.carry import CUT, LIVE, RESET
from elman.program import Asked, Program, Run, program, random_parameters
from elman.shapes import Shape, written
from elman.states import State, checked_state
from elman.targets import Prepared
from elman.trace import Cell


class Gradients(NamedTuple):
    """Gradients of a loss: for the parameters by name, for the input (None for tokens), for the first state."""

    parameters: dict[str, Array]
    x: Array | None
    state: State


@dataclass(frozen=True)
class Record:
    """A forward run that remembers what its gradient needs: `y`, `state`, and `gradients(dy)`."""

    y: Array
    state: State
    _layer: "RNN"
    _program: Program
    _run: Run
    _parameters: Mapping[str, Array]

    def gradients(self, dy: Any, d_state: Any = None) -> Gradients:
        """Gradients of a loss whose gradient for `y` is `dy` (of the shape of `y`), and for the last state `d_state`.

        Raises `ShapeError` where `dy` is not of the shape of `y`.
        """
        return self._layer._gradients(self, dy, d_state)


class RNN:
    """A cell unrolled over time.

    `y, state = rnn(x, state=None, lengths=None, reset=None)` runs a sequence `[T, I]` or a batch `[B, T, I]`; integers
    `[T]` or `[B, T]` are tokens, standing for one-hot vectors. `y` is `[T, H]` or `[B, T, H]`, the state `[H]` or `[B, H]`.

    `cell` is a `Cell`; `input`, `hidden` and any other sizes that it names are integers; `dtype` is "float32" or
    "float64"; `seed` draws the first parameters; `target` is "auto", "numpy" or "interpreter". Raises `SettingError` for
    sizes and names that do not fit, `CellError` for equations that do not.

    >>> import numpy as np, elman
    >>> rnn = elman.RNN(elman.cells.lstm, input=3, hidden=5)
    >>> y, state = rnn(np.ones((7, 3)))
    >>> y.shape, state
    ((7, 5), State(lstm, h (5), c (5)))
    """

    def __init__(
        self,
        cell: Cell,
        *,
        input: int | None = None,
        hidden: int | None = None,
        dtype: str = "float32",
        seed: int = 0,
        target: str = "auto",
        **sizes: int,
    ) -> None:
        if not isinstance(cell, Cell):
            raise SettingError(f"RNN: {cell!r} is not a cell; make one of a function with @elman.cell")
        given = {name: size for name, size in (("input", input), ("hidden", hidden)) if size is not None} | sizes
        self.cell, self.sizes = cell, given
        self.dtype, self.target = checked_dtype(dtype), checked_target(target)
        self.graph: Graph = cell.graph(**given)
        inits = {name: declared.init for name, declared in cell.parameters.items()}
        self._parameters = _read_only(random_parameters(self.graph, inits, checked_seed(seed), self.dtype))
        self._prepared: dict[Asked, Prepared] = {}
        name, leaf = next(iter(self.graph.leaves("input").items()))
        self._input, self._input_shape = name, self.graph.nodes[leaf].shape

    def __repr__(self) -> str:
        return f"RNN({self.cell.name}, {', '.join(f'{n}={s}' for n, s in self.sizes.items())}, {self.dtype})"

    # --- parameters ---------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The parameters by name, read-only; `update` sets them."""
        return MappingProxyType(self._parameters)

    def update(self, values: Mapping[str, Any]) -> None:
        """Set parameters by name, all or none.

        Raises `SettingError` for an unknown name, `ShapeError` for another shape, `DataError` for NaN or infinity.
        """
        checked = checked_parameters(self.cell.name, self.graph, values, self.dtype)
        self._parameters = _read_only({**self._parameters, **checked})
        self._prepared = {}

    # --- running ------------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None) -> tuple[Array, State]:
        """Run over a sequence `[T, I]` or batch `[B, T, I]` (or tokens `[T]`, `[B, T]`).

        `state`: where to start (zeros). `lengths` `[B]`: outputs past a length are 0, the state returned is the one at the
        length. `reset` `[T]` or `[B, T]`: the state is zero again before that step. Returns `y` `[T, H]` or `[B, T, H]` and
        the last state. Raises `ShapeError`, `TokenError` or `DataError` for inputs that do not fit.
        """
        call = self._call(x, state, lengths, reset)
        compiled = self._program(call.asked)
        run = compiled.forward(self._prepare(call.asked, compiled), call.inputs, call.states)
        return self._output(run, call.batch), self._state(run.outcome.states, call.batch)

    def step(self, x: Any, state: Any = None) -> tuple[Array, State]:
        """One step: `x` `[I]` or `[B, I]`, or a token, or tokens `[B]`; returns the output and the state."""
        x = np.asarray(x)
        batched = x.ndim > (0 if x.dtype.kind in "iu" else 1)
        y, state = self(x[:, None] if batched else x[None], state)
        return (y[:, 0] if batched else y[0]), state

    def inspect(
        self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None, *, keep: Iterable[str] | None = None
    ) -> dict[str, Array]:
        """Every value that the equations name, at every step: name -> `[T, ...]` or `[B, T, ...]`.

        `keep` names those wanted (all). Raises `SettingError` for a name that the equations lack.
        """
        names = tuple(self.graph.values if keep is None else keep)
        call = self._call(x, state, lengths, reset, keeping=names)
        compiled = self._program(call.asked)
        run = compiled.forward(self._prepare(call.asked, compiled), call.inputs, call.states)
        return {name: _outward(run.outcome.outputs[name], call.batch) for name in names}

    def record(
        self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None, *, truncate: int | None = None
    ) -> Record:
        """Run forward and remember what the gradient needs; `truncate` k cuts it before steps k, 2k, ... (None: never)."""
        call = self._call(x, state, lengths, reset, truncate=truncate, gradient=True)
        compiled, parameters = self._program(call.asked), self._parameters
        run = compiled.forward(compiled.prepare(parameters), call.inputs, call.states)
        y, last = self._output(run, call.batch).view(), self._state(run.outcome.states, call.batch)
        y.flags.writeable = False  # the gradient reads it
        return Record(y, last, self, compiled, run, parameters)

    def gradients(
        self,
        x: Any,
        dy: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        truncate: int | None = None,
    ) -> Gradients:
        """Gradients of a loss whose gradient for the output is `dy`: for the parameters, for `x`, for the first state.

        Back-propagation through time (Werbos, 1990); with `truncate` k no gradient flows back past steps k, 2k, ...
        """
        return self.record(x, state, lengths, reset, truncate=truncate).gradients(dy)

    def initial_state(self, batch: int | None = None) -> State:
        """The state before the first step: zeros, `[H]`, or `[B, H]` for a batch."""
        axes = () if batch is None else (batch,)
        zeros = {name: np.zeros((*axes, *shape), self.dtype) for name, shape in self._state_shapes.items()}
        return State(zeros, cell=self.cell.name, batch=batch)

    # --- stages -------------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """When each gate runs, for a plain sequence of vectors."""
        return self._program(Asked()).plan

    @property
    def source(self) -> str:
        """What the target made of the equations, for a plain sequence of vectors."""
        return self._program(Asked()).source

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _state_shapes(self) -> dict[str, Shape]:
        return {name: self.graph.nodes[index].shape for name, index in self.graph.leaves("state").items()}

    def _program(self, asked: Asked) -> Program:
        return program(self.graph, asked, self.dtype.name, self.target)

    def _prepare(self, asked: Asked, compiled: Program) -> Prepared:
        if asked not in self._prepared:
            self._prepared[asked] = compiled.prepare(self._parameters, lasting=True)
        return self._prepared[asked]

    def _call(
        self,
        x: Any,
        state: Any,
        lengths: Any,
        reset: Any,
        *,
        keeping: tuple[str, ...] = (),
        truncate: int | None = None,
        gradient: bool = False,
    ) -> "_Call":
        x, tokens, batch = checked_sequence(self.cell.name, x, self._input_shape, self.dtype)
        batch_size, steps = x.shape[:2]
        inputs = {self._input: x.swapaxes(0, 1)}
        flags: dict[str, Array] = {}
        if lengths is not None:
            flags[LIVE] = np.arange(steps)[:, None] < checked_lengths(self.cell.name, lengths, batch_size, steps)
        if reset is not None:
            flags[RESET] = checked_reset(self.cell.name, reset, batch_size, steps)
        if truncate is not None:
            cut = np.arange(steps) % checked_truncate(truncate) == 0
            cut[:1] = False  # the first state is where the caller's own gradient goes on
            flags[CUT] = np.broadcast_to(cut[:, None], (steps, batch_size))
        if gradient:  # it is read again, by when the caller may have changed it
            inputs = {name: np.array(value) for name, value in inputs.items()}
        names = {LIVE: "lengths", RESET: "reset", CUT: "truncate"}
        states = checked_state(state, self._state_shapes, cell=self.cell.name, batch=batch, dtype=self.dtype)
        asked = Asked(tokens, frozenset(names[flag] for flag in flags), keeping, gradient)
        return _Call(asked, inputs | flags, states, batch)

    def _output(self, run: Run, batch: int | None) -> Array:
        return _outward(run.outcome.outputs[self._output_name], batch)

    @property
    def _output_name(self) -> str:
        return next(iter(self.graph.named("output")))

    def _state(self, states: Mapping[str, Array], batch: int | None) -> State:
        fields = {name: value if batch is not None else value[0] for name, value in states.items()}
        return State(fields, cell=self.cell.name, batch=batch)

    def _gradients(self, record: Record, dy: Any, d_state: Any) -> Gradients:
        dy, batch = np.asarray(dy, self.dtype), record.state.batch
        if dy.shape != record.y.shape:
            raise ShapeError(f"{self.cell.name}: dy is {written(dy.shape)}, the output is {written(record.y.shape)}")
        inward = dy[:, None] if batch is None else dy.swapaxes(0, 1)
        last = checked_state(d_state, self._state_shapes, cell=self.cell.name, batch=batch, dtype=self.dtype)
        found = record._program.backward(record._parameters, record._run, {self._output_name: inward}, last)
        d_x = found.outputs.get("d_" + self._input)
        states = {name: found.states["d_" + name] for name in self._state_shapes}
        return Gradients(found.sums, None if d_x is None else _outward(d_x, batch), self._state(states, batch))


@dataclass(frozen=True)
class _Call:
    """What a caller gave, checked, in the layout of programs: `[T, B, ...]`."""

    asked: Asked
    inputs: dict[str, Array]
    states: dict[str, Array]
    batch: int | None


def _outward(value: Array, batch: int | None) -> Array:
    """From `[T, B, ...]` to `[B, T, ...]`, or `[T, ...]` for one sequence."""
    return value[:, 0] if batch is None else value.swapaxes(0, 1)


def _read_only(parameters: dict[str, Array]) -> dict[str, Array]:
    for value in parameters.values():
        value.flags.writeable = False
    return parameters
