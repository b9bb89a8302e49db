"""The derived gradients against central differences of the literal loops, along random directions."""

from dataclasses import replace

import numpy as np
import pytest

import elman
from oracles import (
    CELLS,
    Arrays,
    Problem,
    mean_cross_entropy,
    one_hot,
    random_direction,
    random_parameters,
    random_problem,
    slope,
    truncated,
)
from test_cells import build

RELATIVE = 1e-6
CASES = {
    "one sequence": {"T": 6, "I": 3, "H": 4},
    "one unit": {"T": 4, "I": 1, "H": 1, "B": 2},
    "batch": {"T": 5, "I": 5, "H": 3, "B": 3},
    "lengths": {"T": 6, "I": 2, "H": 3, "B": 4, "lengths": (4, 0, 6, 1)},
    "resets": {"T": 8, "I": 2, "H": 5, "resets": 0.3},
    "lengths and resets": {"T": 7, "I": 3, "H": 2, "B": 5, "lengths": (5, 7, 0, 3, 6), "resets": 0.3},
}
every_cell = pytest.mark.parametrize("name", CELLS)
every_case = pytest.mark.parametrize("case", CASES)


def random_dy(problem: Problem) -> np.ndarray:
    """Weights of the outputs in the loss sum(dy * y); not zero in the padding."""
    return np.random.default_rng(4).normal(size=(*problem.x.shape[:-1], problem.sizes["hidden"]))


def derived(
    rnn: elman.RNN, problem: Problem, dy: np.ndarray, *, tokens: np.ndarray | None = None, truncate: int | None = None
) -> Arrays:
    """The library's gradients of sum(dy * y) in one dictionary: parameters, x where it is not tokens, states."""
    x = problem.x if tokens is None else tokens
    parameters, dx, d_state = rnn.gradients(
        x, dy, problem.state, lengths=problem.lengths, reset=problem.reset, truncate=truncate
    )
    assert set(parameters) == set(problem.parameters)
    assert (dx is None) == (tokens is not None)
    states = {name: getattr(d_state, name) for name in problem.cell.states}
    return dict(parameters) | ({} if dx is None else {"x": dx}) | states


def assert_slopes(function, arrays: Arrays, gradients: Arrays) -> None:
    """Every array by itself, so that a large gradient cannot hide a small one, and then all of them together."""
    for names in [*([name] for name in gradients), list(gradients)]:
        rng = np.random.default_rng(5)
        for _ in range(2):
            direction = random_direction({name: arrays[name] for name in names}, rng)
            expected = slope(function, arrays, direction)
            got = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
            assert abs(got - expected) <= RELATIVE * max(abs(expected), 1e-5), names


def loss_of(problem: Problem, dy: np.ndarray, truncate: int | None = None):
    outputs = truncated(problem, truncate or problem.x.shape[-2])
    return lambda arrays: float(np.sum(outputs(arrays) * dy))


def assert_gradients(got: Arrays, expected: Arrays, tolerance: float = 1e-12) -> None:
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


def with_tokens(problem: Problem) -> tuple[Problem, np.ndarray]:
    size = problem.sizes["input"]
    tokens = np.random.default_rng(6).integers(size, size=problem.x.shape[:-1])
    return replace(problem, x=one_hot(tokens, size)), tokens


# ---------------------------------------------------------------- of a sequence


@pytest.mark.parametrize("target", ["numpy", "interpreter"])
@every_case
@every_cell
def test_gradients(name, case, target):
    problem = random_problem(name, **CASES[case])
    dy = random_dy(problem)
    gradients = derived(build(problem, target=target), problem, dy)
    assert gradients["x"].shape == problem.x.shape
    assert_slopes(loss_of(problem, dy), problem.arrays, gradients)


@pytest.mark.parametrize("case", ["one sequence", "batch", "lengths and resets"])
@every_cell
def test_gradients_with_tokens(name, case):
    problem, tokens = with_tokens(random_problem(name, **CASES[case]))
    dy = random_dy(problem)
    gradients = derived(build(problem), problem, dy, tokens=tokens)
    assert_slopes(loss_of(problem, dy), problem.arrays, gradients)


@every_cell
def test_gradients_without_a_state_are_those_of_the_zero_state(name):
    problem = random_problem(name, **CASES["batch"])
    problem = replace(problem, state={state: np.zeros_like(array) for state, array in problem.state.items()})
    dy = random_dy(problem)
    parameters, dx, d_state = build(problem).gradients(problem.x, dy)
    states = {state: getattr(d_state, state) for state in problem.cell.states}
    assert_slopes(loss_of(problem, dy), problem.arrays, dict(parameters) | {"x": dx} | states)


@every_cell
def test_gradients_in_float32(name):
    problem = random_problem(name, **CASES["lengths and resets"])
    dy = random_dy(problem)
    single = replace(
        problem,
        x=problem.x.astype("float32"),
        state={state: array.astype("float32") for state, array in problem.state.items()},
    )
    gradients = derived(build(problem, "float32"), single, dy.astype("float32"))
    assert all(array.dtype == np.float32 for array in gradients.values())
    assert_gradients(gradients, derived(build(problem), problem, dy), 1e-4)


@every_cell
def test_padding_contributes_nothing(name):
    problem = random_problem(name, **CASES["lengths"])
    rnn, dy = build(problem), random_dy(problem)
    before = derived(rnn, problem, dy)
    other = replace(problem, x=problem.x.copy())
    for b, length in enumerate(problem.lengths):
        np.testing.assert_array_equal(before["x"][b, length:], 0.0)
        other.x[b, length:] = 100.0
        dy[b, length:] = -100.0
    assert_gradients(derived(rnn, other, dy), before, 0.0)


@every_cell
def test_a_reset_stops_the_gradient(name):
    problem = random_problem(name, **CASES["one sequence"])
    rnn, dy, reset = build(problem), random_dy(problem), np.arange(len(problem.x)) == 3
    dy[:3] = 0.0  # only outputs after the reset count
    gradients = derived(rnn, replace(problem, reset=reset), dy)
    for state in problem.cell.states:
        np.testing.assert_array_equal(gradients[state], 0.0)
    np.testing.assert_array_equal(gradients["x"][:3], 0.0)
    assert np.abs(gradients["x"][3:]).min(axis=1).max() > 1e-3


# ---------------------------------------------------------------- truncated


@pytest.mark.parametrize("truncate", [1, 2, 3, 4])
@pytest.mark.parametrize("case", ["one sequence", "batch", "lengths and resets"])
@every_cell
def test_truncated_gradients(name, case, truncate):
    problem = random_problem(name, **CASES[case])
    rnn, dy = build(problem), random_dy(problem)
    gradients = derived(rnn, problem, dy, truncate=truncate)
    assert_slopes(loss_of(problem, dy, truncate), problem.arrays, gradients)
    full = derived(rnn, problem, dy)
    assert max(np.abs(gradients[u] - full[u]).max() for u in problem.cell.recurrent) > 1e-3


@pytest.mark.parametrize("truncate", [2, 3])
@every_cell
def test_truncated_gradients_are_the_sum_over_chunks(name, truncate):
    problem, tokens = with_tokens(random_problem(name, **CASES["batch"]))
    rnn, dy, state = build(problem), random_dy(problem), problem.state
    total = {parameter: np.zeros_like(array) for parameter, array in problem.parameters.items()}
    for t in range(0, tokens.shape[1], truncate):
        part = slice(t, t + truncate)
        for parameter, array in rnn.gradients(tokens[:, part], dy[:, part], state)[0].items():
            total[parameter] += array
        _, state = rnn(tokens[:, part], state)
    assert_gradients(derived(rnn, problem, dy, tokens=tokens, truncate=truncate), total)


@pytest.mark.parametrize("truncate", [7, 8, 1000])
@every_cell
def test_truncation_past_the_end_is_none(name, truncate):
    problem = random_problem(name, **CASES["lengths and resets"])
    rnn, dy = build(problem), random_dy(problem)
    assert_gradients(derived(rnn, problem, dy, truncate=truncate), derived(rnn, problem, dy))


# ---------------------------------------------------------------- of a model

V, H, T = 6, 4, 9


def random_model(name: str, truncate: int | None, rows: tuple[int, ...] = ()):
    """A model with parameters of its own, the problem that it solves, its tokens and its targets."""
    rng = np.random.default_rng(8)
    tokens, targets = rng.integers(V, size=(2, *rows, T))
    cell = CELLS[name]
    parameters = random_parameters(cell.shapes(V, H) | {"wya": (V, H), "by": (V,)}, rng)
    state = {field: rng.normal(size=(*rows, H)) for field in cell.states}
    model = elman.Model(V, hidden_dim=H, bptt_truncate=truncate, cell=getattr(elman.cells, name), seed=0, dtype="float64")
    model.update(parameters)
    return model, Problem(cell, parameters, one_hot(tokens, V), state), tokens, targets


@pytest.mark.parametrize("rows", [(), (3,)])
@pytest.mark.parametrize("truncate", [None, 1, 4, T])
@every_cell
def test_gradients_of_a_model(name, truncate, rows):
    model, problem, tokens, targets = random_model(name, truncate, rows)
    loss, gradients, state = model.gradients(tokens, targets, problem.state)
    outputs = truncated(problem, truncate or T)
    y, last = problem.solve()
    assert loss == pytest.approx(mean_cross_entropy(problem.parameters, y, targets), rel=1e-12)
    for field, array in last.items():
        np.testing.assert_allclose(getattr(state, field), array, rtol=0, atol=1e-12)
    assert set(gradients) == set(problem.parameters)
    assert_slopes(lambda arrays: mean_cross_entropy(arrays, outputs(arrays), targets), problem.arrays, dict(gradients))


@every_cell
def test_the_truncation_of_a_model_matters(name):
    """Forward it changes nothing, backward it does."""
    (loss, four, _), (same, full, _) = (
        model.gradients(tokens, targets, problem.state)
        for model, problem, tokens, targets in (random_model(name, 4), random_model(name, None))
    )
    assert loss == pytest.approx(same, rel=1e-12)
    assert max(np.abs(four[u] - full[u]).max() for u in CELLS[name].recurrent) > 1e-4


@every_cell
def test_the_loss_of_the_gradients_is_the_loss(name):
    model, _, tokens, targets = random_model(name, None)
    loss, _, _ = model.gradients(tokens, targets)
    assert loss == pytest.approx(model.loss(tokens, targets), rel=1e-12)
