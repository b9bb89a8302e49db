"""The laws of sequences on the compiled target, to the bit: however a result is asked for, it has the same bits.

Layers are of library cells, of random equations, and of these together, at sizes from 1 to a few vectors that are seldom
multiples of any. Hypothesis draws how they are asked: rows, steps, lengths, resets, where the sequence is cut, and for every
single call the number of threads and the machine that is compiled for, so that a whole on one machine meets its pieces on
another. Zeros must have the same sign, too.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import elman
from elman import RNN, Backwards, Bidirectional, Layer, Stack, State, cells
from elman.targets.llvm.machine import machines
from elman.testing import random_cell
from layers import by_direction, changed, leaves, moderate

MACHINES = tuple(machines())
if not MACHINES:
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
ROWS, STEPS = 13, 9
WAYS = [(name, count) for name in MACHINES for count in (1, 2)]
"""Machine and threads of a call."""


@elman.cell
def attentive(x, h, *, w=elman.weight("hidden", "input"), u=elman.weight("hidden", "hidden"), b=elman.bias("hidden")):
    """With sums over all units, in a softmax and outside."""
    p, v = w @ x, u @ (h - elman.mean(h))
    s = p + elman.softmax(v) * v
    return elman.tanh(s + b)


def of_cell(name: str, **settings: Any) -> RNN:
    """A cell by name, or of random equations, with parameters away from their first values."""
    known = {**cells.CELLS, "attentive": attentive}
    cell = random_cell(int(name.removeprefix("random_"))) if name.startswith("random_") else known[name]
    layer, rng = RNN(cell, **settings), np.random.default_rng([*name.encode()])
    layer.update({name: value + 0.3 * rng.normal(size=value.shape) for name, value in layer.parameters.items()})
    return layer


def bidirectional(**settings: Any) -> Layer:
    ahead = of_cell("gru", input=5, hidden=18, **settings)
    return Bidirectional(ahead, of_cell("lstm_projected", input=5, hidden=3, projection=33, **settings))


def stack(**settings: Any) -> Layer:
    layers = of_cell("elman", input=3, hidden=33, **settings), of_cell("indrnn", input=33, hidden=1, **settings)
    return Stack([*layers, of_cell("elman", input=1, hidden=1, **settings)], residual=False)


LAYERS = {
    # name: type, whether it reads tokens, the layer
    "lstm": ("float32", False, partial(of_cell, "lstm", input=7, hidden=37)),
    "lstm of one": ("float32", False, partial(of_cell, "lstm", input=1, hidden=1)),
    "gru": ("float32", True, partial(of_cell, "gru", input=31, hidden=19)),
    "attentive": ("float64", False, partial(of_cell, "attentive", input=16, hidden=23)),
    "random_3": ("float32", False, partial(of_cell, "random_3", input=23, hidden=1, memory=33)),
    "random_26": ("float64", True, partial(of_cell, "random_26", input=13, hidden=11, memory=16)),
    "random_53": ("float64", False, partial(of_cell, "random_53", input=17, hidden=16, memory=7)),
    "random_85": ("float32", False, partial(of_cell, "random_85", input=8, hidden=5, memory=17)),
    "stack": ("float32", False, stack),
}
"""Of the random equations those in which everything matters, with states of several shapes, a matrix (in 85) among them."""

DIRECTIONS = {
    "bidirectional": ("float32", False, bidirectional),
    "backwards": ("float32", True, lambda **settings: Backwards(of_cell("elman", input=9, hidden=21, **settings))),
}

every_layer = pytest.mark.parametrize("name", LAYERS | DIRECTIONS, scope="module")
every_forward_layer = pytest.mark.parametrize("name", LAYERS, scope="module")
asking = settings(max_examples=6, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Problem:
    """A layer, and what it is run on."""

    layer: Layer
    x: np.ndarray  # [ROWS, STEPS, I], or tokens [ROWS, STEPS]
    state: State


@cache
def problem(name: str) -> Problem:
    """States come from a run, so they are such as the cell can have."""
    dtype, tokens, made = (LAYERS | DIRECTIONS)[name]
    layer, slow = made(dtype=dtype, target="llvm"), made(dtype=dtype, target="numpy")
    axes, rng = (ROWS, STEPS), np.random.default_rng([*name.encode()])
    x = rng.integers(layer.input_shape[0], size=axes) if tokens else rng.normal(size=(*axes, *layer.input_shape))
    x = x if tokens else x.astype(dtype)
    _, state = slow(x[:, :3])
    y, last = slow(x, state)
    assert all(moderate(array) for array in (y, *leaves(state), *leaves(last)))
    return Problem(layer, x, state)


@dataclass(frozen=True)
class Asked:
    """How much of a problem is run, and how; `rng` draws the rest: cuts, and the way of every call."""

    rows: int
    steps: int
    lengths: np.ndarray
    reset: np.ndarray
    seed: int

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def of(self, p: Problem) -> tuple[np.ndarray, State]:
        return p.x[: self.rows, : self.steps], p.state[: self.rows]


@st.composite
def asked(draw) -> Asked:
    rows, steps = draw(st.integers(1, ROWS)), draw(st.integers(1, STEPS))
    lengths = np.array(draw(st.lists(st.integers(0, steps), min_size=rows, max_size=rows)))
    seed, share = draw(st.integers(0, 2**16)), draw(st.sampled_from([0.0, 0.3, 0.6]))
    reset = np.random.default_rng([1, seed]).random((rows, steps)) < share
    return Asked(rows, steps, lengths, reset, seed)


@contextmanager
def some_way(rng: np.random.Generator):
    """Another machine, and another number of threads."""
    name, count = WAYS[rng.integers(len(WAYS))]
    elman.threads(count)
    try:
        with elman.machine(name):
            yield
    finally:
        elman.threads(None)


def run(p: Problem, rng: np.random.Generator, x: Any, state: Any, **more: Any) -> tuple[np.ndarray, State]:
    """One call, in some way."""
    with some_way(rng):
        return p.layer(x, state, **more)


def assert_bits(got: Any, wanted: Any) -> None:
    """Arrays or states with the same bits."""
    if isinstance(wanted, State):
        assert (got.cell, list(got), got.batch) == (wanted.cell, list(wanted), wanted.batch)
        for name, value in wanted.items():
            assert_bits(got[name], value)
        return
    assert np.shape(got) == np.shape(wanted)
    assert got.dtype == wanted.dtype
    kind = {4: np.uint32, 8: np.uint64}[wanted.dtype.itemsize]
    got, wanted = np.ascontiguousarray(got), np.ascontiguousarray(wanted)
    if not np.array_equal(got.view(kind), wanted.view(kind)):  # said with the numbers, if they differ
        np.testing.assert_array_equal(got, wanted)
        raise AssertionError("zeros of another sign")


# ---------------------------------------------------------------- 1: steps and chunks are the sequence


@every_forward_layer
@asking
@given(how=asked())
def test_chunks_are_the_sequence(name, how):
    """With lengths and resets, which go on from chunk to chunk; an empty chunk may be among them."""
    p, rng = problem(name), how.rng()
    x, state = how.of(p)
    y, last = run(p, rng, x, state, lengths=how.lengths, reset=how.reset)
    for start, stop in pairwise(sorted([0, how.steps, *rng.integers(0, how.steps + 1, 2)])):
        lengths = np.clip(how.lengths - start, 0, stop - start)
        part, state = run(p, rng, x[:, start:stop], state, lengths=lengths, reset=how.reset[:, start:stop])
        assert_bits(part, y[:, start:stop])
    assert_bits(state, last)


@every_forward_layer
@asking
@given(how=asked())
def test_steps_are_the_sequence(name, how):
    """Of a batch, of one sequence, of a stream, and of a pool of streams in which not everyone has data."""
    p, rng = problem(name), how.rng()
    x, first = how.of(p)
    y, last = run(p, rng, x, first)
    state, one = first, first[0]
    stream, pool = p.layer.stream(first[0]), p.layer.streams()
    for row in range(how.rows):
        pool.join(first[row])
    for t in range(how.steps):
        with some_way(rng):
            y_t, state = p.layer.step(x[:, t], state)
            alone, one = p.layer.step(x[0, t], one)
            pushed = stream.push(int(x[0, t]) if x.ndim == 2 else x[0, t])
            some = rng.permutation(how.rows)[: rng.integers(how.rows + 1)].tolist()
            pooled = pool.push({row: x[row, t] for row in some})
            pooled |= pool.push({row: x[row, t] for row in range(how.rows) if row not in some})
        for got in (y_t, np.stack([pooled[row] for row in range(how.rows)])):
            assert_bits(got, y[:, t])
        assert_bits(alone, y[0, t])
        assert_bits(pushed, y[0, t])
    for got, wanted in ((state, last), (one, last[0]), (stream.state, last[0]), (pool.state, last)):
        assert_bits(got, wanted)


# ---------------------------------------------------------------- 2: a padded batch is its sequences alone


@every_layer
@asking
@given(how=asked())
def test_a_padded_batch_is_its_sequences_alone(name, how):
    p, rng = problem(name), how.rng()
    x, state = how.of(p)
    y, last = run(p, rng, x, state, lengths=how.lengths, reset=how.reset)
    for b, n in enumerate(how.lengths):
        alone, end = run(p, rng, x[b, :n], state[b], reset=how.reset[b, :n])
        assert_bits(y[b, :n], alone)
        assert_bits(y[b, n:], np.zeros_like(y[b, n:]))
        assert_bits(last[b], end)


# ---------------------------------------------------------------- 3: rows do not see each other


@every_layer
@asking
@given(how=asked())
def test_rows_do_not_see_each_other(name, how):
    """One row is another sequence, from another state, and as sick as a row can be; the others stand elsewhere."""
    p, rng = problem(name), how.rng()
    x, state = how.of(p)
    y, last = run(p, rng, x, state, lengths=how.lengths, reset=how.reset)
    order, b = rng.permutation(how.rows), int(rng.integers(how.rows))
    x, reset, lengths = x.copy(), how.reset.copy(), how.lengths.copy()
    lengths[b], reset[b], x[b] = how.steps, ~reset[b], x[b, ::-1] if x.ndim == 2 else np.finfo(x.dtype).max / 2
    with np.errstate(all="ignore"):
        got, end = run(p, rng, x[order], state[order], lengths=lengths[order], reset=reset[order])
    others = np.flatnonzero(order != b)
    assert_bits(got[others], y[order[others]])
    assert_bits(end[others], last[order[others]])


# ---------------------------------------------------------------- 4: a reset is a new start


@every_layer
@asking
@given(how=asked())
def test_a_reset_is_a_new_start(name, how):
    """The sequence is parted before each reset, for both directions; the state given is where each of them begins."""
    p, rng = problem(name), how.rng()
    x, state = how.of(p)
    y, last = run(p, rng, x, state, reset=how.reset)
    initial = p.layer.initial_state()
    for b in range(min(how.rows, 4)):
        cuts = [0, *np.flatnonzero(how.reset[b]), how.steps]  # a reset before the first step parts it from nothing
        parts, ends = list(pairwise(cuts)), []
        for k, (start, stop) in enumerate(parts):
            ahead, behind = (state[b] if k == end else initial for end in (0, len(parts) - 1))
            alone, end = run(p, rng, x[b, start:stop], by_direction(p.layer, ahead, behind))
            assert_bits(y[b, start:stop], alone)
            ends.append(end)
        lowest = ends[1] if how.reset[b, 0] else ends[0]  # the piece of the first step, where a backward direction ends
        assert_bits(last[b], by_direction(p.layer, ends[-1], lowest))


# ---------------------------------------------------------------- 5: two directions are two runs by hand


def turned(layer: Layer, how: Asked, rng: np.random.Generator, x: np.ndarray, state: State, b: int) -> Any:
    """A row by itself from its last step to its first: the input is turned, the layer runs forward, the output is turned."""
    n = how.lengths[b]
    reset = np.zeros(n, bool)
    reset[1:] = how.reset[b, 1:n][::-1]  # what parts s - 1 from s stands before s - 1 then
    y, end = run(Problem(layer, x, state), rng, x[b, :n][::-1], state[b], reset=reset)
    return y[::-1], end


@pytest.mark.parametrize("name", DIRECTIONS)
@asking
@given(how=asked())
def test_directions_are_runs_by_hand(name, how):
    p, rng = problem(name), how.rng()
    x, state = how.of(p)
    y, last = run(p, rng, x, state, lengths=how.lengths, reset=how.reset)
    for b, n in enumerate(how.lengths):
        if isinstance(p.layer, Bidirectional):
            forward, backward = p.layer.parts["forward"], p.layer.parts["backward"]
            one, end = run(Problem(forward, x, state), rng, x[b, :n], state[b].forward, reset=how.reset[b, :n])
            two, start = turned(backward, how, rng, x, state.backward, b)
            assert_bits(y[b, :n], np.concatenate([one, two], -1))
            assert_bits(last[b], State({"forward": end, "backward": start}, cell=p.layer.name))
        else:
            assert isinstance(p.layer, Backwards)
            one, start = turned(p.layer.layer, how, rng, x, state.layer, b)
            assert_bits(y[b, :n], one)
            assert_bits(last[b], State({"layer": start}, cell=p.layer.name))


# ---------------------------------------------------------------- 6: saved, loaded and continued


@every_forward_layer
@asking
@given(how=asked())
def test_a_state_that_was_saved_goes_on(name, how, tmp_path_factory):
    p, rng, file = problem(name), how.rng(), tmp_path_factory.mktemp("state") / "state"
    x, state = how.of(p)
    middle = how.steps // 2
    y, last = run(p, rng, x, state, reset=how.reset)
    _, state = run(p, rng, x[:, :middle], state, reset=how.reset[:, :middle])
    state.save(file)
    rest, end = run(p, rng, x[:, middle:], State.load(file), reset=how.reset[:, middle:])
    assert_bits(rest, y[:, middle:])
    assert_bits(end, last)


# ---------------------------------------------------------------- sizes at which programs go other ways


@pytest.mark.parametrize(("dtype", "cell"), [("float32", cells.gru), ("float64", cells.lstm)])
def test_long_sequences_go_in_chunks_of_time(dtype, cell):
    """Longer than what is hoisted at once, alone and in batches, whose chunks are others; resets and lengths in all."""
    rnn, rng = RNN(cell, input=5, hidden=11, dtype=dtype, target="llvm", seed=2), np.random.default_rng(0)
    rows, steps = 7, 1500
    x, reset = rng.normal(size=(rows, steps, 5)).astype(dtype), rng.random((rows, steps)) < 0.01
    state = {name: rng.normal(size=(rows, 11)).astype(dtype) for name in rnn.initial_state()}
    lengths = np.array([1500, 3, 0, 1499, 512, 513, 1024])
    y, last = rnn(x, state, lengths, reset)
    for name, count in WAYS[1:]:
        elman.threads(count)
        try:
            with elman.machine(name):
                again, end = rnn(x, state, lengths, reset)
        finally:
            elman.threads(None)
        assert_bits(again, y)
        assert_bits(end, last)
    for b in (0, 3, 6):
        n, alone = lengths[b], {name: value[b] for name, value in state.items()}
        for start, stop in pairwise([0, 1, 700, n]):
            part, alone = rnn(x[b, start:stop], alone, reset=reset[b, start:stop])
            assert_bits(part, y[b, start:stop])
        assert_bits(alone, last[b])


@pytest.mark.parametrize("rows", [64, 101, 1000])
def test_batches_of_any_size(rows):
    rng = np.random.default_rng(rows)
    for cell in (cells.lstm, cells.gru_reset_before):
        rnn = RNN(cell, input=3, hidden=17, target="llvm", seed=1)
        x, lengths = rng.normal(size=(rows, 4, 3)).astype(np.float32), rng.integers(0, 5, rows)
        state = {name: rng.normal(size=(rows, 17)).astype(np.float32) for name in rnn.initial_state()}
        y, last = rnn(x, state, lengths)
        for count in (1, 2, 3, 8):
            elman.threads(count)
            try:
                again, end = rnn(x, state, lengths)
            finally:
                elman.threads(None)
            assert_bits(again, y)
            assert_bits(end, last)
        for b in (0, rows // 2, rows - 1):
            alone, end = rnn(x[b, : lengths[b]], {name: value[b] for name, value in state.items()})
            assert_bits(y[b, : lengths[b]], alone)
            assert_bits(last[b], end)


@pytest.mark.parametrize("cell", [cells.lstm, cells.gru_reset_before, cells.lstm_layer_norm], ids=lambda cell: cell.name)
def test_one_large_sequence_on_many_threads(cell):
    """More threads than cores, too; several times, since threads meet otherwise every time."""
    rnn, rng = RNN(cell, input=70, hidden=261, target="llvm", seed=3), np.random.default_rng(4)
    x = rng.normal(size=(30, 70)).astype(np.float32)
    state = {name: rng.normal(size=261).astype(np.float32) for name in rnn.initial_state()}
    elman.threads(1)
    try:
        y, last = rnn(x, state)
        for count in (2, 3, 4, 7, 2, 4):
            elman.threads(count)
            again, end = rnn(x, state)
            assert_bits(again, y)
            assert_bits(end, last)
        stream = rnn.stream(state)
        assert_bits(np.stack([stream.push(step) for step in x]), y)
    finally:
        elman.threads(None)


@pytest.mark.parametrize(
    ("inputs", "hidden"), [(1, 1), (33, 1), (1, 2), (16, 4), (2, 15), (1, 16), (17, 16), (16, 17), (5, 48)]
)
def test_sizes_at_the_edges_of_vectors(inputs, hidden):
    """One machine against another, and a batch against its rows; only the smallest of cells, for every size is compiled."""
    rng = np.random.default_rng([hidden, inputs])
    rnn = RNN(cells.elman, input=inputs, hidden=hidden, target="llvm", seed=hidden)
    x, a = rng.normal(size=(7, 3, inputs)).astype(np.float32), rng.normal(size=(7, hidden)).astype(np.float32)
    y, last = rnn(x, a)
    for name in MACHINES[1:]:
        with elman.machine(name):
            assert_bits(rnn(x, a)[0], y)
    alone, end = rnn(x[2], a[2])
    assert_bits(alone, y[2])
    assert_bits(end, last[2])


# ---------------------------------------------------------------- what is seen


@pytest.mark.parametrize("name", ["attentive", "random_3"])
def test_what_is_shown_is_what_was_computed(name):
    """All values, some of them, padded and alone: a value that is shown besides changes no bit of another."""
    p, rng = problem(name), np.random.default_rng(5)
    lengths, reset = rng.permutation(ROWS) % (STEPS + 1), rng.random((ROWS, STEPS)) < 0.2
    values = p.layer.inspect(p.x, p.state, lengths, reset)
    if name == "attentive":
        assert list(values) == ["p", "v", "s", "h"]
        assert_bits(values["h"], p.layer(p.x, p.state, lengths, reset)[0])
    some = p.layer.values[1::2]
    for value, array in p.layer.inspect(p.x, p.state, lengths, reset, keep=some).items():
        assert_bits(array, values[value])
    for b in (0, 4, 12):
        for value, array in p.layer.inspect(p.x[b, : lengths[b]], p.state[b], reset=reset[b, : lengths[b]]).items():
            assert_bits(values[value][b, : lengths[b]], array)


def test_the_problems_can_show_a_mistake():
    """Lengths, resets, states and inputs matter in nearly all, and sizes are one, less than a vector, and more than two."""
    names, seen = [*LAYERS, *DIRECTIONS], dict.fromkeys(("lengths", "reset", "state", "input"), 0)
    sizes = set()
    for name in names:
        p, rng = problem(name), np.random.default_rng(6)
        sizes |= {int(size) for leaf in p.layer._leaves().values() for size in leaf.sizes.values()}
        lengths, reset = rng.permutation(ROWS) % (STEPS + 1), rng.random((ROWS, STEPS)) < 0.3
        y, last = p.layer(p.x, p.state, lengths, reset)
        live = np.arange(STEPS) < lengths[:, None]
        others = {
            "lengths": p.layer(p.x, p.state, None, reset),
            "reset": p.layer(p.x, p.state, lengths, np.zeros_like(reset)),
            "state": p.layer(p.x, changed(p.state, np.zeros_like), lengths, reset),
            "input": p.layer(p.x[:, ::-1], p.state, lengths, reset),
        }
        for mistake, (other, end) in others.items():
            apart = [(y - other)[live], *(one - two for one, two in zip(leaves(last), leaves(end), strict=True))]
            seen[mistake] += max(np.abs(array).max(initial=0.0) for array in apart) > 1e-3
    assert min(seen.values()) >= len(names) - 2, seen
    assert 1 in sizes
    assert {size for size in sizes if 1 < size < 16}
    assert {size for size in sizes if size > 32}
