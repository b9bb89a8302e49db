"""Heads: what a read-out makes of any layers, at every step, at the last, or of all steps together; against literal loops.

What is expected is computed here, in float64, one sequence and one step at a time: layers by `walk`, the head by `read`, the
loss by `literal_losses`. Initial states are never zero, lengths are unsorted with a zero among them.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import elman
from elman import DataError, Model, SettingError, ShapeError, TokenError, cells
from oracles import (
    CELLS,
    Arrays,
    cross_entropy,
    one_hot,
    random_direction,
    random_parameters,
    sigmoid,
    slope,
    softmax,
    unroll,
)

CLOSE = 1e-12
RELATIVE = 1e-6
LENGTHS = (3, 0, 6, 1)
STEPS, INPUT, OUTPUT = 6, 3, 3

LAYERS: dict[str, Any] = {
    "rnn": "lstm",
    "stack": ("stack", "gru", "elman"),
    "both": ("both", "lstm", "gru"),
    "stack of directions": ("stack", ("both", "elman", "gru"), ("both", "gru_reset_before", "elman")),
    "directions of stacks": ("both", ("stack", "elman", "gru"), ("backwards", "lstm")),
}
READOUTS = {"softmax": cells.readout, "sigmoid": cells.readout_sigmoid, "linear": cells.readout_linear}
POOLS = (None, "last", "mean", "max")
every_layer = pytest.mark.parametrize("kind", LAYERS)
every_readout = pytest.mark.parametrize("readout", READOUTS)
every_pool = pytest.mark.parametrize("pool", POOLS)
every_head = pytest.mark.parametrize(("readout", "pool"), [(readout, pool) for readout in READOUTS for pool in POOLS])


def assert_same_state(got: elman.State, wanted: elman.State) -> None:
    """Equal up to rounding: on NumPy another product may stand behind another question."""
    assert (got.cell, got.batch, list(got)) == (wanted.cell, wanted.batch, list(wanted))
    for name, value in wanted.items():
        if isinstance(value, elman.State):
            assert_same_state(got[name], value)
        else:
            np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-13 * max(1.0, float(np.abs(value).max(initial=0))))


def assert_close(got, wanted, close: float = CLOSE) -> None:
    assert np.shape(got) == np.shape(wanted)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=close * max(1.0, float(np.abs(wanted).max(initial=0.0))))


# ---------------------------------------------------------------- the literal side


def parts(tree: Any) -> dict[str, Any]:
    """The layers of a layer of layers, by the name that stands before the names of their parameters."""
    names = {"both": ("forward", "backward"), "backwards": ("layer",)}.get(tree[0], map(str, range(len(tree))))
    return dict(zip(names, tree[1:], strict=False))


def build(
    tree: Any, inputs: int, rng: np.random.Generator, dtype: str, prefix: str = ""
) -> tuple[elman.Layer, Arrays, dict]:
    """A layer, its parameters by name, and a random state of a batch (as nested dictionaries)."""
    if isinstance(tree, str):
        cell, hidden = CELLS[tree], int(rng.integers(2, 5))
        p = random_parameters(cell.shapes(inputs, hidden), rng)
        rnn = elman.RNN(getattr(cells, tree), input=inputs, hidden=hidden, dtype=dtype)
        rnn.update(p)
        return rnn, {prefix + n: a for n, a in p.items()}, {s: rng.normal(size=(len(LENGTHS), hidden)) for s in cell.states}
    layers, p, state = [], {}, {}
    for name, part in parts(tree).items():
        layer, more, state[name] = build(part, inputs, rng, dtype, f"{prefix}{name}.")
        layers, p = [*layers, layer], p | more
        inputs = layer.output_shape[0] if tree[0] == "stack" else inputs
    made = {"stack": lambda: elman.Stack(layers), "both": lambda: elman.Bidirectional(*layers)}
    return made.get(tree[0], lambda: elman.Backwards(*layers))(), p, state


def walk(tree: Any, p: Arrays, prefix: str, x: np.ndarray, state: dict) -> tuple[np.ndarray, np.ndarray]:
    """Of one sequence [T, I]: the outputs [T, H], and what each direction gave at the last step that it read [H]."""
    if isinstance(tree, str):
        own = {name.removeprefix(prefix): array for name, array in p.items() if name.startswith(prefix)}
        y = np.array([values[CELLS[tree].states[0]] for values in unroll(CELLS[tree], own, x, state)[0]])
        return y, y[-1]
    if tree[0] == "backwards":
        y, end = walk(tree[1], p, f"{prefix}layer.", x[::-1], state["layer"])
        return y[::-1], end
    if tree[0] == "both":
        ahead, end = walk(tree[1], p, f"{prefix}forward.", x, state["forward"])
        behind, start = walk(tree[2], p, f"{prefix}backward.", x[::-1], state["backward"])
        return np.concatenate([ahead, behind[::-1]], axis=1), np.concatenate([end, start])
    for name, part in parts(tree).items():
        x, end = walk(part, p, f"{prefix}{name}.", x, state[name])
    return x, end


def row(state: dict, b: int) -> dict:
    return {name: row(value, b) if isinstance(value, dict) else value[b] for name, value in state.items()}


def filled(state: elman.State, fields: dict) -> elman.State:
    """The same state with those of its arrays that are given."""
    inner = {n: filled(state[n], v) if isinstance(v, dict) else v.astype(state[n].dtype) for n, v in fields.items()}
    return elman.State({**state, **inner}, cell=state.cell, batch=state.batch)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"softmax": softmax, "sigmoid": sigmoid, "linear": lambda z: z}


def loss_of(readout: str, logits: np.ndarray, target: Any) -> float:
    """Of one reading, in the textbook's form."""
    if readout == "softmax":
        return cross_entropy(logits, target)
    if readout == "sigmoid":
        p = sigmoid(logits)
        return float(np.mean(-target * np.log(p) - (1.0 - target) * np.log(1.0 - p)))
    return float(np.mean((logits - target) ** 2))


def literal_mean(readout: str, pool: str | None, logits: list[np.ndarray], targets: np.ndarray) -> float:
    """Over all valid readings of all rows; a row without a step has none."""
    losses = []
    for b, z in enumerate(logits):
        if len(z) and pool is None:
            losses += [loss_of(readout, z[t], targets[b, t]) for t in range(len(z))]
        elif len(z):
            losses.append(loss_of(readout, z[0], targets[b]))
    return float(np.mean(losses))


# ---------------------------------------------------------------- problems


@dataclass(frozen=True)
class Problem:
    model: Model
    tree: Any
    readout: str
    pool: str | None
    names: dict[str, str]  # of a parameter in the literal loops: its name in the model
    parameters: Arrays
    x: np.ndarray  # [B, T, I]
    state: dict
    targets: np.ndarray
    lengths: tuple[int, ...] = LENGTHS

    @property
    def first(self) -> elman.State:
        """The state as the model takes it; where a pool has a state of its own, that is as it starts."""
        return filled(self.model.initial_state(len(self.x)), self.state)

    def logits(self, p: Arrays | None = None, x: np.ndarray | None = None) -> list[np.ndarray]:
        """Of each row: [T, V] within its length; of a head that reads once [1, V] (nothing where there is no step)."""
        p, found = p or self.parameters, []
        layers = {name: array for name, array in p.items() if name not in ("wya", "by")}
        for b, n in enumerate(self.lengths):
            if not n:
                found.append(np.zeros((0, OUTPUT)))
                continue
            y, end = walk(self.tree, layers, "", (self.x if x is None else x)[b, :n], row(self.state, b))
            read = {None: lambda y=y: y, "last": lambda end=end: end[None], "mean": lambda y=y: y.mean(0)[None]}
            found.append(np.array([p["wya"] @ a + p["by"] for a in read.get(self.pool, lambda y=y: y.max(0)[None])()]))
        return found

    def loss(self, p: Arrays | None = None, x: np.ndarray | None = None) -> float:
        return literal_mean(self.readout, self.pool, self.logits(p, x), self.targets)


def random_targets(readout: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if readout == "softmax":
        return rng.integers(OUTPUT, size=shape)
    if readout == "sigmoid":
        return np.where(rng.random((*shape, OUTPUT)) < 0.3, rng.random((*shape, OUTPUT)), rng.random((*shape, OUTPUT)) < 0.5)
    return rng.normal(size=(*shape, OUTPUT))


@cache
def problem(
    kind: str, readout: str, pool: str | None, *, tokens: bool = False, dtype: str = "float64", cut: int | None = None
) -> Problem:
    rng = np.random.default_rng([list(LAYERS).index(kind), list(READOUTS).index(readout), POOLS.index(pool), tokens])
    layer, p, state = build(LAYERS[kind], INPUT, rng, dtype)
    assert list(layer.parameters) == list(p)
    own = random_parameters({"wya": (OUTPUT, layer.output_shape[0]), "by": (OUTPUT,)}, rng)
    model = Model.from_layers(
        layer, OUTPUT, readout=READOUTS[readout], pool=pool, tokens=tokens or None, bptt_truncate=cut, seed=3
    )
    model.update(own)
    assert list(model.parameters)[-2:] == ["wya", "by"]
    batch = (len(LENGTHS), STEPS)
    return Problem(
        model, LAYERS[kind], readout, pool, dict(zip([*p, *own], model.parameters, strict=True)), p | own,
        rng.integers(INPUT, size=batch) if tokens else rng.normal(size=(*batch, INPUT)), state,
        random_targets(readout, batch if pool is None else batch[:1], rng),
    )  # fmt: skip


def readings(p: Problem, array: np.ndarray, b: int) -> np.ndarray:
    """The valid ones of a row, [T, ...], or [1, ...] of a head that reads once."""
    return array[b, : p.lengths[b]] if p.pool is None else array[b, None][: p.lengths[b]]


# ---------------------------------------------------------------- values


@every_layer
@every_head
def test_outputs_are_those_of_literal_loops(kind, readout, pool):
    p = problem(kind, readout, pool)
    found = p.model.forward_propagation(p.x, p.first, lengths=p.lengths)
    for b, logits in enumerate(p.logits()):
        assert_close(readings(p, found.logits, b), logits)
        outputs = np.array([ACTIVATIONS[readout](z) for z in logits]).reshape(logits.shape)
        assert_close(readings(p, found.output, b), outputs)
    np.testing.assert_array_equal(found.probabilities, found.output)


@every_layer
@every_pool
def test_outputs_of_tokens_are_those_of_literal_loops(kind, pool):
    p = problem(kind, "softmax", pool, tokens=True)
    found = p.model.forward_propagation(p.x, p.first, lengths=p.lengths)
    vectors = one_hot(p.x, INPUT)
    for b, logits in enumerate(p.logits(x=vectors)):
        assert_close(readings(p, found.logits, b), logits)
    assert p.model.loss(p.x, p.targets, p.first, p.lengths) == pytest.approx(p.loss(x=vectors), rel=1e-12)


@every_layer
@every_head
def test_one_sequence_without_a_state_or_lengths(kind, readout, pool):
    """The states of the literal loops are zero, too."""
    p = problem(kind, readout, pool)

    def zero(state: dict) -> dict:
        return {name: zero(value) if isinstance(value, dict) else np.zeros_like(value) for name, value in state.items()}

    alone = Problem(p.model, p.tree, readout, pool, p.names, p.parameters, p.x[2:3], zero(p.state), p.targets[2:3], (STEPS,))
    (logits,) = alone.logits()
    found = p.model.forward_propagation(p.x[2])
    assert_close(found.logits, logits if pool is None else logits[0])
    assert p.model.loss(p.x[2], p.targets[2]) == pytest.approx(alone.loss(), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_layer
@every_pool
def test_a_padded_batch_is_its_sequences_alone(kind, pool, dtype):
    p = problem(kind, "softmax", pool, dtype=dtype)
    together = p.model.forward_propagation(p.x, p.first, lengths=p.lengths)
    losses = p.model.losses(p.x, p.targets, p.first, lengths=p.lengths)[0]
    for b, n in enumerate(p.lengths):
        alone = p.model.forward_propagation(p.x[b, :n], p.first[b])
        targets = p.targets[b, :n] if pool is None else p.targets[b]
        close = {"float64": CLOSE, "float32": 1e-6}[dtype]
        for name in ("a", "logits", "output"):
            array = getattr(together, name)[b]
            assert_close(array[:n] if pool is None or name == "a" else array, getattr(alone, name), close)
        if n:
            found = p.model.losses(p.x[b, :n], targets, p.first[b])[0]
            assert_close(losses[b, :n] if pool is None else losses[b], found, close)


@every_layer
@every_readout
def test_past_the_length_outputs_are_zero(kind, readout):
    """As for layers: outputs past a length are 0."""
    p = problem(kind, readout, None)
    found = p.model.forward_propagation(p.x, p.first, lengths=p.lengths)
    for b, n in enumerate(p.lengths):
        np.testing.assert_array_equal(found.a[b, n:], 0.0)
        np.testing.assert_array_equal(found.logits[b, n:], 0.0)
        np.testing.assert_array_equal(found.output[b, n:], 0.0)


@every_layer
@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_one_layer_under_two_heads(kind, pool):
    """What a pool reads is what a head of every step sees, of the row's own steps only."""
    rng = np.random.default_rng(21)
    layer, _, _ = build(LAYERS[kind], INPUT, rng, "float64")
    once, everywhere = (Model.from_layers(layer, 2, readout=cells.readout_linear, pool=which) for which in (pool, None))
    everywhere.update({name: rng.normal(size=once.parameters[name].shape) for name in ("wya", "by")})
    once.update({name: everywhere.parameters[name] for name in ("wya", "by")})
    x = rng.normal(size=(len(LENGTHS), STEPS, INPUT))
    a = everywhere.forward_propagation(x, lengths=LENGTHS).a
    found = once.forward_propagation(x, lengths=LENGTHS)
    for b, n in enumerate(LENGTHS):
        if n and (pool != "last" or kind in ("rnn", "stack")):
            read = {"last": a[b, n - 1], "mean": a[b, :n].mean(axis=0), "max": a[b, :n].max(axis=0)}[pool]
            assert_close(found.output[b], once.parameters["wya"] @ read + once.parameters["by"])


@every_pool
def test_a_is_what_the_layers_give(pool):
    """Under every head: `a` is not what the head makes of it."""
    rnn, rng = gru(), np.random.default_rng(22)
    x = rng.normal(size=(len(LENGTHS), STEPS, INPUT))
    found = Model.from_layers(rnn, 2, pool=pool).forward_propagation(x, lengths=LENGTHS)
    np.testing.assert_array_equal(found.a, rnn(x, lengths=LENGTHS)[0])


NESTED: dict[str, Any] = {
    "directions of directions": ("both", ("both", "elman", "gru"), ("both", "lstm", "elman")),
    "turned directions": ("backwards", ("both", "elman", "gru")),
    "forward over directions": ("stack", ("both", "gru", "elman"), "lstm"),
    "turned over forward": ("stack", "gru", ("backwards", "elman")),
    "turned twice": ("backwards", ("backwards", "gru")),
}


@pytest.mark.parametrize("kind", NESTED)
def test_the_last_step_of_each_direction(kind):
    """Wherever it stands: what reads forward ends at the last valid step, what reads backward at the first; slopes, too."""
    rng = np.random.default_rng(23)
    layer, p, state = build(NESTED[kind], INPUT, rng, "float64")
    own = random_parameters({"wya": (OUTPUT, layer.output_shape[0]), "by": (OUTPUT,)}, rng)
    model = Model.from_layers(layer, OUTPUT, pool="last")
    model.update(own)
    it = Problem(
        model, NESTED[kind], "softmax", "last", {name: name for name in p | own}, p | own,
        rng.normal(size=(len(LENGTHS), STEPS, INPUT)), state, rng.integers(OUTPUT, size=len(LENGTHS)),
    )  # fmt: skip
    found = model.forward_propagation(it.x, it.first, lengths=LENGTHS)
    for b, logits in enumerate(it.logits()):
        assert_close(readings(it, found.logits, b), logits)
    assert_slopes(it, model.gradients(it.x, it.targets, it.first, LENGTHS)[1], it.loss)


def test_the_last_step_of_residual_directions():
    """Each half of the sum is taken where its direction ended."""
    rng = np.random.default_rng(24)
    layer = elman.Stack([gru(), elman.Bidirectional(gru(4, 1), gru(4, 3))], residual=True)
    model = Model.from_layers(layer, 2, pool="last", readout=cells.readout_linear)
    x = rng.normal(size=(len(LENGTHS), STEPS, INPUT))
    y, found = layer(x, lengths=LENGTHS)[0], model.forward_propagation(x, lengths=LENGTHS)
    for b, n in enumerate(LENGTHS):
        if n:
            read = np.concatenate([y[b, n - 1, :1], y[b, 0, 1:]])
            assert_close(found.output[b], model.parameters["wya"] @ read + model.parameters["by"])


def test_the_largest_of_negative_values_is_not_zero():
    """Of a padded batch, where zeros stand past the lengths, and where the pool starts."""
    rnn = elman.RNN(cells.elman, input=2, hidden=3, dtype="float64")
    rnn.update({"ba": np.full(3, -5.0)})
    model = Model.from_layers(rnn, 3, readout=cells.readout_linear, pool="max")
    model.update({"wya": np.eye(3), "by": np.zeros(3)})
    x = np.random.default_rng(0).normal(size=(2, 5, 2))
    found = model.forward_propagation(x, lengths=[2, 5]).output
    for b, n in enumerate((2, 5)):
        values = rnn(x[b, :n])[0]
        assert_close(found[b], values.max(axis=0))
        assert (found[b] < 0).all()


@every_readout
@pytest.mark.parametrize("pool", [None, "last"])
def test_a_reset_is_a_new_start_for_the_steps_and_for_the_last(readout, pool):
    p = problem("stack", readout, pool)
    reset = np.zeros((len(LENGTHS), STEPS), dtype=bool)
    reset[2, 4] = reset[0, 2] = True
    found = p.model.forward_propagation(p.x, p.first, lengths=p.lengths, reset=reset)
    for b, at in ((2, 4), (0, 2)):
        wanted = p.model.forward_propagation(p.x[b, at : p.lengths[b]])
        got = found.logits[b, at : p.lengths[b]] if pool is None else found.logits[b]
        assert_close(got, wanted.logits)


def test_whole_numbers_are_features_where_there_are_no_tokens():
    p = problem("both", "linear", "mean")
    x = np.random.default_rng(1).integers(-3, 9, size=(4, 5, INPUT))
    assert_close(p.model.forward_propagation(x).output, p.model.forward_propagation(x.astype(float)).output)
    assert p.model.loss(x, p.targets) == p.model.loss(x.astype(float), p.targets)


def test_a_head_over_text():
    """A tagger, and a classifier, of the letters of a text."""
    vocabulary = elman.Vocabulary.characters("abc ")
    for pool in (None, "last", "mean", "max"):
        rnn = elman.RNN(cells.gru, input=len(vocabulary), hidden=4, dtype="float64")
        model = Model.from_layers(rnn, 3, pool=pool, vocabulary=vocabulary)
        wanted = model.forward_propagation(vocabulary.encode("cab bac"))
        found = model.forward_propagation("cab bac")
        np.testing.assert_array_equal(found.output, wanted.output)
        y = rnn(vocabulary.encode("cab bac"))[0]
        pooled = {None: y, "last": y[-1:], "mean": y.mean(0)[None], "max": y.max(0)[None]}[pool]
        logits = pooled @ model.parameters["wya"].T + model.parameters["by"]
        assert_close(found.logits, logits if pool is None else logits[0])
        targets = np.array([0, 2, 1, 1, 0, 2, 2]) if pool is None else np.array(2)
        losses = [cross_entropy(z, t) for z, t in zip(logits, targets.ravel(), strict=True)]
        assert model.loss("cab bac", targets) == pytest.approx(np.mean(losses), rel=1e-12)


# ---------------------------------------------------------------- losses


@every_layer
@every_head
def test_losses_are_those_of_literal_formulas(kind, readout, pool):
    p = problem(kind, readout, pool)
    assert p.model.loss(p.x, p.targets, p.first, p.lengths) == pytest.approx(p.loss(), rel=1e-11)
    losses, last = p.model.losses(p.x, p.targets, p.first, p.lengths)
    for b, logits in enumerate(p.logits()):
        targets = readings(p, p.targets, b)
        wanted = [loss_of(readout, z, t) for z, t in zip(logits, targets, strict=True)]
        assert_close(readings(p, losses, b), np.array(wanted), 1e-11)
        if pool is None:
            np.testing.assert_array_equal(losses[b, p.lengths[b] :], 0.0)
    assert_same_state(last, p.model.forward_propagation(p.x, p.first, lengths=p.lengths).state)


@every_head
def test_the_mean_counts_valid_steps_not_rows(readout, pool):
    """Rows of 3, 0, 6 and 1 steps: a step of a short row weighs as much as one of a long row."""
    p = problem("rnn", readout, pool)
    losses = p.model.losses(p.x, p.targets, p.first, p.lengths)[0]
    count = sum(LENGTHS) if pool is None else sum(n > 0 for n in LENGTHS)
    assert p.model.loss(p.x, p.targets, p.first, p.lengths) == pytest.approx(losses.sum() / count, rel=1e-13)


@every_head
def test_targets_and_inputs_of_the_padding_do_not_matter(readout, pool):
    p = problem("both", readout, pool)
    past = np.arange(STEPS) >= np.array(LENGTHS)[:, None]
    x, targets = p.x.copy(), p.targets.copy()
    x[past] = 7.0
    past_target = past if pool is None else np.array(LENGTHS) == 0
    targets[past_target] = -1 if readout == "softmax" else np.nan
    loss, gradients, last = p.model.gradients(p.x, p.targets, p.first, p.lengths)
    got, found, end = p.model.gradients(x, targets, p.first, p.lengths)
    assert p.model.loss(x, targets, p.first, p.lengths) == loss == got
    assert end == last
    for name, gradient in gradients.items():
        assert_close(found[name], gradient, 1e-13)


@every_readout
def test_huge_targets_past_the_length_are_not_read(readout):
    p = problem("rnn", readout, None)
    targets = p.targets.copy()
    targets[0, 3:] = 10**9
    assert p.model.loss(p.x, targets, p.first, p.lengths) == p.model.loss(p.x, p.targets, p.first, p.lengths)


@pytest.mark.parametrize("readout", ["softmax", "sigmoid"])
@every_pool
@pytest.mark.parametrize(("dtype", "scale"), [("float64", 1e3), ("float64", 1e100), ("float32", 1e3), ("float32", 1e30)])
def test_losses_of_huge_logits(readout, pool, dtype, scale):
    """Where probabilities are 0 and 1 to every digit, losses are the distances of the logits, and gradients are exact."""
    p = problem("rnn", readout, pool, dtype=dtype)
    model = p.model
    before = dict(model.parameters)
    model.update({"wya": before["wya"] * scale, "by": before["by"] * scale})
    try:
        loss, gradients, _ = model.gradients(p.x, p.targets, p.first, p.lengths)
        z = model.forward_propagation(p.x, p.first, lengths=p.lengths).logits.astype(float)
    finally:
        model.update(before)
    losses, d_logits = [], []
    for b in range(len(LENGTHS)):
        for one, t in zip(readings(p, z, b), readings(p, p.targets, b), strict=True):
            if readout == "softmax":
                losses.append(np.max(one) - one[t] + np.log(np.sum(np.exp(one - np.max(one)))))
                d_logits.append(softmax(one) - np.eye(OUTPUT)[t])
            else:
                losses.append(np.mean(np.maximum(one, 0.0) - one * t + np.log1p(np.exp(-np.abs(one)))))
                d_logits.append((np.exp(-np.logaddexp(0.0, -one)) - t) / OUTPUT)
    close = 1e-12 if dtype == "float64" else 1e-5
    assert np.isfinite(loss)
    assert loss == pytest.approx(np.mean(losses), rel=close)
    assert_close(gradients["by"], np.mean(d_logits, axis=0), close)
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name


def test_cross_entropy_of_certain_sigmoids():
    """ln(1 + e^-z) where e^-z is far below the last digit of 1, and z itself where the target is the other one."""
    model = Model.from_layers(elman.RNN(cells.dense, input=1, hidden=1, dtype="float64"), 2, readout=cells.readout_sigmoid)
    model.update({"wya": np.zeros((2, 1)), "by": np.array([50.0, -800.0])})
    x = np.zeros((1, 1))
    assert model.loss(x, [[1.0, 0.0]]) == pytest.approx(np.exp(-50.0) / 2, rel=1e-9)
    assert model.loss(x, [[0.0, 1.0]]) == pytest.approx((50.0 + 800.0) / 2, rel=1e-14)
    assert model.loss(x, [[0.25, 0.5]]) == pytest.approx((0.75 * 50.0 + 0.5 * 800.0) / 2, rel=1e-14)


@every_pool
def test_another_activation_is_measured_by_its_squares(pool):
    """Of the output, behind the activation."""
    p, rng = problem("rnn", "linear", pool), np.random.default_rng(4)
    model = Model.from_layers(gru(), 2, readout=cells.readout_with(elman.tanh), pool=pool)
    x, targets = rng.normal(size=(4, STEPS, 3)), rng.normal(size=(4, STEPS, 2) if pool is None else (4, 2))
    found = model.forward_propagation(x, lengths=LENGTHS)
    losses = []
    for b in range(4):
        for z, y, t in zip(*(readings(p, array, b) for array in (found.logits, found.output, targets)), strict=True):
            assert_close(y, np.tanh(z))
            losses.append(np.mean((np.tanh(z) - t) ** 2))
    assert model.loss(x, targets, lengths=LENGTHS) == pytest.approx(np.mean(losses), rel=1e-13)


# ---------------------------------------------------------------- gradients


def assert_slopes(p: Problem, gradients: Arrays, function: Callable[[Arrays], float]) -> None:
    """Along one random direction in each array by itself, then in all of them together."""
    rng = np.random.default_rng(6)
    for names in [*([name] for name in p.parameters), list(p.parameters)]:
        direction = random_direction({name: p.parameters[name] for name in names}, rng)
        expected = slope(function, p.parameters, direction, 1e-4)
        got = sum(float(np.sum(gradients[p.names[name]] * along)) for name, along in direction.items())
        assert abs(got - expected) <= RELATIVE * max(abs(expected), 1e-4), names


@every_layer
@every_head
def test_gradients_are_slopes(kind, readout, pool):
    p = problem(kind, readout, pool)
    loss, gradients, last = p.model.gradients(p.x, p.targets, p.first, p.lengths)
    assert list(gradients) == list(p.model.parameters)
    assert loss == pytest.approx(p.loss(), rel=1e-11)
    assert_same_state(last, p.model.forward_propagation(p.x, p.first, lengths=p.lengths).state)
    assert_slopes(p, gradients, p.loss)


@every_pool
@pytest.mark.parametrize("kind", ["rnn", "both"])
def test_gradients_of_tokens_are_slopes(kind, pool):
    p = problem(kind, "softmax", pool, tokens=True)
    vectors = one_hot(p.x, INPUT)
    _, gradients, _ = p.model.gradients(p.x, p.targets, p.first, p.lengths)
    assert_slopes(p, gradients, lambda arrays: p.loss(arrays, vectors))


@every_pool
def test_truncated_gradients_are_slopes(pool):
    """The states before steps 2 and 4 are held where they are: no derivative goes through them, but each step is read."""
    p, cut = problem("rnn", "linear", pool, cut=2), 2
    cell, starts = CELLS["lstm"], {}
    for b, n in enumerate(LENGTHS):
        for t in range(0, n, cut):
            starts[b, t] = unroll(cell, p.parameters, p.x[b, :t], row(p.state, b))[1]

    def function(arrays: Arrays) -> float:
        logits = []
        for b, n in enumerate(LENGTHS):
            y = [
                values["h"]
                for t in range(0, n, cut)
                for values in unroll(cell, arrays, p.x[b, t : min(n, t + cut)], starts[b, t])[0]
            ]
            read = {
                None: y,
                "last": y[-1:],
                "mean": [np.mean(y, axis=0)] if n else [],
                "max": [np.max(y, axis=0)] if n else [],
            }
            logits.append(np.array([arrays["wya"] @ a + arrays["by"] for a in read[pool]]))
        return literal_mean("linear", pool, logits, p.targets)

    _, gradients, _ = p.model.gradients(p.x, p.targets, p.first, p.lengths)
    assert_slopes(p, gradients, function)


@every_head
def test_gradients_of_a_padded_batch_are_the_sum_over_rows(readout, pool):
    p = problem("stack of directions", readout, pool)
    _, together, _ = p.model.gradients(p.x, p.targets, p.first, p.lengths)
    count = sum(LENGTHS) if pool is None else sum(n > 0 for n in LENGTHS)
    total = {name: np.zeros_like(gradient) for name, gradient in together.items()}
    for b, n in enumerate(LENGTHS):
        if n:
            targets = p.targets[b, :n] if pool is None else p.targets[b]
            _, alone, _ = p.model.gradients(p.x[b, :n], targets, p.first[b])
            for name, gradient in alone.items():
                total[name] += gradient * (n if pool is None else 1) / count
    for name, gradient in total.items():
        assert_close(together[name], gradient)


@every_head
def test_rows_without_a_step_give_nothing(readout, pool):
    p = problem("both", readout, pool)
    loss, gradients, last = p.model.gradients(p.x, p.targets, p.first, [0, 0, 0, 0])
    assert loss == 0.0
    assert last == p.first
    for gradient in gradients.values():
        np.testing.assert_array_equal(gradient, 0.0)


# ---------------------------------------------------------------- predictions


@every_layer
@every_head
def test_predictions(kind, readout, pool):
    p = problem(kind, readout, pool)
    found = p.model.predict(p.x, p.first, lengths=p.lengths)
    for b, logits in enumerate(p.logits()):
        got = readings(p, found, b)
        if readout == "softmax":
            assert np.issubdtype(found.dtype, np.integer)
            assert got.tolist() == [int(z.argmax()) for z in logits]
        elif readout == "sigmoid":
            assert found.dtype == np.bool_
            assert got.tolist() == [[bool(sigmoid(value) > 0.5) for value in z] for z in logits]
        else:
            assert_close(got, logits)
    alone = p.model.predict(p.x[2], p.first[2])
    np.testing.assert_array_equal(alone, found[2]) if readout != "linear" else assert_close(alone, found[2])


# ---------------------------------------------------------------- names


def test_a_readout_parameter_of_a_taken_name_is_called_by_its_place():
    @elman.cell
    def clash(x, a, *, wya=elman.weight("hidden", "input"), by=elman.weight("hidden", "hidden")):
        logits = wya @ x + by @ a
        return elman.tanh(logits)

    rnn, rng = elman.RNN(clash, input=3, hidden=4, dtype="float64"), np.random.default_rng(7)
    for pool in (None, "last"):
        model = Model.from_layers(rnn, 2, pool=pool)
        assert list(model.parameters) == ["wya", "by", "readout.wya", "readout.by"]
        p = random_parameters({name: array.shape for name, array in model.parameters.items()}, rng)
        model.update(p)
        x, a, read = rng.normal(size=(5, 3)), np.zeros(4), []
        for x_t in x:
            a = np.tanh(p["wya"] @ x_t + p["by"] @ a)
            read.append(p["readout.wya"] @ a + p["readout.by"])
        assert_close(model.forward_propagation(x).logits, np.array(read) if pool is None else read[-1])
        targets = [0, 1, 1, 0, 1] if pool is None else 1
        _, gradients, _ = model.gradients(x, targets)
        assert set(gradients) == set(p)
        d = [softmax(z) - np.eye(2)[t] for z, t in zip(read if pool is None else read[-1:], np.ravel(targets), strict=True)]
        assert_close(gradients["readout.by"], np.mean(d, axis=0))
        values = model.inspect(x)
        assert tuple(values) == model.values
        assert values["logits"].shape == (5, 4)  # the layer's own
        assert_close(values["readout.logits"], np.array(read) if pool is None else read[-1])
        some = model.inspect(x, keep=["readout.logits"])
        assert list(some) == ["readout.logits"]
        np.testing.assert_array_equal(some["readout.logits"], values["readout.logits"])


def test_only_the_name_that_is_taken_changes():
    @elman.cell
    def clash(x, a, *, w=elman.weight("hidden", "input"), by=elman.bias("hidden")):
        return elman.tanh(w @ x + a + by)

    model = Model(5, 4, cell=clash)
    assert list(model.parameters) == ["w", "by", "wya", "readout.by"]
    model.update({"readout.by": np.arange(5.0), "by": np.zeros(4), "wya": np.zeros((5, 4))})
    assert_close(model.forward_propagation([1, 2]).logits, np.array([np.arange(5.0)] * 2))


def test_a_model_with_such_names_goes_through_a_file(tmp_path):
    @elman.cell
    def clash(x, a, *, wya=elman.weight("hidden", "input")):
        return elman.tanh(wya @ x + a)

    model = Model(5, 4, cell=clash, seed=5)
    model.save(tmp_path / "model")
    loaded = elman.load(tmp_path / "model")
    assert list(loaded.parameters) == ["wya", "readout.wya", "by"]
    np.testing.assert_array_equal(loaded.forward_propagation([1, 4, 2]).output, model.forward_propagation([1, 4, 2]).output)


# ---------------------------------------------------------------- files


@every_layer
@every_head
def test_a_model_of_any_head_goes_through_a_file(kind, readout, pool, tmp_path):
    """The same bits, and the same gradients."""
    p = problem(kind, readout, pool)
    p.model.save(tmp_path / "model")
    loaded = elman.load(tmp_path / "model")
    assert list(loaded.parameters) == list(p.model.parameters)
    found, wanted = (model.forward_propagation(p.x, p.first, lengths=p.lengths) for model in (loaded, p.model))
    for name in ("a", "logits", "output"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    loss, gradients, last = loaded.gradients(p.x, p.targets, p.first, p.lengths)
    wanted_loss, expected, end = p.model.gradients(p.x, p.targets, p.first, p.lengths)
    assert (loss, last) == (wanted_loss, end)
    for name, gradient in expected.items():
        np.testing.assert_array_equal(gradients[name], gradient)
    assert loaded.values == p.model.values
    np.testing.assert_array_equal(loaded.predict(p.x), p.model.predict(p.x))


# ---------------------------------------------------------------- layers and dropout of a language model


def test_layers_of_a_language_model_are_a_stack():
    model, rng = Model(7, 4, None, cells.gru, layers=2, dtype="float64"), np.random.default_rng(8)
    p = random_parameters({name: array.shape for name, array in model.parameters.items()}, rng)
    model.update(p)
    tokens = rng.integers(7, size=6)
    state = {str(k): {"h": rng.normal(size=4)} for k in range(2)}
    y, _ = walk(("stack", "gru", "gru"), p, "", one_hot(tokens, 7), state)
    found = model.forward_propagation(tokens, state)
    assert_close(found.logits, np.array([p["wya"] @ a + p["by"] for a in y]))
    assert list(model.parameters)[:2] == ["0.wr", "0.ur"]


def dropping(dropout: float) -> tuple[Model, np.ndarray, np.ndarray]:
    model, rng = Model(7, 12, None, cells.gru, layers=2, dropout=dropout, dtype="float64"), np.random.default_rng(9)
    model.update(random_parameters({name: array.shape for name, array in model.parameters.items()}, rng))
    return model, rng.integers(7, size=(3, 6)), rng.integers(7, size=(3, 6))


def test_nothing_is_dropped_without_a_seed():
    model, tokens, targets = dropping(0.3)
    plain = dropping(0.0)[0]
    loss, gradients, last = model.gradients(tokens, targets)
    assert loss == model.loss(tokens, targets) == plain.loss(tokens, targets)
    wanted, expected, end = plain.gradients(tokens, targets)
    assert loss == wanted
    for name, gradient in expected.items():
        np.testing.assert_array_equal(gradients[name], gradient)
    np.testing.assert_array_equal(last.layers[1].h, end.layers[1].h)


def test_what_is_dropped_is_drawn_by_the_seed():
    model, tokens, targets = dropping(0.3)
    runs = {seed: [model.gradients(tokens, targets, dropout_seed=seed) for _ in range(2)] for seed in range(4)}
    for one, two in runs.values():
        assert one[0] == two[0]
        for name, gradient in one[1].items():
            np.testing.assert_array_equal(two[1][name], gradient)
    assert len({one[0] for one, _ in runs.values()} | {model.loss(tokens, targets)}) == 5
    again = dropping(0.3)[0]
    assert again.gradients(tokens, targets, dropout_seed=2)[0] == runs[2][0][0]


def test_gradients_with_dropout_are_slopes():
    """Of the loss with the same values dropped."""
    model, tokens, targets = dropping(0.3)
    p, rng = dict(model.parameters), np.random.default_rng(10)

    def function(arrays: Arrays) -> float:
        model.update(arrays)
        return model.gradients(tokens, targets, lengths=[6, 0, 4], dropout_seed=11)[0]

    gradients = model.gradients(tokens, targets, lengths=[6, 0, 4], dropout_seed=11)[1]
    for names in [["0.wn"], ["0.un"], ["1.wn"], ["1.un"], ["wya"], list(p)]:
        direction = random_direction({name: p[name] for name in names}, rng)
        expected = slope(function, p, direction)
        got = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
        assert abs(got - expected) <= RELATIVE * max(abs(expected), 1e-4), names


def test_dropout_stands_between_the_layers_and_keeps_the_mean():
    """Of two maps and a linear read-out of the first's outputs: the mean over many draws is what nothing dropped gives."""

    @elman.cell
    def same(x, *, w=elman.weight("hidden", "input")):
        return w @ x

    layers = [elman.RNN(same, input=3, hidden=3, dtype="float64", seed=seed) for seed in (0, 1)]
    stack, rng = elman.Stack(layers, dropout=0.25), np.random.default_rng(12)
    for layer in layers:
        layer.update({"w": np.eye(3)})
    x = rng.normal(size=(2000, 3))
    y = stack.record(x, dropout_seed=4).y
    kept = y != 0.0
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-14)
    assert abs(kept.mean() - 0.75) < 0.03


# ---------------------------------------------------------------- inspect


@every_layer
@every_head
def test_values_of_layers_and_readout(kind, readout, pool):
    p = problem(kind, readout, pool)
    values = p.model.inspect(p.x, p.first, lengths=p.lengths)
    assert tuple(values) == p.model.values
    for b, logits in enumerate(p.logits()):
        assert_close(readings(p, values["logits"], b), logits)
        if readout != "linear":
            assert_close(readings(p, values["mulya"], b), logits - p.parameters["by"])
            outputs = np.array([ACTIVATIONS[readout](z) for z in logits]).reshape(logits.shape)
            assert_close(readings(p, values["probabilities"], b), outputs)
    for name in p.model.values:
        (array,) = p.model.inspect(p.x, p.first, lengths=p.lengths, keep=[name]).values()
        np.testing.assert_array_equal(array, values[name])


@every_layer
@every_readout
def test_values_past_the_length_are_zero(kind, readout):
    """Those of the read-out, too."""
    p = problem(kind, readout, None)
    for name, array in p.model.inspect(p.x, p.first, lengths=p.lengths).items():
        for b, n in enumerate(p.lengths):
            np.testing.assert_array_equal(array[b, n:], 0.0, err_msg=name)


def test_values_by_layer_direction_and_step():
    """A stack of an lstm in two directions and a gru, value by value."""
    tree = ("stack", ("both", "lstm", "gru"), "gru")
    rng = np.random.default_rng(13)
    layer, p, state = build(tree, INPUT, rng, "float64")
    model = Model.from_layers(layer, 2)
    x = rng.normal(size=(len(LENGTHS), STEPS, INPUT))
    keep = ["0.forward.f", "0.backward.n", "1.z", "probabilities", "logits"]
    values = model.inspect(x, state, lengths=LENGTHS, keep=keep)
    assert sorted(values) == sorted(keep)

    def own(prefix: str) -> Arrays:
        return {name.removeprefix(prefix): array for name, array in p.items() if name.startswith(prefix)}

    for b, n in enumerate(LENGTHS):
        if not n:
            continue
        one, start = x[b, :n], row(state, b)
        ahead = unroll(CELLS["lstm"], own("0.forward."), one, start["0"]["forward"])[0]
        behind = unroll(CELLS["gru"], own("0.backward."), one[::-1], start["0"]["backward"])[0][::-1]
        y = np.array([np.concatenate([v["h"], w["h"]]) for v, w in zip(ahead, behind, strict=True)])
        top = unroll(CELLS["gru"], own("1."), y, start["1"])[0]
        assert_close(values["0.forward.f"][b, :n], np.array([v["f"] for v in ahead]))
        assert_close(values["0.backward.n"][b, :n], np.array([v["n"] for v in behind]))
        assert_close(values["1.z"][b, :n], np.array([v["z"] for v in top]))
        logits = np.array([model.parameters["wya"] @ v["h"] + model.parameters["by"] for v in top])
        assert_close(values["logits"][b, :n], logits)
        assert_close(values["probabilities"][b, :n], np.array([softmax(z) for z in logits]))
        for name in ("0.forward.f", "0.backward.n", "1.z"):
            np.testing.assert_array_equal(values[name][b, n:], 0.0)


def test_values_of_a_layer_are_those_that_the_layer_shows():
    rng = np.random.default_rng(14)
    layer, _, state = build(LAYERS["stack"], INPUT, rng, "float64")
    x, model = rng.normal(size=(len(LENGTHS), STEPS, INPUT)), Model.from_layers(layer, 2)
    wanted = layer.inspect(x, state, LENGTHS)
    found = model.inspect(x, state, LENGTHS, keep=[*wanted])
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def test_keep_names_that_are_not_there():
    model = Model.from_layers(elman.RNN(cells.gru, input=3, hidden=4), 2)
    with pytest.raises(SettingError, match="there is no value 'f'; values are r, z, n, h, mulya, logits, probabilities"):
        model.inspect(np.ones((2, 3)), keep=["z", "f"])
    assert model.inspect(np.ones((2, 3)), keep=[]) == {}


# ---------------------------------------------------------------- memory


LONG, SHORT, WIDE = 20_000, 9_000, 32


def peak(function: Callable[[], Any]) -> tuple[Any, int]:
    """What a function gives, and the most memory that was held meanwhile."""
    tracemalloc.start()
    try:
        return function(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def wide(cell: elman.Cell, inputs: int) -> elman.RNN:
    return elman.RNN(cell, input=inputs, hidden=WIDE)


LONG_ONES = {  # a layer, the value that is kept, and the multiple: two directions hold their outputs and the merged ones
    "rnn": (lambda: wide(cells.lstm, 4), "f", 3.5),
    "model": (lambda: Model.from_layers(wide(cells.elman, 4), WIDE), "logits", 3.5),
    "mean": (lambda: Model.from_layers(wide(cells.elman, 4), 3, pool="mean"), "mulaa", 3.5),
    "stack": (lambda: elman.Stack([wide(cells.lstm, 4), wide(cells.elman, WIDE)]), "0.f", 3.5),
    "both": (lambda: elman.Bidirectional(wide(cells.elman, 4), wide(cells.elman, 4)), "forward.add", 5.5),
}


@pytest.mark.parametrize("name", LONG_ONES)
def test_memory_is_bound_to_what_is_kept(name):
    """From 9,000 to 20,000 steps it grows by a small multiple of the one value that is kept; there are 6 to 10 values."""
    make, value, multiple = LONG_ONES[name]
    made = make()
    (value,) = {value, f"0.{value}"} & set(made.values)
    x = np.random.default_rng(15).normal(size=(LONG, 4)).astype("float32")
    made.inspect(x[:5], keep=[value])  # compiled before it is measured
    _, short = peak(lambda: made.inspect(x[:SHORT], keep=[value]))
    found, held = peak(lambda: made.inspect(x, keep=[value]))
    (kept,) = found.values()
    assert (kept.shape, kept.dtype) == ((LONG, WIDE), np.float32)
    assert held - short < multiple * WIDE * 4 * (LONG - SHORT)
    assert np.isfinite(kept).all()
    assert np.std(kept, axis=0).min() > 0.0


def test_a_value_that_is_kept_goes_on_over_the_chunks_of_a_long_sequence():
    rnn, x = wide(cells.lstm, 4), np.random.default_rng(16).normal(size=(9000, 4)).astype("float32")
    found = Model.from_layers(rnn, 3).inspect(x, keep=["f"])["f"]
    for start in (0, 4090, 8190):
        piece = rnn.inspect(x[start : start + 20], rnn(x[:start])[1] if start else None, keep=["f"])["f"]
        assert_close(found[start : start + 20], piece, 1e-6)


# ---------------------------------------------------------------- what does not fit


def gru(inputs: int = 3, hidden: int = 4) -> elman.RNN:
    return elman.RNN(cells.gru, input=inputs, hidden=hidden, dtype="float64")


def both(merge: str = "concatenate") -> elman.Bidirectional:
    return elman.Bidirectional(gru(), gru(), merge=merge)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model.from_layers(gru(), 2, pool="first"), "pool='first' is unknown; it is last, mean, max"),
        (lambda: Model.from_layers(gru()), "output is missing"),
        (lambda: Model.from_layers(both("sum"), 2, pool="last"), 'a sum mixes the last steps of two directions; take merge'),
        (lambda: Model.from_layers(elman.Stack([gru(), elman.Bidirectional(gru(4), gru(4), merge="mean")]), 2, pool="last"),
         "a mean mixes the last steps of two directions"),
        (lambda: Model.from_layers(gru(4), 2, vocabulary=elman.Vocabulary.characters("ab")), "vocabulary has 3 symbols"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(make, message):
    with pytest.raises(SettingError) as raised:
        make()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("readout", "pool", "targets", "error", "message"),
    [
        ("softmax", None, [0, 1, 2, 3], TokenError, "token 3 at position 3 is outside the vocabulary of 3, 0 to 2"),
        ("softmax", None, [0, -1, 2, 2], TokenError, "token -1 at position 1 is outside the vocabulary of 3, 0 to 2"),
        ("softmax", None, [0, 1], ShapeError, "targets are (2)"),
        ("softmax", "last", [1], ShapeError, "targets are (1)"),
        ("softmax", "mean", -1, TokenError, "token -1 at position 0 is outside the vocabulary of 3, 0 to 2"),
        ("sigmoid", None, np.full((4, 3), 1.5), DataError, "target 1.5 at (0, 0) is outside 0 to 1"),
        ("sigmoid", "max", [0.0, -0.5, 1.0], DataError, "target -0.5 at (1"),
        ("sigmoid", None, np.ones((4, 2)), ShapeError, "targets are (4, 2)"),
        ("linear", None, np.full((4, 3), np.nan), DataError, "targets hold NaN or infinity"),
        ("linear", "last", np.array([0.0, np.inf, 1.0]), DataError, "targets hold NaN or infinity"),
        ("linear", "mean", np.ones((4, 3)), ShapeError, "targets are (4, 3)"),
    ],
)
def test_targets_that_do_not_fit(readout, pool, targets, error, message):
    """Within the lengths; past them, anything goes."""
    model = Model.from_layers(gru(), 3, readout=READOUTS[readout], pool=pool)
    for act in (model.loss, model.losses, model.gradients):
        with pytest.raises(error) as raised:
            act(np.ones((4, 3)), targets)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)
