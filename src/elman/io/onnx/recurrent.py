"""A recurrent node of ONNX as a layer: its attributes choose the cell, its weights are taken apart by gate, and it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.cells import gru, lstm_peephole
from elman.errors import ModelFileError
from elman.gates import Array
from elman.io.onnx import equations
from elman.io.onnx.activations import chosen
from elman.io.onnx.equations import CELLS, GATES, PEEPHOLES, USUAL
from elman.io.onnx.reading import ABSENT
from elman.layer import Layer
from elman.rnn import RNN
from elman.shapes import written
from elman.stack import Backwards, Bidirectional
from elman.states import State
from elman.trace import Cell

DIRECTIONS = {"forward": ("",), "reverse": ("layer",), "bidirectional": ("forward", "backward")}
"""Under which name the state of a layer holds that of each direction; nothing where it is the state itself."""

KNOWN = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "input_forget", "layout",
    "linear_before_reset", "output_sequence",
}  # fmt: skip
"""Attributes of the three operators; `output_sequence` is of their first version and says what an empty output name says."""

PARAMETER = {"w": ("w", "wax"), "u": ("u", "waa"), "b": ("b", "ba"), "d": ("d", "da")}
"""How a parameter is called: the letter before that of a gate, and its name in the cell of Elman, which has one sum."""


def name_of(kind: str, letter: str, gate: str) -> str:
    """What the cell of an operator calls what a gate has: `w` and `b` for the input, `u` and `d` for the state."""
    return PARAMETER[letter][1] if kind == "RNN" else PARAMETER[letter][0] + gate


def operands(inputs: Sequence[Any]) -> list[Any]:
    """X, W, R, B, sequence_lens, initial_h, initial_c and P of a recurrent node, None for what is left out."""
    return [*inputs, *[None] * (8 - len(inputs))]


@dataclass(frozen=True)
class Recurrent:
    """A recurrent node with its weights: the layer, and the layout in which the node has its arrays."""

    layer: Layer
    direction: str
    batch_first: bool

    def __call__(self, inputs: Sequence[Any], state: Any = None) -> tuple[tuple[Array, ...], State]:
        """Run over the inputs of the operator; returns what it gives, Y and the last states, and the state of the layer.

        A state of the layer comes before initial states among the inputs, which are arrays, None, or absent.
        """
        x, _, _, _, lengths, h, c, _ = operands(inputs)
        initial = [None if value is ABSENT else value for value in (h, c)]
        x = x if self.batch_first else x.swapaxes(0, 1)  # [B, T, I]
        first = self._state(initial, len(x)) if state is None else state
        y, last = self.layer(x, first, lengths=None if lengths is None else np.asarray(lengths, np.int64))
        count = len(DIRECTIONS[self.direction])
        y = y.reshape(*y.shape[:2], count, y.shape[2] // count)  # [B, T, D, H]
        y = y if self.batch_first else y.transpose(1, 2, 0, 3)
        return tuple(array.astype(x.dtype, order="C", copy=False) for array in (y, *self._last(last))), last

    def _state(self, initial: Sequence[Any], batch: int) -> Any:
        """The state to start from: one of the layer where its type is that of the layer, so that calls can come again."""
        if all(value is None for value in initial):
            return None
        each, alike = {}, True
        for at, (part, leaf) in enumerate(zip(DIRECTIONS[self.direction], self.layer._leaves().values(), strict=True)):
            zeros = leaf._zero_states(batch)
            arrays = dict(zip(zeros, initial, strict=False))  # c is an LSTM's
            each[part] = {n: zeros[n] if a is None else self._outer(a)[at] for n, a in arrays.items()}
            alike &= all(array.dtype == leaf.dtype for array in each[part].values())
        given = each.get("", each)
        return self.layer._state_out(given, batch) if alike else given

    def _last(self, state: State) -> list[Array]:
        """The last states `[D, B, H]`, or `[B, D, H]`."""
        parts = [tuple((state[part] if part else state).values()) for part in DIRECTIONS[self.direction]]
        if len(parts) == 1:
            return [self._outer(array[None]) for array in parts[0]]
        return [self._outer(np.stack(arrays)) for arrays in zip(*parts, strict=True)]

    def _outer(self, array: Array) -> Array:
        return array.swapaxes(0, 1) if self.batch_first else array


def recurrent(kind: str, attributes: Mapping[str, Any], w: Any, r: Any, b: Any = None, p: Any = None) -> Recurrent:
    """The layer of a node of the operator RNN, GRU or LSTM, from its attributes and its weights W, R, B and P.

    Raises `ModelFileError` for what the specification does not allow.
    """
    unknown = sorted(set(attributes) - KNOWN)
    if unknown:
        raise ModelFileError(f"attribute {unknown[0]!r} is unknown; attributes are {', '.join(sorted(KNOWN))}")
    direction = str(attributes.get("direction", "forward"))
    if direction not in DIRECTIONS:
        raise ModelFileError(f"direction {direction!r} is unknown; it is {', '.join(DIRECTIONS)}")
    count = len(DIRECTIONS[direction])
    w, r, b, p = _checked(kind, attributes, count, w, r, b, p)
    cells = _cells(kind, attributes, count, p is not None)
    layers = [_rnn(kind, made, w[d], r[d], b[d], None if p is None else p[d]) for d, made in enumerate(cells)]
    layer = Bidirectional(*layers) if count == 2 else Backwards(layers[0]) if direction == "reverse" else layers[0]
    return Recurrent(layer, direction, bool(attributes.get("layout", 0)))


def _checked(kind: str, attributes: Mapping[str, Any], count: int, w: Any, r: Any, b: Any, p: Any) -> tuple[Any, ...]:
    """Weights of the right sizes, in a type that is computed in; B is zero where there is none."""
    gates = len(GATES[kind])
    hidden = int(attributes.get("hidden_size", r.shape[-1] if r.ndim else 0))
    dtype = np.float64 if w.dtype == np.float64 else np.float32
    wanted: dict[str, tuple[int, ...]] = {"W": (count, gates * hidden, w.shape[-1] if w.ndim else 0)}
    wanted |= {"R": (count, gates * hidden, hidden), "B": (count, 2 * gates * hidden), "P": (count, 3 * hidden)}
    for name, array in (("W", w), ("R", r), ("B", b), ("P", p)):
        if array is not None and array.shape != wanted[name]:
            sizes = f"with {count} direction{'s' * (count > 1)}, {gates} gate{'s' * (gates > 1)}, hidden_size={hidden}"
            raise ModelFileError(f"{name} is {written(array.shape)}; {written(wanted[name])} is wanted, {sizes}")
    b = np.zeros(wanted["B"], dtype) if b is None else b  # no larger than W and R, which are there
    return tuple(None if array is None else array.astype(dtype, copy=False) for array in (w, r, b, p))


def _cells(kind: str, attributes: Mapping[str, Any], count: int, peepholes: bool) -> list[Cell]:
    """The cell of each direction: one that comes along where the attributes ask for nothing else."""
    usual = USUAL[kind]
    names = tuple(attributes.get("activations") or usual * count)
    if len(names) != len(usual) * count:
        wanted = f"{len(usual) * count} are wanted, {len(usual)} a direction"
        raise ModelFileError(f"{len(names)} activations are named; {wanted}")
    clip = attributes.get("clip")
    if clip is not None and not clip >= 0:
        raise ModelFileError(f"clip={clip:g}; 0 or more is wanted")
    alphas, betas = attributes.get("activation_alpha") or (), attributes.get("activation_beta") or ()
    linear, coupled = bool(attributes.get("linear_before_reset")), bool(attributes.get("input_forget"))
    if not coupled and clip is None and [name.lower() for name in names] == [name.lower() for name in usual * count]:
        return [_usual(kind, linear, peepholes)] * count
    makers: dict[str, Callable[..., Cell]] = {
        "RNN": equations.simple,
        "GRU": equations.reset_after if linear else equations.reset_before,
        "LSTM": equations.coupled if coupled else equations.peephole,
    }
    all_chosen = chosen(names, alphas, betas, clip)
    return [makers[kind](*all_chosen[d * len(usual) : (d + 1) * len(usual)]) for d in range(count)]


def _usual(kind: str, linear: bool, peepholes: bool) -> Cell:
    return lstm_peephole if kind == "LSTM" and peepholes else gru if kind == "GRU" and linear else CELLS[kind]


def _rnn(kind: str, cell: Cell, w: Array, r: Array, b: Array, p: Array | None) -> RNN:
    """One direction, with its weights."""
    rnn = RNN(cell, input=w.shape[-1], hidden=r.shape[-1], dtype=w.dtype.name)
    rnn.update(parameters(kind, tuple(rnn.parameters), w, r, b, p))
    return rnn


def parameters(kind: str, wanted: Sequence[str], w: Array, r: Array, b: Array, p: Array | None) -> dict[str, Array]:
    """Weights of one direction by the names of its cell."""
    gates = GATES[kind]
    w_of, r_of = (dict(zip(gates, np.split(array, len(gates)), strict=True)) for array in (w, r))
    wb_of, rb_of = (dict(zip(gates, np.split(half, len(gates)), strict=True)) for half in np.split(b, 2))
    p_of = dict(zip(PEEPHOLES, np.split(np.zeros(3 * r.shape[-1], r.dtype) if p is None else p, 3), strict=True))
    found = {name_of(kind, "w", gate): w_of[gate] for gate in gates}
    found |= {name_of(kind, "u", gate): r_of[gate] for gate in gates}
    with np.errstate(all="ignore"):  # what is not finite is told of when the layer takes it
        found |= {name_of(kind, "b", gate): wb_of[gate] + rb_of[gate] for gate in gates}
    found |= {"p" + gate: p_of[gate] for gate in PEEPHOLES}
    if "dn" in wanted:  # the bias inside the reset stays apart
        found |= {"bn": wb_of["n"], "dn": rb_of["n"]}
    return {name: found[name] for name in wanted}
