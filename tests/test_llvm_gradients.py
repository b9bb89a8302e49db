"""The compiled gradient, by value: against the interpreter, literal loops and differences; every cell, layer and head.

`test_llvm_gradient_bits.py` holds it against itself, to the bit; `tests/peers` against PyTorch.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import RNN, CellError, Model, cells
from elman.gates import GATES, apply
from elman.program import Asked, _program, program
from elman.scoring import with_gradients
from elman.targets.llvm.machine import machines
from elman.targets.llvm.target import compiles
from elman.testing import check_gradient
from gradients import (
    HIDDEN,
    INPUT,
    KINDS,
    ROWS,
    STEPS,
    Arrays,
    Problem,
    assert_near,
    by_path,
    changed,
    layer_of,
    of_kind,
    problem,
    rnn,
    sum_of_rows,
)
from oracles import CELLS, random_direction, random_problem, slope, unroll
from test_gradients import assert_slopes, build, derived, loss_of, random_dy
from test_heads import filled, literal_mean

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store", "small_sections")
every_kind = pytest.mark.parametrize("kind", KINDS)


def exact(p: Problem, layer: elman.Layer, **asked: Any) -> Arrays:
    """What the interpreter, or another target, gives in float64."""
    return p.at(layer).solve(**asked)


# ---------------------------------------------------------------- cells against the interpreter


@pytest.mark.parametrize("target", ["llvm", "numpy"])
@pytest.mark.parametrize("name", cells.CELLS)
def test_cells_of_the_library(name, target):
    """In float32 and float64 in turn; of both targets."""
    dtype = ("float32", "float64")[list(cells.CELLS).index(name) % 2]
    sizes = {"inputs": 7, "hidden": 20} if name == "clockwork" else {"inputs": 13, "hidden": 19}
    p = problem(rnn(name, **sizes, dtype=dtype, target="numpy"), rows=4)
    wanted = exact(p, rnn(name, **sizes, dtype="float64", target="interpreter"))
    assert_near(p.at(rnn(name, **sizes, dtype=dtype, target=target)).solve(), wanted, dtype)


@pytest.mark.parametrize("seed", [3, 26, 53, 72, 85])
def test_random_cells(seed):
    """Equations in which everything matters, over all gates, with states that are numbers, vectors and matrices."""
    name = f"random_{seed}"
    p = problem(rnn(name, dtype="float64", target="numpy"), rows=4)
    wanted = exact(p, rnn(name, dtype="float64", target="interpreter"))
    assert_near(p.at(rnn(name, dtype="float64", target="llvm")).solve(), wanted, "float64")


@pytest.mark.parametrize("name", ["elman", "gru"])
def test_gradients_are_slopes_of_literal_loops(name):
    given = random_problem(name, T=5, I=3, H=17, B=4, lengths=(4, 0, 5, 1), resets=0.3)
    dy = random_dy(given)
    assert_slopes(loss_of(given, dy), given.arrays, derived(build(given, target="llvm"), given, dy))


@pytest.mark.parametrize(("rows", "steps", "inputs", "hidden"), [(1, 1, 1, 1), (1, 5, 2, 1), (3, 1, 17, 33), (2, 4, 1, 16)])
def test_the_smallest_sizes(rows, steps, inputs, hidden):
    """And those at the edge of a vector; a whole batch, and its first row alone."""
    p = problem(rnn("elman", inputs, hidden, dtype="float64", target="llvm"), rows, steps, plain=True)
    interpreter = rnn("elman", inputs, hidden, dtype="float64", target="interpreter")
    assert_near(p.solve(), exact(p, interpreter), "float64")
    assert_near(p.row(0).solve(), exact(p.row(0), interpreter), "float64")


@elman.cell
def lower_half(x, h=elman.state("hidden", "memory"), *, w=elman.weight("hidden", "memory")):
    """A parameter reaches the state through a part of what was put together."""
    return elman.concatenate(h / 2, w)[len(h) :] + h / 3


def test_the_sum_of_a_part_of_a_matrix():
    found = []
    for target in ("llvm", "interpreter"):
        layer = RNN(lower_half, input=3, hidden=4, memory=5, dtype="float64", target=target, seed=1)
        found.append(problem(layer, 2, 3, plain=True))
    assert_near(found[0].solve(), exact(found[0], found[1].layer), "float64")


@pytest.mark.parametrize("name", cells.CELLS)
def test_the_backward_direction_is_compiled(name):
    layer = rnn(name, hidden=20, target="llvm")
    for tokens in (False, True):
        asked = Asked(tokens=tokens, gradient=True)
        assert compiles(program(layer.graph, asked, "float32", "llvm").backward_plan.graph)


# ---------------------------------------------------------------- layers


@every_kind
def test_layers(kind):
    """With dropout where there is some; two seeds drop other values."""
    p = of_kind(kind)
    for seed in (5, 6) if kind == "stack" else (None,):
        wanted = exact(p, layer_of(kind, dtype="float64", target="interpreter"), dropout_seed=seed)
        assert_near(p.solve(dropout_seed=seed), wanted, "float64")
    assert sum(np.abs(wanted[name]).max() > 1e-6 for name in wanted) > 0.9 * len(wanted)


@every_kind
def test_a_padded_batch_is_its_sequences_alone(kind):
    p = of_kind(kind)
    assert_near(p.solve(), sum_of_rows(p, [p.row(b).solve() for b in range(len(p.x))]), "float64")


@every_kind
def test_the_padding_is_not_read(kind):
    p = of_kind(kind)
    x, dy = p.x.copy(), p.dy.copy()
    for b, n in enumerate(p.lengths):
        x[b, n:], dy[b, n:] = np.nan, np.inf
    other = Problem(p.layer, x, p.state, dy, p.d_last, p.lengths, p.reset)
    found = other.solve()
    for name, value in p.solve().items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("seed", [2, 3])
def test_a_given_gradient_of_one_output_is_that_output_alone(seed):
    """Gradients are linear in what is given: by parts they add up, and nothing of a call stays for the next."""
    p, rng = of_kind("lstm"), np.random.default_rng(seed)
    record = p.layer.record(p.x, p.state, p.lengths, p.reset)
    part = p.dy * (rng.random(p.dy.shape) < 0.5)
    whole, one, two = (record.gradients(dy) for dy in (p.dy, part, p.dy - part))
    for name, value in whole.parameters.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(one.parameters[name] + two.parameters[name], value, rtol=0, atol=1e-13 * scale)


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize(("name", "symbols"), [("gru", 3), ("elman", 40), ("rwkv", 5)])
def test_tokens_are_vectors(name, symbols):
    """Few symbols, so that they come again and again, in one sequence and in others; or so many that some never come."""
    p = problem(rnn(name, symbols, HIDDEN, dtype="float64", target="llvm"), tokens=True)
    rows = Problem(p.layer, np.eye(symbols)[p.x], p.state, p.dy, p.d_last, p.lengths, p.reset)
    wanted = exact(rows, rnn(name, symbols, HIDDEN, dtype="float64", target="interpreter"))
    found = p.solve()
    assert wanted.pop("d_x").shape == rows.x.shape
    assert_near(found, wanted, "float64")
    live = np.arange(p.x.shape[1]) < p.lengths[:, None]
    never = np.setdiff1d(np.arange(symbols), p.x[live])
    assert len(never) >= (20 if symbols == 40 else 0)
    if name != "rwkv":  # there a column of no parameter belongs to one symbol
        w = {"gru": "wn", "elman": "wax"}[name]
        np.testing.assert_array_equal(found[w][:, never], 0.0)
        assert (np.abs(np.delete(found[w], never, 1)).max(0) > 1e-6).all()


# ---------------------------------------------------------------- heads

READOUTS = {"softmax": (cells.readout, 21), "sigmoid": (cells.readout_sigmoid, 1), "linear": (cells.readout_linear, 35)}
"""And how many outputs: numbers that are no multiple of a vector."""


def targets_of(readout: str, axes: tuple[int, ...], outputs: int, rng: np.random.Generator) -> np.ndarray:
    if readout == "softmax":
        return rng.integers(outputs, size=axes)
    return rng.random((*axes, outputs)) if readout == "sigmoid" else rng.normal(size=(*axes, outputs))


def literal_loss(p: Problem, readout: str, pool: str | None, arrays: Arrays, targets: np.ndarray) -> float:
    """The mean loss of a literal lstm under a literal read-out."""
    logits = []
    for b, n in enumerate(p.lengths):
        first = {name: value[b] for name, value in p.state.items()}
        y = np.array([v["h"] for v in unroll(CELLS["lstm"], arrays, p.x[b, :n], first, p.reset[b, :n])[0]])
        since = np.flatnonzero(p.reset[b, :n])[-1:].sum()  # a reset is a new start for a pool, too
        read = {None: y, "last": y[-1:]} | {name: [getattr(y[since:], name)(0)] if n else [] for name in ("mean", "max")}
        logits.append(np.array([arrays["wya"] @ a + arrays["by"] for a in read[pool]]))
    return literal_mean(readout, pool, logits, targets)


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
@pytest.mark.parametrize("readout", READOUTS)
def test_heads_are_slopes_of_literal_loops(readout, pool):
    (cell, outputs), p, rng = READOUTS[readout], of_kind("lstm"), np.random.default_rng(9)
    model = Model.from_layers(p.layer, outputs, readout=cell, pool=pool, seed=3)
    model.update({"by": rng.normal(size=outputs)})
    targets = targets_of(readout, p.x.shape[:2] if pool is None else p.x.shape[:1], outputs, rng)
    first = filled(model.initial_state(ROWS), dict(p.state))
    loss, found, _ = model.gradients(p.x, targets, first, p.lengths, p.reset)
    names = dict(zip([*p.layer.parameters, "wya", "by"], found, strict=True))
    arrays = {name: model.parameters[inner] for name, inner in names.items()}
    assert loss == pytest.approx(literal_loss(p, readout, pool, arrays, targets), rel=1e-11)
    for name in ("wya", "by", "ui", "wg", "bf"):
        direction = random_direction({name: arrays[name]}, rng)
        wanted = slope(lambda at: literal_loss(p, readout, pool, at, targets), arrays, direction, 1e-4)
        got = float(np.sum(found[names[name]] * direction[name]))
        assert abs(got - wanted) <= 1e-6 * max(abs(wanted), 1e-4), name


@pytest.mark.parametrize("outputs", [1, 2, 16, 33, 200])
def test_any_number_of_symbols(outputs):
    """Of cross entropy in float32, whose logits nobody holds, against NumPy's steps one after another."""
    p, rng = of_kind("lstm"), np.random.default_rng(outputs)
    model = Model.from_layers(layer_of("lstm", target="llvm"), outputs, seed=3)
    model.update(p.layer.parameters)
    targets = rng.integers(outputs, size=p.x.shape[:2])
    loss, found, _ = model.gradients(p.x.astype(np.float32), targets, changed(p.state, "float32"), p.lengths)
    live = np.arange(STEPS) < p.lengths[:, None]
    a, w = (array.astype(np.float64) for array in (p.layer(p.x, p.state, p.lengths)[0], model.parameters["wya"]))
    logits = a[live] @ w.T + model.parameters["by"]
    z = logits - logits.max(1, keepdims=True)
    share = np.exp(z) / np.exp(z).sum(1, keepdims=True) - np.eye(outputs)[targets[live]]
    picked = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), targets[live]]
    assert loss == pytest.approx(picked.mean(), abs=2e-6)
    below = p.layer.gradients(p.x, np.where(live[..., None], rows_of(live, share @ w), 0.0) / live.sum(), p.state, p.lengths)
    wanted = {**below.parameters, "wya": share.T @ a[live] / live.sum(), "by": share.sum(0) / live.sum()}
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=2e-5 * max(np.abs(value).max(), 1e-3), err_msg=name)
    assert outputs > 1 or all((value == 0.0).all() for value in found.values())


def rows_of(live: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the live steps at their places."""
    whole = np.zeros((*live.shape, values.shape[-1]))
    whole[live] = values
    return whole


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
def test_nothing_to_read_gives_nothing(pool):
    """No step at all, or no step of any sequence."""
    model = Model.from_layers(of_kind("lstm").layer, 3, pool=pool)
    for steps, lengths in ((0, None), (4, [0, 0])):
        targets = np.zeros((2, steps) if pool is None else 2, int)
        loss, found, last = model.gradients(np.ones((2, steps, INPUT)), targets, lengths=lengths)
        assert loss == 0.0
        assert set(found) == set(model.parameters)
        for name, value in found.items():
            np.testing.assert_array_equal(value, np.zeros_like(model.parameters[name]))
        assert not any(np.any(value) for _, value in by_path(last, "") if value.dtype == np.float64 and pool is None)


# ---------------------------------------------------------------- truncated


def nothing(*shape: int) -> np.ndarray:
    return np.zeros(shape)


def windows(p: Problem, layer: elman.Layer, k1: int, k2: int) -> Arrays:
    """The losses of every k1 steps by themselves, from the state k2 steps before the end of them, held as it is.

    The losses of the last states belong to the last window. All of it row by row, on another target.
    """
    p, rows = p.at(layer), []
    for b in range(len(p.x)):
        row, n = p.row(b), len(p.row(b).x)
        whole = row.solve()
        found = {name: np.zeros_like(value) for name, value in whole.items()}
        for begin in range(0, max(n, 1), k1):
            start, stop = max(0, begin + k1 - k2), min(begin + k1, n)
            state = layer(row.x[:start], row.state, reset=row.reset[:start])[1]
            dy, d_last = row.dy[start:stop].copy(), row.d_last if stop == n else changed(row.d_last, "float64", nothing)
            dy[: begin - start] = 0.0
            part = Problem(layer, row.x[start:stop], state, dy, d_last, reset=row.reset[start:stop]).solve()
            for name, value in part.items():
                if name in p.layer.parameters or (name.startswith("d_first") and not start):
                    found[name] += value
            found["d_x"][start:stop] += part["d_x"]
        rows.append(whole | {name: v for name, v in found.items() if name in p.layer.parameters or name.startswith("d_")})
    return sum_of_rows(p, rows)


WINDOWS = [("lstm", 1), ("lstm", 3), ("lstm", (1, 3)), ("lstm", (2, 3)), ("lstm", (2, 5)), ("lstm", (3, 4))]
WINDOWS += [("stack", 3), ("stack", (2, 5)), ("mlstm", 2), ("mlstm", (2, 3)), ("rwkv", (2, 3))]


@pytest.mark.parametrize(("kind", "truncate"), WINDOWS)
def test_truncation_is_windows_with_held_starts(kind, truncate):
    """Every k steps a window, or overlapping ones; the lengths cut windows, too."""
    p, k1, k2 = of_kind(kind), *(truncate if isinstance(truncate, tuple) else (truncate, truncate))
    if isinstance(truncate, tuple):
        p = replace(p, reset=np.zeros_like(p.reset), d_last=changed(p.d_last, "float64", nothing))
    found, full = p.solve(truncate=truncate), p.solve()
    assert_near(found, windows(p, layer_of(kind, dtype="float64", target="interpreter"), k1, k2), "float64")
    for name, value in full.items():
        if name.startswith(("y", "last")):
            np.testing.assert_array_equal(found[name], value)  # the state goes on
    assert max(np.abs(found[name] - full[name]).max() for name in p.layer.parameters) > 1e-3


@pytest.mark.parametrize("truncate", [STEPS, (3, STEPS + 2), (1, 1000), (1000, 1000)])
@pytest.mark.parametrize("kind", ["lstm", "stack", "both ways", "mlstm"])
def test_truncation_beyond_the_end_is_none(kind, truncate):
    """Where overlapping windows all reach the first step, they give the full gradient."""
    p = of_kind(kind)
    if isinstance(truncate, tuple) and p.layer._reads_from_end:
        with pytest.raises(elman.SettingError, match="a direction reads from the end of a sequence"):
            p.solve(truncate=truncate)
    else:
        assert_near(p.solve(truncate=truncate), p.solve(), "float64")


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_windows_that_do_not_overlap_are_plain_truncation(k):
    for kind in ("lstm", "stack"):
        p = replace(of_kind(kind), lengths=None)
        assert_near(p.solve(truncate=(k, k)), p.solve(truncate=k), "float64")


@pytest.mark.parametrize("truncate", [2, (2, 3)])
def test_a_model_cuts_where_it_says(truncate):
    p, rng = of_kind("lstm"), np.random.default_rng(4)
    targets, found = rng.integers(6, size=p.x.shape[:2]), []
    for target in ("llvm", "interpreter"):
        model = Model.from_layers(layer_of("lstm", dtype="float64", target=target), 6, bptt_truncate=truncate, seed=3)
        loss, gradients, state = model.gradients(p.x, targets, p.state, p.lengths)
        found.append(gradients | {"loss": np.array(loss)} | dict(by_path(state, "last")))
    assert_near(*found, "float64")
    model.bptt_truncate = None
    full = model.gradients(p.x, targets, p.state, p.lengths)[1]
    assert np.abs(full["ui"] - found[0]["ui"]).max() > 1e-5


@pytest.mark.parametrize(("kind", "truncate"), [("lstm", (2, 3)), ("stack", (2, 5)), ("mlstm", (3, 3))])
def test_the_last_state_of_a_row_that_ends_early(kind, truncate):
    """Its gradient belongs to the window in which the row ends; a row without a step hands it on."""
    p = replace(of_kind(kind), dy=np.zeros_like(of_kind(kind).dy))
    wanted = windows(p, layer_of(kind, dtype="float64", target="interpreter"), *truncate)
    assert_near(p.solve(truncate=truncate), wanted, "float64")


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_a_pool_is_cut_the_same_way_by_k_and_by_windows(pool):
    """A head that reads once reads every step, whatever is cut below it."""
    p, found = of_kind("lstm"), []
    targets = np.array([0, 3, 1, 2, 5])
    for truncate in (3, (3, 3)):
        model = Model.from_layers(p.layer, 6, pool=pool, bptt_truncate=truncate, seed=3)
        found.append(model.gradients(p.x, targets, lengths=p.lengths)[1])
    assert_near(found[1], found[0], "float64")


def test_a_model_of_windows_that_overlap_is_trained():
    from elman.train import Settings, train

    model = Model(8, 6, (2, 4), cells.gru, target="llvm")
    before = dict(model.parameters)
    next(train(model, np.arange(600) % 8, Settings(steps=1, batch=2, length=8)))
    assert all(np.abs(model.parameters[name] - value).max() > 0 for name, value in before.items())


# ---------------------------------------------------------------- the tests of the tests

w, u = elman.weight("hidden", "input"), elman.weight("hidden", "hidden")


@elman.cell
def of_many_gates(x, h, m=elman.state("hidden", "input"), *, w=w, u=u, v=w, b=elman.bias("hidden"), c=elman.bias("hidden")):
    """Gates whose rules have a term to lose, each where it matters."""
    r = elman.sigmoid(w @ x + u @ h + b)
    n = elman.tanh(v @ x - r * c + m @ x) / (1.5 + elman.softplus(h))
    s = elman.softmax(n + elman.exp(-elman.absolute(h))) * elman.sqrt(0.5 + n * n) - (n - elman.mean(n * r))
    low, top = elman.split(elman.concatenate(s, n), 2)
    y = elman.maximum(top, low) + elman.where(elman.greater(n, h), n, elman.sin(h))
    return y, y, m / 2 + elman.outer(y, x) / 3


MISTAKES = {
    "multiply": (0, 1), "product": (0, 1), "divide": (1,), "outer": (0,), "maximum": (1,), "sigmoid": (0,), "tanh": (0,),
    "softmax": (0,), "mean": (0,),
}  # fmt: skip
"""Of each gate whose rule is changed the inputs whose gradient is lost."""


@pytest.fixture
def mistakes(monkeypatch):
    """Patches, with no program of the right library left before them and no wrong one after."""
    for kept in (_program, with_gradients):
        kept.cache_clear()
    yield monkeypatch
    for kept in (_program, with_gradients):
        kept.cache_clear()


def slopes_hold() -> None:
    """The compiled gradient of many gates at once against differences of literal steps: what a mistake must break."""
    rng = np.random.default_rng(3)
    layer = RNN(of_many_gates, input=3, hidden=4, dtype="float64", target="llvm")
    layer.update({name: rng.normal(size=value.shape) for name, value in layer.parameters.items()})
    x, dy = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 4))
    first = {"h": rng.normal(size=(2, 4)), "m": rng.normal(size=(2, 4, 3))}
    record = layer.record(x, first)
    parameters, d_x, d_first = record.gradients(dy)
    point = {**layer.parameters, "x": x, **first}
    gradient = {**parameters, "x": d_x, **d_first}

    def loss(at: Arrays) -> float:
        """By the equations as a function of arrays."""
        total = 0.0
        for b in range(2):
            h, m = at["h"][b], at["m"][b]
            for t in range(3):
                y, h, m = of_many_gates.step(at["x"][b, t], h, m, **{name: at[name] for name in parameters})
                total += float(np.sum(dy[b, t] * y))
        return total

    check_gradient(loss, gradient, point)


def test_the_gradient_of_many_gates():
    graph = of_many_gates.graph(input=3, hidden=4)
    assert set(MISTAKES) <= {node.gate for node in graph.nodes}
    layer = RNN(of_many_gates, input=3, hidden=4, dtype="float64", target="llvm")
    assert compiles(program(layer.graph, Asked(gradient=True), "float64", "llvm").backward_plan.graph)
    slopes_hold()


@pytest.mark.parametrize(("gate", "position"), [(gate, k) for gate, places in MISTAKES.items() for k in places])
def test_a_lost_term_of_a_gradient_is_noticed(mistakes, gate, position):
    right = type(GATES[gate]).gradient

    def wrong(self, *arguments, **attributes):
        found = list(right(self, *arguments, **attributes))
        found[position] = found[position] * 0.0
        return tuple(found)

    mistakes.setattr(type(GATES[gate]), "gradient", wrong)
    with pytest.raises(CellError, match="the gradient for"):
        slopes_hold()


@pytest.mark.parametrize("lost", ["the probabilities", "the target"])
def test_a_lost_term_of_a_loss_is_noticed(mistakes, lost):
    """In the gradient of cross entropy, the one minus the other."""

    def wrong(self, g, y, logits, target):
        return g * (elman.softmax(logits) if lost == "the target" else -apply("one_hot", target, size=logits.shape[0])), None

    mistakes.setattr(type(GATES["cross_entropy"]), "gradient", wrong)
    with pytest.raises(AssertionError, match="wya"):
        test_heads_are_slopes_of_literal_loops("softmax", None)
