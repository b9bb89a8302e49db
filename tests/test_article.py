"""The article's network, part by part and by value, and its promise that the structure can be changed."""

import math

import numpy as np
import pytest

import elman
from oracles import (
    CELLS,
    Arrays,
    Cell,
    Problem,
    cross_entropy,
    named_gates,
    one_hot,
    random_direction,
    random_parameters,
    readout,
    run,
    sigmoid,
    slope,
    truncated,
    unroll,
)

HUGE = 1e308


def assert_close(got, expected, atol: float = 1e-12) -> None:
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


# ---------------------------------------------------------------- activations and gates


def test_sigmoid():
    assert_close(elman.Sigmoid().forward(np.array([0.0, 1.0, -2.0])), [0.5, 0.731058578630004879, 0.119202922022117560])


def test_tanh():
    assert_close(elman.Tanh().forward(np.array([0.0, 0.5, -2.0])), [0.0, 0.462117157260009759, -0.964027580075816884])


@pytest.mark.parametrize("size", [1000.0, HUGE])
def test_sigmoid_and_tanh_of_huge_numbers(size):
    assert_close(elman.Sigmoid().forward(np.array([size, -size])), [1.0, 0.0])
    assert_close(elman.Tanh().forward(np.array([size, -size])), [1.0, -1.0])


def test_small_probabilities_of_sigmoid_keep_their_digits():
    assert elman.Sigmoid().forward(np.array([-700.0]))[0] == pytest.approx(math.exp(-700.0), rel=1e-12, abs=0.0)


def test_softmax_predict():
    expected = [0.090030573170380458, 0.244728471054797652, 0.665240955774821890]  # e^1, e^2, e^3 by their sum
    assert_close(elman.Softmax().predict(np.array([1.0, 2.0, 3.0])), expected)


def test_softmax_predict_row_by_row():
    x = np.random.default_rng(0).normal(size=(5, 4)) * 3
    expected = [[math.exp(value) / sum(math.exp(other) for other in row) for value in row] for row in x]
    assert_close(elman.Softmax().predict(x), expected)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([1000.0, 1000.0], [0.5, 0.5]),
        ([-1000.0, -1000.0, -1000.0, -1000.0], [0.25, 0.25, 0.25, 0.25]),
        ([1000.0, 999.0], [0.731058578630004879, 0.268941421369995121]),
        ([1000.0, -1000.0, 0.0], [1.0, 0.0, 0.0]),
        ([HUGE, 0.0], [1.0, 0.0]),
        ([-HUGE, 0.0], [0.0, 1.0]),
        ([HUGE, HUGE], [0.5, 0.5]),
        ([HUGE, -HUGE], [1.0, 0.0]),
    ],
)
def test_softmax_of_huge_logits(x, expected):
    assert_close(elman.Softmax().predict(np.array(x)), expected)
    best = int(np.argmax(x))
    target = np.eye(len(x))[best]
    assert_close(elman.Softmax().diff(np.array(x), best), np.array(expected) - target)
    assert elman.Softmax().loss(np.array(x), best) == pytest.approx(-math.log(expected[best]), abs=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1000.0, 0.0], 1, 1000.0),
        ([0.0, -1000.0, 0.0], 1, 1000.0 + math.log(2.0)),
        ([HUGE, 0.0], 1, HUGE),
        ([0.0, -HUGE], 1, HUGE),
        ([2.0, 2.0, 2.0], 0, math.log(3.0)),
    ],
)
def test_softmax_loss_is_exact_where_the_probability_is_zero(x, y, expected):
    assert elman.Softmax().loss(np.array(x), y) == pytest.approx(expected, rel=1e-14)


def test_softmax_loss_and_diff_row_by_row():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 5)) * 2, rng.integers(5, size=6)
    losses, diffs = elman.Softmax().loss(x, y), elman.Softmax().diff(x, y)
    assert_close(losses, [cross_entropy(row, target) for row, target in zip(x, y, strict=True)])
    for t in range(6):
        assert_close(diffs[t], elman.Softmax().diff(x[t], int(y[t])))


def test_softmax_diff_is_the_gradient_of_the_loss_and_leaves_its_input():
    x = np.random.default_rng(2).normal(size=7) * 2
    before, diff = x.copy(), elman.Softmax().diff(x, 3)
    np.testing.assert_array_equal(x, before)
    for unit in np.eye(7):
        numeric = slope(lambda arrays: float(elman.Softmax().loss(arrays["x"], 3)), {"x": x}, {"x": unit})
        assert float(diff @ unit) == pytest.approx(numeric, rel=1e-8, abs=1e-10)
    assert diff[3] < 0 < np.delete(diff, 3).min()


def test_gates():
    weight = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert_close(elman.MultiplyGate().forward(weight, np.array([1.0, 0.0, -1.0])), [-2.0, -2.0])
    assert_close(elman.MultiplyGate().forward(weight, np.array([0.5, 2.0, 1.0])), [7.5, 18.0])
    assert_close(elman.AddGate().forward(np.array([1.0, 2.0]), np.array([0.25, -3.0])), [1.25, -1.0])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (elman.tanh, [-0.761594155955764888, 0.0, 0.964027580075816884]),
        (elman.sigmoid, [0.268941421369995121, 0.5, 0.880797077977882444]),
        (elman.relu, [0.0, 0.0, 2.0]),
        (elman.exp, [0.367879441171442322, 1.0, 7.389056098930650227]),
        (elman.softmax, [0.042010066134066051, 0.114195199385054160, 0.843794734480879789]),
    ],
)
def test_functions_of_equations_on_arrays(function, expected):
    assert_close(function(np.array([-1.0, 0.0, 2.0])), expected)


# ---------------------------------------------------------------- the model

V, H = 11, 7
TOKENS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 10, 0])
TARGETS = np.roll(TOKENS, -1)
every_cell = pytest.mark.parametrize("name", CELLS)


def build(name: str = "elman", **settings) -> elman.Model:
    """A model with the weights that its seed drew and biases that are not zero."""
    model = elman.Model(V, hidden_dim=H, **{"cell": getattr(elman.cells, name), "seed": 5, "dtype": "float64", **settings})
    rng = np.random.default_rng(6)
    model.update({bias: rng.normal(size=model.parameters[bias].shape) for bias in (*CELLS[name].biases, "by")})
    return model


def parameters_of(model: elman.Model) -> Arrays:
    return {name: np.array(array, dtype=np.float64) for name, array in model.parameters.items()}


def literal(name: str, p: Arrays, tokens: np.ndarray, state: Arrays | None = None) -> tuple[list[Arrays], Arrays]:
    """The named values of cell and read-out at every step, and the last state."""
    state = state or {field: np.zeros(H) for field in CELLS[name].states}
    values, last = unroll(CELLS[name], p, one_hot(tokens, V), state)
    return [value | readout(p, value[CELLS[name].states[0]]) for value in values], last


def column(values: list[Arrays], name: str) -> np.ndarray:
    return np.array([value[name] for value in values])


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-12), ("float32", 1e-5)])
def test_forward_propagation(dtype, atol):
    model = build(dtype=dtype)
    values, last = literal("elman", parameters_of(model), TOKENS)
    forward = model.forward_propagation(TOKENS)
    assert forward.logits.dtype == dtype
    assert_close(forward.a, column(values, "a"), atol)
    assert_close(forward.logits, column(values, "logits"), atol)
    assert_close(forward.probabilities, column(values, "probabilities"), atol)
    assert_close(forward.state.a, last["a"], atol)


@every_cell
def test_forward_propagation_of_other_cells(name):
    model = build(name)
    values, last = literal(name, parameters_of(model), TOKENS)
    forward = model.forward_propagation(TOKENS)
    assert_close(forward.logits, column(values, "logits"))
    assert_close(forward.probabilities, column(values, "probabilities"))
    for field, array in last.items():
        assert_close(getattr(forward.state, field), array)


@every_cell
def test_the_state_is_carried(name):
    model = build(name)
    values, last = literal(name, parameters_of(model), TOKENS)
    first = model.forward_propagation(TOKENS[:5])
    second = model.forward_propagation(TOKENS[5:], first.state)
    assert_close(second.logits, column(values, "logits")[5:])
    for field, array in last.items():
        assert_close(getattr(second.state, field), array)
    forgotten = model.forward_propagation(TOKENS[5:])
    assert np.abs(forgotten.logits - second.logits).max() > 1e-3


def test_an_initial_state_counts():
    model, a = build(), np.random.default_rng(7).normal(size=H)
    values, _ = literal("elman", parameters_of(model), TOKENS, {"a": a})
    assert_close(model.forward_propagation(TOKENS, state={"a": a}).logits, column(values, "logits"))


@every_cell
def test_predict(name):
    model = build(name)
    rng = np.random.default_rng(14)
    model.update({n: rng.normal(size=p.shape) * 2.0 for n, p in model.parameters.items()})  # so that the states decide
    expected = column(literal(name, parameters_of(model), TOKENS)[0], "logits").argmax(axis=1)
    assert len(set(expected)) > 1
    np.testing.assert_array_equal(model.predict(TOKENS), expected)


@every_cell
def test_loss(name):
    model = build(name)
    logits = column(literal(name, parameters_of(model), TOKENS)[0], "logits")
    losses = [cross_entropy(row, target) for row, target in zip(logits, TARGETS, strict=True)]
    assert model.loss(TOKENS, TARGETS) == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@every_cell
def test_inspect(name):
    model = build(name)
    values, _ = literal(name, parameters_of(model), TOKENS)
    got = model.inspect(TOKENS)
    for value in values[0]:
        assert_close(got[value], column(values, value))


@pytest.mark.parametrize("bias", ["ba", "by"])
def test_a_bias_counts_at_every_step(bias):
    model = build()
    before = model.forward_propagation(TOKENS).logits
    model.update({bias: np.zeros_like(model.parameters[bias])})
    after = model.forward_propagation(TOKENS).logits
    assert_close(after, column(literal("elman", parameters_of(model), TOKENS)[0], "logits"))
    assert np.abs(after - before).max(axis=1).min() > 1e-3


def test_softmax_diff_is_the_derived_gradient():
    """The read-out's bias meets the logits and nothing else: its gradient is the mean of diff."""
    model = build()
    _, gradients, _ = model.gradients(TOKENS, TARGETS)
    diff = elman.Softmax().diff(model.forward_propagation(TOKENS).logits, TARGETS)
    assert_close(gradients["by"], diff.mean(axis=0))


def test_large_weights_give_finite_predictions():
    model = build()
    model.update({"wya": 1e4 * parameters_of(model)["wya"]})
    values, _ = literal("elman", parameters_of(model), TOKENS)
    assert_close(model.forward_propagation(TOKENS).probabilities, column(values, "probabilities"), 1e-8)
    losses = [cross_entropy(value["logits"], target) for value, target in zip(values, TARGETS, strict=True)]
    assert model.loss(TOKENS, TARGETS) == pytest.approx(np.mean(losses), rel=1e-12)


# ---------------------------------------------------------------- its first weights


def test_first_weights_fill_the_range_of_their_fan_in():
    model = elman.Model(50, hidden_dim=40, seed=1)
    shapes = {"wax": (40, 50), "waa": (40, 40), "wya": (50, 40)}
    assert {name: array.shape for name, array in model.parameters.items() if array.ndim == 2} == shapes
    for name, (_, fan_in) in shapes.items():
        share = model.parameters[name] * math.sqrt(fan_in)  # uniform in -1 .. 1
        assert -1.0 - 1e-6 <= share.min() < -0.98
        assert 0.98 < share.max() <= 1.0 + 1e-6
        assert abs(share.mean()) < 0.06
        assert abs(share.std() - 1.0 / math.sqrt(3.0)) < 0.03


def test_first_sizes_are_the_articles():
    model = elman.Model(13)
    shapes = {name: array.shape for name, array in model.parameters.items()}
    assert shapes == {"wax": (100, 13), "waa": (100, 100), "ba": (100,), "wya": (13, 100), "by": (13,)}
    assert model.bptt_truncate == 4


def test_a_seed_gives_the_same_model_again():
    one, same, other = (elman.Model(V, hidden_dim=H, seed=seed) for seed in (9, 9, 10))
    for name in ("wax", "waa", "wya"):
        np.testing.assert_array_equal(one.parameters[name], same.parameters[name])
        assert np.abs(one.parameters[name] - other.parameters[name]).max() > 0.1
    np.testing.assert_array_equal(one.forward_propagation(TOKENS).logits, same.forward_propagation(TOKENS).logits)


def test_the_random_state_of_numpy_is_left_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    elman.Model(V, hidden_dim=H, seed=9)
    assert np.random.random() == expected


def test_weights_of_one_size_differ():
    p = elman.Model(H, hidden_dim=H, cell=elman.cells.gru, seed=2).parameters
    weights = [p[name] for name in ("wr", "wz", "wn", "ur", "uz", "un", "wya")]
    for i, one in enumerate(weights):
        for other in weights[:i]:
            assert np.abs(one - other).max() > 0.1


# ---------------------------------------------------------------- the structure changed


@elman.cell
def minimal(  # a minimal gated unit: Zhou and others, 2016
    x,
    h,
    *,
    wf=elman.weight("hidden", "input"),
    uf=elman.weight("hidden", "hidden"),
    bf=elman.bias("hidden"),
    wn=elman.weight("hidden", "input"),
    un=elman.weight("hidden", "hidden"),
    bn=elman.bias("hidden"),
):
    f = elman.sigmoid(wf @ x + uf @ h + bf)
    n = elman.tanh(wn @ x + un @ (f * h) + bn)
    return (1 - f) * h + f * n


@elman.cell
def shown(  # one value more than states: the output is not the state
    x, s, *, w=elman.weight("hidden", "input"), u=elman.weight("hidden", "hidden"), b=elman.bias("hidden")
):
    new = elman.relu(w @ x + b) - u @ s
    return elman.tanh(new) * 2.0 + s, new


def literal_relu(p: Arrays, x: np.ndarray, a: np.ndarray) -> Arrays:
    return {"a": np.maximum(p["wax"] @ x + p["waa"] @ a + p["ba"], 0.0)}


def literal_minimal(p: Arrays, x: np.ndarray, h: np.ndarray) -> Arrays:
    f = sigmoid(p["wf"] @ x + p["uf"] @ h + p["bf"])
    n = np.tanh(p["wn"] @ x + p["un"] @ (f * h) + p["bn"])
    return {"f": f, "n": n, "h": (1.0 - f) * h + f * n}


CHANGED = {
    "relu": (lambda: elman.cells.elman_with(elman.relu), Cell("relu", literal_relu, ("a",), (("wax", "waa", "ba"),))),
    "minimal": (lambda: minimal, Cell("minimal", literal_minimal, ("h",), named_gates("fn"))),
}
every_change = pytest.mark.parametrize("change", CHANGED)


def changed(change: str, B: int, T: int) -> tuple[elman.RNN, Problem]:
    (make, cell), rng = CHANGED[change], np.random.default_rng(11)
    p = random_parameters(cell.shapes(3, 5), rng)
    rnn = elman.RNN(make(), input=3, hidden=5, dtype="float64")
    rnn.update(p)
    return rnn, Problem(cell, p, rng.normal(size=(B, T, 3)), {cell.states[0]: rng.normal(size=(B, 5))}, np.array([T, 2]))


@every_change
def test_a_changed_structure_runs(change):
    rnn, problem = changed(change, B=2, T=6)
    y, state = rnn(problem.x, problem.state, lengths=problem.lengths)
    expected_y, expected_state = problem.solve()
    assert_close(y, expected_y)
    for field, array in expected_state.items():
        assert_close(getattr(state, field), array)


@every_change
def test_a_changed_structure_has_its_gradient(change):
    rnn, problem = changed(change, B=2, T=5)
    dy, outputs = np.random.default_rng(12).normal(size=(2, 5, 5)), truncated(problem, 5)
    p, dx, d_state = rnn.gradients(problem.x, dy, problem.state, lengths=problem.lengths)
    gradients = dict(p) | {"x": dx} | {field: getattr(d_state, field) for field in problem.cell.states}
    for seed, name in enumerate(problem.arrays):
        direction = random_direction({name: problem.arrays[name]}, np.random.default_rng(seed))
        expected = slope(lambda arrays: float(np.sum(outputs(arrays) * dy)), problem.arrays, direction, 1e-4)
        assert float(np.sum(gradients[name] * direction[name])) == pytest.approx(expected, rel=1e-6, abs=1e-9), name


@every_change
def test_a_changed_structure_is_a_model(change):
    make, cell = CHANGED[change]
    model = elman.Model(V, hidden_dim=H, cell=make(), seed=3, dtype="float64")
    p = parameters_of(model)
    assert set(p) == set(cell.shapes(V, H)) | {"wya", "by"}
    y, _ = run(cell, p, one_hot(TOKENS, V), {cell.states[0]: np.zeros(H)})
    expected = np.array([readout(p, a)["logits"] for a in y])
    assert_close(model.forward_propagation(TOKENS).logits, expected)
    np.testing.assert_array_equal(model.predict(TOKENS), expected.argmax(axis=1))


def test_an_output_that_is_not_the_state():
    rng = np.random.default_rng(13)
    p = random_parameters({"w": (4, 2), "u": (4, 4), "b": (4,)}, rng)
    x, s = rng.normal(size=(6, 2)), rng.normal(size=4)
    rnn = elman.RNN(shown, input=2, hidden=4, dtype="float64")
    rnn.update(p)
    y, state = rnn(x, {"s": s})
    for t in range(6):
        new = np.maximum(p["w"] @ x[t] + p["b"], 0.0) - p["u"] @ s
        assert_close(y[t], np.tanh(new) * 2.0 + s)
        s = new
    assert_close(state.s, s)


def test_the_changed_cells_pass_the_check():
    for make, _ in CHANGED.values():
        elman.check_cell(make())
    elman.check_cell(shown)
