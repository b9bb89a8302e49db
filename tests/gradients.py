"""Layers of the kinds that a gradient can go through, problems for them, and all that a gradient gives, by name."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

import elman
from elman import RNN, Backwards, Bidirectional, Layer, Stack, State, cells
from elman.testing import random_cell
from layers import by_path

Arrays = dict[str, np.ndarray]

INPUT, HIDDEN, ROWS, STEPS = 7, 18, 5, 7
"""Of 18 units some fill a vector and some do not."""

LENGTHS = np.array([5, 0, 7, 1, 3])


def named(name: str) -> elman.Cell:
    """A cell of the library, or one of random equations."""
    return random_cell(int(name.rpartition("_")[2])) if name.startswith("random_") else cells.CELLS[name]


def sizes_of(cell: elman.Cell, inputs: int, hidden: int) -> dict[str, int]:
    """Sizes that fit the cell; those of other names are smaller than a vector."""
    return {size: {"input": inputs, "hidden": hidden}.get(size, 11) for size in cell.sizes}


def rnn(name: str, inputs: int = INPUT, hidden: int = HIDDEN, **settings: Any) -> RNN:
    """A cell with parameters away from their first values: no two are equal."""
    cell = named(name)
    made, rng = RNN(cell, **sizes_of(cell, inputs, hidden), **settings), np.random.default_rng([inputs, *name.encode()])
    noise = {n: rng.normal(size=p.shape) / p.shape[-1] ** (p.ndim / 2 - 0.5) for n, p in made.parameters.items()}
    made.update({n: p + 0.3 * noise[n] for n, p in made.parameters.items()})
    return made


def layer_of(kind: str, **settings: Any) -> Layer:
    """A layer by kind; a cell's name stands for the cell alone."""
    h, dropping = HIDDEN, {"recurrent_dropout": 0.25} | settings
    match kind:
        case "stack":
            inner = Stack([rnn("lstm", h, **dropping), rnn("elman", h, **settings)], residual=True, dropout=0.25)
            return Stack([rnn("gru", learn_initial=True, **settings), inner], dropout=0.5)
        case "both ways":
            behind = Backwards(rnn("elman", h, **settings))
            return Stack([Bidirectional(rnn("lstm", **settings), rnn("gru", **settings), merge="sum"), behind])
    return rnn(kind, **settings)


KINDS = ("lstm", "stack", "both ways", "mlstm", "rwkv")
"""Gates; layers in layers, of which one learns its start; both directions; states that are a matrix, and the last input."""


# ---------------------------------------------------------------- problems


@dataclass(frozen=True)
class Problem:
    """A layer, what it is run on, and the gradients of a loss for its outputs and last states, also in the padding."""

    layer: Layer
    x: np.ndarray  # [B, T, I], or tokens [B, T]
    state: State | None
    dy: np.ndarray
    d_last: State
    lengths: np.ndarray | None = None
    reset: np.ndarray | None = None

    def solve(self, **asked: Any) -> Arrays:
        """Outputs, last states and every gradient, by name."""
        record = self.layer.record(self.x, self.state, self.lengths, self.reset, **asked)
        return solution(record, record.gradients(self.dy, self.d_last))

    def at(self, layer: Layer) -> "Problem":
        """The same for another layer of the same kind, with the same parameters."""
        layer.update(self.layer.parameters)
        arrays = {name: getattr(self, name).astype(layer.dtype) for name in ("x", "dy")}
        if self.x.ndim == 2:
            arrays.pop("x")
        states = {name: changed(getattr(self, name), layer.dtype) for name in ("state", "d_last")}
        return replace(self, layer=layer, **arrays, **states)

    def row(self, b: int) -> "Problem":
        """A sequence alone, without its padding."""
        n = self.x.shape[1] if self.lengths is None else self.lengths[b]
        arrays = {name: getattr(self, name)[b, :n] for name in ("x", "dy")}
        states = {"state": None if self.state is None else self.state[b], "d_last": self.d_last[b]}
        return replace(self, **arrays, **states, lengths=None, reset=None if self.reset is None else self.reset[b, :n])


def solution(record: elman.layer.Record, found: elman.layer.Gradients) -> Arrays:
    """All that a record and its gradients hold, by name."""
    arrays = {"y": record.y, **dict(by_path(record.state, "last")), **found.parameters}
    return arrays | ({} if found.x is None else {"d_x": found.x}) | dict(by_path(found.state, "d_first"))


def problem(
    layer: Layer, rows: int = ROWS, steps: int = STEPS, *, tokens: bool = False, plain: bool = False, seed: int = 0
) -> Problem:
    """Random numbers; states come from a run, so they are such as the cell can have. `plain`: no lengths, no resets."""
    rng, axes, [size] = np.random.default_rng(seed), (rows, steps), layer.input_shape

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(layer.dtype)

    x = rng.integers(size, size=axes) if tokens else drawn(*axes, size)
    _, state = layer(drawn(rows, 3, size))
    d_last = changed(state, layer.dtype, drawn)
    dy = drawn(*axes, *layer.output_shape)
    if plain:
        return Problem(layer, x, state, dy, d_last)
    lengths = np.resize(LENGTHS * steps // STEPS, rows)
    reset = rng.random(axes) < 0.2
    reset[np.arange(rows), np.minimum(lengths, steps - 1)] = True  # just past the end, where it must do nothing
    return Problem(layer, x, state, dy, d_last, lengths, reset)


@cache
def of_kind(kind: str, dtype: str = "float64", target: str = "llvm", *, tokens: bool = False) -> Problem:
    """One kind has one problem, whatever the target."""
    layer = layer_of(kind, dtype=dtype, target=target)
    return problem(layer_of(kind, dtype=dtype, target="numpy"), tokens=tokens).at(layer)


# ---------------------------------------------------------------- states as trees


def changed(state: State | None, dtype: Any, draw: Any = None) -> State | None:
    """The same state in another type, or with other numbers."""
    if state is None:
        return None
    fields = {
        n: changed(v, dtype, draw) if isinstance(v, State) else (draw(*v.shape) if draw else v.astype(dtype))
        for n, v in state.items()
    }
    return State(fields, cell=state.cell, batch=state.batch)


# ---------------------------------------------------------------- what is asserted

LIMITS = {"float32": 2e-5, "float64": 1e-12}
"""How far values may lie apart, relative to the largest of an array."""


def assert_near(got: Arrays, wanted: Arrays, dtype: str) -> None:
    """Arrays of a type near others, which may be of a finer type."""
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert (got[name].shape, got[name].dtype) == (value.shape, np.dtype(dtype)), name
        scale = np.abs(value).max(initial=0.0)
        assert np.isfinite(scale), name
        np.testing.assert_allclose(got[name], value, rtol=0, atol=LIMITS[dtype] * scale, err_msg=name)


def assert_same(got: Arrays, wanted: Arrays, message: str = "") -> None:
    """Arrays with the same bits, also of their zeros."""
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert (got[name].shape, got[name].dtype) == (value.shape, value.dtype), name
        np.testing.assert_array_equal(got[name], value, err_msg=f"{message} {name}")
        np.testing.assert_array_equal(np.signbit(got[name]), np.signbit(value), err_msg=f"{message} {name}: a sign")


def sum_of_rows(p: Problem, rows: list[Arrays]) -> Arrays:
    """What a batch should give, from what each of its sequences gives alone."""
    wanted: Arrays = {}
    for name in rows[0]:
        if name in p.layer.parameters:
            wanted[name] = np.sum([row[name] for row in rows], axis=0)
        elif name.startswith(("last", "d_first")):
            wanted[name] = np.stack([row[name] for row in rows])
        else:
            wanted[name] = np.zeros((*p.x.shape[:2], *rows[0][name].shape[1:]), rows[0][name].dtype)
            for b, row in enumerate(rows):
                wanted[name][b, : len(row[name])] = row[name]
    return wanted
