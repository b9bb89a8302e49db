"""Models and layers as ONNX files."""

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from elman.errors import SettingError
from elman.io.atomic import replacing
from elman.io.onnx.gate_nodes import GateNodes, outputs_of
from elman.io.onnx.layer_nodes import write_layer, zeroed
from elman.io.onnx.operator_nodes import Reading, States, Written
from elman.io.onnx.writer import IR, OPSET, Writer
from elman.layer import Layer
from elman.model import Model


def save(path: str | os.PathLike[str], model: Model | Layer, *, state: bool = False, lengths: bool = False) -> None:
    """Write a model, or a layer, as an ONNX file, atomically.

    The file reads `x`, features `[B, T, I]` or tokens `[B, T]`, and gives `y`, as the model does for a batch. With `state`
    the state goes in as `state.h`, `state.0.h` ... and comes out as `next.h`, `next.0.h` ..., `[B, ...]` each; without it
    a sequence starts from the initial state. With `lengths` the file reads `lengths` `[B]` besides, int32: outputs past a
    length are 0, and the state is that at the length. The cells `elman`, `gru`, `gru_reset_before`, `lstm` and
    `lstm_peephole` become the operators RNN, GRU and LSTM, two directions of one of them, side by side, a single node; every
    other cell becomes a Scan of its equations.

    Warns of a state of layers that read from the end of a sequence: pieces of one, one after another, are not the whole.
    Raises `SettingError` for what is neither a model nor a layer, `ModelFileError` where the file cannot be written,
    `MissingLibraryError` without the library onnx.

    >>> import pathlib, tempfile, numpy as np, elman
    >>> rnn = elman.RNN(elman.cells.mgu, input=3, hidden=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "mgu.onnx")
    ...     save(path, rnn, state=True)
    ...     list(elman.io.onnx.run(path, {"x": np.ones((2, 7, 3)), "state.h": np.zeros((2, 5))}))
    ['y', 'next.h']
    """
    if not isinstance(model, Model | Layer):
        raise SettingError(f"onnx: {model!r} is neither a model nor a layer")
    for name, given in (("state", state), ("lengths", lengths)):
        if given not in (True, False):
            raise SettingError(f"onnx: {name}={given!r} must be True or False")
    layer = model.rnn if isinstance(model, Model) else model
    if state and layer._reads_from_end:
        told = "it reads from the end of a sequence, so pieces, one after another, are not the whole"
        warnings.warn(f"onnx: {layer.name}: {told}", stacklevel=2)
    made = proto(model, state=state, lengths=lengths)
    with replacing(path) as file:
        file.write(made.SerializeToString())


def proto(model: Model | Layer, *, state: bool = False, lengths: bool = False) -> Any:
    """The `ModelProto` that `save` writes, checked by the library onnx."""
    layer = model.rnn if isinstance(model, Model) else model
    writer = Writer(layer.dtype)
    tokens = isinstance(model, Model) and model.reads_tokens
    x, y = writer.name("x"), writer.name("y")
    own, kind = ([], int(writer.onnx.TensorProto.INT64)) if tokens else (list(map(int, layer.input_shape)), writer.kind)
    inputs = [writer.declared(x, ["B", "T", *own], kind)]
    reading = _reading(writer, x) if lengths else Reading()
    inputs += [writer.declared(reading.lengths, ["B"], int(writer.onnx.TensorProto.INT32))] if lengths else []
    places = list(_places(layer._initial(1)))
    steps = _steps(writer, x, layer, tokens)
    taken = {where: writer.name("state." + ".".join(where)) for where, _ in places} if state else {}
    first = _nested({where: taken[where] if state else _initial(writer, x, value) for where, value in places})
    found = write_layer(writer, layer, steps, first, reading)
    shape = _read_out(writer, model, found, y, reading)
    outputs = [writer.declared(y, shape)]
    for where, value in places if state else ():
        declared = ["B", *value.shape[1:]]
        inputs.append(writer.declared(taken[where], declared))
        outputs.append(writer.declared(writer.name("next." + ".".join(where)), declared))
        writer.nodes.append(writer.onnx.helper.make_node("Identity", [_at(found.states, where)], [outputs[-1].name]))
    helper = writer.onnx.helper
    graph = writer.graph(layer.name.partition("(")[0], inputs, outputs, whole=True)
    made = helper.make_model(graph, producer_name="elman", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    writer.onnx.checker.check_model(made, full_check=True)
    return made


def _steps(writer: Writer, x: str, layer: Layer, tokens: bool) -> str:
    """The input with time first, `[T, B, I]`; a token as the one-hot vector that it stands for."""
    if tokens:
        size = writer.integers(int(layer.input_shape[0]))
        x = writer.add("OneHot", [x, size, writer.floats([0.0, 1.0])], axis=-1)
    return writer.add("Transpose", [x], perm=[1, 0, *range(2, 2 + len(layer.input_shape))])


def _reading(writer: Writer, x: str) -> Reading:
    """The lengths, and which steps are inside of them: step t of an example that has more than t."""
    lengths, one = writer.name("lengths"), writer.integers(1)
    steps = writer.add("Squeeze", [writer.add("Shape", [x], start=1, end=2)])
    first, by = (writer.scalar(value) for value in (0, 1))
    column = writer.add("Unsqueeze", [writer.add("Range", [first, steps, by]), one])
    wide = writer.add("Cast", [lengths], to=int(writer.onnx.TensorProto.INT64))
    return Reading(False, lengths, writer.add("Less", [column, wide]))


def _initial(writer: Writer, x: str, value: Any) -> str:
    """An initial state `[1, ...]` for as many examples as there are."""
    batch = writer.add("Shape", [x], start=0, end=1)
    own = writer.integers(*value.shape[1:])
    return writer.add("Expand", [writer.floats(value), writer.add("Concat", [batch, own], axis=0)])


def _read_out(writer: Writer, model: Model | Layer, found: Written, y: str, reading: Reading) -> list[Any]:
    """Write what stands on the layers, under the name `y`, batch first; returns the declared shape."""
    if not isinstance(model, Model):
        own = list(map(int, model.output_shape))
        turned = [1, 0, *range(2, 2 + len(own))]
        writer.nodes.append(writer.onnx.helper.make_node("Transpose", [found.y], [y], perm=turned))
        return ["B", "T", *own]
    readout, given = model.readout, found.y
    if model.head.once:
        first, last = (writer.add("Gather", [part, writer.scalar(at)], axis=0) for part, at in _ends(writer, given, reading))
        given = writer.add("Where", [writer.truths(model.rnn._turned()), first, last])
    names = {name: writer.floats(value, name) for name, value in readout.parameters.items()}
    nodes = GateNodes(writer, readout.graph, 1 if model.head.once else 2, given)
    nodes.write({readout._input: given}, names)
    output, own = outputs_of(nodes)[""], list(map(int, model.head.output_shape))
    output = output if model.head.once else zeroed(writer, output, own, reading)
    turned = [0, 1] if model.head.once else [1, 0, 2]
    writer.nodes.append(writer.onnx.helper.make_node("Transpose", [output], [y], perm=turned))
    return ["B", *own] if model.head.once else ["B", "T", *own]


def _ends(writer: Writer, y: str, reading: Reading) -> tuple[tuple[str, int], tuple[str, int]]:
    """Where the first step of each example is, and where its last."""
    if not reading.lengths:
        return (y, 0), (y, -1)
    wide = writer.add("Cast", [reading.lengths], to=int(writer.onnx.TensorProto.INT64))
    return (y, 0), (writer.add("ReverseSequence", [y, wide], time_axis=0, batch_axis=1), 0)


# --- states as trees --------------------------------------------------------------------------------------------------


def _places(tree: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, part in tree.items():
        if isinstance(part, Mapping):
            yield from _places(part, (*before, name))
        else:
            yield (*before, name), part


def _nested(flat: Mapping[tuple[str, ...], str]) -> States:
    made: States = {}
    for where, name in flat.items():
        part = made
        for key in where[:-1]:
            part = part.setdefault(key, {})
        part[where[-1]] = name
    return made


def _at(states: States, where: tuple[str, ...]) -> str:
    for key in where[:-1]:
        states = states[key]
    return str(states[where[-1]])
