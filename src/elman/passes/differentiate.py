"""The backward direction of a step, derived from the gates' own gradient rules: again a graph.

Reverse accumulation (Linnainmaa, 1970; through time: Werbos, 1990). The backward graph is a cell too: its states are the
gradients for the forward states, its inputs the values that the forward step left and the gradients for its outputs, and
it runs from the last step to the first. Gradients for parameters are totals over steps and examples, so a target can
compute them behind the loop, as one product.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from elman.gates import GATES
from elman.graph import Builder, Graph
from elman.nodes import LEAVES, Result
from elman.passes.dead import without_dead
from elman.passes.dependence import dependence
from elman.passes.remake import remake
from elman.shapes import Shape
from elman.values import Value

GRADIENT = "d_"
"""Prefix of what the backward graph calls the gradient for a state, or for an input."""
OUTPUT_GRADIENT = "d_output_"
"""Prefix of what it calls the gradient for an output, an input to it; an output and a state may have one name."""


@dataclass(frozen=True)
class Gradient:
    """What `differentiate` gives: the forward graph with its kept values as outputs, and the backward graph.

    `kept` tells for every input of the backward graph which output of the forward graph it is.
    """

    forward: Graph
    backward: Graph
    kept: tuple[str, ...]


def differentiate(graph: Graph) -> Gradient:
    """Derive the backward graph.

    Its results: role "output" `d_x` for the gradient of every vector input, "state" `d_h` for every state, "sum" under the
    parameter's name for every parameter that the results depend on.
    """
    reverse = _Reverse(graph)
    backward = without_dead(reverse.run())
    sources = {name: index for index, name in reverse.kept.items()}
    brought = _used(backward, sources)
    backward = remake(backward, graph, {name: sources[name] for name in brought})
    kept = _used(backward, brought)
    results = [*graph.results]
    for name in kept:
        node = graph.nodes[sources[name]]
        if node.gate not in ("input", "token"):  # the inputs are at hand anyway
            results.append(Result(name, "output", sources[name]))
    forward = Graph(graph.name, graph.nodes, tuple(results), graph.notes)
    return Gradient(forward, _without_unused_inputs(backward), tuple(kept))


def in_one_pass(graph: Graph) -> Graph:
    """A map and its backward direction as one graph, which keeps nothing from the one for the other.

    Its results are those of both; the gradient for the output `y` is its input `d_output_y`. It takes a map, a graph without
    states: only such can be differentiated step by step as it runs.
    """
    assert not graph.leaves("state"), "a map has no states"
    derived = differentiate(graph)
    builder = Builder(f"{graph.name}_with_gradient", notes=graph.notes)
    for node in derived.forward.nodes:
        builder.copy(node, node.inputs)
    kept = {result.name: result.node for result in derived.forward.results if result.name in derived.kept}
    new: dict[int, int] = {}
    for index, node in enumerate(derived.backward.nodes):
        is_kept = node.gate == "input" and node.name in kept
        new[index] = kept[node.name] if is_kept else builder.copy(node, (new[i] for i in node.inputs))
    results = [*graph.results, *(Result(r.name, r.role, new[r.node]) for r in derived.backward.results)]
    return without_dead(builder.finish(results))


def _read(graph: Graph) -> set[int]:
    """The values that a gate reads, or that are results."""
    return {i for node in graph.nodes for i in node.inputs} | {result.node for result in graph.results}


def _used(graph: Graph, names: Iterable[str]) -> list[str]:
    """Of some inputs those that are read."""
    leaves, read = graph.leaves("input") | graph.leaves("token"), _read(graph)
    return [name for name in names if name in leaves and leaves[name] in read]


def _without_unused_inputs(graph: Graph) -> Graph:
    used = _read(graph)
    builder = Builder(graph.name, merge=False)
    new: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.gate in LEAVES and node.gate != "state" and index not in used and not node.name.startswith(GRADIENT):
            continue
        new[index] = builder.copy(node, (new[i] for i in node.inputs))
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results)


class _Reverse:
    """One reverse walk over a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = Builder(f"{graph.name}_gradient")
        self.shared = dependence(graph).shared
        self.kept: dict[int, str] = {}
        self.again: dict[int, int] = {}  # forward node -> where its value stands in the backward graph
        self.found: dict[int, list[Value]] = {}  # forward node -> contributions to its gradient

    def run(self) -> Graph:
        """Walk from the results to the leaves."""
        for index, node in enumerate(self.graph.nodes):
            if self.shared[index]:  # what parameters alone make is made again; in order, as a chain of them may be long
                self.again[index] = self.builder.copy(node, (self.again[i] for i in node.inputs))
        for result in self.graph.results:
            gate, prefix = {"output": ("input", OUTPUT_GRADIENT), "state": ("state", GRADIENT)}[result.role]
            leaf = self.builder.leaf(gate, prefix + result.name, self.graph.nodes[result.node].shape)
            gradient = Value(self.builder, leaf)
            self._contribute(result.node, self._totalled(gradient) if self.shared[result.node] else gradient)
        for index in reversed(range(len(self.graph.nodes))):
            node = self.graph.nodes[index]
            if index in self.found and node.gate not in LEAVES:
                self._reverse(index)
        results = list(self._results())  # these still add gates
        return self.builder.finish(results)

    def _reverse(self, index: int) -> None:
        node = self.graph.nodes[index]
        inputs = [self._value(i) for i in node.inputs]
        gradients = GATES[node.gate].gradient(self._gradient(index), self._value(index), *inputs, **node.settings)
        for source, gradient in zip(node.inputs, gradients, strict=True):
            if gradient is None or self.graph.nodes[source].gate in ("constant", "token"):
                continue
            # From every step and example into one value for all: these are summed.
            total = self.shared[source] and not self.shared[index]
            self._contribute(source, self._totalled(gradient) if total else gradient)

    def _totalled(self, gradient: Value) -> Value:
        return Value(self.builder, self.builder.add("total", (gradient.index,)))

    def _contribute(self, index: int, gradient: Value) -> None:
        self.found.setdefault(index, []).append(gradient)

    def _gradient(self, index: int) -> Value:
        return _added(self.builder, self.found[index])

    def _value(self, index: int) -> Value:
        """A forward value in the backward graph: made again where it is an expansion, else brought as an input."""
        if index not in self.again:
            node = self.graph.nodes[index]
            if node.gate == "expand":
                self.again[index] = self.builder.copy(node, (self._value(i).index for i in node.inputs))
            else:
                name = self.kept.setdefault(index, self._kept_name(index))
                gate = "token" if node.gate == "token" else "input"
                self.again[index] = self.builder.leaf(gate, name, node.shape, node.attributes if gate == "token" else ())
        return Value(self.builder, self.again[index])

    def _kept_name(self, index: int) -> str:
        node = self.graph.nodes[index]
        taken = {other.name for other in self.graph.nodes} | {result.name for result in self.graph.results}
        free = (f"kept_{index}" + "_" * k for k in range(len(taken) + 1))
        return node.name if node.gate in ("input", "token") else next(name for name in free if name not in taken)

    def _results(self) -> Iterable[Result]:
        for index, node in enumerate(self.graph.nodes):
            if node.gate == "parameter" and index in self.found:
                yield Result(node.name, "sum", self._gradient(index).index)
            elif node.gate == "state" or (node.gate == "input" and len(node.shape) > 0):
                gradient = self._gradient(index).index if index in self.found else self._zeros(node.shape)
                yield Result(GRADIENT + node.name, "state" if node.gate == "state" else "output", gradient)

    def _zeros(self, shape: Shape) -> int:
        zero = self.builder.constant(0.0)
        return self.builder.add("expand", (zero,), (("shape", shape),)) if shape else zero


def _added(builder: Builder, gradients: list[Value]) -> Value:
    """Sum of contributions; those for parts of a vector are laid side by side instead of padded and added."""
    pads = [g for g in gradients if builder.nodes[g.index].gate == "pad"]
    parts = {builder.nodes[g.index].settings["before"]: g for g in pads}
    if len(pads) > 1 and len(parts) == len(pads):
        joined = _side_by_side(builder, [parts[start] for start in sorted(parts)])
        if joined is not None:
            gradients = [*(g for g in gradients if builder.nodes[g.index].gate != "pad"), joined]
    total = gradients[0]
    for gradient in gradients[1:]:
        total = total + gradient
    return total


def _side_by_side(builder: Builder, pads: list[Value]) -> Value | None:
    """One concatenation of padded parts that meet without a gap, or nothing."""
    end, inner = 0, []
    for pad in pads:
        node = builder.nodes[pad.index]
        source = Value(builder, node.inputs[0])
        if node.settings["before"] != end:
            return None
        end += int(source.shape[0])
        inner.append(source)
    if builder.nodes[pads[-1].index].settings["after"]:
        return None
    return inner[0]._gate("concatenate", *inner)
