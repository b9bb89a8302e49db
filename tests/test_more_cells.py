"""The cells beyond the first four against literal loops: values, steps, lengths, gradients, first parameters.

A step here takes the parameters, the input and the states of one example and returns every named value. Where a cell stores
a memory divided by e^m, the loop keeps the memory itself, as the paper first writes it, and only then divides.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import elman
import oracles
from elman.cells import exponential, gated, linear, simple, variants
from elman.testing import check_cell
from oracles import Arrays, random_direction, random_parameters, sigmoid, slope

# ---------------------------------------------------------------- the equations


def jordan(p, x, y, g2=np.tanh):
    a = np.tanh(p["wax"] @ x + p["way"] @ y + p["ba"])
    return {"a": a, "y": g2(p["wya"] @ a + p["by"])}


def lstm_peephole(p, x, h, c):
    i = sigmoid(p["wi"] @ x + p["ui"] @ h + p["pi"] * c + p["bi"])
    f = sigmoid(p["wf"] @ x + p["uf"] @ h + p["pf"] * c + p["bf"])
    g = np.tanh(p["wg"] @ x + p["ug"] @ h + p["bg"])
    new = f * c + i * g
    o = sigmoid(p["wo"] @ x + p["uo"] @ h + p["po"] * new + p["bo"])
    return {"i": i, "f": f, "g": g, "o": o, "c": new, "h": o * np.tanh(new)}


def lstm_coupled(p, x, h, c):
    f = sigmoid(p["wf"] @ x + p["uf"] @ h + p["bf"])
    i = 1.0 - f
    g = np.tanh(p["wg"] @ x + p["ug"] @ h + p["bg"])
    o = sigmoid(p["wo"] @ x + p["uo"] @ h + p["bo"])
    new = f * c + i * g
    return {"f": f, "g": g, "o": o, "c": new, "h": o * np.tanh(new)}


def lstm(p, x, h, c):
    i, f, o = (sigmoid(p["w" + k] @ x + p["u" + k] @ h + p["b" + k]) for k in "ifo")
    g = np.tanh(p["wg"] @ x + p["ug"] @ h + p["bg"])
    new = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": new, "h": o * np.tanh(new)}


def lstm_projected(p, x, h, c):
    values = lstm(p, x, h, c)
    return values | {"h": p["wp"] @ values["h"]}


def mgu(p, x, h):
    f = sigmoid(p["wf"] @ x + p["uf"] @ h + p["bf"])
    n = np.tanh(p["wn"] @ x + p["un"] @ (f * h) + p["bn"])
    return {"f": f, "n": n, "h": h + f * (n - h)}


def mogrifier(rounds):
    def step(p, x, h, c):
        inputs, hidden = len(x), len(h)
        for k in range(1, rounds + 1):
            j = (k - 1) // 2
            if k % 2 == 1:
                x = x * 2.0 * sigmoid(p["q"][j * inputs : (j + 1) * inputs] @ h)
            else:
                h = h * 2.0 * sigmoid(p["r"][j * hidden : (j + 1) * hidden] @ x)
        return lstm(p, x, h, c)

    return step


def normalised(x):
    return (x - np.mean(x)) / np.sqrt(np.var(x) + 1e-5)


def lstm_layer_norm(p, x, h, c):
    H = len(h)
    sums = p["gw"] * normalised(p["w"] @ x) + p["gu"] * normalised(p["u"] @ h) + p["b"]
    i, f, o = sigmoid(sums[:H]), sigmoid(sums[H : 2 * H]), sigmoid(sums[3 * H :])
    g = np.tanh(sums[2 * H : 3 * H])
    new = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": new, "h": o * np.tanh(p["gc"] * normalised(new) + p["bc"])}


def gru_layer_norm(p, x, h):
    gates = sigmoid(p["gw"] * normalised(p["w"] @ x) + p["gu"] * normalised(p["u"] @ h) + p["b"])
    r, z = gates[: len(h)], gates[len(h) :]
    n = np.tanh(p["gwn"] * normalised(p["wn"] @ x) + p["bn"] + r * (p["gun"] * normalised(p["un"] @ h) + p["dn"]))
    return {"r": r, "z": z, "n": n, "h": (1.0 - z) * n + z * h}


def clockwork(periods):
    def step(p, x, h, clock):
        H, new, ticked = len(h), h.copy(), clock.copy()
        module = [unit * len(periods) // H for unit in range(H)]
        for unit in range(H):
            period = periods[module[unit]]
            if round(float(clock[unit])) == 0:
                total = p["w"][unit] @ x + p["b"][unit]
                for other in range(H):
                    if periods[module[other]] >= period:
                        total += p["u"][unit, other] * h[other]
                new[unit] = np.tanh(total)
            ticked[unit] = 0.0 if round(float(clock[unit])) + 1 == period else clock[unit] + 1.0
        return {"h": new, "clock": ticked}

    return step


def indrnn(p, x, h, g1=lambda s: np.maximum(s, 0.0)):
    return {"h": g1(p["w"] @ x + np.diag(p["u"]) @ h + p["b"])}


def sru(p, x, c):
    f = sigmoid(p["wf"] @ x + p["vf"] * c + p["bf"])
    r = sigmoid(p["wr"] @ x + p["vr"] * c + p["br"])
    new = f * c + (1.0 - f) * (p["wc"] @ x)
    return {"f": f, "r": r, "c": new, "h": r * new + (1.0 - r) * (p["ws"] @ x)}


def qrnn(p, x, c, last):
    both = np.concatenate((x, last))
    z, f, o = (np.hstack((p["w" + k], p["v" + k])) @ both + p["b" + k] for k in "zfo")
    z, f, o = np.tanh(z), sigmoid(f), sigmoid(o)
    new = f * c + (1.0 - f) * z
    return {"z": z, "f": f, "o": o, "c": new, "h": o * new, "last": x}


def mingru(p, x, h):
    z, n = sigmoid(p["wz"] @ x + p["bz"]), p["wn"] @ x + p["bn"]
    return {"z": z, "n": n, "h": (1.0 - z) * h + z * n}


def minlstm(p, x, h):
    f, i, n = sigmoid(p["wf"] @ x + p["bf"]), sigmoid(p["wi"] @ x + p["bi"]), p["wn"] @ x + p["bn"]
    return {"f": f, "i": i, "n": n, "h": f / (f + i) * h + i / (f + i) * n}


def lru(p, x, h_re, h_im):
    factor = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    gamma = np.sqrt(1.0 - np.abs(factor) ** 2)
    h = factor * (h_re + 1j * h_im) + gamma * ((p["b_re"] + 1j * p["b_im"]) @ x)
    y = np.real((p["c_re"] + 1j * p["c_im"]) @ h) + p["d"] @ x
    return {"gamma": gamma, "y": y, "h_re": h.real, "h_im": h.imag}


def rg_lru(p, x, h):
    r, i = sigmoid(p["wr"] @ x + p["br"]), sigmoid(p["wi"] @ x + p["bi"])
    a = sigmoid(p["lam"]) ** (8.0 * r)
    return {"r": r, "i": i, "a": a, "h": a * h + np.sqrt(1.0 - a**2) * (i * (p["w"] @ x + p["b"]))}


def slstm(forget):
    def step(p, x, h, c, n, m):
        i, z, f, o = (p["w" + k] @ x + p["u" + k] @ h + p["b" + k] for k in "izfo")
        i, z, f, o = np.exp(i), np.tanh(z), forget(f), sigmoid(o)
        memory, weight = f * np.exp(m) * c + i * z, f * np.exp(m) * n + i
        new = np.where(n > 0, np.maximum(np.log(f) + m, np.log(i)), np.log(i))
        values = {"z": z, "o": o, "m": new, "c": memory * np.exp(-new), "n": weight * np.exp(-new)}
        return values | {"h": o * memory / weight}

    return step


def mlstm(forget):
    def step(p, x, c, n, m):
        q, v, o = p["wq"] @ x + p["bq"], p["wv"] @ x + p["bv"], sigmoid(p["wo"] @ x + p["bo"])
        k = p["wk"] @ x / np.sqrt(len(n)) + p["bk"]
        i, f = float(np.exp(p["wi"][0] @ x + p["bi"][0])), float(forget(p["wf"][0] @ x + p["bf"][0]))
        memory, weight = f * np.exp(m[0]) * c, f * np.exp(m[0]) * n + i * k
        for row in range(len(v)):
            for column in range(len(k)):
                memory[row, column] += i * v[row] * k[column]
        new = np.array([max(np.log(f) + m[0], np.log(i))])
        values = {"q": q, "k": k, "v": v, "o": o, "c": memory * np.exp(-new), "n": weight * np.exp(-new), "m": new}
        return values | {"h": o * (memory @ q) / max(abs(float(weight @ q)), 1.0)}

    return step


def rwkv(p, x, a, b, m, last):
    r, k, v = (p["w" + g] @ (p["s" + g] * x + (1.0 - p["s" + g]) * last) for g in "rkv")
    top, bottom = a * np.exp(m), b * np.exp(m)
    bonus, decay = np.exp(p["u"] + k), np.exp(-np.exp(p["w"]))
    y = p["wo"] @ (sigmoid(r) * (top + bonus * v) / (bottom + bonus))
    new = np.where(b > 0, np.maximum(m - np.exp(p["w"]), k), k)
    a, b = (decay * top + np.exp(k) * v) * np.exp(-new), (decay * bottom + np.exp(k)) * np.exp(-new)
    return {"y": y, "a": a, "b": b, "m": new, "last": x}


# ---------------------------------------------------------------- cells with their oracles

SIZES = {"input": 3, "hidden": 5, "output": 4, "projection": 2}


def positive(rng, shape):
    return np.exp(0.5 * rng.normal(size=shape))


def ticks(periods):
    period = np.array([periods[unit * len(periods) // SIZES["hidden"]] for unit in range(SIZES["hidden"])])
    return lambda rng, shape: rng.integers(1000, size=shape) % period * 1.0


@dataclass(frozen=True)
class Case:
    """A cell, its oracle, which value is the output, and states that are not just any numbers."""

    cell: elman.Cell
    step: Callable[..., Arrays]
    output: str = "h"
    special: dict[str, Callable[..., Any]] = field(default_factory=dict)


CASES = {
    case.cell.name: case
    for case in (
        Case(variants.jordan, jordan, "y"),
        Case(variants.jordan_with(elman.sigmoid), lambda *a: jordan(*a, g2=sigmoid), "y"),
        Case(variants.lstm_peephole, lstm_peephole),
        Case(variants.lstm_coupled, lstm_coupled),
        Case(variants.lstm_projected, lstm_projected),
        Case(variants.mgu, mgu),
        Case(variants.mogrifier_lstm, mogrifier(5)),
        Case(variants.mogrifier_lstm_with(2), mogrifier(2)),
        Case(variants.lstm_layer_norm, lstm_layer_norm),
        Case(variants.gru_layer_norm, gru_layer_norm),
        Case(variants.clockwork, clockwork((1, 2, 4, 8)), special={"clock": ticks((1, 2, 4, 8))}),
        Case(variants.clockwork_with((3, 2)), clockwork((3, 2)), special={"clock": ticks((3, 2))}),
        Case(linear.indrnn, indrnn),
        Case(linear.indrnn_with(elman.tanh), lambda *a: indrnn(*a, g1=np.tanh)),
        Case(linear.sru, sru),
        Case(linear.qrnn, qrnn),
        Case(linear.mingru, mingru),
        Case(linear.minlstm, minlstm),
        Case(linear.lru, lru, "y"),
        Case(linear.rg_lru, rg_lru),
        Case(exponential.slstm, slstm(sigmoid), special={"n": positive}),
        Case(exponential.slstm_with(elman.exp), slstm(np.exp), special={"n": positive}),
        Case(exponential.mlstm, mlstm(sigmoid)),
        Case(exponential.mlstm_with(elman.exp), mlstm(np.exp)),
        Case(exponential.rwkv, rwkv, "y", special={"b": positive}),
    )
}
SHAPES: dict[str, dict[str, Any]] = {
    "one sequence": {"T": 7},
    "batch": {"T": 6, "B": 3},
    "lengths": {"T": 6, "B": 4, "lengths": (3, 6, 0, 1)},
    "lengths and resets": {"T": 9, "B": 3, "lengths": (9, 4, 7), "resets": 0.3},
}
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
every_case = pytest.mark.parametrize("name", CASES)
every_target = pytest.mark.parametrize("target", ["numpy", "interpreter"])
every_shape = pytest.mark.parametrize("shape", SHAPES)


@dataclass(frozen=True)
class Problem:
    """All that determines what a cell gives."""

    case: Case
    parameters: Arrays
    x: np.ndarray  # [B, T, I], or [T, I]
    state: Arrays  # [B, ...]
    lengths: np.ndarray | None = None
    reset: np.ndarray | None = None

    @property
    def arrays(self) -> Arrays:
        return {**self.parameters, "x": self.x, **self.state}

    def solve(self) -> tuple[Arrays, Arrays]:
        """Every named value at every step, zero past the lengths, and the last states."""
        if self.x.ndim == 2:
            return self.row(self.x, self.state, self.reset)
        values, last = {}, {name: array.copy() for name, array in self.state.items()}
        for b in range(len(self.x)):
            length = self.x.shape[1] if self.lengths is None else self.lengths[b]
            state = {name: array[b] for name, array in self.state.items()}
            found, state = self.row(self.x[b, :length], state, None if self.reset is None else self.reset[b])
            for name, array in found.items():
                values.setdefault(name, np.zeros((*self.x.shape[:2], *array.shape[1:])))[b, :length] = array
            for name in state:
                last[name][b] = state[name]
        return values, last

    def row(self, x: np.ndarray, state: Arrays, reset: np.ndarray | None) -> tuple[Arrays, Arrays]:
        steps = []
        for t in range(len(x)):
            if reset is not None and reset[t]:
                state = {name: np.zeros_like(array) for name, array in state.items()}
            steps.append(self.case.step(self.parameters, x[t], *state.values()))
            state = {name: np.asarray(steps[-1][name]) for name in state}
        return {name: np.array([step[name] for step in steps]) for name in (steps[0] if steps else {})}, state


def random_problem(name: str, T: int, B: int | None = None, lengths=None, resets: float = 0.0, seed: int = 1) -> Problem:
    """Random unequal numbers everywhere, in the padding and the first states too; only zeros where the state is none."""
    rng, case, rows = np.random.default_rng(seed), CASES[name], () if B is None else (B,)
    graph = case.cell.graph(**sizes_of(case))
    shapes = {gate: {n: graph.nodes[i].shape for n, i in graph.leaves(gate).items()} for gate in ("parameter", "state")}
    draw = {n: case.special.get(n, lambda rng, shape: rng.normal(size=shape)) for n in shapes["state"]}
    return Problem(
        case,
        random_parameters(shapes["parameter"], rng),
        rng.normal(size=(*rows, T, SIZES["input"])),
        {n: draw[n](rng, (*rows, *shape)) for n, shape in shapes["state"].items()},
        None if lengths is None else np.array(lengths),
        rng.random((*rows, T)) < resets if resets else None,
    )


def sizes_of(case: Case) -> dict[str, int]:
    return {name: SIZES[name] for name in case.cell.sizes}


def build(problem: Problem, dtype: str = "float64", target: str = "auto") -> elman.RNN:
    rnn = elman.RNN(problem.case.cell, **sizes_of(problem.case), dtype=dtype, target=target)
    rnn.update({name: array.astype(dtype) for name, array in problem.parameters.items()})
    return rnn


def asked(problem: Problem, dtype: str = "float64") -> dict[str, Any]:
    state = {name: array.astype(dtype) for name, array in problem.state.items()}
    return {"x": problem.x.astype(dtype), "state": state, "lengths": problem.lengths, "reset": problem.reset}


def assert_close(got, expected, tolerance: float = 1e-12, name: str = "") -> None:
    assert np.shape(got) == np.shape(expected), name
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=name)


# ---------------------------------------------------------------- values


@every_target
@pytest.mark.parametrize("dtype", TOLERANCE)
@every_shape
@every_case
def test_outputs_and_last_state(name, shape, dtype, target):
    problem = random_problem(name, **SHAPES[shape])
    values, last = problem.solve()
    y, state = build(problem, dtype, target)(**asked(problem, dtype))
    assert y.dtype == dtype
    assert_close(y, values[problem.case.output], TOLERANCE[dtype])
    for field_name, array in last.items():
        assert_close(state[field_name], array, TOLERANCE[dtype], field_name)


@every_target
@pytest.mark.parametrize("shape", ["one sequence", "lengths and resets"])
@every_case
def test_every_value_under_its_name(name, shape, target):
    problem = random_problem(name, **SHAPES[shape])
    values, _ = problem.solve()
    got = build(problem, target=target).inspect(**asked(problem))
    assert set(values) - {"last"} <= set(got)
    for value in set(values) & set(got) - set(problem.state):  # past a length, states stay and values are zero
        assert_close(got[value], values[value], name=value)


@every_case
def test_a_missing_state_is_zero(name):
    problem = random_problem(name, **SHAPES["batch"])
    problem = replace(problem, state={n: np.zeros_like(array) for n, array in problem.state.items()})
    values, last = problem.solve()
    y, state = build(problem)(problem.x)
    assert_close(y, values[problem.case.output])
    for field_name, array in last.items():
        assert_close(state[field_name], array, name=field_name)


@every_case
def test_the_equations_run_on_arrays(name):
    problem = random_problem(name, **SHAPES["one sequence"])
    got = problem.case.cell.step(problem.x[0], *problem.state.values(), **problem.parameters)
    got = got if isinstance(got, tuple) else (got,)
    expected = problem.case.step(problem.parameters, problem.x[0], *problem.state.values())
    assert_close(got[0], expected[problem.case.output])
    for field_name, array in zip(problem.state, got[len(got) - len(problem.state) :], strict=True):
        assert_close(array, expected[field_name], name=field_name)


# ---------------------------------------------------------------- steps, lengths


@every_target
@pytest.mark.parametrize("shape", ["one sequence", "batch"])
@every_case
def test_steps_are_the_sequence(name, shape, target):
    problem = random_problem(name, **SHAPES[shape])
    values, last = problem.solve()
    rnn, state = build(problem, target=target), problem.state
    for t in range(problem.x.shape[-2]):
        y, state = rnn.step(problem.x[..., t, :], state)
        assert_close(y, values[problem.case.output][..., t, :])
    for field_name, array in last.items():
        assert_close(state[field_name], array, name=field_name)


@every_target
@every_case
def test_a_padded_batch_is_its_sequences_alone(name, target):
    problem = random_problem(name, **SHAPES["lengths"])
    rnn = build(problem, target=target)
    y, state = rnn(**asked(problem))
    for b, length in enumerate(problem.lengths):
        np.testing.assert_array_equal(y[b, length:], 0.0)
        last = {field_name: array[b] for field_name, array in problem.state.items()}
        if length:
            alone, last = rnn(problem.x[b, :length], last)
            assert_close(y[b, :length], alone)
        for field_name in problem.state:
            assert_close(state[field_name][b], last[field_name], name=field_name)


# ---------------------------------------------------------------- gradients


@every_target
@pytest.mark.parametrize("shape", ["one sequence", "lengths and resets"])
@every_case
def test_gradients(name, shape, target):
    """Of a loss over outputs and last states, for every array by itself and for all together."""
    problem = random_problem(name, **SHAPES[shape])
    rng, record = np.random.default_rng(2), build(problem, target=target).record(**asked(problem))
    dy = rng.normal(size=record.y.shape)
    d_last = {n: rng.normal(size=array.shape) for n, array in problem.state.items()}
    parameters, dx, d_state = record.gradients(dy, d_last)
    gradients = {**parameters, "x": dx, **d_state}
    assert set(gradients) == set(problem.arrays)

    def loss(arrays: Arrays) -> float:
        parts = {k: {n: arrays[n] for n in getattr(problem, k)} for k in ("parameters", "state")}
        values, last = replace(problem, x=arrays["x"], **parts).solve()
        return float(np.sum(dy * values[problem.case.output])) + sum(float(np.sum(d_last[n] * last[n])) for n in last)

    for names in [*([n] for n in gradients), list(gradients)]:
        direction = random_direction({n: problem.arrays[n] for n in names}, rng)
        expected = slope(loss, problem.arrays, direction, 1e-4)  # short, so that no maximum changes sides on the way
        got = sum(float(np.sum(gradients[n] * along)) for n, along in direction.items())
        assert abs(got - expected) <= 1e-6 * max(abs(expected), 1e-3), names


# ---------------------------------------------------------------- the tests of the tests


@cache
def library(name: str, shape: str) -> Arrays:
    problem = random_problem(name, **SHAPES[shape])
    y, state = build(problem)(**asked(problem))
    return {"y": y} | {f"state {n}": state[n] for n in problem.state}


def mutations(problem: Problem) -> dict[str, Problem]:
    """Every parameter dropped, every square one transposed, every two of a shape swapped, every state ignored."""
    p, state = problem.parameters, problem.state
    changes = {f"{n} dropped": {n: np.zeros_like(array)} for n, array in p.items()}
    changes |= {f"{n} transposed": {n: a.T} for n, a in p.items() if a.ndim == 2 and a.shape == a.T.shape and a.size > 1}
    changes |= {f"{n} and {k} swapped": {n: p[k], k: p[n]} for n, k in combinations(p, 2) if p[n].shape == p[k].shape}
    found = {what: replace(problem, parameters=p | change) for what, change in changes.items()}
    zeros = {n: np.zeros_like(array) for n, array in state.items()}
    found |= {f"initial {n} ignored": replace(problem, state=state | {n: zeros[n]}) for n in state}
    return found | {"initial state ignored": replace(problem, state=zeros)}


def unnoticed(name: str, shapes: list[str]) -> set[str]:
    """Mistakes in the oracle with which the library still agrees, in all of these shapes."""
    missed: list[set[str]] = []
    for shape in shapes:
        problem, got = random_problem(name, **SHAPES[shape]), library(name, shape)
        missed.append(set())
        for what, mistaken in mutations(problem).items():
            values, last = mistaken.solve()
            expected = {"y": values[problem.case.output]} | {f"state {n}": array for n, array in last.items()}
            if max(float(np.abs(got[key] - expected[key]).max()) for key in expected) < 1e-3:
                missed[-1].add(what)
    return set.intersection(*missed)


@every_case
def test_the_values_notice_every_mistake(name):
    assert unnoticed(name, ["one sequence", "batch"]) == set()


@every_case
def test_the_values_notice_lengths_and_resets(name):
    problem = random_problem(name, **SHAPES["lengths and resets"])
    for mistaken in (replace(problem, lengths=None), replace(problem, reset=None)):
        values, _ = mistaken.solve()
        assert np.abs(values[problem.case.output] - library(name, "lengths and resets")["y"]).max() > 1e-3


# ---------------------------------------------------------------- all that elman promises about a cell


@every_case
def test_check_cell(name):
    check_cell(CASES[name].cell)


# ---------------------------------------------------------------- stabilisers


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["slstm", "slstm_exp", "mlstm", "mlstm_exp", "rwkv"])
def test_exponents_beyond_the_range_of_floats(name, dtype):
    """Weights so large that e to the gates would overflow, then a bias so low that it would underflow."""
    problem = random_problem(name, **SHAPES["one sequence"])
    gate = {"rwkv": "wk"}.get(name, "wi")
    shift = {"rwkv": "u"}.get(name, "bi")
    rnn = build(problem, dtype)
    rnn.update({gate: (3000.0 * problem.parameters[gate]).astype(dtype)})
    for state in (None, asked(problem, dtype)["state"]):
        y, last = rnn(problem.x.astype(dtype), state)
        assert np.isfinite(y).all()
        assert all(np.isfinite(array).all() for array in last.values())
    rnn.update({shift: np.full_like(rnn.parameters[shift], -2000.0)})
    assert np.isfinite(rnn(problem.x.astype(dtype))[0]).all()


@pytest.mark.parametrize("name", ["slstm", "mlstm"])
def test_the_scale_of_the_memory_does_not_matter(name):
    """c e^s and n e^s with m - s are the same memory."""
    problem = random_problem(name, **SHAPES["batch"])
    rnn, state = build(problem), problem.state
    y, _ = rnn(problem.x, state)
    moved = state | {"c": state["c"] * np.exp(2.5), "n": state["n"] * np.exp(2.5), "m": state["m"] - 2.5}
    assert_close(rnn(problem.x, moved)[0], y)


# ---------------------------------------------------------------- special cases of one another


def test_a_peephole_of_zero_is_the_lstm():
    problem = random_problem("lstm_peephole", **SHAPES["batch"])
    shut = {n: np.zeros(SIZES["hidden"]) for n in ("pi", "pf", "po")}
    rnn = build(replace(problem, parameters=problem.parameters | shut))
    plain = elman.RNN(elman.cells.lstm, input=3, hidden=5, dtype="float64")
    plain.update({n: array for n, array in problem.parameters.items() if n not in shut})
    assert_close(rnn(problem.x, problem.state)[0], plain(problem.x, problem.state)[0])


def test_a_clock_of_period_one_is_the_elman_network():
    problem = random_problem("indrnn", **SHAPES["batch"])
    rnn = elman.RNN(variants.clockwork_with((1,)), input=3, hidden=5, dtype="float64", seed=3)
    plain = elman.RNN(elman.cells.elman, input=3, hidden=5, dtype="float64")
    plain.update({"wax": rnn.parameters["w"], "waa": rnn.parameters["u"], "ba": rnn.parameters["b"]})
    assert_close(rnn(problem.x)[0], plain(problem.x)[0])


def test_slow_units_tick_when_their_period_says():
    rnn = elman.RNN(variants.clockwork_with((1, 2, 3)), input=2, hidden=6, seed=3)
    y, _ = rnn(np.random.default_rng(4).normal(size=(13, 2)).astype("float32"))
    moved = np.abs(np.diff(y, axis=0)) > 0
    for unit, period in enumerate((1, 1, 2, 2, 3, 3)):
        assert [t + 1 for t in np.flatnonzero(moved[:, unit])] == [t for t in range(1, 13) if t % period == 0]


def test_faster_modules_do_not_reach_slower_ones():
    rnn = elman.RNN(variants.clockwork_with((1, 2)), input=2, hidden=4, dtype="float64", seed=3)
    x = np.random.default_rng(5).normal(size=(6, 2))
    state = {"h": np.array([0.1, 0.2, 0.3, 0.4]), "clock": np.zeros(4)}
    y, _ = rnn(x, state)
    other, _ = rnn(x, state | {"h": np.array([0.9, -0.9, 0.3, 0.4])})
    np.testing.assert_array_equal(y[:, 2:], other[:, 2:])
    assert np.abs(y[:, :2] - other[:, :2]).max() > 1e-3


# ---------------------------------------------------------------- first parameters


def first(cell: elman.Cell, hidden: int = 64, **sizes: int) -> dict[str, np.ndarray]:
    return dict(elman.RNN(cell, input=32, hidden=hidden, dtype="float64", **sizes).parameters)


def test_forget_gates_start_open():
    for cell in (variants.lstm_peephole, variants.lstm_coupled, variants.mogrifier_lstm):
        np.testing.assert_array_equal(first(cell)["bf"], 1.0)
    np.testing.assert_array_equal(first(variants.lstm_projected, projection=7)["bf"], 1.0)
    np.testing.assert_array_equal(first(variants.lstm_layer_norm)["b"].reshape(4, 64).T, [[0.0, 1.0, 0.0, 0.0]] * 64)
    assert_close(first(exponential.slstm)["bf"][[0, -1]], [3.0, 6.0])


def test_gains_start_at_one():
    for cell, gains in (
        (variants.lstm_layer_norm, ("gw", "gu", "gc")),
        (variants.gru_layer_norm, ("gw", "gu", "gwn", "gun")),
    ):
        for gain in gains:
            np.testing.assert_array_equal(first(cell)[gain], 1.0)


@pytest.mark.parametrize(("low", "high", "phase"), [(0.0, 1.0, 2 * np.pi), (0.9, 0.999, 0.3)])
def test_the_lru_starts_on_its_ring(low, high, phase):
    p = first(linear.lru_with(low, high, phase), hidden=4000)
    modulus, angle = np.exp(-np.exp(p["nu"])), np.exp(p["theta"])
    assert low <= modulus.min() < modulus.max() <= high
    assert 0 < angle.min() < angle.max() <= phase
    assert np.mean(modulus**2) == pytest.approx((low**2 + high**2) / 2, rel=0.03)  # uniform in area
    assert np.mean(angle) == pytest.approx(phase / 2, rel=0.03)
    assert np.var(p["b_re"]) + np.var(p["b_im"]) == pytest.approx(1 / 32, rel=0.05)


def test_the_lru_keeps_the_variance_of_its_input():
    """What gamma is there for: white noise of variance 1 makes a state of variance |b|^2, whatever the modulus."""
    rnn = elman.RNN(linear.lru_with(0.5, 0.99), input=2, hidden=9, dtype="float64")
    x = np.random.default_rng(6).normal(size=(20000, 2))
    values, p = rnn.inspect(x), rnn.parameters
    variance = np.var(values["h_re"], axis=0) + np.var(values["h_im"], axis=0)
    np.testing.assert_allclose(variance, (p["b_re"] ** 2 + p["b_im"] ** 2).sum(1), rtol=0.25)


def test_gamma_keeps_its_digits_near_one():
    for modulus in (0.5, 0.999, 0.999999):
        nu = np.log(-np.log(np.array([modulus])))
        x, zero, one = np.ones(1), np.zeros(1), np.ones((1, 1))
        p = {"nu": nu, "theta": zero - 30.0, "b_re": one, "b_im": one * 0, "c_re": one, "c_im": one * 0, "d": one * 0}
        arguments = [np.float32(v) for v in (x, zero, zero)]
        y, *_ = linear.lru.step(*arguments, **{n: np.float32(v) for n, v in p.items()})
        assert y[0] == pytest.approx(np.sqrt(1 - modulus**2), rel=1e-5)


def test_the_rg_lru_starts_slow():
    a = sigmoid(first(linear.rg_lru, hidden=4000)["lam"]) ** 8
    assert 0.9 <= a.min() < 0.902
    assert 0.997 < a.max() <= 0.999
    assert np.mean(a) == pytest.approx(0.9495, abs=0.002)


def test_the_indrnn_starts_between_nothing_and_all():
    u = first(linear.indrnn, hidden=4000)["u"]
    assert 0.0 <= u.min() < 0.01
    assert 0.99 < u.max() <= 1.0


def test_rwkv_starts_with_decays_of_all_speeds():
    p = first(exponential.rwkv)
    assert_close(p["w"][[0, -1]], [-5.0, 3.0])
    assert np.all(np.diff(p["w"]) > 0)
    assert_close(p["sk"], np.arange(32) / 32)
    assert_close(p["sr"], np.sqrt(np.arange(32) / 32))
    assert_close(p["u"][:3], np.log(0.3) + np.array([0.0, 0.5, -0.5]))


# ---------------------------------------------------------------- what a maker refuses


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: variants.mogrifier_lstm_with(1),
            "mogrifier_lstm_with: rounds=1 must be an integer, 2 or more; lstm has none",
        ),
        (lambda: variants.mogrifier_lstm_with(True), "rounds=True must be"),
        (
            lambda: variants.clockwork_with(()),
            r"clockwork_with: periods=\(\) must be integers, 1 or more, one for each module",
        ),
        (lambda: variants.clockwork_with((1, 0)), r"periods=\(1, 0\) must be"),
        (lambda: linear.lru_with(0.9, 0.8), "lru_with: r_min=0.9, r_max=0.8, .* 0 <= r_min < r_max <= 1 .* are wanted"),
        (lambda: linear.lru_with(phase=7.0), "phase=7.0; .* are wanted"),
        (lambda: exponential.slstm_with(elman.tanh), "slstm_with: the forget gate is sigmoid or exp, not 'tanh'"),
        (lambda: exponential.mlstm_with(elman.relu), "mlstm_with: the forget gate is sigmoid or exp, not 'relu'"),
    ],
)
def test_a_choice_that_is_none(make, message):
    with pytest.raises(elman.SettingError, match=message):
        make()


def test_more_modules_than_units():
    with pytest.raises(elman.CellError, match="clockwork: 4 periods need as many hidden units at least, there are 3"):
        elman.RNN(variants.clockwork, input=2, hidden=3)


# ---------------------------------------------------------------- the list of cells

every_cell = pytest.mark.parametrize("name", elman.cells.CELLS)


def test_the_list_holds_every_cell_of_every_family():
    families = (gated, variants, linear, exponential)
    made = {made.name: made for family in families for made in vars(family).values() if isinstance(made, elman.Cell)}
    assert {"elman": elman.cells.elman} | made == elman.cells.CELLS
    assert len(elman.cells.CELLS) == 23
    for name, cell in elman.cells.CELLS.items():
        assert cell.name == name
        assert getattr(elman.cells, name) is cell is elman.cells.named(name)
        assert name in elman.cells.__all__


def test_everything_public_is_there_and_every_maker_is_public():
    for name in elman.cells.__all__:
        assert hasattr(elman.cells, name), name
    makers = {
        name for family in (simple, gated, variants, linear, exponential) for name in vars(family) if name.endswith("_with")
    }
    assert makers == {name for name in elman.cells.__all__ if name.endswith("_with")}


@every_cell
def test_every_cell_of_the_list_keeps_the_promises(name):
    check_cell(elman.cells.CELLS[name])


@every_cell
def test_every_cell_of_the_list_has_a_literal_loop(name):
    assert (name in CASES) != (name in oracles.CELLS), "one of the two value tests has it"


@every_cell
def test_every_cell_of_the_list_has_a_source_with_a_year(name):
    """The source stands behind four blanks, once, and the formula is the first line."""
    doc = inspect.cleandoc(elman.cells.CELLS[name].__doc__)
    [source] = re.findall(r"\S {4,}(\S.*)", doc)
    assert re.search(r"[A-Z]\w+.*\b(19|20)\d\d\b", source)
    assert re.search(r"\S = \S", doc.partition("    ")[0].splitlines()[0])


@every_cell
def test_every_cell_of_the_list_is_ten_lines_at_most(name):
    """Of the source, without signature and docstring."""
    source = textwrap.dedent(inspect.getsource(elman.cells.CELLS[name].function))
    [definition] = ast.parse(source).body
    docstring, *equations = definition.body
    assert isinstance(docstring.value, ast.Constant)
    lines = source.splitlines()[docstring.end_lineno : equations[-1].end_lineno]
    assert 1 <= len([line for line in lines if line.strip()]) <= 10


def test_a_docstring_names_the_activation_that_was_chosen():
    def said(cell):
        return inspect.cleandoc(cell.__doc__).partition("    ")[0]

    assert said(elman.cells.elman) == "a<t> = tanh(waa a<t-1> + wax x<t> + ba)"
    assert said(elman.cells.elman_with(elman.relu)) == "a<t> = relu(waa a<t-1> + wax x<t> + ba)"
    assert said(elman.cells.elman_with(lambda s: s / 2)) == "a<t> = g1(waa a<t-1> + wax x<t> + ba)"
    assert said(elman.cells.readout) == "y<t> = softmax(wya a<t> + by)."
    assert "y<t> = sigmoid(wya a<t> + by)" in said(variants.jordan_with(elman.sigmoid))
    assert "= relu(w x<t> + u * h<t-1> + b)" in said(linear.indrnn)
    assert "f by exp, z by tanh" in exponential.slstm_with(elman.exp).__doc__
    assert "f by sigmoid." in exponential.mlstm.__doc__


@pytest.mark.parametrize("maker", [elman.cells.elman_with, variants.jordan_with, linear.indrnn_with])
def test_an_activation_without_a_name(maker):
    made = maker(lambda s: elman.tanh(s) / 2)
    assert made.name.endswith("_custom")
    check_cell(made)


@every_case
def test_every_cell_says_its_formula_and_its_source(name):
    formula, *_ = CASES[name].cell.__doc__.splitlines()
    assert re.search(r"\S = \S", formula)
    assert re.search(r"[A-Z]\w+ .*, (19|20)\d\d\b", CASES[name].cell.__doc__)
