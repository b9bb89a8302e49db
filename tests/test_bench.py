"""`elman bench`: the limit by hand, turns by a clock of our own, peers that must give the same numbers, what is printed."""

import importlib
import json
import math
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import bias, cell, cli, tanh, weight
from elman.bench import expected, goals, grid, peers, picture, plans, processes, rates, report, run, timing
from elman.bench.grid import Point
from elman.bench.limits import Speed, Work, by_phase, limit, limit_at, work
from elman.bench.peers import equations, interface
from elman.bench.problems import Net, Problem, stepping
from elman.bench.timing import Way
from elman.program import Asked, program
from elman.targets.llvm import engine
from elman.targets.llvm.machine import current
from elman.targets.threads import shared
from elman.testing import random_cell

pytestmark = pytest.mark.skipif(current() is None, reason="no fused multiply-add on this machine")

every_cell = pytest.mark.parametrize("name", interface.GATES)


# ---------------------------------------------------------------- what a step has to do, and how long it takes at least


def work_of(made, tokens=False, stepwise=False, **sizes):
    return work(program(made.graph(**sizes), Asked(tokens=tokens), "float32", "llvm").plan, stepwise=stepwise)


@pytest.mark.parametrize(("name", "gates"), [("elman", 1), ("gru", 3), ("lstm", 4)])
def test_work_by_hand(name, gates):
    made = elman.cells.CELLS[name]
    assert work_of(made, input=5, hidden=7) == Work(loop=gates * 49, outside=gates * 35, bytes=gates * 49 * 4)
    assert work_of(made, tokens=True, input=5, hidden=7) == Work(loop=gates * 49, outside=0, bytes=gates * 49 * 4)
    step = work_of(made, stepwise=True, input=5, hidden=7)
    assert step == Work(loop=gates * 84, outside=0, bytes=gates * 84 * 4), "nothing is hoisted out of a single step"


def test_work_is_that_of_the_equations_whatever_their_name():
    @cell(name="lstm")
    def two_products(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "rank"), v=weight("rank", "hidden"),
                     b=bias("hidden")):  # fmt: skip
        return tanh(w @ x + u @ (v @ h) + b)

    assert work_of(two_products, input=5, hidden=7, rank=2) == Work(loop=28, outside=35, bytes=28 * 4)


def test_limit_by_hand():
    """2 * 3 * 1000 operations at 6 GFLOP/s are 1 us, 8000 bytes at 4 GB/s 2 us, 2 * 3 * 500 operations outside 0.5 us."""
    does = Work(loop=1000, outside=500, bytes=8000)
    reading, computing = Speed(gflops=6.0, gb=4.0), Speed(gflops=2.0, gb=400.0)
    assert limit_at(does, 3, reading) == pytest.approx(2.5)
    assert limit_at(does, 3, computing) == pytest.approx(3.0 + 1.5)
    assert limit(does, 3, {1: computing, 2: reading}) == pytest.approx(2.5)
    assert limit_at(Work(loop=1000, outside=0, bytes=0), 1, Speed(2.0, None)) == pytest.approx(1.0)


def plan_of(name, **sizes):
    return program(getattr(elman.cells, name).graph(**sizes), Asked(), "float32", "llvm").plan


def test_phases_are_parts_of_the_limit():
    """3 * 49 multiplications in the loop and 3 * 35 before it; the loop reads 588 bytes."""
    plan, reading, computing = plan_of("gru", input=5, hidden=7), Speed(gflops=2.0, gb=0.1), Speed(gflops=2.0, gb=9.0)
    rest = {"prepare": 0.0, "after": 0.0, "finish": 0.0}
    assert by_phase(plan, 3, reading) == pytest.approx(rest | {"before": 0.315, "loop": 5.88})
    assert by_phase(plan, 3, computing) == pytest.approx(rest | {"before": 0.315, "loop": 0.441})
    for speed in (reading, computing):
        assert sum(by_phase(plan, 3, speed).values()) == pytest.approx(limit_at(work(plan), 3, speed))


def test_what_is_done_once_is_not_done_for_every_example():
    @cell
    def squared(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), b=bias("hidden")):
        return tanh(w @ x + h * (u @ b))

    plan = program(squared.graph(input=5, hidden=7), Asked(), "float32", "llvm").plan
    assert plan.multiplications("prepare") == 49
    found = by_phase(plan, 10, Speed(gflops=2.0, gb=None))
    assert (found["prepare"], found["before"], found["loop"]) == pytest.approx((0.049, 0.35, 0.0))


def test_expectations_by_hand():
    """One thread computes for 2 * 3 * 252 / 2 ns, two for half of that; with one example the loop waits for 588 bytes."""
    plan, machine = plan_of("gru", input=5, hidden=7), {1: Speed(2.0, 9.0), 2: Speed(4.0, 0.5)}
    assert plans.told(plan, 1, machine).splitlines() == [
        "plan of gru, for a step of one example",
        "          products  multiplications     operations     bytes read             us",
        "  before         3              105            210            420 a chunk  0.105",
        "    3 product, 3 add",
        "  loop           3              147            294            588 a step   0.147",
        f"    {plan.table().splitlines()[-1].strip()}",
        "  0.252 us a step of 1 example: 2.0 GFLOP/s, 9.0 GB/s on 1 thread",
    ]
    assert plans.told(plan, 30, machine).splitlines()[-1] == (
        "  3.780 us a step of 30 examples: 4.0 GFLOP/s, 0.5 GB/s on 2 threads"
    )
    assert plans.told(plan_of("readout", hidden=5, output=4), 1, {1: Speed(2.0, None)}).endswith(": 2.0 GFLOP/s on 1 thread")


def test_expectations_are_measured_once_and_for_the_type_of_the_numbers(monkeypatch):
    asked = []

    class Fixed:
        def __init__(self, machine):
            pass

        def multiply_add(self, threads):
            return lambda: asked.append(("multiply-add", threads)) or 8.0 * threads

        def read(self, size, threads):
            return lambda: asked.append((size, threads)) or 4.0

    monkeypatch.setattr(plans, "Gauge", Fixed)
    monkeypatch.setattr(plans, "counts", lambda most: [1, 2])
    plans._best.cache_clear()
    try:
        assert plans.speeds(current(), 100, 4) == {1: Speed(8.0, 4.0), 2: Speed(16.0, 4.0)}
        assert plans.speeds(current(), 100, 8) == {1: Speed(4.0, 4.0), 2: Speed(8.0, 4.0)}
        assert plans.speeds(current(), 0, 4)[1] == Speed(8.0, None)
        assert len(asked) == 4 * plans.SAMPLES
    finally:
        plans._best.cache_clear()


def test_expectations_of_this_machine():
    rnn = elman.RNN(elman.cells.lstm, input=64, hidden=64)
    us = [float(expected(rnn.plan, batch).splitlines()[-1].split()[0]) for batch in (1, 64)]
    assert 0 < us[0] < us[1] < 1e4
    for batch in (0, -1, 1.0, True, "1"):
        with pytest.raises(elman.SettingError, match=f"^expected: batch={batch!r} must be a number of examples, 1 or more$"):
            expected(rnn.plan, batch)


def test_without_a_machine_there_is_nothing_to_expect(monkeypatch):
    plan = plan_of("gru", input=5, hidden=7)
    monkeypatch.setattr(plans, "current", lambda: None)
    with pytest.raises(elman.MissingLibraryError, match=r"^expected: this machine has no fused multiply-add"):
        expected(plan)


# ---------------------------------------------------------------- the machine


def kernel(text, data, numbers, rounds):
    machine = current()
    code = rates.compiled(text(machine), machine)
    numbers = numbers.copy()
    code.call(data.ctypes.data, numbers.ctypes.data, data.size, rounds, 0)
    return numbers


def test_the_reading_kernel_reads_everything_every_time():
    lanes = current().bytes // 4
    data = np.random.default_rng(0).integers(1, 9, 3 * rates.LOADS * lanes).astype(np.float32)
    numbers = np.full(rates.LOADS * lanes, 2.0, np.float32)
    found = kernel(rates.reading, data, numbers, 5)
    np.testing.assert_array_equal(found, 5 * 2 * data.reshape(3, -1).sum(0))


def test_the_multiplying_kernel_does_what_is_counted():
    lanes, gauge = current().bytes // 4, rates.Gauge(current())
    data = np.arange(1, 2 * lanes + 1, dtype=np.float32)
    sums = int(gauge._operations) // 2 // lanes
    numbers = np.zeros(rates.NUMBERS // 4, np.float32)
    assert sums < numbers.size // lanes
    found = kernel(rates.multiplying, data, numbers, 7).reshape(-1, lanes)
    np.testing.assert_array_equal(found[:sums], np.tile(7 * data[:lanes] * data[lanes:], (sums, 1)))
    assert not found[sums:].any()


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self):
        self.now, self.busy = 0.0, 0.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.now - self.busy

    def sleep(self, seconds):
        self.now += seconds
        self.busy += seconds


def test_a_rate_is_the_work_over_the_time(monkeypatch):
    clock, rounds = Clock(), []

    def call(_data, _numbers, size, count, _part):
        rounds.append(count)
        clock.now += count * size * 1e-7

    monkeypatch.setattr(rates, "time", clock)
    meter = rates.Meter(engine.Code(call, 0, None), [np.zeros(100, np.float32)], 4e4)
    assert meter.rate() == pytest.approx(4.0)  # 4e4 in 1e-5 s
    assert rounds[-1] * 1e-5 == pytest.approx(rates.SAMPLE, rel=0.01)


def test_threads_that_begin_late_or_are_held_up_do_not_lower_a_rate():
    """Eight samples each; what counts is the best time in which all were at work."""
    quick = np.arange(9.0)
    late = quick + 3.0
    held_up = np.array([0.0, 1.0, 2.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0])
    assert rates.fastest([quick]) == rates.fastest([held_up]) == pytest.approx(1.0)
    assert (
        rates.fastest([quick, quick]) == rates.fastest([quick, late]) == rates.fastest([late, quick]) == pytest.approx(2.0)
    )
    assert rates.fastest([held_up, quick]) == pytest.approx(2.0)
    assert rates.fastest([quick, quick / 2]) == pytest.approx(3.0)
    slow_together = np.arange(9.0) * 2
    assert rates.fastest([slow_together, slow_together]) == pytest.approx(1.0)
    one_after_another = quick + 8.0
    assert rates.fastest([quick, one_after_another]) == pytest.approx(16 / 16)


def test_more_threads_do_not_less(monkeypatch):
    assert rates.rising({1: 5.0, 2: 1.0, 4: 8.0, 6: 7.0}) == {1: 5.0, 2: 5.0, 4: 8.0, 6: 8.0}
    machine = {"multiply-add 1": 8.0, "multiply-add 2": 1.0, "read 1": 4.0, "read 2": 0.5}
    monkeypatch.setattr(run, "interleaved", lambda ways, rates, seconds: (dict.fromkeys(ways, 2e-3), machine))
    speeds = bench().measured(Point("sequences", "gru", 1, 6), 0.001).speeds
    assert speeds == {1: Speed(8.0, 4.0), 2: Speed(8.0, 4.0)}


class Wavering:
    """A gauge whose two threads are disturbed more often than not."""

    def multiply_add(self, threads):
        turns = iter([10.0, 9.9, 9.8] if threads == 1 else [4.0, 12.0, 3.0])
        return lambda: next(turns)

    def read(self, size, threads):
        return lambda: 5.0 / threads


def test_the_spread_of_the_speeds_of_a_machine():
    found, spread = run.Bench([], Wavering(), (1, 2)).levels([rates.Level("L1", 100, 50)], samples=3)
    assert found == {"multiply-add": {1: 10.0, 2: 12.0}, "L1": {1: 5.0, 2: 5.0}}
    assert spread == pytest.approx(1 - 4 / 12)


def test_bytes_are_shared_among_threads():
    read = rates.Gauge(current()).read
    block = rates.LOADS * current().bytes
    for size, threads, share in ((8 * block, 2, 4 * block), (8 * block, 1, 8 * block), (1, 3, block)):
        meter = read(size, threads).__self__
        assert [array.nbytes for array in meter._arrays] == [share] * threads
        assert meter._work == share * threads
        assert 0 < meter.rate() < math.inf
    assert 0 < rates.Gauge(current()).multiply_add(2)() < math.inf


def test_levels():
    found = rates.levels({"L1": 32 << 10, "L2": 1 << 20, "L3": 64 << 20}, 2)
    assert [(level.name, level.read) for level in found] == [
        ("L1", 16 << 10), ("L2", 1 << 19), ("L3", 4 << 20), ("memory", 128 << 20),
    ]  # fmt: skip
    assert [level.name for level in rates.levels({"L1": 32 << 10, "L2": 256 << 20}, 1)] == ["L1", "L2"]
    known = rates.caches()
    assert 0 < known["L1"] < known["L2"]


def test_numbers_of_threads():
    assert [rates.counts(most) for most in (1, 2, 3, 6, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 6], [1, 2, 4, 8]]
    assert rates.counts(None)[0] == 1


# ---------------------------------------------------------------- turns


def way(clock, group, label, taken, log):
    """A way whose calls take these seconds, one after another, the last of them for ever."""
    left = list(taken)

    def call():
        log.append((group, label))
        clock.now += left.pop(0) if len(left) > 1 else left[0]

    return Way(group, label, call, lambda: np.zeros(1))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_a_turn_warms_up_and_gives_the_median_of_a_call(clock):
    log = []
    assert timing.seconds_a_call(way(clock, "a", "", [15e-4, 1e-3, 1e-3, 2e-3, 1e-3, 9e-3, 1.0], log)) == pytest.approx(2e-3)
    short = way(clock, "a", "", [1e-6], log := [])
    assert timing.seconds_a_call(short) == pytest.approx(1e-6)
    assert len(log) * 1e-6 == pytest.approx(timing.WARM + timing.TURN, rel=0.1)
    long = way(clock, "a", "", [0.5], log := [])
    assert timing.seconds_a_call(long) == pytest.approx(0.5)
    assert len(log) == 1


def test_turns_go_round_and_give_medians(clock):
    log, found = [], iter([1.0, 5.0, 2.0, 9.0])
    ways = {"x": way(clock, "x", "", [1.0, 2.0, 9.0, 2.0, 3.0], log), "y": way(clock, "y", "", [4.0], log)}
    taken, best = timing.interleaved(ways, {"rate": lambda: next(found)}, 25.0)
    assert taken == {"x": pytest.approx(2.0), "y": pytest.approx(4.0)}
    assert best == {"rate": 9.0}
    assert [name for name, _ in log] == list("xyyxxyyx"), "each turn begins with another"


def test_there_are_some_turns_however_short_the_time(clock):
    log = []
    timing.interleaved({"x": way(clock, "x", "", [100.0], log)}, {}, 1.0)
    assert len(log) == timing.TURNS


def test_a_hopeless_way_is_not_run_again(clock):
    log = []
    ways = {name: way(clock, name[0], name, [seconds], log) for name, seconds in (("a1", 1.0), ("a2", 6.0), ("b1", 50.0))}
    taken, _ = timing.interleaved(ways, {}, 1.0)
    assert taken == {"a1": pytest.approx(1.0), "a2": pytest.approx(6.0), "b1": pytest.approx(50.0)}
    assert [label for _, label in log].count("a2") == 1
    assert [label for _, label in log].count("b1") == timing.TURNS, "it has no rival in its group"


def test_rest_waits_for_threads_that_spin(clock, monkeypatch):
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)  # and the process keeps computing
    timing.rest()
    assert clock.now == pytest.approx(timing.RESTLESS, abs=timing.QUIET)
    monkeypatch.setattr(timing, "time", quiet := Clock())
    timing.rest()
    assert quiet.now <= timing.QUIET


# ---------------------------------------------------------------- the grid, and nets on it


def test_the_grid():
    found = grid.points()
    whole = {(p.batch, p.hidden) for p in found if p.part == "sequences" and p.cell == "gru"}
    assert whole >= {(1, 32), (1, 64), (1, 100), (1, 128), (1, 256), (1, 512), (1, 1024)}
    assert whole >= {(8, 128), (8, 256), (32, 128), (32, 256), (64, 512)}
    assert {p.cell for p in found if p.part == "sequences"} == {"elman", "gru", "lstm"}
    assert {p.vocabulary for p in found if p.part == "tokens"} == {96, 8000}
    for part in ("steps", "pushes"):
        assert {(p.cell, p.hidden) for p in found if p.part == part} == {("lstm", 64), ("lstm", 128), ("lstm", 256)}
    written = {(p.cell, p.batch, p.hidden) for p in found if p.part == "written"}
    assert {(name, 1, 128) for name in ("mgu", "lstm_peephole", "lstm_layer_norm")} <= written
    assert len({name for name, *_ in written if name.startswith("random_")}) == 2
    assert len(set(found)) == len(found)
    assert [p.batch for p in grid.points(parts=["steps", "pushes"], sizes=[(1, 4), (2, 5)])] == [1, 2, 1]
    assert set(grid.points(quick=True)) < set(found)
    assert [Point("sequences", "mgu", 3, 4)] == grid.points(["mgu"], ["sequences"], [(3, 4)])
    assert (Point("sequences", "gru", 1, 4).steps, Point("sequences", "gru", 2, 4).steps) == (200, 100)
    assert (Point("tokens", "gru", 1, 4, 9).input, Point("sequences", "gru", 1, 4).input) == (9, 4)


POINTS = [
    Point("sequences", "gru", 1, 6),
    Point("sequences", "gru", 3, 6),
    Point("tokens", "gru", 1, 6, 5),
    Point("tokens", "gru", 2, 6, 11),
    Point("steps", "gru", 1, 6),
    Point("steps", "gru", 3, 6),
    Point("pushes", "gru", 1, 6),
]
every_point = pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.part}-{point.batch}-{point.vocabulary}")


def of(point, name):
    return Point(point.part, name, point.batch, point.hidden, point.vocabulary)


def literal(net):
    """A peer by hand: the equations of the cell itself on arrays, example by example."""
    made, outputs = grid.equations(net.cell), []
    for row in net.x:
        state, ys = [np.zeros(net.hidden, np.float32) for _ in made.states], []
        for x in row:
            after = made.step(x if net.embedding is None else net.embedding[x], *state, **net.narrow)
            after = after if isinstance(after, tuple) else (after,)
            state = after[len(after) - len(state) :]
            ys.append(after[0])
        outputs.append(np.array(ys))
    return np.array(outputs)


@every_point
@every_cell
def test_a_peer_gets_the_net_that_elman_runs(point, name):
    problem = Problem(of(point, name))
    given = problem.way()
    np.testing.assert_allclose(given.output(), literal(problem.net), rtol=0, atol=1e-5)
    given.call()
    np.testing.assert_allclose(given.output(), literal(problem.net), rtol=0, atol=1e-5)
    for value in problem.rnn.parameters.values():
        assert np.unique(value).size > value.size // 2, "random, unequal weights"
    assert problem.net.input == (point.hidden if point.vocabulary is None else min(point.vocabulary, point.hidden))


def test_a_step_goes_on_from_its_state():
    seen, total = [], 0.0

    def start():
        nonlocal total
        total = 0.0

        def step(x):
            nonlocal total
            total += float(x.sum())
            seen.append(total)
            return np.array([total])

        return step

    made = stepping("peer", "label", np.array([[1.0], [10.0], [100.0]]), start)
    made.call()
    made.call()
    assert seen == [1.0, 2.0]
    assert made.output().ravel().tolist() == [1.0, 11.0, 111.0]


# ---------------------------------------------------------------- equations in the words of others

NN = types.SimpleNamespace(
    sigmoid=elman.sigmoid,
    relu=elman.relu,
    softplus=elman.softplus,
    softmax=lambda x, axis: np.exp(x) / np.exp(x).sum(axis, keepdims=True),
    log_softmax=lambda x, axis: x - np.log(np.exp(x).sum(axis, keepdims=True)),
)


def on_numpy(found, x):
    """What a library would do with the functions, with NumPy as the library."""
    before, loop, after = found.functions(np, NN)
    states, kept = found.first(len(x)), []
    given, aside = before(x.swapaxes(0, 1), *found.held)
    for now in zip(*given, strict=True) if given else [()] * x.shape[1]:
        states, values = loop(states, now, *found.held)
        kept.append(values)
    return after(aside, [np.stack(values) for values in zip(*kept, strict=True)], *found.held).swapaxes(0, 1)


def net_of(name, made, tokens):
    rng = np.random.default_rng(0)
    rnn = elman.RNN(made, **dict.fromkeys(made.sizes, 12), target="numpy")
    rnn.update({name: rng.uniform(-0.3, 0.3, value.shape) for name, value in rnn.parameters.items()})
    x = rng.integers(0, 12, (3, 7)) if tokens else rng.standard_normal((3, 7, 12), np.float32)
    return rnn, Net(name, rnn.graph, rnn.parameters, x, False, np.eye(12) if tokens else None, {})


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("name", elman.cells.CELLS)
def test_equations_in_the_words_of_a_library(name, tokens):
    rnn, net = net_of(name, elman.cells.CELLS[name], tokens)
    found = equations.forms(net)
    unknown = {"mlstm"} | ({"mogrifier_lstm", "qrnn", "rwkv"} if tokens else set())  # matrix states, and one-hot vectors
    only_arranged = tokens or name in interface.GATES
    wanted = [] if name in unknown else ["arranged"] if only_arranged else ["arranged", "as written"]
    assert list(found) == wanted
    for each in found.values():
        np.testing.assert_allclose(on_numpy(each, net.x), rnn(net.x)[0], rtol=0, atol=1e-5)


def test_equations_of_random_cells():
    """States that stay or become constants or numbers, values that nobody uses, outputs made behind the loop."""
    tried = 0
    for seed in (*range(60), 129, 5783):
        rnn, net = net_of(f"random_{seed}", random_cell(seed), False)
        for each in equations.forms(net).values():
            np.testing.assert_allclose(on_numpy(each, net.x), rnn(net.x)[0], rtol=0, atol=1e-5, err_msg=f"seed {seed}")
            tried += 1
    assert tried > 20


def test_what_is_arranged_leaves_the_loop():
    found = equations.forms(net_of("mgu", elman.cells.mgu, False)[1])
    counts = {}
    for label, each in found.items():
        text = dict(zip(("before", "loop", "after"), each.source.split("\n\n"), strict=True))
        counts[label] = [text[phase].count(" @ ") for phase in ("before", "loop")]
    assert counts == {"arranged": [1, 2], "as written": [0, 4]}


# ---------------------------------------------------------------- peers


class Fake(peers.Peer):
    """A peer that gives elman's numbers, changed by a function; it counts the calls that are timed."""

    name, packages, version = "Fake", (), "1.0"

    def __init__(self, change=lambda y: y, cells=("elman", "gru", "lstm")):
        self.change, self.cells, self.calls = change, cells, 0

    def ways(self, net, counts):
        if net.cell in self.cells:
            y = literal(net)
            for count in counts:
                yield Way(self.name, interface.threads(count), self.call, lambda: self.change(y))

    def call(self):
        self.calls += 1


def bench(*found):
    return run.Bench(list(found), rates.Gauge(current()), (1, 2))


def nan(y):
    y = y.copy()
    y[0, -1, 0] = np.nan
    return y


@pytest.mark.parametrize("change", [lambda y: y + 2e-4, lambda y: y[:, ::-1], nan, lambda y: y[:, 1:], lambda y: y * 0])
def test_a_peer_that_gives_other_numbers_is_refused_and_not_timed(change):
    wrong, right = Fake(change), Fake(lambda y: y + 5e-5)
    right.name = "Right"
    result = bench(wrong, right).measured(Point("sequences", "gru", 2, 6), 0.001)
    assert wrong.calls == 0
    assert right.calls > 0
    assert set(result.peers) == {"Right"}
    assert result.refused["Fake"] > run.TOLERANCE


def test_a_peer_that_lacks_the_cell_is_left_out():
    other = Fake(cells=("lstm",))
    result = bench(other).measured(Point("sequences", "mgu", 1, 4), 0.001)
    assert (result.peers, result.refused, result.ratio, other.calls) == ({}, {}, None, 0)
    assert result.us > 0


def fixed(monkeypatch, taken):
    """Figures as if they had been measured: seconds a call, and rates."""
    machine = {"multiply-add 1": 1.0, "multiply-add 2": 2.0, "read 1": 4.0, "read 2": 5.0}
    monkeypatch.setattr(run, "interleaved", lambda ways, rates, seconds: ({name: taken[name] for name in ways}, machine))


def test_figures_are_per_step(monkeypatch):
    fixed(monkeypatch, {"elman ": 2e-3, "Fake 1 thread": 6e-3, "Fake 2 threads": 4e-3})
    result = bench(Fake()).measured(Point("sequences", "gru", 1, 6), 0.001)
    assert result.us == pytest.approx(10.0)  # 2 ms for 200 steps
    assert result.best == {"Fake": ("2 threads", pytest.approx(20.0))}
    assert result.ratio == pytest.approx(2.0)
    assert result.twin is None
    # 3 * 36 products of the loop, as many outside, 2 operations each
    assert result.limits == pytest.approx({1: 0.432, 2: 0.216})
    assert result.limit == pytest.approx(0.216)
    assert result.share == pytest.approx(0.0216)
    assert bench(Fake()).measured(Point("steps", "gru", 1, 6), 0.001).us == pytest.approx(2000.0)


@pytest.mark.parametrize(
    ("name", "twin", "times"), [("mgu", "gru", 2 / 3), ("lstm_peephole", "lstm", 1), ("jordan", "elman", 1.5)]
)
def test_a_written_cell_stands_beside_the_nearest_built_in_one(monkeypatch, name, twin, times):
    fixed(monkeypatch, {"elman ": 2e-3, "twin ": 3e-3})
    result = bench().measured(Point("written", name, 2, 6), 0.001)
    assert result.us == pytest.approx(20.0)
    assert result.twin == (twin, pytest.approx(30.0 * times))


def test_a_cell_without_products_has_no_twin_and_no_limit():
    found = bench().measured(Point("written", "random_6", 1, 6), 0.001)
    assert (found.work, found.twin, found.limit, found.share) == (Work(0, 0, 0), None, 0.0, 0.0)
    assert np.isnan(picture.panel("written", [found]).times["elman"]).all()


REAL = [pytest.param(peer, marks=pytest.mark.peers, id=peer.name) for peer in peers.PEERS]


def agree(kind, point):
    """The labels of the ways of a peer, each of which gives elman's numbers, before it is called and after."""
    if not kind.available():
        pytest.skip("not installed")
    problem, peer = Problem(point), kind()
    expected = problem.way().output()
    found = list(peer.ways(problem.net, (1, 2) if point.stepwise else (1,)))  # PyTorch's threads wait long on a busy machine
    for given in found:
        assert run.apart_by(expected, given) < 1e-5
        with given.around():
            given.call()
        assert run.apart_by(expected, given) < 1e-5
    assert len({given.label for given in found}) == len(found)
    return [given.label for given in found]


@pytest.mark.parametrize("kind", REAL)
@every_point
@every_cell
def test_the_peers_run_the_same_net(kind, point, name):
    assert agree(kind, of(point, name))


@pytest.mark.parametrize("kind", REAL)
@pytest.mark.parametrize("name", grid.CELLS["written"])
def test_the_peers_run_cells_that_users_write(kind, name):
    labels = agree(kind, Point("written", name, 2, 6))
    assert (
        not labels
        if kind is peers.OnnxRuntime
        else {label.split(", ")[-1] for label in labels} == {"arranged", "as written"}
    )


def test_what_is_installed(monkeypatch):
    class Absent(Fake):
        packages = ("json", "there_is_no_such_package")

    class Present(Fake):
        packages = ("json",)

    monkeypatch.setattr(peers, "PEERS", (Absent, Present))
    assert [type(peer) for peer in peers.installed()] == [Present]


# ---------------------------------------------------------------- goals


def result(part, name, us, limit_us, hidden=64, twin=None, **theirs):
    """A result whose limit is known: so many multiplications at 2 GFLOP/s."""
    point = Point(part, name, 1, hidden)
    does = Work(loop=round(1000 * limit_us), outside=0, bytes=0)
    times = {peer: t if isinstance(t, dict) else {"1 thread": t} for peer, t in theirs.items()}
    return run.Result(point, us, does, {1: Speed(2.0, None)}, times, {}, twin)


def measured_of(found):
    return {(check.part, check.figure): (check.measured, check.goal, check.reached) for check in found}


def test_checks_by_hand():
    found = goals.checks(
        [
            result("sequences", "gru", 1.0, 0.5, 32, ORT=4.0, JAX=8.0),
            result("sequences", "gru", 2.0, 1.5, 64, ORT=6.0, JAX=1.0),
            result("sequences", "gru", 4.0, 2.0, 128, ORT=4.0, JAX=5.0),
            result("tokens", "gru", 1.0, 0.5, ORT=2.0),
            result("steps", "lstm", 4.0, 0.1, ORT=10.0, JAX=4.0),
            result("pushes", "lstm", 2.5, 0.1, ORT=10.0),
        ]
    )
    assert measured_of(found) == {
        ("sequences", "ratio to best peer, geometric mean"): (pytest.approx(2 ** (1 / 3)), 1.4, False),
        ("sequences", "worst ratio, B 1 H 64"): (0.5, 1.0, False),
        ("sequences", "worst share of limit, B 1 H 128"): (0.5, 0.8, False),
        ("tokens", "ratio to best peer, geometric mean"): (pytest.approx(2.0), 1.5, True),
        ("tokens", "worst ratio, B 1 H 64"): (2.0, None, None),
        ("steps", "ratio to ORT, B 1 H 64"): (2.5, 3.0, False),
        ("pushes", "ratio to ORT, B 1 H 64"): (4.0, 3.0, True),
        ("pushes", "us a push, B 1 H 64"): (2.5, 3.0, True),
    }


def test_checks_of_written_cells_by_hand():
    torch = {"1 thread, as written": 40.0, "2 threads, as written": 35.0, "1 thread, arranged": 20.0}
    found = goals.checks(
        [
            result("written", "mgu", 2.0, 1.0, 128, ("gru", 1.6), PyTorch=torch, JAX={"as written": 5.0, "arranged": 4.0}),
            result("written", "mgu", 3.0, 1.0, 64, ("gru", 2.0), PyTorch=torch),
        ]
    )
    assert measured_of(found) == {
        ("written", "worst time to the twin, B 1 H 64"): (1.5, 1.3, False),
        ("written", "ratio to PyTorch as written, B 1 H 128"): (17.5, 15.0, True),
        ("written", "ratio to JAX as written, B 1 H 128"): (2.5, 3.0, False),
    }


def test_checks_of_processes_by_hand():
    found = goals.checks([], processes.Start(imported=200.0, first=90.0, compiled=120.0, stored=5.0), 65e6)
    assert measured_of(found) == {
        ("starts", "import elman, ms"): (200.0, 300.0, True),
        ("starts", "first call, ms"): (120.0, 100.0, False),
        ("starts", "stored, ms"): (5.0, 5.0, True),
        ("memory", "MB for a million tokens"): (65.0, 64.0, False),
    }


def test_without_peers_only_the_machine_is_a_measure():
    found = goals.checks([result("sequences", "mgu", 4.0, 3.6), result("sequences", "mgu", 1.0, 0.1)])
    assert [(check.figure, check.measured, check.reached) for check in found] == [
        ("worst share of limit, B 1 H 64", pytest.approx(0.9), True)
    ]


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(monkeypatch, capsys):
    """The command in this process, with peers that are quick to import, and processes that are not started."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(peers, "installed", lambda: [Fake()])
    for module, name in ((rates, "SAMPLE"), (timing, "TURN"), (timing, "WARM")):
        monkeypatch.setattr(module, name, 1e-5)
    monkeypatch.setattr(processes, "started", lambda times: processes.Start(100.0, 60.0, 300.0, 4.5))
    monkeypatch.setattr(processes, "memory", lambda: 5e6)

    def go(*arguments):
        monkeypatch.setattr(sys, "argv", ["elman", "bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return types.SimpleNamespace(code=stop.value.code, **capsys.readouterr()._asdict())

    yield go
    shared.ask(None)


TINY = ("--points", "1x4,2x5", "--cells", "elman,mgu", "--parts", "sequences,tokens,starts,memory", "--seconds", 0.001)


def test_a_tiny_run_prints_a_table(command):
    done = command(*TINY, "--threads", 2)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    table, _, rest = done.out.partition("ms of a new process")
    rows = [line.split() for line in table.splitlines() if re.match(r"(elman|mgu) +\d+ +\d+ ", line)]
    wanted = [[name, *size] for _ in range(3) for name in ("elman", "mgu") for size in ("14", "25")]
    assert [row[:3] for row in rows] == wanted
    for row in rows:
        us, least, percent = map(float, row[3:6])
        assert us > 0
        assert percent == pytest.approx(100 * least / us, abs=2 + 0.1 / us)
        assert len(row) == (6 if row[0] == "mgu" else 8)
    assert sum("tokens, vocabulary" in line for line in lines) == 2
    assert ["lstm", "128", "100", "60", "300", "4.5"] in [line.split() for line in rest.splitlines()]
    assert "a million tokens through lstm 128, chunk by chunk: 5.0 MB\n" in rest
    assert any(line.startswith("sequences elman      ratio to best peer, geometric mean") for line in lines)
    assert "starts    lstm       first call, ms                            300   100 missed\n" in rest


def test_elman_uses_the_threads_that_it_is_told(command, monkeypatch):
    seen = []
    call = elman.RNN.__call__
    monkeypatch.setattr(elman.RNN, "__call__", lambda *given: (seen.append(shared._asked), call(*given))[1])
    for more, asked in (((), None), (("--threads", 1), 1)):
        seen.clear()
        command("--points", "2x4", "--cells", "elman", "--parts", "sequences", "--seconds", 0.001, *more)
        assert set(seen) == {asked}


def not_json(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_json(command):
    done = command(*TINY, "--threads", 2, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out, parse_constant=not_json)
    assert set(found) == {"machine", "versions", "seconds", "points", "start_ms", "memory_bytes", "checks"}
    assert found["machine"]["threads"] == [1, 2]
    assert found["machine"]["gb_s"].keys() >= {"L1", "L2"}
    assert found["versions"]["Fake"] == "1.0"
    assert len(found["points"]) == 12
    first, last = found["points"][0], found["points"][-1]
    assert [first[key] for key in ("part", "cell", "B", "H", "I", "V", "T")] == ["sequences", "elman", 1, 4, 4, None, 200]
    assert [last[key] for key in ("part", "cell", "B", "H", "I", "V", "T")] == ["tokens", "mgu", 2, 5, 8000, 8000, 100]
    assert (first["multiplications"], first["recurrent_bytes"]) == ({"loop": 16, "outside": 16}, 64)
    assert first["share_of_limit"] == pytest.approx(first["limit_us"] / first["us"])
    assert first["limit_us"] == min(first["limits_us"].values())
    assert set(first["peers"]) == {"Fake"}
    assert set(first["peers"]["Fake"]) == {"us", "way", "ratio", "ways"}
    assert set(first["peers"]["Fake"]["ways"]) == {"1 thread", "2 threads"}
    assert first["ratio"] == first["peers"]["Fake"]["ratio"] == pytest.approx(first["peers"]["Fake"]["us"] / first["us"])
    assert (last["peers"], last["ratio"]) == ({}, None)
    assert first["built_in"] is None
    assert found["start_ms"] == {"imported": 100.0, "first": 60.0, "compiled": 300.0, "stored": 4.5}
    assert found["memory_bytes"] == 5e6
    assert set(found["checks"][0]) == {"part", "cell", "figure", "measured", "goal", "at_most", "reached"}


def test_a_refused_peer_is_told(command, monkeypatch):
    monkeypatch.setattr(peers, "installed", lambda: [Fake(nan)])
    given = ("--points", "1x4", "--cells", "elman", "--parts", "sequences", "--seconds", 0.001)
    done = command(*given)
    assert re.search(r"^elman +1 +4 .* wrong +-$", done.out, re.MULTILINE)
    assert "Fake was not timed at sequences elman B 1 H 4: its outputs differ by inf, not 0.0001\n" in done.out
    assert json.loads(command(*given, "--json").out, parse_constant=not_json)["points"][0]["refused"] == {"Fake": None}


def facts_of(spread=0.0, gflops=240.0):
    speeds = {"multiply-add": {1: gflops, 2: 2 * gflops}}
    return report.Facts(current(), [], speeds, [Fake()] * 9, [1, 2], 0.3, 1.5, spread)


def points_of(*gflops):
    point = Point("sequences", "gru", 1, 64)
    return [run.Result(point, 1.0, Work(1000, 0, 0), {1: Speed(each, None), 2: Speed(9.0, None)}) for each in gflops]


def test_a_busy_machine_is_told():
    assert report.busy(facts_of(0.19), points_of(200.0, 240.0)) == []
    assert report.busy(facts_of(0.43), []) == [
        "busy: these speeds were 43% less half of the time; limits and shares say little"
    ]
    assert report.busy(facts_of(), points_of(150.0, 250.0, 100.0)) == [
        "busy: at 2 of 3 points one thread reached 100 of 250 GFLOP/s"
    ]
    assert report.busy(facts_of(gflops=99.0), points_of(240.0)) == []


def test_a_busy_machine_is_told_in_the_output(command, monkeypatch):
    levels = run.Bench.levels
    monkeypatch.setattr(run.Bench, "levels", lambda self, asked: (levels(self, asked)[0], 0.5))
    told = "busy: these speeds were 50% less half of the time; limits and shares say little"
    given = ("--points", "1x4", "--cells", "elman", "--parts", "sequences", "--seconds", 0.001)
    lines = command(*given).out.splitlines()
    assert lines.count(told) == 2, "above the table, and below it"
    assert max(map(len, lines)) <= 80
    assert told in json.loads(command(*given, "--json").out)["machine"]["busy"]


def test_the_head_fits_in_80_columns(command, monkeypatch):
    monkeypatch.setattr(report, "processor", lambda: "processor")
    console = cli.shared.console()
    named = [types.SimpleNamespace(name=f"Framework {k}", version="12.3.4+cpu") for k in range(9)]
    facts = report.Facts(current(), [], {"multiply-add": {1: 1.0}}, named, [1], 0.3, 1.5)
    with console.capture() as printed:
        report.head(console, facts)
    assert max(map(len, printed.get().splitlines())) <= 80
    versions = " ".join(printed.get().splitlines())
    for name, version in facts.versions.items():
        assert f"{name} {version}" in versions


def test_the_widest_rows_fit_in_80_columns(command):
    wide = dict.fromkeys(("PyTorch", "ORT", "JAX"), 99999.0)
    console = cli.shared.console()
    found = report.Found(start=processes.Start(1000.0, 1000.0, 10000.0, 1000.0), memory=1e9)
    for part in grid.PARTS:
        theirs, twin = ({"PyTorch": 99999.0, "JAX": 99999.0}, ("gru", 99999.0)) if part == "written" else (wide, None)
        point = Point(part, "random_5783", 1000, 1024, 8000 if part == "tokens" else None)
        found.results.append(run.Result(point, 0.1234, Work(100, 0, 0), {1: Speed(2.0, None)}))
        found.results.append(result(part, "gru_layer_norm", 0.1234, 0.1, 1024, twin, **theirs))
        found.results.append(result(part, "lstm", 1234.5, 1000.0, 128, twin, **theirs))
    with console.capture() as printed:
        table = report.Table(console, [types.SimpleNamespace(name=name) for name in wide])
        for each in found.results:
            table.add(each)
        report.tell_processes(console, found)
        report.tell_checks(console, found)
    assert max(map(len, printed.get().splitlines())) <= 80
    assert "gru_layer.   1 1024   0.123  0.100  81   99999 8e+05" in printed.get()


def test_ctrl_c_sums_up_what_is_measured(command, monkeypatch):
    measured = run.Bench.measured

    def until(self, point, seconds):
        if point.batch == 2:
            raise KeyboardInterrupt
        return measured(self, point, seconds)

    monkeypatch.setattr(run.Bench, "measured", until)
    done = command(*TINY)
    assert done.code == 130
    assert "sequences elman      ratio to best peer, geometric mean" in done.out
    done = command(*TINY, "--json")
    assert (done.code, len(json.loads(done.out)["points"])) == (130, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--parts", "sequence"), "--parts sequence: parts are sequences, tokens, written, steps, pushes, starts, memory"),
        (("--parts", "tokens,"), "--parts 'tokens,': names are wanted, with commas between them"),
        (("--cells", "lstn"), "there is no cell 'lstn'; near it: lstm"),
        (("--points", "1x64,32"), "--points 32: batch and hidden are wanted, such as 1x64,32x128"),
        (("--points", "0x64"), "--points 0x64: batch and hidden"),
        (("--seconds", "0"), "--seconds 0.0 must be more than 0"),
        (("--seconds", "nan"), "--seconds nan must be more than 0"),
        (("--threads", "0"), "threads(0): a number of threads, 1 or more, is wanted"),
        (("--cells", "random_"), "there is no cell 'random_'"),
        (("--plot", "picture.gif"), "--plot picture.gif: .png, .svg, .pdf are known, by the end of the name"),
    ],
)
def test_bad_input(command, given, said):
    done = command(*given)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"elman: {said}")
    assert done.err.count("\n") == 1


def test_a_picture_needs_matplotlib(command, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = command("--plot", tmp_path / "picture.png")
    assert (done.code, done.err) == (2, 'elman: --plot needs the library matplotlib: pip install "elman[bench]"\n')


def test_a_panel_by_hand():
    found = picture.panel(
        "written",
        [
            result("written", "mgu", 4.0, 2.0, 64, ("gru", 3.0), JAX={"arranged": 6.0, "as written": 8.0}),
            result("written", "mgu", 3.0, 0.5, 128, ("gru", 2.0), PyTorch=5.0),
        ],
    )
    assert found.rows == ["mgu B 1 H 64: 4 us", "mgu B 1 H 128: 3 us"]
    nan = pytest.approx(math.nan, nan_ok=True)
    assert found.times == {"elman": [2.0, 6.0], "twin": [1.5, 4.0], "PyTorch": [nan, 10.0], "JAX": [3.0, nan]}


def test_a_picture_of_a_run(command, monkeypatch, tmp_path):
    saved = []
    monkeypatch.setattr(picture, "check", lambda path: None)
    monkeypatch.setattr(picture, "save", lambda path, results: saved.append((path, len(results))))
    assert command(*TINY, "--plot", tmp_path / "picture.svg", "--json").code == 0
    assert saved == [(tmp_path / "picture.svg", 12)]


def test_a_real_picture(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "picture.png"
    picture.check(path)
    picture.save(path, [result("sequences", "gru", 4.0, 2.0, ORT=5.0), result("steps", "lstm", 4.0, 0.1, Other=2.0)])
    assert path.read_bytes().startswith(b"\x89PNG")


def test_marks_and_axes_of_a_picture():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.add_subplot()
    picture._draw(axes, picture.panel("written", [result("written", "mgu", 4.0, 2.0, 64, ("gru", 3.0), JAX=6.0)]))
    assert "limit" in axes.get_xlabel()
    colours = [colour for _, colour in picture.LOOKS.values()]
    assert len(set(colours)) == len(colours)


def test_the_command_starts_without_what_only_this_one_needs():
    code = "import elman.cli, sys; print(*sorted(sys.modules))"
    path = {"PYTHONPATH": str(Path(elman.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "elman.cli.bench" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in ("torch", "onnx", "onnxruntime", "jax", "llvmlite")}
    assert not {name for name in loaded if name.startswith("elman.bench")}


def test_without_llvmlite_it_says_so():
    code = "import sys; sys.modules['llvmlite'] = None; sys.argv = ['elman', 'bench']; from elman import cli; cli.main()"
    path = {"PYTHONPATH": str(Path(elman.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith('elman: target "llvm" cannot be had: llvmlite is missing')


def test_peers_are_imported_when_they_are_first_used():
    assert {peer.name for peer in peers.PEERS} == {"PyTorch", "ORT", "JAX"}
    for module in ("pytorch", "onnx_runtime", "jax"):
        source = Path(importlib.import_module(f"elman.bench.peers.{module}").__file__).read_text(encoding="utf-8")
        assert not re.search(r"^(import|from) (torch|onnx|onnxruntime|jax)\b", source, re.MULTILINE)


def test_processes():
    found = processes.started(1)
    assert min(found.imported, found.first, found.compiled, found.stored) > 0
    if sys.platform == "linux":
        assert 0 <= processes.memory(20_000) < 64e6


def test_numbers_have_three_digits():
    values = (0.0, 0.99949, 0.9996, 9.994, 9.996, 99.94, 99.96, 99999.0, 123456.0)
    said = ["0.000", "0.999", "1.00", "9.99", "10.0", "99.9", "100", "99999", "1e+05"]
    assert [report.number(value) for value in values] == said
