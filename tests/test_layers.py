"""Layers of layers: gradients against central differences, dropout, sequences without steps, bad input by message."""

from typing import Any

import numpy as np
import pytest

import elman
from elman import RNN, Backwards, Bidirectional, DataError, Layer, SettingError, ShapeError, Stack, State, TokenError
from elman.testing import check_gradient
from layers import BOTH_WAYS, MADE_OF_LAYERS, ONE_WAY, Problem, by_path, leaves, problem

KINDS = (*ONE_WAY, *BOTH_WAYS)
DROPPING = tuple(kind for kind in KINDS if "stack" in kind)

# ---------------------------------------------------------------- gradients against central differences


def from_paths(like: State, arrays: dict[str, np.ndarray], before: str = "state") -> State:
    def field(name: str, value: Any) -> Any:
        path = f"{before}.{name}"
        return from_paths(value, arrays, path) if isinstance(value, State) else arrays[path]

    return State({n: field(n, v) for n, v in like.items()}, cell=like.cell, batch=like.batch)


def assert_derived(p: Problem, *, with_state: bool, seed: int | None) -> None:
    """Every parameter, the input and every state by itself, then all of them along random directions."""
    dy, d_last = p.weights(1)

    def record(x, state):
        return p.layer.record(x, state, p.lengths, p.reset, dropout_seed=seed)

    def loss(at) -> float:
        p.layer.update({name: at[name] for name in p.layer.parameters})
        found = record(at["x"], from_paths(p.state, at) if with_state else None)
        return float(np.sum(dy * found.y)) + sum(
            float(np.sum(one * two)) for one, two in zip(leaves(d_last), leaves(found.state), strict=True)
        )

    first = dict(by_path(p.state)) if with_state else {}
    point = {**p.layer.parameters, "x": p.x, **first}
    parameters, d_x, d_first = record(p.x, p.state if with_state else None).gradients(dy, d_last)
    gradient = {**parameters, "x": d_x} | (dict(by_path(d_first)) if with_state else {})
    assert set(gradient) == set(point)
    assert sum(float(np.abs(value).max(initial=0.0)) > 1e-6 for value in gradient.values()) > 0.9 * len(gradient)
    check_gradient(loss, gradient, point)


def fresh(name: str, **settings: Any) -> Problem:
    """A problem of smooth cells whose parameters the test may change."""
    return problem.__wrapped__(name, smooth=True, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_layers_of_layers(kind):
    """One in two of the cells learns where it starts; with a state given, resets still go there."""
    assert_derived(fresh(f"{kind} 0"), with_state=True, seed=None)
    assert_derived(fresh(f"{kind} 1"), with_state=False, seed=None)


@pytest.mark.parametrize("kind", DROPPING)
def test_gradients_under_dropout(kind):
    p = fresh(f"{kind} 0", recurrent_dropout=0.25)
    assert np.abs(p.layer.record(p.x, dropout_seed=5).y - p.layer.record(p.x, dropout_seed=6).y).max() > 1e-3
    assert_derived(p, with_state=True, seed=5)
    assert_derived(fresh(f"{kind} 1", recurrent_dropout=0.25), with_state=False, seed=6)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_gradients_of_what_is_learnt_at_the_start(cell):
    rng = np.random.default_rng(2)
    rnn = RNN(getattr(elman.cells, cell), input=3, hidden=4, dtype="float64", learn_initial=True)
    names = [f"{state}0" for state in rnn.initial_state()]
    np.testing.assert_array_equal([rnn.parameters[name] for name in names], 0.0)
    rnn.update({name: rng.normal(size=4) for name in names})
    x, dy, reset = rng.normal(size=(3, 5, 3)), rng.normal(size=(3, 5, 4)), rng.random((3, 5)) < 0.3

    def loss(at) -> float:
        rnn.update({name: at[name] for name in names})
        return float(np.sum(dy * rnn(x, lengths=[5, 0, 3], reset=reset)[0]))

    start = {name: rnn.parameters[name] for name in names}
    check_gradient(loss, {n: rnn.gradients(x, dy, lengths=[5, 0, 3], reset=reset).parameters[n] for n in names}, start)
    rnn.update(start)
    given = rnn.gradients(x, dy, rnn.initial_state(3))
    for name in names:  # a state that is given is the caller's: its gradient goes there
        np.testing.assert_array_equal(given.parameters[name], 0.0)
        np.testing.assert_allclose(given.state[name[:-1]].sum(0), rnn.gradients(x, dy).parameters[name], atol=1e-13)


def test_gradients_of_a_part_that_was_not_given():
    """What is learnt gets its gradient where a part starts from it, though another part was given a state."""
    rng = np.random.default_rng(3)
    layers = [RNN(elman.cells.gru, input=3, hidden=3, dtype="float64", seed=k, learn_initial=True) for k in (0, 1)]
    stack = Stack(layers, residual=True)
    stack.update({name: rng.normal(size=3) for name in ("0.h0", "1.h0")})
    x, dy, h, start = (
        rng.normal(size=(2, 5, 3)),
        rng.normal(size=(2, 5, 3)),
        rng.normal(size=(2, 3)),
        stack.parameters["1.h0"],
    )

    def loss(at) -> float:
        stack.update(at)
        return float(np.sum(dy * stack(x, [h, None])[0]))

    found = stack.gradients(x, dy, [h, None])
    np.testing.assert_array_equal(found.parameters["0.h0"], 0.0)
    check_gradient(loss, {"1.h0": found.parameters["1.h0"]}, {"1.h0": start})
    stack.update({"1.h0": start})
    record, d_h = stack.record(x, [h, None]), rng.normal(size=(2, 3))
    one, both = record.gradients(dy, [d_h, None]), record.gradients(dy, [d_h, np.zeros((2, 3))])
    for name, value in both.parameters.items():  # and a gradient that is not given is zero
        np.testing.assert_array_equal(one.parameters[name], value)


# ---------------------------------------------------------------- dropout


@elman.cell
def same(x, *, w=elman.weight("hidden", "input")):
    """y<t> = w x<t>: with w = 1, what goes in comes out."""
    return w @ x


@elman.cell
def leaky(
    x, h, k, *, u=elman.weight("hidden", "hidden"), v=elman.weight("hidden", "hidden"), w=elman.weight("hidden", "input")
):
    """h<t> = u h<t-1> + w x<t>, k<t> = v h<t-1> + k<t-1>"""
    return u @ h + w @ x, v @ h + k


def wires(cell: elman.Cell, size: int, *, dtype: str = "float64", **settings: Any) -> RNN:
    """A layer whose matrices are all 1."""
    rnn = RNN(cell, input=size, hidden=size, dtype=dtype, **settings)
    rnn.update(dict.fromkeys(rnn.parameters, np.eye(size)))
    return rnn


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_dropped_and_what_is_kept(share, dtype):
    size, x = 40, np.ones((30, 25, 40))
    y = Stack([wires(same, size, dtype=dtype), wires(same, size, dtype=dtype)], dropout=share).record(x, dropout_seed=1).y
    kept = y > 0.0
    assert y.dtype == dtype
    np.testing.assert_allclose(y[kept], 1.0 / (1.0 - share), rtol=1e-6 if dtype == "float32" else 1e-14)
    sigma = np.sqrt(share * (1.0 - share) / y.size)
    assert abs((1.0 - kept.mean()) - share) < 5.0 * sigma
    assert abs(y.mean(dtype=np.float64) - 1.0) < 5.0 * sigma / (1.0 - share)
    for axis in (0, 1, 2):  # drawn anew for every example, step and value
        assert not (kept.all(axis) | (~kept).all(axis)).all()
        assert abs((kept ^ np.roll(kept, 1, axis)).mean() - 2.0 * share * (1.0 - share)) < 0.02


def test_dropout_stands_between_layers_only():
    x, size = np.random.default_rng(0).normal(size=(4, 6, 8)), 8
    one = Stack([wires(same, size)], dropout=0.5)
    np.testing.assert_array_equal(one.record(x, dropout_seed=1).y, x)
    three = Stack([wires(same, size) for _ in range(3)], dropout=0.5).record(x, dropout_seed=1).y / x
    assert set(np.unique(np.round(three, 12))) == {0.0, 4.0}  # two places, each kept ones doubled
    assert abs((three == 0.0).mean() - 0.75) < 0.15


def test_dropout_of_a_sum_with_what_was_read():
    """What goes up is layer plus input, and dropped as one; the last sum is not."""
    x, size = np.random.default_rng(1).normal(size=(5, 9, 8)), 8
    y = Stack([wires(same, size) for _ in range(3)], dropout=0.5, residual=True).record(x, dropout_seed=1).y / x
    assert set(np.unique(np.round(y, 12))) == {0.0, 16.0}  # (1 + 1) (1 + 1), doubled twice


def test_dropped_values_get_no_gradient():
    x, size = np.random.default_rng(2).normal(size=(4, 6, 8)), 8
    record = Stack([wires(same, size) for _ in range(2)], dropout=0.25).record(x, dropout_seed=1)
    np.testing.assert_allclose(record.gradients(np.ones_like(x)).x, record.y / x, atol=1e-14)


@pytest.mark.parametrize("name", [f"{kind} {seed}" for kind in DROPPING for seed in (0, 1)])
def test_without_a_seed_nothing_is_dropped(name):
    p, plain = problem(name, recurrent_dropout=0.5), problem(name)
    asked = (p.x, p.state, p.lengths, p.reset)
    for layer in (p.layer, plain.layer):
        y, last = layer(*asked)
        record = layer.record(*asked)
        np.testing.assert_allclose(record.y, y, rtol=0, atol=1e-13)
        np.testing.assert_allclose(record.y, plain.layer(*asked)[0], rtol=0, atol=1e-13)
        for one, two in zip(leaves(record.state), leaves(last), strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=1e-13)
    assert tuple(p.layer.inspect(p.x)) == plain.layer.values


@pytest.mark.parametrize("name", [f"{kind} {seed}" for kind in DROPPING for seed in (0, 1)])
def test_one_seed_gives_one_result(name):
    p = problem(name, recurrent_dropout=0.5, smooth=True)
    dy, d_last = p.weights(3)

    def run(seed):
        record = p.layer.record(p.x, p.state, p.lengths, p.reset, dropout_seed=seed)
        parameters, d_x, d_first = record.gradients(dy, d_last)
        return [record.y, *leaves(record.state), *parameters.values(), d_x, *leaves(d_first)]

    first, again, other = run(1), run(1), run(2)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert max(np.abs(one - two).max() for one, two in zip(first, other, strict=True)) > 1e-3


@pytest.mark.parametrize("name", [f"{kind} {seed}" for kind in DROPPING for seed in (0, 1)])
def test_the_padding_stays_zero_under_dropout(name):
    p = problem(name, recurrent_dropout=0.5)
    y = p.layer.record(p.x, p.state, p.lengths, p.reset, dropout_seed=1).y
    for b, n in enumerate(p.lengths):
        np.testing.assert_array_equal(y[b, n:], 0.0)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_recurrent_mask_is_the_same_at_every_step(share):
    """h<t> = mask h<t-1> from h = 1 without input: powers of the mask."""
    batch, steps, size = 30, 5, 40
    rnn = wires(leaky, size, recurrent_dropout=share)
    state = {"h": np.ones((batch, size)), "k": np.zeros((batch, size))}
    record = rnn.record(np.zeros((batch, steps, size)), state, dropout_seed=1)
    mask, factor = record.y[:, 0], 1.0 / (1.0 - share)
    kept = mask > 0.0
    np.testing.assert_allclose(mask[kept], factor, rtol=1e-14)
    for t in range(steps):
        np.testing.assert_allclose(record.y[:, t], mask ** (t + 1), rtol=1e-13)
    sums = sum(mask ** (t + 1) for t in range(steps))  # k adds up v (mask h): both products read h by one mask
    np.testing.assert_allclose(record.state.k, sums, rtol=1e-13)
    assert abs((1.0 - kept.mean()) - share) < 5.0 * np.sqrt(share * (1.0 - share) / mask.size)
    assert not (kept == kept[0]).all()  # another one for each example


def test_the_recurrent_mask_of_a_long_sequence_is_one():
    """Programs run long sequences in chunks of time."""
    rnn, steps = wires(leaky, 6, recurrent_dropout=0.5), 10_000
    decay = {name: 0.5 * np.eye(6) for name in ("u", "v")}
    rnn.update(decay)
    y = rnn.record(np.ones((1, steps, 6)), dropout_seed=3).y[0]
    kept = y[1] > 1.0
    assert kept.any()
    assert not kept.all()
    np.testing.assert_array_equal(y[:, ~kept], 1.0)
    np.testing.assert_allclose(y[:, kept], np.arange(1, steps + 1)[:, None] * np.ones(kept.sum()), rtol=1e-12)


def test_recurrent_dropout_meets_products_only():
    """The gru keeps z h<t-1> whole: without recurrent matrices there is nothing to drop."""
    rng = np.random.default_rng(4)
    rnn = RNN(elman.cells.gru, input=3, hidden=4, dtype="float64", recurrent_dropout=0.5)
    x, h = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 4))
    assert np.abs(rnn.record(x, h, dropout_seed=1).y - rnn(x, h)[0]).max() > 1e-3
    rnn.update({name: np.zeros((4, 4)) for name in ("ur", "uz", "un")})
    np.testing.assert_allclose(rnn.record(x, h, dropout_seed=1).y, rnn(x, h)[0], atol=1e-14)


def test_residual_by_value():
    """y = w2 (w1 x) + w1 x: the first layer adds nothing, the second what it reads."""
    rng = np.random.default_rng(5)
    w1, w2, x = rng.normal(size=(4, 3)), rng.normal(size=(4, 4)), rng.normal(size=(2, 5, 3))
    stack = Stack(
        [RNN(same, input=3, hidden=4, dtype="float64"), RNN(same, input=4, hidden=4, dtype="float64")], residual=True
    )
    stack.update({"0.w": w1, "1.w": w2})
    for b in range(2):
        for t in range(5):
            low = w1 @ x[b, t]
            np.testing.assert_allclose(stack(x)[0][b, t], w2 @ low + low, atol=1e-14)


# ---------------------------------------------------------------- no step at all


@pytest.mark.parametrize("rows", [(), (3,)])
@pytest.mark.parametrize("name", ["lstm", "elman", "mlstm", "random_11", "random_28", *MADE_OF_LAYERS[::2]])
def test_no_step_gives_nothing_and_the_state_back(name, rows):
    p = problem(name)
    layer, batch = p.layer, rows[0] if rows else None
    state = p.state[0] if batch is None else p.state[:batch]
    asked = {"lengths": np.zeros(batch or 1, int), "reset": np.zeros((*rows, 0), bool)}
    for empty in (np.zeros((*rows, 0, p.x.shape[-1])), np.zeros((*rows, 0), int)):
        for more in ({}, asked):
            y, last = layer(empty, state, **more)
            assert y.shape == (*rows, 0, *layer.output_shape)
            assert y.dtype == np.float64
            assert last == state
            assert layer(empty, **more)[1] == layer.initial_state(batch)
            values = layer.inspect(empty, state, **more)
            assert {value.shape[len(rows)] for value in values.values()} == {0}
            d_last = state.copy()
            found = layer.record(empty, state, **more).gradients(y, d_last)
            assert all(not value.any() for value in found.parameters.values())
            assert found.state == d_last
            assert (found.x is None) if empty.dtype.kind == "i" else (found.x.shape == empty.shape)


def test_no_step_still_starts_from_what_is_learnt():
    rnn = RNN(elman.cells.elman, input=3, hidden=4, dtype="float64", learn_initial=True)
    rnn.update({"a0": np.arange(4.0)})
    np.testing.assert_array_equal(rnn(np.zeros((2, 0, 3)))[1].a, [np.arange(4.0)] * 2)
    found = rnn.record(np.zeros((2, 0, 3))).gradients(np.zeros((2, 0, 4)), np.ones((2, 4)))
    np.testing.assert_array_equal(found.parameters["a0"], [2.0] * 4)


# ---------------------------------------------------------------- bad input, by message


def rnn_of(cell: str = "gru", inputs: int = 3, hidden: int = 4, **settings: Any) -> RNN:
    return RNN(getattr(elman.cells, cell), input=inputs, hidden=hidden, **settings)


def two_ways(inputs: int = 3, hidden: int = 4, **asked: Any) -> Bidirectional:
    return Bidirectional(rnn_of("gru", inputs, hidden), rnn_of("gru", inputs, hidden, seed=1), **asked)


@elman.cell
def a_matrix(x, h, *, w=elman.weight("hidden", "input")):
    return elman.outer(h, x), w @ x


SHARED = rnn_of()
NOT_MADE = {
    "sizes of a stack": (
        lambda: Stack([rnn_of("gru", 3, 4), rnn_of("elman", 5, 4)]),
        "Stack: layer 0 (gru) gives 4 values a step, layer 1 (elman) reads 5",
    ),
    "sizes high in a stack": (
        lambda: Stack([rnn_of(), rnn_of("lstm", 4, 6), rnn_of("elman", 7)]),
        "Stack: layer 1 (lstm) gives 6 values a step, layer 2 (elman) reads 7",
    ),
    "sizes after two directions": (
        lambda: Stack([two_ways(), rnn_of("lstm", 4, 4)]),
        "Stack: layer 0 (Bidirectional(gru, gru)) gives 8 values a step, layer 1 (lstm) reads 4",
    ),
    "a matrix in a stack": (
        lambda: Stack([RNN(a_matrix, input=3, hidden=4), rnn_of()]),
        "Stack: layer 0 (a_matrix) gives 4x3 values a step, layer 1 (gru) reads 3",
    ),
    "residual sizes": (
        lambda: Stack([rnn_of(), rnn_of("lstm", 4, 5)], residual=True),
        "Stack: residual adds input and output of layer 1 (lstm), which are of sizes 4 and 5",
    ),
    "an empty stack": (lambda: Stack([]), "Stack: no layer is given; one or more are wanted"),
    "a cell in a stack": (
        lambda: Stack([rnn_of(), elman.cells.gru]),
        "Stack: 1 is <cell gru>; a layer (RNN, Stack, Bidirectional) is wanted",
    ),
    "nothing for a direction": (
        lambda: Bidirectional(rnn_of(), None),
        "Bidirectional: backward is None; a layer (RNN, Stack, Bidirectional) is wanted",
    ),
    "types of a stack": (
        lambda: Stack([rnn_of(), rnn_of("lstm", 4, 4, dtype="float64")]),
        "Stack: the layers are of float32 and float64; one type is wanted",
    ),
    "types of directions": (
        lambda: Bidirectional(rnn_of(), rnn_of(dtype="float64")),
        "Bidirectional: the layers are of float32 and float64; one type is wanted",
    ),
    "one layer twice": (
        lambda: Bidirectional(SHARED, SHARED),
        "Bidirectional: forward and backward hold the same layer (gru); make one for each, "
        "since each has parameters of its own",
    ),
    "one layer twice, deep": (
        lambda: Stack([SHARED, rnn_of("gru", 4, 3), Stack([Backwards(SHARED)])]),
        "Stack: 0 and 2 hold the same layer (gru); make one for each, since each has parameters of its own",
    ),
    "inputs of directions": (
        lambda: Bidirectional(rnn_of("gru", 3), rnn_of("lstm", 5)),
        "Bidirectional: forward gru reads 3 values a step, backward lstm reads 5 values a step; both read one input",
    ),
    "outputs of directions": (
        lambda: Bidirectional(rnn_of("gru", 3, 4), rnn_of("lstm", 3, 5), merge="mean"),
        "Bidirectional: forward gru gives 4 values a step, backward lstm gives 5 values a step; a mean wants one size",
    ),
    "matrices side by side": (
        lambda: Bidirectional(rnn_of(), RNN(a_matrix, input=3, hidden=4)),
        "Bidirectional: forward gru gives 4 values a step, backward a_matrix gives 4x3 values a step; "
        "concatenate wants vectors",
    ),
    "an unknown merge": (
        lambda: two_ways(merge="max"),
        "Bidirectional: merge 'max' is unknown; it is one of concatenate, sum, mean, product",
    ),
    "a share of one": (
        lambda: Stack([rnn_of(), rnn_of("gru", 4)], dropout=1.0),
        "dropout=1.0 must be a share, at least 0 and below 1",
    ),
    "a share below zero": (
        lambda: rnn_of(recurrent_dropout=-0.1),
        "recurrent_dropout=-0.1 must be a share, at least 0 and below 1",
    ),
    "a share that is no number": (
        lambda: Stack([rnn_of()], dropout="half"),
        "dropout='half' must be a share, at least 0 and below 1",
    ),
}


@pytest.mark.parametrize("case", NOT_MADE)
def test_layers_that_cannot_be_made_say_why(case):
    make, message = NOT_MADE[case]
    with pytest.raises(SettingError) as raised:
        make()
    assert str(raised.value) == message


def test_directions_of_matrices_can_be_merged():
    """Only side by side they cannot stand."""
    layers = [RNN(a_matrix, input=3, hidden=4, dtype="float64", seed=seed) for seed in (0, 1)]
    x = np.random.default_rng(6).normal(size=(5, 3))
    y, _ = Bidirectional(*layers, merge="sum")(x)
    np.testing.assert_allclose(y, layers[0](x)[0] + layers[1](x[::-1])[0][::-1], atol=1e-14)


def test_what_could_have_been_a_parameter_is_refused():
    @elman.cell
    def taken(x, h, *, w=elman.weight("hidden", "input"), h0=elman.bias("hidden")):
        return elman.tanh(w @ x + h + h0)

    with pytest.raises(SettingError, match=r"^taken: learn_initial wants a parameter h0, which the equations have already$"):
        RNN(taken, input=3, hidden=4, learn_initial=True)


LAYERS = {
    "gru": rnn_of,
    "Stack(gru, lstm)": lambda: Stack([rnn_of(), rnn_of("lstm", 4)]),
    "Bidirectional(gru, gru)": two_ways,
    "Backwards(gru)": lambda: Backwards(rnn_of()),
    "Stack(Bidirectional(gru, gru), gru)": lambda: Stack([two_ways(), rnn_of("gru", 8)]),
}
FULL = np.zeros((2, 5, 3))
BAD = {
    "lengths beyond the steps": (
        {"x": FULL, "lengths": [5, 6]},
        DataError,
        "length 6 of sequence 1 is outside 0 to 5, the number of steps",
    ),
    "negative lengths": (
        {"x": FULL, "lengths": [-1, 5]},
        DataError,
        "length -1 of sequence 0 is outside 0 to 5, the number of steps",
    ),
    "one length for two": (
        {"x": FULL, "lengths": [5]},
        ShapeError,
        "lengths are int64 (1); integers (2) are wanted, one a sequence",
    ),
    "a number as lengths": (
        {"x": FULL, "lengths": 5},
        ShapeError,
        "lengths are int64 (); integers (2) are wanted, one a sequence",
    ),
    "broken lengths": (
        {"x": FULL, "lengths": [5.0, 2.5]},
        ShapeError,
        "lengths are float64 (2); integers (2) are wanted, one a sequence",
    ),
    "resets of the wrong length": (
        {"x": FULL, "reset": np.zeros(4, bool)},
        ShapeError,
        "reset is bool (4); truth values (5) or (2, 5) are wanted",
    ),
    "resets turned": (
        {"x": FULL, "reset": np.zeros((5, 2), bool)},
        ShapeError,
        "reset is bool (5, 2); truth values (5) or (2, 5) are wanted",
    ),
    "resets that are numbers": (
        {"x": FULL, "reset": np.zeros((2, 5), int)},
        ShapeError,
        "reset is int64 (2, 5); truth values (5) or (2, 5) are wanted",
    ),
    "an empty batch": (
        {"x": np.zeros((0, 5, 3))},
        ShapeError,
        "the batch is empty, (0, 5, 3); at least one sequence is wanted",
    ),
    "an empty batch of tokens": (
        {"x": np.zeros((0, 5), int)},
        ShapeError,
        "the batch is empty, (0, 5); at least one sequence is wanted",
    ),
    "an empty batch without steps": (
        {"x": np.zeros((0, 0), int), "lengths": []},
        ShapeError,
        "the batch is empty, (0, 0); at least one sequence is wanted",
    ),
    "another input size": (
        {"x": np.zeros((2, 5, 4))},
        ShapeError,
        "the input is (2, 5, 4); [T, 3] or [B, T, 3] is wanted, input=3",
    ),
    "no steps at all": ({"x": np.zeros(3)}, ShapeError, "the input is (3); [T, 3] or [B, T, 3] is wanted, input=3"),
    "a token outside": (
        {"x": np.array([[0, 1], [2, 3]])},
        TokenError,
        "token 3 at position 1 of sequence 1 is outside the vocabulary of 3, 0 to 2",
    ),
    "integer features": (
        {"x": FULL.astype(int)},
        ShapeError,
        "tokens are (2, 5, 3); [T] or [B, T] is wanted (features must be floats)",
    ),
    "truth values as input": (
        {"x": FULL.astype(bool)},
        DataError,
        "the input holds bool; floats are features, integers are tokens",
    ),
    "not a number": (
        {"x": np.full((5, 3), np.nan)},
        DataError,
        "the input holds NaN or infinity (first at (0, 0), as float32)",
    ),
    "too large for the type": (
        {"x": np.full((5, 3), 1e200)},
        DataError,
        "the input holds NaN or infinity (first at (0, 0), as float32)",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", LAYERS)
def test_bad_input_says_what_and_where(name, case):
    asked, error, message = BAD[case]
    layer: Layer = LAYERS[name]()
    for run in (layer, layer.inspect, layer.record):
        with pytest.raises(error) as raised:
            run(**asked)
        assert str(raised.value) == f"{name}: {message}"


@pytest.mark.parametrize("name", [name for name in LAYERS if "Bi" in name or "Back" in name])
@pytest.mark.parametrize("x", [np.zeros(3), np.zeros((2, 3)), 1])
def test_what_reads_from_the_end_takes_no_step(name, x):
    with pytest.raises(SettingError) as raised:
        LAYERS[name]().step(x)
    assert str(raised.value) == f"{name}: a step cannot be taken alone; a direction reads from the end of a sequence"


def test_an_empty_batch_takes_no_step():
    for x in (np.zeros((0, 3)), np.zeros(0, int)):
        with pytest.raises(ShapeError, match="gru: the batch is empty"):
            rnn_of().step(x)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_a_dropout_seed_is_an_integer(seed):
    with pytest.raises(SettingError) as raised:
        LAYERS["Stack(gru, lstm)"]().record(FULL, dropout_seed=seed)
    assert str(raised.value) == f"seed={seed!r} must be an integer, 0 or more"


def test_gradients_that_do_not_fit_say_so():
    record = LAYERS["Stack(gru, lstm)"]().record(FULL)
    with pytest.raises(ShapeError) as raised:
        record.gradients(np.zeros((2, 4, 4)))
    assert str(raised.value) == "Stack(gru, lstm): dy is (2, 4, 4), the output is (2, 5, 4)"
    with pytest.raises(ShapeError, match=r"^Stack, part 0: gru: state h \(3, 4\) is of batch 3"):
        record.gradients(np.zeros((2, 5, 4)), LAYERS["Stack(gru, lstm)"]().initial_state(3))


def test_values_that_are_not_there_are_listed():
    stack = Stack([rnn_of("elman"), rnn_of("elman", 4)])
    with pytest.raises(SettingError) as raised:
        stack.inspect(FULL, keep=["0.a", "a"])
    assert str(raised.value) == f"Stack(elman, elman): there is no value 'a'; values are {', '.join(stack.values)}"
    assert set(stack.inspect(FULL, keep=["1.a", "1.a"])) == {"1.a"}
    assert stack.inspect(FULL, keep=[]) == {}


def test_parameters_that_are_not_there_are_listed_and_none_is_set():
    stack = Stack([rnn_of("elman"), rnn_of("elman", 4)])
    before = dict(stack.parameters)
    good = {"0.ba": np.ones(4)}
    for bad, error, message in (
        ({"2.ba": np.ones(4)}, SettingError, f"there is no parameter '2.ba'; parameters are {', '.join(before)}"),
        ({"1.bb": np.ones(4)}, SettingError, "elman: there is no parameter 'bb'; parameters are wax, waa, ba"),
        ({"1.ba": np.ones(5)}, ShapeError, "elman: ba is (5), (hidden=4) is wanted"),
        ({"1.ba": np.full(4, np.nan)}, DataError, "elman: ba holds NaN or infinity (first at (0,), as float32)"),
    ):
        with pytest.raises(error) as raised:
            stack.update(good | bad)
        assert message in str(raised.value)
        for name, value in before.items():
            np.testing.assert_array_equal(stack.parameters[name], value)
    stack.update(good)
    np.testing.assert_array_equal(stack.parameters["0.ba"], 1.0)
