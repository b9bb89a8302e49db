"""The values of the four cells, however they are asked for, against literal loops."""

from dataclasses import replace

import numpy as np
import pytest

import elman
from oracles import CASES, CELLS, Arrays, Problem, one_hot, random_problem, run, unroll

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
every_cell = pytest.mark.parametrize("name", CELLS)
every_target = pytest.mark.parametrize("target", ["numpy", "interpreter"])


def build(problem: Problem, dtype: str = "float64", target: str = "auto") -> elman.RNN:
    rnn = elman.RNN(getattr(elman.cells, problem.cell.name), **problem.sizes, dtype=dtype, target=target)
    rnn.update({name: array.astype(dtype) for name, array in problem.parameters.items()})
    return rnn


def call(rnn: elman.RNN, problem: Problem, dtype: str = "float64") -> tuple[np.ndarray, elman.State]:
    state = {name: array.astype(dtype) for name, array in problem.state.items()}
    return rnn(problem.x.astype(dtype), state, lengths=problem.lengths, reset=problem.reset)


def row(arrays: Arrays, b: int) -> Arrays:
    return {name: array[b] for name, array in arrays.items()}


def zero(arrays: Arrays) -> Arrays:
    return {name: np.zeros_like(array) for name, array in arrays.items()}


def assert_close(got: np.ndarray, expected: np.ndarray, atol: float = 1e-12) -> None:
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def assert_state(got: elman.State, expected: Arrays, atol: float = 1e-12) -> None:
    for name, array in expected.items():
        assert_close(getattr(got, name), array, atol)


# ---------------------------------------------------------------- sequences and batches


@every_target
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
@every_cell
def test_outputs_and_last_state(name, case, dtype, target):
    problem = random_problem(name, **CASES[case])
    y, state = call(build(problem, dtype, target), problem, dtype)
    expected_y, expected_state = problem.solve()
    assert y.dtype == dtype
    assert_close(y, expected_y, TOLERANCE[dtype])
    assert_state(state, expected_state, TOLERANCE[dtype])


@pytest.mark.parametrize("case", ["one sequence", "batch"])
@every_cell
def test_a_missing_state_is_zero(name, case):
    problem = random_problem(name, **CASES[case])
    y, state = build(problem)(problem.x)
    expected_y, expected_state = run(problem.cell, problem.parameters, problem.x, zero(problem.state))
    assert_close(y, expected_y)
    assert_state(state, expected_state)


@pytest.mark.parametrize("case", ["one sequence", "batch"])
@every_cell
def test_every_form_of_a_state(name, case):
    problem = random_problem(name, **CASES[case])
    rnn, states = build(problem), problem.cell.states
    _, first = rnn(problem.x, problem.state)
    assert isinstance(first, elman.State)
    expected_y, expected = run(problem.cell, problem.parameters, problem.x, problem.solve()[1])
    fields = {state: np.array(getattr(first, state)) for state in states}
    forms = [first, fields, dict(reversed(fields.items())), tuple(fields.values())]
    forms += [fields[states[0]]] if len(states) == 1 else []
    for form in forms:
        y, state = rnn(problem.x, form)
        assert_close(y, expected_y)
        assert_state(state, expected)


@every_cell
def test_a_call_leaves_its_arrays_alone(name):
    problem = random_problem(name, **CASES["lengths and resets"])
    before = random_problem(name, **CASES["lengths and resets"])
    rnn = build(problem)
    first, second = call(rnn, problem), call(rnn, problem)
    for array in problem.arrays:
        np.testing.assert_array_equal(problem.arrays[array], before.arrays[array])
    np.testing.assert_array_equal(problem.lengths, before.lengths)
    np.testing.assert_array_equal(problem.reset, before.reset)
    np.testing.assert_array_equal(first[0], second[0])  # and no state hides in the layer


# ---------------------------------------------------------------- steps and chunks


@every_target
@pytest.mark.parametrize("case", ["one sequence", "one unit", "batch"])
@every_cell
def test_steps_are_the_sequence(name, case, target):
    problem = random_problem(name, **CASES[case])
    rnn, state = build(problem, target=target), problem.state
    expected_y, expected_state = problem.solve()
    for t in range(problem.x.shape[-2]):
        y, state = rnn.step(problem.x[..., t, :], state)
        assert_close(y, expected_y[..., t, :])
    assert_state(state, expected_state)


@pytest.mark.parametrize("case", ["one sequence", "batch", "resets"])
@every_cell
def test_chunks_are_the_sequence(name, case):
    problem = random_problem(name, **CASES[case])
    rnn, state, ys = build(problem), problem.state, []
    for part in (slice(0, 1), slice(1, 5), slice(5, None)):
        reset = None if problem.reset is None else problem.reset[..., part]
        y, state = rnn(problem.x[..., part, :], state, reset=reset)
        ys.append(y)
    expected_y, expected_state = problem.solve()
    assert_close(np.concatenate(ys, axis=-2), expected_y)
    assert_state(state, expected_state)


# ---------------------------------------------------------------- lengths and resets


@every_target
@every_cell
def test_a_padded_batch_is_its_sequences_alone(name, target):
    problem = random_problem(name, **CASES["lengths"])
    rnn = build(problem, target=target)
    y, state = call(rnn, problem)
    for b, length in enumerate(problem.lengths):
        np.testing.assert_array_equal(y[b, length:], 0.0)
        given, last = row(problem.state, b), {field: getattr(state, field)[b] for field in problem.cell.states}
        if length:
            alone, expected = rnn(problem.x[b, :length], given)
            assert_close(y[b, :length], alone)
            assert_state(expected, last)
        else:
            for field in given:
                np.testing.assert_array_equal(last[field], given[field])


@every_cell
def test_the_padding_is_not_read(name):
    problem = random_problem(name, **CASES["lengths"])
    rnn = build(problem)
    y, state = call(rnn, problem)
    for b, length in enumerate(problem.lengths):
        problem.x[b, length:] = 1e6
    other_y, other_state = call(rnn, problem)
    np.testing.assert_array_equal(y, other_y)
    for field in problem.cell.states:
        np.testing.assert_array_equal(getattr(state, field), getattr(other_state, field))


@every_target
@pytest.mark.parametrize("at", [0, 1, 4, 6])
@every_cell
def test_a_reset_starts_from_the_zero_state(name, at, target):
    problem = random_problem(name, **CASES["one sequence"])
    rnn = build(problem, target=target)
    reset = np.arange(len(problem.x)) == at
    y, state = rnn(problem.x, problem.state, reset=reset)
    after, last = rnn(problem.x[at:], zero(problem.state))
    assert_close(y[at:], after)
    assert_state(state, {field: getattr(last, field) for field in problem.cell.states})
    if at:
        before, _ = rnn(problem.x[:at], problem.state)
        assert_close(y[:at], before)


@every_cell
def test_no_reset_changes_nothing(name):
    problem = random_problem(name, **CASES["batch"])
    rnn = build(problem)
    y, state = rnn(problem.x, problem.state, reset=np.zeros(problem.x.shape[:2], dtype=bool))
    expected_y, expected_state = problem.solve()
    assert_close(y, expected_y)
    assert_state(state, expected_state)


# ---------------------------------------------------------------- tokens


@every_target
@pytest.mark.parametrize("integer", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("case", ["one sequence", "lengths and resets"])
@every_cell
def test_tokens_are_one_hot_inputs(name, case, integer, target):
    problem = random_problem(name, **CASES[case])
    size = problem.sizes["input"]
    tokens = np.random.default_rng(1).integers(size, size=problem.x.shape[:-1])
    tokens.flat[:size] = range(size)  # every symbol occurs
    rnn = build(problem, target=target)
    y, state = rnn(tokens.astype(integer), problem.state, lengths=problem.lengths, reset=problem.reset)
    expected_y, expected_state = replace(problem, x=one_hot(tokens, size)).solve()
    assert_close(y, expected_y)
    assert_state(state, expected_state)


@pytest.mark.parametrize("case", ["one sequence", "batch"])
@every_cell
def test_token_steps_are_the_sequence(name, case):
    problem = random_problem(name, **CASES[case])
    size = problem.sizes["input"]
    tokens = np.random.default_rng(2).integers(size, size=problem.x.shape[:-1])
    expected_y, expected_state = run(problem.cell, problem.parameters, one_hot(tokens, size), problem.state)
    rnn, state = build(problem), problem.state
    for t in range(tokens.shape[-1]):
        y, state = rnn.step(tokens[..., t] if tokens.ndim == 2 else int(tokens[t]), state)
        assert_close(y, expected_y[..., t, :])
    assert_state(state, expected_state)


# ---------------------------------------------------------------- every value under its name


def assert_values(got, values: list[Arrays]) -> None:
    for value in values[0]:
        assert_close(got[value], np.array([step[value] for step in values]))


@every_target
@pytest.mark.parametrize("case", ["one sequence", "one unit"])
@every_cell
def test_inspect_shows_every_value_of_every_step(name, case, target):
    problem = random_problem(name, **CASES[case])
    values, _ = unroll(problem.cell, problem.parameters, problem.x, zero(problem.state))
    assert_values(build(problem, target=target).inspect(problem.x), values)


@every_cell
def test_inspect_from_a_state(name):
    problem = random_problem(name, **CASES["one sequence"])
    values, _ = unroll(problem.cell, problem.parameters, problem.x, problem.state)
    assert_values(build(problem).inspect(problem.x, problem.state), values)


@every_cell
def test_inspect_tokens(name):
    problem = random_problem(name, T=6, I=4, H=3)
    tokens = np.array([2, 0, 3, 3, 1, 2])
    values, _ = unroll(problem.cell, problem.parameters, one_hot(tokens, 4), zero(problem.state))
    assert_values(build(problem).inspect(tokens), values)


# ---------------------------------------------------------------- a cell on real arrays


@every_cell
def test_the_equations_run_on_arrays(name):
    problem = random_problem(name, **CASES["one sequence"])
    step = getattr(elman.cells, name).step
    got = step(problem.x[0], *problem.state.values(), **problem.parameters)
    expected = problem.cell.step(problem.parameters, problem.x[0], *problem.state.values())
    new_states = got if isinstance(got, tuple) else (got,)
    for field, array in zip(problem.cell.states, new_states, strict=True):
        assert_close(array, expected[field])
