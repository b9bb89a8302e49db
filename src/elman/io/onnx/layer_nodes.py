"""Layers as ONNX nodes: cells that are an operator become one, all others a Scan of their graph."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from elman import cells
from elman.cells import elman_with, gru, gru_reset_before, lstm, lstm_peephole
from elman.errors import SettingError
from elman.gates import Array, relu, sigmoid, softplus
from elman.graph import equations_of
from elman.io.onnx.equations import GATES, PEEPHOLES
from elman.io.onnx.gate_nodes import GateNodes, outputs_of
from elman.io.onnx.recurrent import name_of
from elman.io.onnx.scans import notes_of
from elman.io.onnx.writer import Writer
from elman.layer import Layer
from elman.passes.carry import initial_name
from elman.pooled import POOL, Pooled
from elman.rnn import RNN
from elman.stack import Backwards, Bidirectional, Stack
from elman.trace import Cell

States = dict[str, Any]
"""Names of the arrays `[B, ...]` of a state, by field; of layers made of layers in a mapping for each part."""

NATIVE: tuple[tuple[Cell, str, dict[str, Any]], ...] = (
    (cells.elman, "RNN", {}),
    (elman_with(relu), "RNN", {"activations": ["Relu"]}),
    (elman_with(sigmoid), "RNN", {"activations": ["Sigmoid"]}),
    (elman_with(softplus), "RNN", {"activations": ["Softplus"]}),
    (gru, "GRU", {"linear_before_reset": 1}),
    (gru_reset_before, "GRU", {}),
    (lstm, "LSTM", {}),
    (lstm_peephole, "LSTM", {}),
)
"""Cells that are an operator, with its attributes. They are known by their equations, so opened models find theirs."""


class Written(NamedTuple):
    """Names of what a layer gives, `[T, B, ...]`, and of its last states."""

    y: str
    states: States


def write_layer(writer: Writer, layer: Layer, x: str, states: States, *, backwards: bool = False) -> Written:
    """Write a layer that reads `x` `[T, B, ...]` and starts from `states`. Raises `SettingError` for an unknown kind."""
    match layer:
        case RNN():
            return _rnn(writer, layer, x, states, backwards)
        case Stack():
            return _stack(writer, layer, x, states, backwards)
        case Backwards():
            inner = write_layer(writer, layer.layer, x, states.get("layer", {}), backwards=not backwards)
            return Written(inner.y, {"layer": inner.states})
        case Bidirectional():
            return _bidirectional(writer, layer, x, states, backwards)
        case Pooled():
            below = write_layer(writer, layer.layer, x, {n: s for n, s in states.items() if n != POOL}, backwards=backwards)
            above = write_layer(writer, layer._pool, below.y, states[POOL], backwards=backwards)
            return Written(above.y, {**below.states, POOL: above.states})
    raise SettingError(f"{layer.name}: a layer of {type(layer).__name__} cannot be written as ONNX")


def _stack(writer: Writer, stack: Stack, x: str, states: States, backwards: bool) -> Written:
    last: States = {}
    for position, (name, layer) in enumerate(stack.parts.items()):
        found = write_layer(writer, layer, x, states.get(name, {}), backwards=backwards)
        x = writer.add("Add", [found.y, x]) if stack.residual and position else found.y
        last[name] = found.states
    return Written(x, last)


def _bidirectional(writer: Writer, layer: Bidirectional, x: str, states: States, backwards: bool) -> Written:
    ahead = write_layer(writer, layer.parts["forward"], x, states.get("forward", {}), backwards=backwards)
    behind = write_layer(writer, layer.parts["backward"], x, states.get("backward", {}), backwards=not backwards)
    both = [ahead.y, behind.y]
    if layer.merge == "concatenate":
        y = writer.add("Concat", both, axis=-1)
    else:
        y = writer.add({"sum": "Add", "mean": "Mean", "product": "Mul"}[layer.merge], both)
    return Written(y, {"forward": ahead.states, "backward": behind.states})


def _rnn(writer: Writer, rnn: RNN, x: str, states: States, backwards: bool) -> Written:
    known = equations_of(rnn.graph)
    for cell, kind, attributes in NATIVE:
        if set(cell.sizes) == set(rnn.sizes) and equations_of(cell.graph(**rnn.sizes)) == known:
            turned = {"direction": "reverse"} if backwards else {}
            return _native(writer, rnn, x, states, kind, attributes | turned)
    if not rnn.graph.leaves("state"):  # a map, for all steps at once
        names = {name: writer.floats(value, name) for name, value in rnn.parameters.items()}
        nodes = GateNodes(writer, rnn.graph, 2, x)
        nodes.write({rnn._input: x}, names)
        return Written(outputs_of(nodes)[""], {})
    return _scan(writer, rnn, x, states, backwards)


# --- one operator -----------------------------------------------------------------------------------------------------


def _native(writer: Writer, rnn: RNN, x: str, states: States, kind: str, attributes: Mapping[str, Any]) -> Written:
    weights = {name: writer.floats(value, name) for name, value in packed(kind, rnn.parameters).items()}
    axis = writer.integers(0)
    initial = [writer.add("Unsqueeze", [name, axis]) for name in states.values()]
    inputs = [x, weights["W"], weights["R"], weights["B"], "", *initial, *([weights["P"]] if "P" in weights else [])]
    last = [f"{name}.last" for name in states]
    hidden = int(rnn.output_shape[0])
    y, *ends = writer.several(kind, inputs, [f"{rnn.name}.y", *last], hidden_size=hidden, **attributes)
    flat = writer.add("Squeeze", [y, writer.integers(1)])
    return Written(flat, {n: writer.add("Squeeze", [end, axis]) for n, end in zip(states, ends, strict=True)})


def packed(kind: str, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """W, R, B and, where there are peepholes, P of an operator, for one direction, from the parameters of a cell."""
    gates = GATES[kind]
    w, r, wb = (np.concatenate([parameters[name_of(kind, letter, gate)] for gate in gates]) for letter in "wub")
    rb = np.zeros_like(wb)
    if "dn" in parameters:  # the bias inside the reset is that of the recurrent product
        rb[-len(parameters["dn"]) :] = parameters["dn"]
    found = {"W": w, "R": r, "B": np.concatenate([wb, rb])}
    if "pi" in parameters:
        found["P"] = np.concatenate([parameters["p" + gate] for gate in PEEPHOLES])
    return {name: value[None] for name, value in found.items()}


# --- a Scan -----------------------------------------------------------------------------------------------------------


def _scan(writer: Writer, rnn: RNN, x: str, states: States, backwards: bool) -> Written:
    """The graph of the cell as the body of a Scan, which runs it over the first axis."""
    names = {name: writer.floats(value, name) for name, value in rnn.parameters.items() if name not in _initial(rnn)}
    body = writer.inner()
    given = {name: body.name(f"{name}.before") for name in states}
    x_t = body.name(f"{rnn._input}.step")
    nodes = GateNodes(body, rnn.graph, 1, x_t)
    nodes.write({**given, rnn._input: x_t}, names)
    found = outputs_of(nodes)
    after = [body.add("Identity", [found[name]], name=f"{name}.after") for name in states]
    y_t = body.add("Identity", [found[""]], name="y.step")
    shapes = [["B", *map(int, shape)] for shape in rnn._state_shapes.values()]
    declared = [body.declared(name, shape) for name, shape in zip(given.values(), shapes, strict=True)]
    declared.append(body.declared(x_t, ["B", *map(int, rnn.input_shape)]))
    results = [body.declared(name, shape) for name, shape in zip(after, shapes, strict=True)]
    results.append(body.declared(y_t, ["B", *map(int, rnn.output_shape)]))
    attributes: dict[str, Any] = {"num_scan_inputs": 1, "body": body.graph(rnn.name, declared, results, str(rnn.graph))}
    attributes["doc_string"] = notes_of(rnn.graph, names)
    if backwards:
        attributes |= {"scan_input_directions": [1], "scan_output_directions": [1]}
    outputs = [*(f"{name}.last" for name in states), f"{rnn.name}.y"]
    *ends, y = writer.several("Scan", [*states.values(), x], outputs, **attributes)
    return Written(y, dict(zip(states, ends, strict=True)))


def _initial(rnn: RNN) -> set[str]:
    """Parameters that are initial states, which the equations do not know."""
    return {initial_name(name) for name in rnn._state_shapes} if rnn.learn_initial else set()
