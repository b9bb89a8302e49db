"""Cells that are one operator of ONNX: a node for one direction, or for two of the same cell and size."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman import cells
from elman.cells import elman_with, gru, gru_reset_before, lstm, lstm_peephole
from elman.gates import Array, relu, sigmoid, softplus
from elman.graph import equations_of
from elman.io.onnx.equations import GATES, PEEPHOLES
from elman.io.onnx.recurrent import name_of
from elman.io.onnx.writer import Writer
from elman.io.packing import biased
from elman.layer import Layer
from elman.passes.carry import initial_name
from elman.rnn import RNN
from elman.stack import Bidirectional
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


class Reading(NamedTuple):
    """How steps are read: from the last one on, or from the first; with `lengths` `[B]` where `inside` `[T, B]` holds."""

    backwards: bool = False
    lengths: str = ""
    inside: str = ""

    def turned(self) -> "Reading":
        """The other way."""
        return self._replace(backwards=not self.backwards)


class Written(NamedTuple):
    """Names of what a layer gives, `[T, B, ...]`, and of its last states."""

    y: str
    states: States


def one_operator(layers: Sequence[Layer]) -> tuple[str, dict[str, Any]] | None:
    """The operator that all layers are, of one size, and its attributes; None where there is none."""
    cells_of = [layer for layer in layers if isinstance(layer, RNN)]
    if len(cells_of) < len(layers) or any(rnn.sizes != cells_of[0].sizes for rnn in cells_of):
        return None
    for cell, kind, attributes in NATIVE:
        if set(cell.sizes) == set(cells_of[0].sizes) and all(_has_equations(rnn, cell) for rnn in cells_of):
            named = attributes.get("activations")
            return kind, {**attributes, "activations": named * len(layers)} if named else attributes
    return None


def _has_equations(rnn: RNN, cell: Cell) -> bool:
    """Whether an RNN computes what a cell does, with a second bias in a gate, one, or none."""
    wanted = biased(cell, rnn.parameters, "elman" if cell.name.startswith("elman") else cell.name)
    alike = set(wanted.parameters) == set(rnn.parameters) - initial_names(rnn)
    return alike and equations_of(wanted.graph(**rnn.sizes)) == equations_of(rnn.graph)


def initial_names(rnn: RNN) -> set[str]:
    """Parameters that are initial states, which the equations do not know."""
    return {initial_name(name) for name in rnn._state_shapes} if rnn.learn_initial else set()


def alone(
    writer: Writer, rnn: RNN, x: str, states: States, kind: str, attributes: Mapping[str, Any], reading: Reading
) -> Written:
    """One direction."""
    axis, turned = writer.integers(0), {"direction": "reverse"} if reading.backwards else {}
    initial = [writer.add("Unsqueeze", [name, axis]) for name in states.values()]
    y, *ends = _operator(writer, [rnn], x, initial, list(states), kind, {**attributes, **turned}, reading)
    flat = writer.add("Squeeze", [y, writer.integers(1)])
    return Written(flat, {n: writer.add("Squeeze", [end, axis]) for n, end in zip(states, ends, strict=True)})


def both(
    writer: Writer, layer: Bidirectional, x: str, states: States, kind: str, attributes: Mapping[str, Any], reading: Reading
) -> Written:
    """Two directions of one cell and size, side by side."""
    axis, names, ways = writer.integers(0), list(states["forward"]), list(layer.parts.items())
    pairs = [[writer.add("Unsqueeze", [states[way][name], axis]) for way, _ in ways] for name in names]
    initial = [writer.add("Concat", pair, axis=0) for pair in pairs]
    rnns = [rnn for _, rnn in ways if isinstance(rnn, RNN)]
    settings = {**attributes, "direction": "bidirectional"}
    y, *ends = _operator(writer, rnns, x, initial, names, kind, settings, reading)  # y: [T, 2, B, H]
    last: States = {way: {} for way, _ in ways}
    for name, end in zip(names, ends, strict=True):
        parts = writer.several("Split", [end], [f"{name}.{way}" for way in last], axis=0)
        for way, part in zip(last, parts, strict=True):
            last[way][name] = writer.add("Squeeze", [part, axis])
    side = writer.add("Transpose", [y], perm=[0, 2, 1, 3])
    return Written(writer.add("Reshape", [side, writer.integers(0, 0, int(layer.output_shape[0]))]), last)


def _operator(
    writer: Writer, rnns: Sequence[RNN], x: str, initial: Sequence[str], names: Sequence[str], kind: str,
    attributes: Mapping[str, Any], reading: Reading,
) -> list[str]:  # fmt: skip
    """The node itself: what it gives `[T, D, B, H]`, and its last states `[D, B, H]`."""
    each = [packed(kind, rnn.parameters) for rnn in rnns]
    weights = {name: writer.floats(np.concatenate([part[name] for part in each]), name) for name in each[0]}
    inputs = [x, weights["W"], weights["R"], weights["B"], reading.lengths, *initial]
    inputs += [weights["P"]] if "P" in weights else []
    outputs = [f"{rnns[0].name}.y", *(f"{name}.last" for name in names)]
    return writer.several(kind, inputs, outputs, hidden_size=int(rnns[0].output_shape[0]), **attributes)


def packed(kind: str, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """W, R, B and, where there are peepholes, P of an operator, for one direction, from the parameters of a cell."""
    gates = GATES[kind]
    w, r = (np.concatenate([parameters[name_of(kind, letter, gate)] for gate in gates]) for letter in "wu")
    none = np.zeros(r.shape[-1], r.dtype)
    wb, rb = (np.concatenate([parameters.get(name_of(kind, letter, gate), none) for gate in gates]) for letter in "bd")
    found = {"W": w, "R": r, "B": np.concatenate([wb, rb])}
    if "pi" in parameters:
        found["P"] = np.concatenate([parameters["p" + gate] for gate in PEEPHOLES])
    return {name: value[None] for name, value in found.items()}
