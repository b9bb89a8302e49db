"""From a graph back to a cell: its gates are applied one by one, so it traces, runs and differentiates like any other."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.declare import Declared
from elman.errors import GraphError
from elman.gates import GATES
from elman.graph import Graph
from elman.nodes import LEAVES, Node
from elman.shapes import Size
from elman.trace import Cell
from elman.values import Value

OF_PASSES = ("total", "detach", "token", "lookup", "scatter", "one_hot", "cross_entropy")
"""Gates that no equation can write."""


def from_graph(graph: Graph) -> Cell:
    """A cell whose equations are those of a graph: what a model file is opened with, without its Python.

    It has the names, states and parameters of the graph, and takes other sizes where the equations do. Raises `GraphError`
    for a graph that is no cell.
    """
    _check_equations(graph)
    return Cell(_Replay(graph), name=graph.name)


class _Replay:
    """The equations of a graph as a function, which can be pickled and copied as the graph can."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.__doc__, self.__signature__ = graph, graph.notes, _signature(graph)
        self._positional = [*graph.leaves("input"), *graph.leaves("state")]
        outputs = [result for result in graph.results if result.role == "output"]
        states = [result for result in graph.results if result.role == "state"]
        self._returned = states if states and states[0].node == outputs[0].node else outputs + states

    def __call__(self, /, *arguments: Any, **parameters: Any) -> tuple[Any, ...]:  # a parameter may be called self
        values = _replayed(self.graph, dict(zip(self._positional, arguments, strict=True)) | parameters)
        return tuple(values[result.node] for result in self._returned)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Replay, (self.graph,)


def _check_equations(graph: Graph) -> None:
    """A cell has one input and one output, and none of the gates that only passes put in."""
    inputs, outputs = graph.leaves("input"), graph.named("output")
    if len(inputs) != 1 or len(outputs) != 1 or graph.named("sum"):
        raise GraphError(f"{graph.name}: {len(inputs)} inputs and {len(outputs)} outputs; a cell has one of each")
    foreign = [node.gate for node in graph.nodes if node.gate in OF_PASSES]
    if foreign:
        raise GraphError(f"{graph.name}: the gate {foreign[0]} does not stand in equations")


def _replayed(graph: Graph, given: Mapping[str, Any]) -> list[Any]:
    """Value of every node, on arrays or on traced values."""
    values: list[Any] = []
    for node in graph.nodes:
        if node.gate == "constant":
            values.append(_constant(node, next(iter(given.values()))))
        elif node.gate in LEAVES:
            values.append(given[node.name])
        elif node.gate == "expand":
            values.append(values[node.inputs[0]])  # put in again where it is needed
        else:
            values.append(_applied(node, [values[i] for i in node.inputs]))
    return values


def _applied(node: Node, operands: list[Any]) -> Any:
    traced = next((value for value in operands if isinstance(value, Value)), None)
    if traced is None:
        return GATES[node.gate].forward(*operands, **node.settings)
    value = traced.__gate__(node.gate, tuple(operands), node.settings)
    if node.name:
        value.builder.rename(value.index, node.name)
    return value


def _constant(node: Node, like: Any) -> Any:
    """A number takes the type of what it meets; an array is made in the type of the others."""
    value = node.settings["value"]
    if isinstance(value, float):
        return value
    return np.asarray(value, np.float64 if isinstance(like, Value) else np.result_type(like, np.float32))


def _signature(graph: Graph) -> inspect.Signature:
    """The signature that a function with these equations would have."""
    arguments = []
    for gate in ("input", "state", "parameter"):
        for name, index in graph.leaves(gate).items():
            shape = tuple(s.name if isinstance(s, Size) and s.name else int(s) for s in graph.nodes[index].shape)
            kind = gate if gate != "parameter" else "weight" if len(shape) == 2 else "bias"
            declared = Declared(kind, shape, "uniform" if kind == "weight" else "zeros")
            place = inspect.Parameter.KEYWORD_ONLY if gate == "parameter" else inspect.Parameter.POSITIONAL_OR_KEYWORD
            arguments.append(inspect.Parameter(name, place, default=declared))
    return inspect.Signature(arguments)
