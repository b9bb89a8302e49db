"""The tests of the tests: a value set counts only if it notices each way in which a recurrent cell goes wrong.

The mistake is made on the oracle's side, so the library stands where a mistaken one would see the right oracle.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest

import elman
from oracles import CASES, CELLS, Arrays, Cell, Problem, gru, random_problem, sigmoid

Mutation = Callable[[Problem], Problem]
NOTICED = 1e-3


@cache
def library(name: str, case: str) -> dict[str, np.ndarray]:
    """What the library gives for one case of the value set: outputs and last states, by name."""
    problem = random_problem(name, **CASES[case])
    rnn = elman.RNN(getattr(elman.cells, name), **problem.sizes, dtype="float64")
    rnn.update(problem.parameters)
    y, state = rnn(problem.x, problem.state, lengths=problem.lengths, reset=problem.reset)
    return {"y": y} | {field: getattr(state, field) for field in problem.cell.states}


def failures(name: str, mutation: Mutation, tolerance: float) -> dict[str, float]:
    """The cases of the value set in which library and mutated oracle disagree, with the largest distance."""
    distances = {}
    for case, sizes in CASES.items():
        y, state = mutation(random_problem(name, **sizes)).solve()
        expected, got = {"y": y, **state}, library(name, case)
        distances[case] = max(float(np.abs(got[key] - expected[key]).max()) for key in expected)
    return {case: distance for case, distance in distances.items() if not distance <= tolerance}


# ---------------------------------------------------------------- the mistakes


def parameters(change: Callable[[Arrays], Arrays]) -> Mutation:
    return lambda problem: replace(problem, parameters=problem.parameters | change(problem.parameters))


def swapped(first: tuple[str, ...], second: tuple[str, ...]) -> Mutation:
    pairs = list(zip(first + second, second + first, strict=True))
    return parameters(lambda p: {to: p[source] for to, source in pairs})


def transposed(name: str) -> Mutation:
    return parameters(lambda p: {name: p[name].T})


def zeroed(name: str) -> Mutation:
    return parameters(lambda p: {name: np.zeros_like(p[name])})


def states_zeroed(*names: str) -> Mutation:
    return lambda problem: replace(
        problem, state=problem.state | {name: np.zeros_like(problem.state[name]) for name in names}
    )


def step(function: Callable[..., Arrays]) -> Mutation:
    return lambda problem: replace(problem, cell=replace(problem.cell, step=function))


def lengths_ignored(problem: Problem) -> Problem:
    return replace(problem, lengths=None)


def resets_ignored(problem: Problem) -> Problem:
    return replace(problem, reset=None)


def reset_before(p: Arrays, x: np.ndarray, h: np.ndarray) -> Arrays:
    """The gru with nothing but the place of the recurrent product changed: its bias still stands inside the reset."""
    r = sigmoid(p["wr"] @ x + p["ur"] @ h + p["br"])
    z = sigmoid(p["wz"] @ x + p["uz"] @ h + p["bz"])
    n = np.tanh(p["wn"] @ x + p["bn"] + p["un"] @ (r * h) + r * p["dn"])
    return {"h": (1.0 - z) * n + z * h}


def reset_after(p: Arrays, x: np.ndarray, h: np.ndarray) -> Arrays:
    return gru(p | {"dn": np.zeros_like(h)}, x, h)


def update_reversed(function: Callable[..., Arrays]) -> Callable[..., Arrays]:
    def reversed_step(p: Arrays, x: np.ndarray, h: np.ndarray) -> Arrays:
        values = function(p, x, h)
        return {"h": values["z"] * values["n"] + (1.0 - values["z"]) * h}

    return reversed_step


def mutations(cell: Cell) -> dict[str, Mutation]:
    found = {f"{a[0]} {b[0]} gates swapped": swapped(a, b) for a, b in combinations(cell.gates, 2)}
    found |= {f"{u} transposed": transposed(u) for u in cell.recurrent}
    found |= {f"{u} zeroed": zeroed(u) for u in cell.recurrent}
    found |= {f"{b} dropped": zeroed(b) for b in cell.biases}
    found |= {f"initial {state} ignored": states_zeroed(state) for state in cell.states}
    found |= {"initial state ignored": states_zeroed(*cell.states)}
    found |= {"lengths ignored": lengths_ignored, "resets ignored": resets_ignored}
    if cell.name == "gru":
        found |= {"reset form flipped": step(reset_before)}
    if cell.name == "gru_reset_before":
        found |= {"reset form flipped": step(reset_after)}
    if cell.name.startswith("gru"):
        found |= {"update gate reversed": step(update_reversed(cell.step))}
    return found


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize("name", CELLS)
def test_the_library_agrees_with_the_oracle(name):
    assert failures(name, lambda problem: problem, 1e-12) == {}


@pytest.mark.parametrize(
    ("name", "mistake"), [(name, mistake) for name, cell in CELLS.items() for mistake in mutations(cell)]
)
def test_the_value_set_notices(name, mistake):
    assert failures(name, mutations(CELLS[name])[mistake], NOTICED), f"no case of the value set sees: {mistake}"


def test_every_mistake_of_the_rule_is_made():
    """Gates: 6 pairs of 4, 3 pairs of 3; each recurrent matrix twice; each bias; each state, all; lengths, resets."""
    counts = {name: len(mutations(cell)) for name, cell in CELLS.items()}
    assert counts == {
        "elman": 0 + 2 + 1 + 2 + 2,
        "gru": 3 + 6 + 4 + 2 + 2 + 2,
        "gru_reset_before": 3 + 6 + 3 + 2 + 2 + 2,
        "lstm": 6 + 8 + 4 + 3 + 2,
    }
