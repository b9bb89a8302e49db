"""RNN: a cell unrolled over time, with its parameters."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial, partialmethod
from typing import Any, Self

import numpy as np

from elman.checks import checked_dtype, checked_parameters, checked_seed, checked_share, checked_target
from elman.errors import SettingError
from elman.flow import Flow, Passed
from elman.gates import Array
from elman.graph import Graph, equations_of
from elman.lanes import LayerLane
from elman.layer import Layer
from elman.passes import Plan
from elman.passes.carry import CUT, MASK, RESET, brings_states, initial_name
from elman.program import Asked, Program, program, random_parameters
from elman.recompute import Held, Recomputed, backward
from elman.repeats import Key, LayerRepeat, Repeats
from elman.replay import from_graph
from elman.shapes import Shape
from elman.states import State, checked_state
from elman.targets import Outcome, circumstances
from elman.trace import HOW_TO_MAKE, Cell
from elman.trees import Tree

CARRY = {RESET: "reset", CUT: "truncate"}
"""From the flags of a flow to the rules for carrying the state."""

PLAIN = (Asked(), Asked(tokens=True))
"""Nothing but a sequence of vectors, or of tokens."""


class RNN(Layer):
    """A cell unrolled over time.

    `y, state = rnn(x, state=None, lengths=None, reset=None)` runs a sequence `[T, I]` or a batch `[B, T, I]`; integers
    `[T]` or `[B, T]` are tokens, standing for one-hot vectors. `y` is `[T, H]` or `[B, T, H]`, the state `[H]` or `[B, H]`.

    `cell` is a `Cell`; `input`, `hidden` and any other sizes that it names are integers; `dtype` is "float32" or
    "float64"; `seed` draws the first parameters; `target` is "auto", "llvm", "numpy" or "interpreter". With
    `learn_initial` the initial state is a parameter (`h0` for the state `h`), first zero. `recurrent_dropout` is the share
    that is dropped, while training, of what the state brings to products, the same at every step. Raises `SettingError` for
    sizes and names that do not fit, `CellError` for equations that do not.

    >>> import numpy as np, elman
    >>> rnn = elman.RNN(elman.cells.lstm, input=3, hidden=5)
    >>> y, state = rnn(np.ones((7, 3)))
    >>> y.shape, state
    ((7, 5), State(lstm, h (5), c (5)))
    """

    _may_repeat = True

    def __init__(
        self,
        cell: Cell,
        *,
        input: int | None = None,
        hidden: int | None = None,
        dtype: str = "float32",
        seed: int = 0,
        target: str = "auto",
        learn_initial: bool = False,
        recurrent_dropout: float = 0.0,
        **sizes: int,
    ) -> None:
        if not isinstance(cell, Cell):
            raise SettingError(f"RNN: {cell!r} is not a cell; {HOW_TO_MAKE}")
        given = {name: size for name, size in (("input", input), ("hidden", hidden)) if size is not None} | sizes
        self.cell, self.sizes, self.name = cell, given, cell.name
        self.dtype, self.target = checked_dtype(dtype), checked_target(target)
        if learn_initial not in (True, False):
            raise SettingError(f"RNN: learn_initial={learn_initial!r} must be True or False")
        self.learn_initial, self.recurrent_dropout = learn_initial, checked_share("recurrent_dropout", recurrent_dropout)
        self.graph: Graph = cell.graph(**given)
        if self.recurrent_dropout and not brings_states(self.graph):
            raise SettingError(f"RNN: recurrent_dropout={recurrent_dropout}, but {cell.name} brings no state to a product")
        inits = {name: declared.init for name, declared in cell.parameters.items()}
        self._held = Held({})
        self._set(random_parameters(self.graph, inits, checked_seed(seed), self.dtype) | self._initial_parameters())
        self._programs: dict[tuple[Asked, object], Program] = {}
        self._equations = equations_of(self.graph)
        self._input, leaf = next(iter(self.graph.leaves("input").items()))
        self._output_name, out = next(iter(self.graph.named("output").items()))
        self.input_shape, self.output_shape = self.graph.nodes[leaf].shape, self.graph.nodes[out].shape

    def __repr__(self) -> str:
        told = [self.cell.name, *(f"{name}={size}" for name, size in self.sizes.items()), str(self.dtype)]
        told += ["learn_initial"] * self.learn_initial
        told += [f"recurrent_dropout={self.recurrent_dropout}"] if self.recurrent_dropout else []
        return f"RNN({', '.join(told)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a model file holds it: the equations as a graph, settings, parameters; no code, and no program."""
        return _opened, (type(self), self.graph, self._settings(), dict(self._held.parameters))

    def __deepcopy__(self, _: object) -> Self:
        """A copy has the cell itself."""
        return self._like(self.cell, self.sizes, self._settings(), self._held.parameters)

    __copy__ = partialmethod(__deepcopy__, None)

    def _settings(self) -> dict[str, Any]:
        names = "learn_initial", "recurrent_dropout", "target"
        return {name: getattr(self, name) for name in names} | {"dtype": self.dtype.name}

    @classmethod
    def _like(
        cls, cell: Cell, sizes: Mapping[str, Any], settings: Mapping[str, Any], parameters: Mapping[str, Array]
    ) -> Self:
        made = cls(cell, **settings, **sizes)
        made._set({name: np.array(value) for name, value in parameters.items()})
        return made

    # --- stages -------------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """When each gate runs and what it takes, for a plain sequence of vectors."""
        return self._program(Asked()).plan

    @property
    def source(self) -> str:
        """What the target made of the equations, for a plain sequence of vectors."""
        return self._program(Asked()).source

    @property
    def assembly(self) -> str:
        """The same as machine code. Raises `SettingError` where the target makes none."""
        return self._program(Asked()).assembly

    @property
    def values(self) -> tuple[str, ...]:
        """Names of all that `inspect` can show."""
        return tuple(self.graph.values)

    @property
    def _reads_from_end(self) -> bool:
        return False

    @property
    def _drops(self) -> bool:
        return self.recurrent_dropout > 0

    def _turned(self) -> Array:
        return np.zeros(self.output_shape, bool)

    def _leaves(self) -> dict[str, Layer]:
        return {"": self}

    def _plans(self, *, tokens: bool = False) -> tuple[Plan, ...]:
        return (self._program(Asked(tokens)).plan,)

    # --- a part of a layer --------------------------------------------------------------------------------------------

    def _pass(self, flow: Flow, states: Tree | None, keep: tuple[str, ...] = ()) -> Passed:
        flags = flow.flags()
        carry = {CARRY[flag] for flag in flags}
        if RESET in flags and self.learn_initial:
            carry = carry - {"reset"} | {"learnt reset"}
        if self.recurrent_dropout and flow.noise is not None:
            carry.add("dropout")
        asked = (
            Asked(flow.tokens, frozenset(carry), keep, flow.gradient, flow.inner)
            if carry or keep or flow.gradient
            else PLAIN[flow.tokens]
        )
        compiled = self._program(asked)
        inputs = {self._input: flow.x, **flags}
        if "dropout" in carry:
            inputs |= self._masks(compiled, flow)
        held = self._held  # read once: another thread may set others meanwhile
        first = self._initial(flow.x.shape[1]) if states is None else states
        if flow.recompute:
            again = Recomputed(
                self._program(replace(asked, gradient=False, inner=False)), compiled, held, flow, inputs, first
            )
            back = partial(self._back, again.backward, states is None)
            return Passed(again.outputs[self._output_name], again.last, {}, back)
        run = compiled.forward(held.prepare(compiled), inputs, first, lengths=flow.lengths, backwards=flow.backwards)
        outputs = run.outcome.outputs
        values = {name: outputs[name] for name in keep}
        if not flow.gradient:
            return Passed(outputs[self._output_name], run.outcome.states, values)
        way_back = partial(backward, compiled, held, run)
        return Passed(outputs[self._output_name], run.outcome.states, values, partial(self._back, way_back, states is None))

    def _back(
        self, backward: Callable[..., Outcome], from_initial: bool, dy: Array, d_states: Tree
    ) -> tuple[dict[str, Array], Array | None, Tree]:
        found = backward({self._output_name: dy}, d_states)
        first = {name: found.states["d_" + name] for name in self._state_shapes}
        if self.learn_initial and from_initial:  # every example started from it
            for name, d_state in first.items():
                found.sums[initial_name(name)] = found.sums[initial_name(name)] + d_state.sum(0)
        return found.sums, found.outputs.get("d_" + self._input), first

    def _masks(self, compiled: Program, flow: Flow) -> dict[str, Array]:
        """What recurrent dropout lets through, scaled so that the mean stays; one mask for all steps of an example."""
        leaves, (steps, batch) = compiled.plan.graph.leaves("input"), flow.x.shape[:2]
        masks = {}
        for name in (n for n in leaves if n.startswith(MASK)):
            assert flow.noise is not None, "dropout was asked for"
            shape, kept = compiled.plan.graph.nodes[leaves[name]].shape, 1.0 - self.recurrent_dropout
            mask = (flow.noise.random((batch, *shape)) < kept).astype(self.dtype) / self.dtype.type(kept)
            masks[name] = np.broadcast_to(mask, (steps, *mask.shape))
        return masks

    # --- parameters and states ----------------------------------------------------------------------------------------

    @cached_property
    def _state_shapes(self) -> dict[str, Shape]:
        return {name: self.graph.nodes[index].shape for name, index in self.graph.leaves("state").items()}

    def _initial_parameters(self) -> dict[str, Array]:
        shapes = self._state_shapes if self.learn_initial else {}
        taken = [initial_name(name) for name in shapes if initial_name(name) in self.graph.leaves("parameter")]
        if taken:
            raise SettingError(f"{self.name}: learn_initial wants a parameter {taken[0]}, which the equations have already")
        return {initial_name(name): np.zeros(shape, self.dtype) for name, shape in shapes.items()}

    def _parameters_by_name(self) -> Mapping[str, Array]:
        return self._held.parameters

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Array]:
        shapes = {name: value.shape for name, value in self._held.parameters.items()}
        named = {n: self.graph.nodes[i].shape for n, i in self.graph.leaves("parameter").items()}
        return checked_parameters(self.name, shapes | named, values, self.dtype)

    def _set(self, checked: dict[str, Array]) -> None:
        for value in checked.values():
            value.flags.writeable = False
        self._hold({**self._held.parameters, **checked})

    def _hold(self, parameters: Mapping[str, Array]) -> None:
        """Take these for all parameters: they are known to fit and to be finite, and nobody writes to them any more."""
        self._held, self._repeats = Held(parameters), Repeats(self._repeat)  # in this order: no repeat is of the former

    def _initial(self, batch: int) -> Tree:
        """The state before the first step: zeros, or what was learnt."""
        learnt = self._held.parameters if self.learn_initial else {}
        zeros = self._zero_states(batch)
        return {name: zero + learnt[initial_name(name)] for name, zero in zeros.items()} if learnt else zeros

    def _zero_states(self, batch: int) -> Tree:
        return {name: np.zeros((batch, *shape), self.dtype) for name, shape in self._state_shapes.items()}

    def _state_in(self, given: Any, batch: int | None) -> Tree | None:
        if given is None:
            return None
        asked: dict[str, Any] = {"cell": self.name, "batch": batch, "dtype": self.dtype, "equations": self._equations}
        return dict(checked_state(given, self._state_shapes, **asked))

    def _state_out(self, states: Tree, batch: int | None) -> State:
        fields = {name: value if batch is not None else value[0] for name, value in states.items()}
        return State._of(fields, self.name, batch, self._equations)

    def _lane(
        self, states: Tree, x: Array | None = None, *, tokens: bool = False, count: int | None = None
    ) -> LayerLane | None:
        compiled, held = self._program(Asked(tokens)), self._held
        lane = compiled.lane(held.prepare(compiled), states, {} if x is None else {self._input: x}, count)
        if lane is None:
            return None

        limit = int(self.input_shape[0]) if tokens else 0

        def is_current() -> bool:
            return self._held is held

        x_of, y_of = lane.inputs[self._input], lane.outputs[self._output_name]
        return LayerLane(x_of, y_of, [lane], lambda turn: lane.states[turn], is_current, limit)

    # --- calls that come again ----------------------------------------------------------------------------------------

    def _ready(self, key: Key) -> bool:
        return self._repeats.ready(key)

    def _again(self, x: Array, state: Any, key: Key) -> tuple[Array, State] | None:
        return self._repeats.call(x, state, key)

    def _repeat(self, key: Key) -> LayerRepeat | None:
        """Buffers for calls of a shape; None where there is no short way for it."""
        _, one, axes = key
        if len(axes) > 2 - one or len(axes) < 1 - one:
            return None
        batch = axes[0] if len(axes) == 2 - one else None
        held, compiled = self._held, self._program(PLAIN[False])
        repeat = compiled.repeat(held.prepare(compiled), 1 if one else axes[-1], 1 if batch is None else batch)
        if repeat is None:
            return None
        x = repeat.inputs[self._input].reshape(*axes, *self.input_shape)
        y = repeat.outputs[self._output_name].reshape(*axes, *self.output_shape)
        return LayerRepeat(repeat, x, y, self.initial_state(batch))

    # --- programs -----------------------------------------------------------------------------------------------------

    def _program(self, asked: Asked) -> Program:
        key = asked, circumstances()
        if key not in self._programs:
            self._programs[key] = program(self.graph, asked, self.dtype.name, self.target)
        return self._programs[key]


def _opened(kind: type[RNN], graph: Graph, settings: Mapping[str, Any], parameters: Mapping[str, Array]) -> RNN:
    """A layer from what it is pickled as."""
    return kind._like(from_graph(graph), graph.sizes, settings, parameters)
