"""A Scan that this library wrote is the layer again that it was: its node carries the equations, as model files do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elman.describe import read_graph
from elman.errors import ModelFileError, one_line
from elman.files import check_arrays
from elman.gates import Array
from elman.graph import Graph
from elman.io.onnx.reading import ABSENT, LAYER, Net, Node
from elman.layer import Layer
from elman.replay import from_graph
from elman.rnn import RNN
from elman.stack import Backwards
from elman.states import State

EQUATIONS, PARAMETERS = "elman equations", "parameters"
"""What the notes of such a node hold, as JSON: the graph of its cell, and which constants its parameters are."""


def notes_of(graph: Graph, names: Mapping[str, str]) -> str:
    """The notes of a node that runs a graph."""
    return json.dumps({EQUATIONS: graph.to_json(), PARAMETERS: dict(names)})


def as_layers(net: Net) -> Net:
    """The net, with each Scan that carries its equations marked as a layer."""
    return replace(net, nodes=tuple(replace(node, op=LAYER) if _carries(node) else node for node in net.nodes))


def _carries(node: Node) -> bool:
    return node.op == "Scan" and node.notes.startswith(json.dumps({EQUATIONS: 0})[:-2])


@dataclass(frozen=True)
class Scanned:
    """The layer of a Scan, which has its states in front and time as the first axis; with lengths, what is inside them."""

    layer: Layer
    part: str
    has_lengths: bool

    def __call__(self, inputs: Sequence[Any], state: Any = None) -> tuple[tuple[Array, ...], State]:
        """Run over what the node reads; returns what it gives, and the state of the layer, which comes before its own."""
        *initial, x, inside = inputs if self.has_lengths else (*inputs, None)
        first = state
        if state is None and not any(value is ABSENT for value in initial):
            first = {self.part: tuple(initial)} if self.part else tuple(initial)
        y, last = self.layer(x.swapaxes(0, 1), first, lengths=None if inside is None else inside.sum(0))
        return (*(last[self.part] if self.part else last).values(), y.swapaxes(0, 1)), last


def scanned(net: Net, node: Node) -> Scanned:
    """The layer of a node that carries its equations. Raises `ModelFileError` where these do not fit."""
    try:
        facts = json.loads(node.notes)
        graph = read_graph(facts[EQUATIONS])
        values = {name: net.constants[constant] for name, constant in facts[PARAMETERS].items()}
        dtype = next((value.dtype.name for value in values.values()), "float32")
        check_arrays(values, {name: graph.nodes[at].shape for name, at in graph.leaves("parameter").items()}, dtype)
        sizes: dict[str, Any] = graph.sizes
        rnn = RNN(from_graph(graph), dtype=dtype, **sizes)
        rnn.update(values)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ModelFileError(f"{net.name}: {node}: its equations cannot be read: {one_line(str(error))}") from error
    backwards = bool((node.attributes.get("scan_input_directions") or (0,))[0])
    has_lengths = int(node.attributes["num_scan_inputs"]) > 1
    return Scanned(Backwards(rnn), "layer", has_lengths) if backwards else Scanned(rnn, "", has_lengths)
