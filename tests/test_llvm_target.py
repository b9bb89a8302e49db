"""The compiled target: the interpreter's values, and the same bits however it is asked.

Sizes are drawn so that vectors are seldom full; examples, lengths, resets, tokens, kept values and directions are drawn too.
"""

from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import RNN, Bidirectional, Stack, bias, cell, cells, weight
from elman.passes import lower, schedule
from elman.targets import threads
from elman.targets.interpreter import Interpreter
from elman.targets.llvm import program as llvm_program
from elman.targets.llvm.crew import crew
from elman.targets.llvm.groups import Grouping
from elman.targets.llvm.machine import machines
from elman.targets.llvm.pace import FIRST, TRIES, Pace
from elman.targets.llvm.program import LlvmProgram
from elman.targets.llvm.recipe import walks
from elman.testing import random_cell

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store")
RANDOM = tuple(f"random_{seed}" for seed in (0, 7, 12, 19, 28, 65))
"""Among them results that no gate makes, states that other values replace, and look-ups in matrices of the state."""


class Problem:
    """A cell at odd sizes, asked in some way, with all that a run needs."""

    def __init__(self, name: str, seed: int = 0) -> None:
        rng = self.rng = np.random.default_rng([seed, *name.encode()])
        made = random_cell(int(name.removeprefix("random_"))) if name.startswith("random_") else cells.CELLS[name]
        sizes = {size: int(rng.integers(5, 20)) for size in made.sizes}
        self.graph = made.graph(**sizes)
        [x] = self.graph.leaves("input").values()
        tokens = bool(rng.random() < 0.3) and len(self.graph.nodes[x].shape) == 1
        keep = [value for value in self.graph.values if rng.random() < 0.3]
        carry = {"reset"} if rng.random() < 0.5 else set()
        self.plan = schedule(lower(self.graph, carry=carry, tokens=tokens, keeping=keep, merging=False))
        graph, self.steps, self.batch = self.plan.graph, 5, 9
        axes, nodes = (self.steps, self.batch), graph.nodes
        self.parameters = {n: 0.5 * rng.normal(size=nodes[i].shape) for n, i in graph.leaves("parameter").items()}
        self.inputs = {n: rng.normal(size=(*axes, *nodes[i].shape)) for n, i in graph.leaves("input").items()}
        for leaf, index in graph.leaves("token").items():
            self.inputs[leaf] = rng.integers(0, int(nodes[index].settings["size"]), axes)
        for flag in (leaf for leaf in self.inputs if leaf.startswith("step_is")):
            self.inputs[flag] = rng.random(axes) < 0.3
        self.states = {n: rng.normal(size=(self.batch, *nodes[i].shape)) for n, i in graph.leaves("state").items()}
        self.lengths = np.array([5, 0, 3, 5, 1, 2, 4, 5, 3]) if rng.random() < 0.7 else None
        self.backwards = bool(rng.random() < 0.4)

    def run(self, made, rows=slice(None), steps=None, **settings):
        prepared = made.prepare(self.parameters)
        inputs = {name: x[:steps, rows] for name, x in self.inputs.items()}
        states = {name: state[rows] for name, state in self.states.items()}
        return made.run(prepared, inputs, states, backwards=self.backwards, **settings)


def assert_bits(got, wanted):
    for kind in ("outputs", "states"):
        for name, value in getattr(wanted, kind).items():
            np.testing.assert_array_equal(getattr(got, kind)[name], value, err_msg=f"{kind} {name}")


def assert_near(got, wanted, bound):
    for kind in ("outputs", "states"):
        for name, value in getattr(wanted, kind).items():
            other = getattr(got, kind)[name]
            assert other.shape == value.shape
            with np.errstate(invalid="ignore"):
                close = np.abs(other - value) <= bound * (1 + np.abs(value))
            assert (close | (other == value) | (np.isnan(other) & np.isnan(value))).all(), (kind, name)


@pytest.mark.parametrize("name", [*cells.CELLS, *RANDOM])
def test_values_and_bits(name):
    p = Problem(name)
    made, oracle = LlvmProgram(p.plan, "float64"), Interpreter(p.plan, np.float64)
    together = p.run(made, lengths=p.lengths)
    with np.errstate(all="ignore"):
        assert_near(together, p.run(oracle, lengths=p.lengths), 1e-11)
    for b in (0, 2, 8):
        n = p.steps if p.lengths is None else p.lengths[b]
        alone = p.run(made, slice(b, b + 1), n)
        for output, value in alone.outputs.items():
            np.testing.assert_array_equal(together.outputs[output][:n, b], value[:, 0])
            assert not together.outputs[output][n:, b].any()
        for state, value in alone.states.items():
            np.testing.assert_array_equal(together.states[state][b], value[0])
    if "avx2" in machines():
        assert_bits(p.run(LlvmProgram(p.plan, "float64", machines()["avx2"]), lengths=p.lengths), together)
    assert_near(p.run(LlvmProgram(p.plan, "float32"), lengths=p.lengths), together, 2e-3)


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "gru_reset_before", "lstm_layer_norm", "mlstm"])
def test_chunks_of_time_and_threads_change_no_bit(name, monkeypatch):
    p = Problem(name, 1)
    made = LlvmProgram(p.plan, "float32")
    whole = p.run(made, lengths=p.lengths)
    for count in (2, 3):
        elman.threads(count)
        try:
            assert_bits(p.run(made, lengths=p.lengths), whole)
        finally:
            elman.threads(None)
    monkeypatch.setattr(LlvmProgram, "room", lambda self, batch, steps: 2 * batch)
    assert_bits(p.run(made, lengths=p.lengths), whole)


@contextmanager
def on_threads(count):
    before = threads.shared._asked
    elman.threads(count)
    try:
        yield
    finally:
        elman.threads(before)


LAYERS = {
    "lstm": lambda: RNN(cells.lstm, input=7, hidden=19, target="llvm"),
    "gru of tokens": lambda: RNN(cells.gru, input=11, hidden=16, target="llvm"),
    "stack": lambda: Stack(
        [RNN(cells.mgu, input=7, hidden=5, target="llvm"), RNN(cells.elman, input=5, hidden=33, target="llvm")]
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_streams_pools_and_wholes_have_the_same_bits(name):
    layer, rng = LAYERS[name](), np.random.default_rng(3)
    x = rng.integers(0, 11, (4, 13)) if "tokens" in name else rng.normal(size=(4, 13, 7)).astype(np.float32)
    y, last = layer(x)
    for row in range(4):
        stream = layer.stream()
        steps = [stream.push(int(step) if "tokens" in name else step) for step in x[row, :5]]
        rest = stream.push(x[row, 5:9])
        steps += [*rest, *(stream.push(int(step) if "tokens" in name else step) for step in x[row, 9:])]
        np.testing.assert_array_equal(np.stack(steps), y[row])
        assert stream.state == last[row]
    pool = layer.streams(4)
    pushed = pool.push({0: x[0, :3], 2: x[2, :7], 3: x[3, 0]})
    np.testing.assert_array_equal(pushed[2], y[2, :7])
    np.testing.assert_array_equal(pool.push(x[[1, 3], :2], streams=[1, 3])[0], y[1, :2])
    shown = layer.inspect(x)
    for value in ("0.h", "1.a") if name == "stack" else ("h",):
        np.testing.assert_array_equal(shown[value], layer.inspect(x, keep=[value])[value])
    np.testing.assert_array_equal(shown["1.a" if name == "stack" else "h"], y)
    np.testing.assert_array_equal(layer.record(x).y, y)


def test_new_parameters_and_resets_reach_a_stream():
    rnn = RNN(cells.lstm, input=3, hidden=4, target="llvm")
    x, stream = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), rnn.stream()
    for step in x[:3]:
        stream.push(step)
    rnn.update({name: -value for name, value in rnn.parameters.items()})
    _, state = RNN(cells.lstm, input=3, hidden=4, target="llvm")(x[:3])
    np.testing.assert_array_equal(stream.push(x[3]), rnn.step(x[3], dict(state))[0])
    stream.reset()
    assert stream.steps == 0
    np.testing.assert_array_equal(np.stack([stream.push(step) for step in x]), rnn(x)[0])
    bad = x[0].copy()
    bad[1] = np.nan
    before = stream.state
    with pytest.raises(elman.DataError, match="the input holds NaN or infinity"):
        stream.push(bad)
    assert stream.state == before


@pytest.mark.parametrize("name", ["lstm", "gru_reset_before"])
def test_threads_share_the_steps_of_a_wide_stream(name, monkeypatch):
    """Matrices of more than a megabyte; a stream goes on through steps alone, steps together and a chunk."""
    rnn = RNN(cells.CELLS[name], input=230, hidden=210, target="llvm")
    x, taken = np.random.default_rng(0).normal(size=(12, 230)).astype(np.float32), []
    run = crew.run
    monkeypatch.setattr(crew, "run", lambda code, jobs, *rest: taken.append(len(jobs)) or run(code, jobs, *rest))
    with on_threads(1):
        y, state = rnn(x)
    with on_threads(2):
        stream = rnn.stream()
        got = [stream.push(step) for step in x[:5]]
        got.append(stream.push(x[5:8]))
        got += [stream.push(step) for step in x[8:10]]
        assert set(taken) == {2}
        with on_threads(1):
            count = len(taken)
            got += [stream.push(step) for step in x[10:]]
            assert len(taken) == count
    np.testing.assert_array_equal(np.concatenate([np.atleast_2d(part) for part in got]), y)
    assert stream.state == state


def test_threads_that_are_slower_rest_for_a_while():
    pace = Pace()
    assert not pace.together  # nothing is known yet
    pace.took(False, 2.0)
    assert pace.together
    for _ in range(TRIES):
        assert pace.together
        pace.took(True, 3.0)
    for _ in range(FIRST):
        assert not pace.together
        pace.took(False, 2.0)
    assert pace.together
    pace.took(True, 1.0)
    pace.took(True, 3.0)
    assert pace.together


def test_threads_are_tried_where_nothing_was_asked(monkeypatch):
    """The first call finds out what one thread takes; then two share the examples, with the same bits."""
    rnn, x = RNN(cells.elman, input=64, hidden=64, target="llvm"), np.ones((40, 60, 64), np.float32)
    monkeypatch.setattr(threads, "available", lambda: 2)
    taken, run = [], crew.run
    monkeypatch.setattr(crew, "run", lambda code, jobs, *rest: taken.append(len(jobs)) or run(code, jobs, *rest))
    with on_threads(None):
        first, _ = rnn(x)
        assert taken == []
        second, _ = rnn(x)
    assert taken == [2]
    np.testing.assert_array_equal(first, second)


def test_a_sick_row_stays_by_itself():
    rnn = RNN(cells.elman_with(elman.relu), input=3, hidden=21, target="llvm")
    rnn.update({"waa": 3 * np.ones((21, 21)), "wax": np.ones((21, 3))})
    x = np.zeros((7, 60, 3), np.float32)
    x[2] = 1e30  # soon infinite, then NaN
    x[5] = 1.0
    y, _ = rnn(x)
    assert not np.isfinite(y[2]).all()
    np.testing.assert_array_equal(y[:2], 0.0)
    np.testing.assert_array_equal(y[5, :9], rnn(x[5, :9])[0])


@pytest.mark.parametrize(("name", "counts"), [("lstm", [4]), ("gru", [3]), ("gru_reset_before", [2, 1]), ("elman", [1])])
def test_products_of_a_group_walk_side_by_side(name, counts):
    grouping = Grouping(schedule(lower(cells.CELLS[name].graph(input=8, hidden=8), merging=False)))
    groups = [walks(grouping, group) for group in grouping.groups("loop")]
    assert [len(walk.sums) for found in groups for walk in found] == counts
    assert all(each.start is not None for found in groups for walk in found for each in walk.sums)


@cell
def straight(x, a, *, wax=weight("hidden", "input"), waa=weight("hidden", "hidden"), ba=bias("hidden")):
    return wax @ x + waa @ a + ba


def test_the_order_of_summation():
    """From the bias, then the input's products, then the state's, one rounding each: as exact arithmetic rounds them."""
    rnn = RNN(straight, input=5, hidden=3, target="llvm", seed=4)
    rng = np.random.default_rng(0)
    x, a = rng.normal(size=5).astype(np.float32), rng.normal(size=3).astype(np.float32)
    p = rnn.parameters
    wanted = []
    for j in range(3):
        total = p["ba"][j]
        for w, value in [*zip(p["wax"][j], x, strict=True), *zip(p["waa"][j], a, strict=True)]:
            total = np.float32(np.longdouble(w) * np.longdouble(value) + np.longdouble(total))  # 48 + bits: one rounding
        wanted.append(total)
    np.testing.assert_array_equal(rnn.step(x, a)[0], wanted)


def test_directions_and_gradients():
    def layer(target):
        return Bidirectional(
            RNN(cells.gru, input=3, hidden=4, dtype="float64", target=target),
            RNN(cells.lstm, input=3, hidden=5, dtype="float64", target=target),
        )

    rng = np.random.default_rng(5)
    x, dy = rng.normal(size=(4, 6, 3)), rng.normal(size=(4, 6, 9))
    found = [layer(target).gradients(x, dy, None, [6, 2, 0, 4]) for target in ("llvm", "interpreter")]
    for name, value in found[1].parameters.items():
        np.testing.assert_allclose(found[0].parameters[name], value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[0].x, found[1].x, rtol=0, atol=1e-12)


def test_the_machine_is_forced_inside_a_block(monkeypatch):
    rnn = RNN(cells.lstm, input=3, hidden=20, target="llvm")
    x = np.random.default_rng(1).normal(size=(9, 3))
    y, made = rnn(x)[0], []
    build = llvm_program.LlvmProgram.__init__
    monkeypatch.setattr(LlvmProgram, "__init__", lambda self, *rest: build(self, *rest) or made.append(self.machine.name))
    for name in machines():
        with elman.machine(name):
            np.testing.assert_array_equal(rnn(x)[0], y)
    assert set(made) >= set(machines()) - {next(iter(machines()))}
    with pytest.raises(elman.SettingError, match="machine 'abacus' is unknown here; it is one of"), elman.machine("abacus"):
        pass
