"""A point as something to run: a layer with random weights, random inputs, and the same net for the peers."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.bench.grid import Point, equations
from elman.bench.timing import Way
from elman.gates import Array
from elman.graph import Graph
from elman.passes import Plan
from elman.program import Asked, program
from elman.rnn import RNN

OURS, DTYPE, TARGET = "elman", "float32", "llvm"

Step = Callable[[Array], Array]
"""From the input of a step to its output; the state is kept."""


@dataclass(frozen=True)
class Net:
    """What a peer is to run: a cell with its parameters by name, and the input, from states of zero.

    `x` is `[B, T, I]`, or tokens `[B, T]`. A peer that looks up no columns of matrices takes row `x[b, t]` of `embedding`
    and the `narrow` parameters, which give the same. With `stepwise` a call is a single step.
    """

    cell: str
    graph: Graph
    parameters: Mapping[str, Array]
    x: Array
    stepwise: bool
    embedding: Array | None
    narrow: Mapping[str, Array]

    @property
    def hidden(self) -> int:
        """Size of the state."""
        return self.graph.sizes["hidden"]

    @property
    def input(self) -> int:
        """Size of what enters the cell, from the embedding if there is one."""
        return int((self.x if self.embedding is None else self.embedding).shape[-1])


class Problem:
    """A point with its weights and inputs.

    Tokens stand for one-hot vectors to elman, which looks up columns of its input matrices. Most peers have no such thing:
    they get the same numbers as an embedding and narrower input matrices, whose products are those columns. It is as wide as
    the state, or as the vocabulary where that is less.
    """

    def __init__(self, point: Point) -> None:
        self.point, cell, rng = point, equations(point.cell), np.random.default_rng(0)
        sizes: dict[str, Any] = {name: point.input if name == "input" else point.hidden for name in cell.sizes}
        self.rnn = RNN(cell, dtype=DTYPE, target=TARGET, **sizes)
        embedding = _embedding(point, rng)
        parameters, narrow = {}, {}
        for name, value in self.rnn.parameters.items():
            meets_input = embedding is not None and cell.parameters[name].shape[1:] == ("input",)
            width = embedding.shape[1] if embedding is not None and meets_input else value.shape[-1]
            bound = 1 / np.sqrt(max(width, point.hidden))
            narrow[name] = rng.uniform(-bound, bound, (*value.shape[:-1], width)).astype(DTYPE)
            parameters[name] = narrow[name] @ embedding.T if embedding is not None and meets_input else narrow[name]
        self.rnn.update(parameters)
        rows, size = (point.batch, point.steps), point.vocabulary
        vectors = size is None
        self.x: Array = rng.standard_normal((*rows, point.input), np.float32) if vectors else rng.integers(0, size, rows)
        self.net = Net(point.cell, self.rnn.graph, parameters, self.x, point.stepwise, embedding, narrow)

    @property
    def plan(self) -> Plan:
        """When each gate runs."""
        return program(self.rnn.graph, Asked(tokens=self.point.vocabulary is not None), DTYPE, TARGET).plan

    def way(self, group: str = OURS) -> Way:
        """How elman runs it: through the public door."""
        point, rnn = self.point, self.rnn
        x = self.x[0] if point.batch == 1 else self.x
        if not point.stepwise:
            return Way(group, "", lambda: rnn(x), lambda: rnn(x)[0].reshape(point.batch, point.steps, -1))
        start = self._step if point.part == "steps" else lambda: rnn.stream().push
        return stepping(group, "", x if point.batch == 1 else x.swapaxes(0, 1), start)

    def _step(self) -> Step:
        state = None

        def step(x: Array) -> Array:
            nonlocal state
            y, state = self.rnn.step(x, state)
            return y

        return step


def stepping(
    group: str,
    label: str,
    x: Array,
    start: Callable[[], Step],
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Way:
    """A way whose call is a single step, from `x[0]`; its outputs are those of all steps of `x` from the start."""
    step, inputs = start(), [np.ascontiguousarray(row) for row in x]
    first = inputs[0]

    def output() -> Array:
        fresh = start()
        batch = 1 if x.ndim == 2 else x.shape[1]
        return np.stack([np.array(fresh(row)).reshape(batch, -1) for row in inputs], 1)

    return Way(group, label, lambda: step(first), output, around)


def _embedding(point: Point, rng: np.random.Generator) -> Array | None:
    if point.vocabulary is None:
        return None
    if point.vocabulary <= point.hidden:
        return np.eye(point.vocabulary, dtype=np.float32)
    return rng.standard_normal((point.vocabulary, point.hidden), np.float32)
