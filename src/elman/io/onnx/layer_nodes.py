"""Layers as ONNX nodes: cells that are an operator become one, all others a Scan of their graph."""

from collections.abc import Sequence
from typing import Any

from elman.errors import SettingError
from elman.io.onnx.gate_nodes import GateNodes, outputs_of
from elman.io.onnx.operator_nodes import Reading, States, Written, alone, both, initial_names, one_operator
from elman.io.onnx.scans import notes_of
from elman.io.onnx.writer import Writer
from elman.layer import Layer
from elman.pooled import POOL, Pooled
from elman.rnn import RNN
from elman.stack import Backwards, Bidirectional, Stack


def write_layer(writer: Writer, layer: Layer, x: str, states: States, reading: Reading) -> Written:
    """Write a layer that reads `x` `[T, B, ...]` and starts from `states`. Raises `SettingError` for an unknown kind."""
    match layer:
        case RNN():
            return _rnn(writer, layer, x, states, reading)
        case Stack():
            return _stack(writer, layer, x, states, reading)
        case Backwards():
            inner = write_layer(writer, layer.layer, x, states.get("layer", {}), reading.turned())
            return Written(inner.y, {"layer": inner.states})
        case Bidirectional():
            return _bidirectional(writer, layer, x, states, reading)
        case Pooled():
            below = write_layer(writer, layer.layer, x, {n: s for n, s in states.items() if n != POOL}, reading)
            above = write_layer(writer, layer._pool, below.y, states[POOL], reading)
            return Written(above.y, {**below.states, POOL: above.states})
    raise SettingError(f"{layer.name}: a layer of {type(layer).__name__} cannot be written as ONNX")


def zeroed(writer: Writer, y: str, own: Sequence[Any], reading: Reading) -> str:
    """What was given at every step `[T, B, *own]`, past the lengths 0."""
    if not reading.inside:
        return y
    inside = writer.add("Unsqueeze", [reading.inside, writer.integers(*range(2, 2 + len(own)))])
    return writer.add("Where", [inside, y, writer.floats(0.0)])


def _stack(writer: Writer, stack: Stack, x: str, states: States, reading: Reading) -> Written:
    last: States = {}
    for position, (name, layer) in enumerate(stack.parts.items()):
        found = write_layer(writer, layer, x, states.get(name, {}), reading)
        x = writer.add("Add", [found.y, x]) if stack.residual and position else found.y
        last[name] = found.states
    return Written(x, last)


def _bidirectional(writer: Writer, layer: Bidirectional, x: str, states: States, reading: Reading) -> Written:
    ways = tuple(layer.parts.values())
    one = one_operator(ways)
    if one and layer.merge == "concatenate" and not reading.backwards:
        kind, attributes = one
        return both(writer, layer, x, states, kind, attributes, reading)
    ahead = write_layer(writer, layer.parts["forward"], x, states.get("forward", {}), reading)
    behind = write_layer(writer, layer.parts["backward"], x, states.get("backward", {}), reading.turned())
    pair = [ahead.y, behind.y]
    if layer.merge == "concatenate":
        y = writer.add("Concat", pair, axis=-1)
    else:
        y = writer.add({"sum": "Add", "mean": "Mean", "product": "Mul"}[layer.merge], pair)
    return Written(y, {"forward": ahead.states, "backward": behind.states})


def _rnn(writer: Writer, rnn: RNN, x: str, states: States, reading: Reading) -> Written:
    one = one_operator([rnn])
    if one:
        return alone(writer, rnn, x, states, *one, reading)
    if not rnn.graph.leaves("state"):  # a map, for all steps at once
        names = {name: writer.floats(value, name) for name, value in rnn.parameters.items()}
        nodes = GateNodes(writer, rnn.graph, 2, x)
        nodes.write({rnn._input: x}, names)
        return Written(zeroed(writer, outputs_of(nodes)[""], rnn.output_shape, reading), {})
    return _scan(writer, rnn, x, states, reading)


# --- a Scan -----------------------------------------------------------------------------------------------------------


def _scan(writer: Writer, rnn: RNN, x: str, states: States, reading: Reading) -> Written:
    """The graph of the cell as the body of a Scan, which runs it over the first axis."""
    names = {name: writer.floats(value, name) for name, value in rnn.parameters.items() if name not in initial_names(rnn)}
    body = writer.inner()
    given = {name: body.name(f"{name}.before") for name in states}
    x_t = body.name(f"{rnn._input}.step")
    nodes = GateNodes(body, rnn.graph, 1, x_t)
    nodes.write({**given, rnn._input: x_t}, names)
    found = outputs_of(nodes)
    inside = body.name("inside.step") if reading.inside else ""
    after = [_held(body, found[n], given[n], rnn._state_shapes[n], inside, f"{n}.after") for n in states]
    y_t = _held(body, found[""], "", rnn.output_shape, inside, "y.step")
    shapes = [["B", *map(int, shape)] for shape in rnn._state_shapes.values()]
    declared = [body.declared(name, shape) for name, shape in zip(given.values(), shapes, strict=True)]
    declared.append(body.declared(x_t, ["B", *map(int, rnn.input_shape)]))
    declared += [body.declared(inside, ["B"], int(writer.onnx.TensorProto.BOOL))] if inside else []
    results = [body.declared(name, shape) for name, shape in zip(after, shapes, strict=True)]
    results.append(body.declared(y_t, ["B", *map(int, rnn.output_shape)]))
    read = [x, reading.inside] if inside else [x]
    attributes: dict[str, Any] = {
        "num_scan_inputs": len(read),
        "body": body.graph(rnn.name, declared, results, str(rnn.graph)),
    }
    attributes["doc_string"] = notes_of(rnn.graph, names)
    if reading.backwards:
        attributes |= {"scan_input_directions": [1] * len(read), "scan_output_directions": [1]}
    outputs = [*(f"{name}.last" for name in states), f"{rnn.name}.y"]
    *ends, y = writer.several("Scan", [*states.values(), *read], outputs, **attributes)
    return Written(y, dict(zip(states, ends, strict=True)))


def _held(body: Writer, after: str, before: str, own: Sequence[Any], inside: str, name: str) -> str:
    """What a step made of an example that it is inside of, and for the others what was before, or 0."""
    if not inside:
        return body.add("Identity", [after], name=name)
    wide = body.add("Unsqueeze", [inside, body.integers(*range(1, 1 + len(own)))])
    return body.add("Where", [wide, after, before or body.floats(0.0)], name=name)
