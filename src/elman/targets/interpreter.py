"""The oracle: gate by gate, step by step, one example at a time, straight from the gate table. Slow, and plainly right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from elman.gates import GATES, Array
from elman.graph import Graph
from elman.passes import Plan
from elman.targets.interface import Elementwise, Many, Outcome, Prepared


def interpret(graph: Graph, leaves: Mapping[str, Any], dtype: Any = np.float64) -> list[Any]:
    """Value of every node of a graph, given its leaves by name (no batch, no time)."""
    values: list[Any] = []
    for node in graph.nodes:
        if node.gate == "constant":
            values.append(np.asarray(node.settings["value"], dtype))
        elif node.gate in GATES:
            values.append(GATES[node.gate].forward(*(values[i] for i in node.inputs), **node.settings))
        else:
            values.append(leaves[node.name])
    return values


def computed(plan: Plan, parameters: Mapping[str, Array], dtype: Any) -> dict[int, Array]:
    """Parameters, constants and what is made of them alone, by node."""
    graph = plan.graph
    values: dict[int, Array] = {index: parameters[name] for name, index in graph.leaves("parameter").items()}
    for index, node in enumerate(graph.nodes):
        if node.gate == "constant":
            values[index] = np.asarray(node.settings["value"], dtype)
        elif plan.phases[index] == "prepare" or (node.gate == "expand" and node.inputs[0] in values):
            made = GATES[node.gate].forward(*(values[i] for i in node.inputs), **node.settings)
            values[index] = np.asarray(made, dtype)
    return values


def finished(plan: Plan, shared: Mapping[int, Array], totals: Mapping[int, Array], dtype: Any) -> dict[str, Array]:
    """The sums of a plan by name, from what is made of the parameters alone and the totals, both by node."""
    graph, values = plan.graph, dict(shared) | dict(totals)
    for index in plan.nodes("finish"):
        node = graph.nodes[index]
        for i in node.inputs:
            if i not in values:  # an expansion of a total
                inner = graph.nodes[i]
                values[i] = np.asarray(GATES[inner.gate].forward(values[inner.inputs[0]], **inner.settings), dtype)
        values[index] = np.asarray(GATES[node.gate].forward(*(values[i] for i in node.inputs), **node.settings), dtype)
    return {name: values[index] for name, index in graph.named("sum").items()}


@dataclass(frozen=True)
class InterpreterTarget:
    """The interpreter as a target: slow, for tests."""

    name: ClassVar[str] = "interpreter"

    def merges(self, graph: Graph) -> bool:
        """It runs what it is given."""
        return True

    def __call__(self, plan: Plan, dtype: Any) -> "Interpreter":
        """Run a plan as it stands."""
        return Interpreter(plan, dtype)

    def elementwise(self, graph: Graph, dtype: Any) -> Elementwise:
        """Run a graph as it stands, on whole arrays."""

        def run(inputs: Mapping[str, Many], numbers: Mapping[str, float]) -> tuple[list[Array], bool]:
            given = {name: np.concatenate([np.ravel(array) for array in arrays]) for name, arrays in inputs.items()}
            values = interpret(graph, given | {name: np.asarray(x, dtype) for name, x in numbers.items()}, dtype)
            found = [np.array(values[node]) for node in graph.named("output").values()]
            return found, bool(np.isfinite(found[0]).all())

        return run

    def squares_of(self, arrays: Sequence[Array]) -> Callable[[], list[float]]:
        """Of each number by itself."""
        return lambda: [float(x) ** 2 for array in arrays for x in array.flat]


class Interpreter:
    """A target that runs the graph as it stands."""

    def __init__(self, plan: Plan, dtype: Any) -> None:
        self.graph, self.dtype, self.source = plan.graph, np.dtype(dtype), str(plan.graph)

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Prepared:
        """Nothing is computed ahead."""
        return Prepared({index: parameters[name] for name, index in self.graph.leaves("parameter").items()})

    def run(
        self,
        prepared: Prepared,
        inputs: Mapping[str, Array],
        states: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        backwards: bool = False,
        inward: bool = False,
        totals: Mapping[int, Array] | None = None,
    ) -> Outcome:
        """One step of one example after another."""
        steps, batch = next(iter(inputs.values())).shape[:2]
        graph = self.graph
        shared = {graph.nodes[index].name: value for index, value in prepared.shared.items()}
        outputs, states = self._zeros(graph.named("output"), (steps, batch)), {n: s.copy() for n, s in states.items()}
        nodes, zeros = graph.named("sum"), self._zeros(graph.named("sum"), ())
        sums = zeros if not totals else {name: totals[node].copy() for name, node in nodes.items()}
        for t in range(steps)[:: -1 if backwards else 1]:
            for b in (b for b in range(batch) if lengths is None or t < lengths[b]):
                before = {n: s[b].copy() for n, s in states.items()}  # a value may be a state itself, which changes below
                leaves = shared | {n: x[t, b] for n, x in inputs.items()} | before
                values = interpret(graph, leaves, self.dtype)
                for name, node in graph.named("output").items():
                    outputs[name][t, b] = values[node]
                for name, node in graph.named("state").items():
                    states[name][b] = values[node]
                for name, node in graph.named("sum").items():
                    sums[name] += values[node]
        return Outcome(outputs, states, sums, {node: sums[name] for name, node in nodes.items()})

    def _zeros(self, results: Mapping[str, int], axes: tuple[int, ...]) -> dict[str, Array]:
        return {name: np.zeros((*axes, *self.graph.nodes[index].shape), self.dtype) for name, index in results.items()}
