"""A program: the graph of a cell compiled for given sizes, for one way of asking, forward and backward; and their cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from elman.errors import DataError, SettingError, ShapeError
from elman.gates import Array
from elman.graph import Graph
from elman.lanes import StepLane
from elman.passes import Plan, differentiate, lower, schedule
from elman.passes.differentiate import GRADIENT, OUTPUT_GRADIENT
from elman.repeats import Bound, Names, Repeat
from elman.shapes import written
from elman.targets import Elementwise, Executable, Outcome, Prepared, Target, circumstances, target


@dataclass(frozen=True)
class Asked:
    """One way of asking: a token input or not, rules for carrying the state, values to keep, with a gradient or not.

    `inner` says that the gradient for the input is of no use to anybody.
    """

    tokens: bool = False
    carry: frozenset[str] = frozenset()
    keeping: tuple[str, ...] = ()
    gradient: bool = False
    inner: bool = False


@dataclass(eq=False, slots=True)
class Run:
    """A forward run that can be differentiated: what it gave, the values that its gradient needs, and how it went."""

    outcome: Outcome
    kept: Mapping[str, Array] = field(repr=False)
    lengths: Array | None = None
    backwards: bool = False


class Program:
    """A graph for one way of asking, compiled for a target. Immutable: parameters and states are arguments.

    `plan`, `source` and `assembly` (and `backward_plan`, `backward_source`) show what was made of it.
    """

    def __init__(self, graph: Graph, asked: Asked, dtype: str, compiled: Target) -> None:
        lowered = lower(graph, carry=asked.carry, tokens=asked.tokens, keeping=asked.keeping, merging=compiled.merges(graph))
        self.asked, self.dtype = asked, np.dtype(dtype)
        self._backward: Executable | None = None
        self._kept: tuple[str, ...] = ()
        if asked.gradient:
            derived = differentiate(lowered)
            lowered, self._kept = derived.forward, derived.kept
            backward = _inner(derived.backward) if asked.inner else derived.backward
            backward = lower(backward, merging=compiled.merges(backward))
            self.backward_plan = schedule(backward, self.dtype.itemsize, registers=not compiled.merges(backward))
            self._backward = compiled(self.backward_plan, self.dtype)
        self.plan: Plan = schedule(lowered, self.dtype.itemsize, registers=not compiled.merges(lowered))
        self._forward: Executable = compiled(self.plan, self.dtype)

    @property
    def source(self) -> str:
        """What the target made of the forward plan."""
        return self._forward.source

    @property
    def assembly(self) -> str:
        """The machine code of the forward plan. Raises `SettingError` where it is not compiled to any."""
        listing: str | None = getattr(self._forward, "assembly", None)
        if listing is None:
            raise SettingError(f'{self.plan.graph.name}: it runs without machine code of its own; target="llvm" makes some')
        return listing

    @property
    def backward_source(self) -> str:
        """What the target made of the backward plan."""
        assert self._backward is not None, "this program was made without a gradient"
        return self._backward.source

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Prepared:
        """What needs only the parameters, computed once for a set of them."""
        return self._forward.prepare(parameters, lasting=lasting)

    def prepare_backward(self, parameters: Mapping[str, Array]) -> Prepared:
        """The same for the backward direction."""
        assert self._backward is not None, "this program was made without a gradient"
        return self._backward.prepare(parameters)

    def forward(
        self,
        prepared: Prepared,
        inputs: Mapping[str, Array],
        states: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        backwards: bool = False,
    ) -> Run:
        """Run over inputs by name, `[T, B, ...]`, from states `[B, ...]`; `lengths` `[B]` and `backwards` as in a target."""
        outcome = self._forward.run(
            prepared, inputs, states, lengths=lengths, backwards=backwards, inward=self.asked.gradient
        )
        kept = {name: inputs[name] if name in inputs else outcome.outputs[name] for name in self._kept}
        return Run(outcome, kept, lengths, backwards)

    def lane(
        self,
        prepared: Prepared,
        states: Mapping[str, Array],
        inputs: Mapping[str, Array] | None = None,
        count: int | None = None,
    ) -> StepLane | None:
        """One example step after step, from states `[...]`, or `count` side by side, where the target has a short way."""
        make = getattr(self._forward, "lane", None)
        lane: StepLane | None = None if make is None else make(prepared, states, inputs or {}, count)
        return lane

    def repeat(self, prepared: Prepared, steps: int, batch: int) -> Repeat | None:
        """A call of so many steps and examples that is made again and again, where the target has a short way for it."""
        make = getattr(self._forward, "repeat", None)
        found: Repeat | None = None if make is None else make(prepared, steps, batch)
        return found

    def bound(
        self,
        parameters: Mapping[str, Array],
        names: Names,
        inputs: Mapping[str, Array],
        first: Mapping[str, Array],
    ) -> Bound | None:
        """A forward run over arrays that stay where they are, where the target has a short way for it.

        Parameters, which change, have these `names` where they are given; those of now tell how they lie.
        """
        return _bound(self._forward, parameters, names, inputs, first, backwards=False)

    def bound_backward(
        self,
        parameters: Mapping[str, Array],
        names: Names,
        run: Bound,
        inputs: Mapping[str, Array],
        d_outputs: Mapping[str, Array],
    ) -> Bound | None:
        """The way back of a bound run, which read these inputs; nothing comes from the last states."""
        kept = {name: inputs[name] if name in inputs else run.outputs[name] for name in self._kept}
        given = kept | {OUTPUT_GRADIENT + name: value for name, value in d_outputs.items()}
        last = {GRADIENT + name: np.zeros_like(state) for name, state in run.last.items()}
        return _bound(self._backward, parameters, names, given, last, backwards=True)

    def backward(
        self,
        parameters: Mapping[str, Array],
        run: Run,
        d_outputs: Mapping[str, Array],
        d_states: Mapping[str, Array] | None = None,
        *,
        prepared: Prepared | None = None,
        totals: Mapping[int, Array] | None = None,
    ) -> Outcome:
        """Gradients, given those for the outputs `[T, B, ...]` and for the last states `[B, ...]`.

        Returns `outputs` with `d_x` for an input, `states` with `d_h` for the first states, `sums` for the parameters, which
        go on from the `totals` of the steps behind these.
        """
        assert self._backward is not None, "this program was made without a gradient"
        inputs = dict(run.kept) | {OUTPUT_GRADIENT + name: value for name, value in d_outputs.items()}
        last = {GRADIENT + n: np.zeros_like(s) if d_states is None else d_states[n] for n, s in run.outcome.states.items()}
        ready = self.prepare_backward(parameters) if prepared is None else prepared
        found = self._backward.run(
            ready, inputs, last, lengths=run.lengths, backwards=not run.backwards, inward=True, totals=totals
        )
        zeros = {name: np.zeros_like(value) for name, value in parameters.items() if name not in found.sums}
        return replace(found, sums={name: (found.sums | zeros)[name] for name in parameters})


def _bound(executable: Any, *given: Mapping[str, Any], backwards: bool) -> Bound | None:
    make = getattr(executable, "bound", None)
    found: Bound | None = None if make is None else make(*given, backwards=backwards)
    return found


def _inner(backward: Graph) -> Graph:
    """A backward graph without the gradients for inputs."""
    return replace(backward, results=tuple(result for result in backward.results if result.role != "output"))


def program(graph: Graph, asked: Asked, dtype: str, target_name: str) -> Program:
    """The program of a graph, compiled the first time and kept; another machine has another."""
    return _program(graph, asked, dtype, chosen(target_name))


@lru_cache(maxsize=256)
def _program(graph: Graph, asked: Asked, dtype: str, compiled: Target) -> Program:
    return Program(graph, asked, dtype, compiled)


def elementwise(graph: Graph, dtype: np.dtype[Any]) -> Elementwise:
    """A graph of numbers over every element of arrays of a type, compiled the first time and kept."""
    return _elementwise(graph, dtype, chosen("auto"))


def chosen(name: str) -> Target:
    """The target of a name, which is looked up anew where the environment has changed."""
    return _chosen(name, circumstances())


@lru_cache(maxsize=16)
def _chosen(name: str, _: object) -> Target:
    return target(name)


@lru_cache(maxsize=256)
def _elementwise(graph: Graph, dtype: np.dtype[Any], compiled: Target) -> Elementwise:
    return compiled.elementwise(graph, dtype)


def random_parameters(graph: Graph, inits: Mapping[str, Any], seed: int, dtype: np.dtype[Any]) -> dict[str, Array]:
    """First values of a graph's parameters, drawn in their order from one generator: same seed, same values.

    `inits` gives for a name "uniform" (+-sqrt(1/columns)), "zeros", "ones", "orthogonal", a number, or a function. Raises
    `ShapeError` or `DataError` where a function gives what does not fit.
    """
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, index in graph.leaves("parameter").items():
        shape = tuple(int(size) for size in graph.nodes[index].shape)
        value = np.asarray(_initial(inits.get(name, "uniform"), shape, rng))
        if value.shape != shape:
            raise ShapeError(f"{graph.name}: {name} is {written(value.shape)} at first, {written(shape)} is wanted")
        if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise DataError(f"{graph.name}: {name} holds NaN, infinity or what is no number at first")
        drawn[name] = np.array(value, dtype, order="C")
    return drawn


def _initial(init: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if callable(init):
        return np.asarray(init(rng, shape))
    if init == "uniform":
        bound = np.sqrt(1.0 / shape[-1])
        return rng.uniform(-bound, bound, shape)
    if init == "orthogonal":
        q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
        q = q * np.sign(np.diag(r))
        return q if q.shape == shape else q.T
    return np.full(shape, {"zeros": 0.0, "ones": 1.0}.get(init, init), np.float64)
