"""Lengths, in every target: an example takes part in the steps before its length and in no other, whichever way time runs.

What is expected is what each example gives alone. The padding is never computed, so nothing in it can matter.
"""

from dataclasses import dataclass

import numpy as np
import pytest

import elman
from elman import RNN, Backwards, Bidirectional, Stack, bias, cell, cells, exp, log, sigmoid, sqrt, tanh, weight
from elman.graph import Graph
from elman.passes import differentiate, lower, schedule
from elman.targets import Outcome, few_rows, numpy_words
from elman.targets import interpreter as interpreter_target
from elman.targets import numpy as numpy_target
from elman.targets import target as made_by
from elman.targets.few_rows import panels_of, product
from elman.targets.numpy import NumpyProgram
from elman.targets.rows import PackedRows, rows_of
from elman.testing import random_cell
from test_targets import FOUR, assert_same

STEPS = 6
LENGTHS = {
    "unsorted": (3, 6, 0, 1, 6, 2),
    "rising": (1, 4, 6),
    "falling": (6, 4, 4, 1),
    "equal": (4, 4, 4),
    "full": (6, 6),
    "none": (0, 0, 0),
    "one": (5,),
    "one of none": (0,),
}
EVERY_TARGET = ("numpy", "interpreter")
every_target = pytest.mark.parametrize("target", EVERY_TARGET)
every_lengths = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
either_way = pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # random numbers are no run's own


def graph_of(which: str | int, direction: str) -> Graph:
    """The equations of a cell with resets, or their gradient."""
    made = random_cell(which) if isinstance(which, int) else getattr(cells, which)
    sizes = {"input": 3, "hidden": 4, "memory": 2}
    graph = lower(made.graph(**{name: sizes[name] for name in made.sizes}), carry=("reset",))
    return lower(differentiate(graph).backward) if direction == "gradient" else graph


@dataclass
class Given:
    """Random values for the leaves of a graph, and lengths."""

    parameters: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    states: dict[str, np.ndarray]
    lengths: np.ndarray

    @classmethod
    def random(cls, graph: Graph, lengths: tuple[int, ...], steps: int = STEPS) -> "Given":
        rng, axes = np.random.default_rng(3), (steps, len(lengths))

        def drawn(kind: str, before: tuple[int, ...]) -> dict[str, np.ndarray]:
            return {n: rng.standard_normal((*before, *graph.nodes[i].shape)) for n, i in graph.leaves(kind).items()}

        inputs = drawn("input", axes)
        inputs |= {n: (x > 0.5).astype(float) for n, x in inputs.items() if n == "step_is_reset"}
        return cls(drawn("parameter", ()), inputs, drawn("state", axes[1:]), np.array(lengths))

    def run(self, target: str, graph: Graph, backwards: bool) -> Outcome:
        made = made_by(target)(schedule(graph), np.float64)
        way = {"lengths": self.lengths, "backwards": backwards}
        return made.run(made.prepare(self.parameters), self.inputs, self.states, **way)

    def alone(self, target: str, graph: Graph, backwards: bool) -> Outcome:
        """Every example by itself, put together."""
        made, axes = made_by(target)(schedule(graph), np.float64), next(iter(self.inputs.values())).shape[:2]
        prepared = made.prepare(self.parameters)
        shapes = {name: graph.nodes[index].shape for name, index in graph.named("output").items()}
        found = Outcome({n: np.zeros((*axes, *shape)) for n, shape in shapes.items()}, {}, {})
        found.states = {n: np.empty_like(state) for n, state in self.states.items()}
        for b, length in enumerate(self.lengths):
            inputs = {n: x[:length, b : b + 1] for n, x in self.inputs.items()}
            states = {n: state[b : b + 1] for n, state in self.states.items()}
            one = made.run(prepared, inputs, states, backwards=backwards)
            for name, y in one.outputs.items():
                found.outputs[name][:length, b] = y[:, 0]
            for name, state in one.states.items():
                found.states[name][b] = state[0]
            found.sums = {n: found.sums.get(n, 0.0) + total for n, total in one.sums.items()}
        return found


# ---------------------------------------------------------------- a run is each example alone


@either_way
@every_lengths
@pytest.mark.parametrize("direction", ["equations", "gradient"])
@pytest.mark.parametrize("which", [*FOUR, *range(8)])
@every_target
def test_a_run_is_each_example_alone(target, which, direction, lengths, backwards):
    graph = graph_of(which, direction)
    given = Given.random(graph, lengths)
    found, wanted = given.run(target, graph, backwards), given.alone(target, graph, backwards)
    for part in ("outputs", "states", "sums"):
        assert_same(getattr(found, part), getattr(wanted, part))
    for b in np.flatnonzero(given.lengths == 0):
        for name, state in given.states.items():
            np.testing.assert_array_equal(found.states[name][b], state[b])  # the same bits
    past = np.arange(STEPS)[:, None] >= given.lengths
    for y in found.outputs.values():
        np.testing.assert_array_equal(y[past], 0.0)


@either_way
@pytest.mark.parametrize("chunk", [1, 4, 7])
@pytest.mark.parametrize("direction", ["equations", "gradient"])
@pytest.mark.parametrize("which", [*FOUR, *range(8)])
def test_chunks(monkeypatch, which, direction, chunk, backwards):
    """Chunks that end within a segment, with it, and that hold several."""
    graph = graph_of(which, direction)
    given = Given.random(graph, LENGTHS["unsorted"])
    wanted = given.run("interpreter", graph, backwards)
    monkeypatch.setattr(numpy_target, "CHUNK", chunk)
    found = given.run("numpy", graph, backwards)
    for part in ("outputs", "states", "sums"):
        assert_same(getattr(found, part), getattr(wanted, part))


@either_way
@pytest.mark.parametrize("direction", ["equations", "gradient"])
@every_target
def test_no_step(target, direction, backwards):
    graph = graph_of("lstm", direction)
    given = Given.random(graph, (0, 0), steps=0)
    found = given.run(target, graph, backwards)
    for name, state in given.states.items():
        np.testing.assert_array_equal(found.states[name], state)
    for name, y in found.outputs.items():
        assert y.shape == (0, 2, *graph.nodes[graph.named("output")[name]].shape)
    for total in found.sums.values():
        np.testing.assert_array_equal(total, 0.0)


@every_target
def test_states_that_change_places(target):
    """A loop hands these on as they are, so what an example leaves must not be written over another state."""

    @cell
    def swapped(x, h, c):
        return c, h

    rnn = RNN(swapped, input=1, hidden=1, dtype="float64", target=target)
    lengths = np.array([2, 5, 0, 3, 1])
    start = {"h": np.arange(5.0)[:, None], "c": 10.0 + np.arange(5.0)[:, None]}
    for layer, state in ((rnn, start), (Backwards(rnn), {"layer": start})):
        _, last = layer(np.zeros((5, 5, 1)), state, lengths)
        last = last if layer is rnn else last.layer
        odd = lengths[:, None] % 2 == 1
        np.testing.assert_array_equal(last.h, np.where(odd, start["c"], start["h"]))
        np.testing.assert_array_equal(last.c, np.where(odd, start["h"], start["c"]))


@every_target
def test_results_that_are_one_for_all_rows(target):
    """An output and a state that are a parameter or a number: past a length 0, and the state as it was."""

    @cell
    def constants(x, h, c, *, b=bias("hidden", init=3.0), k=bias("hidden", init=2.0)):
        return b, k, np.array([4.0, 5.0])

    rnn = RNN(constants, input=1, hidden=2, dtype="float64", target=target)
    x, start = np.zeros((3, 4, 1)), {"h": np.full((3, 2), 7.0), "c": np.full((3, 2), 8.0)}
    y, last = rnn(x, start, lengths=[2, 0, 4])
    for b, n in enumerate((2, 0, 4)):
        np.testing.assert_array_equal(y[b, :n], 3.0)
        np.testing.assert_array_equal(y[b, n:], 0.0)
        np.testing.assert_array_equal(last.h[b], [2.0, 2.0] if n else [7.0, 7.0])
        np.testing.assert_array_equal(last.c[b], [4.0, 5.0] if n else [8.0, 8.0])
    record = rnn.record(x, start, lengths=[2, 0, 4])
    found = record.gradients(np.ones((3, 4, 2)), {"h": np.full((3, 2), 10.0), "c": np.ones((3, 2))})
    np.testing.assert_array_equal(found.parameters["b"], [6.0, 6.0])  # one for each step
    np.testing.assert_array_equal(found.parameters["k"], [20.0, 20.0])  # one for each example that runs at all
    np.testing.assert_array_equal(found.state.h, [[0.0, 0.0], [10.0, 10.0], [0.0, 0.0]])


# ---------------------------------------------------------------- layers


def layer_of(kind: str, target: str) -> elman.Layer:
    def rnn(name: str, inputs: int, seed: int, **more) -> RNN:
        made = RNN(getattr(cells, name), input=inputs, hidden=4, dtype="float64", target=target, seed=seed, **more)
        rng = np.random.default_rng(seed)
        made.update({n: rng.normal(size=value.shape) * 0.6 for n, value in made.parameters.items()})
        return made

    return {
        "lstm": lambda: rnn("lstm", 3, 1, learn_initial=True),
        "gru backwards": lambda: Backwards(rnn("gru", 3, 2)),
        "residual": lambda: Stack([rnn("elman", 3, 3), rnn("gru", 4, 4), rnn("lstm", 4, 5)], residual=True),
        "both ways": lambda: Stack([Bidirectional(rnn("lstm", 3, 6), rnn("gru", 3, 7)), rnn("elman", 8, 8)]),
        "product": lambda: Bidirectional(rnn("gru", 3, 9), Stack([rnn("gru", 3, 10), rnn("lstm", 4, 11)]), merge="product"),
    }[kind]()


LAYERS = ("lstm", "gru backwards", "residual", "both ways", "product")
every_layer = pytest.mark.parametrize("kind", LAYERS)


def all_of(layer: elman.Layer, x, dy, lengths, reset, truncate) -> dict[str, np.ndarray]:
    """Everything that a layer gives for a batch, by name."""

    def flat(state: elman.State, before: str) -> dict[str, np.ndarray]:
        found = {}
        for name, value in state.items():
            path = f"{before} {name}"
            found |= flat(value, path) if isinstance(value, elman.State) else {path: np.asarray(value)}
        return found

    record = layer.record(x, None, lengths, reset, truncate=truncate)
    parameters, dx, first = record.gradients(dy)
    y, last = layer(x, None, lengths, reset)
    found = {"y": y, "recorded y": record.y, **flat(last, "last"), **flat(record.state, "recorded"), **flat(first, "first")}
    found |= {f"gradient {n}": value for n, value in parameters.items()} | ({} if dx is None else {"dx": dx})
    return found | {f"value {n}": value for n, value in layer.inspect(x, None, lengths, reset).items()}


@pytest.mark.parametrize("tokens", [False, True], ids=["vectors", "tokens"])
@pytest.mark.parametrize("truncate", [None, 2])
@every_layer
@every_target
def test_a_layer_gives_what_each_sequence_gives_alone(target, kind, truncate, tokens):
    rng, layer, lengths = np.random.default_rng(5), layer_of(kind, target), LENGTHS["unsorted"]
    axes = (len(lengths), STEPS)
    x = rng.integers(3, size=axes) if tokens else rng.normal(size=(*axes, 3))
    dy, reset = rng.normal(size=(*axes, *layer.output_shape)), rng.random(axes) < 0.4
    found = all_of(layer, x, dy, lengths, reset, truncate)
    sums: dict[str, np.ndarray] = {}
    for b, n in enumerate(lengths):
        one = all_of(layer, x[b : b + 1, :n], dy[b : b + 1, :n], None, reset[b : b + 1, :n], truncate)
        for name, value in one.items():
            if name.startswith("gradient"):
                sums[name] = sums.get(name, 0.0) + value
            elif name.startswith(("last", "recorded ", "first")) and name != "recorded y":
                np.testing.assert_allclose(found[name][b], value[0], rtol=0, atol=1e-12, err_msg=name)
            else:
                np.testing.assert_allclose(found[name][b, :n], value[0], rtol=0, atol=1e-12, err_msg=name)
                np.testing.assert_array_equal(found[name][b, n:], 0.0, err_msg=name)
    assert_same({n: value for n, value in found.items() if n in sums}, sums)
    assert len(sums) == len(layer.parameters)


@pytest.mark.parametrize("truncate", [None, 1, 2])
@pytest.mark.parametrize("name", FOUR)
@every_target
def test_backwards_reads_turned_rows(target, name, truncate):
    """Each row turned by hand and read forwards; cuts count from where the reading begins."""
    rng, lengths = np.random.default_rng(6), LENGTHS["unsorted"]
    rnn = RNN(getattr(cells, name), input=3, hidden=4, dtype="float64", target=target)
    x, dy = rng.normal(size=(6, STEPS, 3)), rng.normal(size=(6, STEPS, 4))
    reset = rng.random((6, STEPS)) < 0.4
    start = rnn(rng.normal(size=(6, 2, 3)))[1]
    record = Backwards(rnn).record(x, {"layer": start}, lengths, reset, truncate=truncate)
    found, sums = record.gradients(dy), {}
    for b, n in enumerate(lengths):
        turned = np.zeros(n, dtype=bool)
        turned[1:] = reset[b, 1:n][::-1]
        one = rnn.record(x[b, :n][::-1], start[b], reset=turned, truncate=truncate)
        parameters, dx, first = one.gradients(dy[b, :n][::-1])
        np.testing.assert_allclose(record.y[b, :n], one.y[::-1], rtol=0, atol=1e-13)
        np.testing.assert_allclose(found.x[b, :n], dx[::-1], rtol=0, atol=1e-13)
        for field in start:
            np.testing.assert_allclose(record.state.layer[field][b], one.state[field], rtol=0, atol=1e-13)
            np.testing.assert_allclose(found.state.layer[field][b], first[field], rtol=0, atol=1e-13)
        sums = {f"layer.{p}": sums.get(f"layer.{p}", 0.0) + value for p, value in parameters.items()}
    assert_same(found.parameters, sums)


@pytest.mark.parametrize("integer", ["uint8", "int8", "uint64", "int32"])
def test_any_integers_are_lengths(integer):
    layer, x = layer_of("both ways", "numpy"), np.random.default_rng(7).normal(size=(6, STEPS, 3))
    lengths = LENGTHS["unsorted"]
    np.testing.assert_array_equal(layer(x, lengths=np.array(lengths, integer))[0], layer(x, lengths=lengths)[0])


@every_target
def test_a_record_keeps_what_it_was_given(target):
    """Lengths and resets that the caller changes before the gradient is taken."""
    rng, layer = np.random.default_rng(8), layer_of("both ways", target)
    x, dy = rng.normal(size=(6, STEPS, 3)), rng.normal(size=(6, STEPS, 4))
    lengths, reset = np.array(LENGTHS["unsorted"]), rng.random((6, STEPS)) < 0.4
    wanted = layer.record(x, None, lengths, reset).gradients(dy)
    record = layer.record(x, None, lengths, reset)
    lengths[:], reset[:] = 1, False
    found = record.gradients(dy)
    np.testing.assert_array_equal(found.x, wanted.x)
    for name, value in wanted.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], value)


# ---------------------------------------------------------------- what is in the padding does not matter


@cell
def domains(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), b=bias("hidden")):
    """Has a value for positive inputs only, before the loop, in it and behind it."""
    logs = log(x) + sqrt(x)
    h = tanh(w @ logs + u @ h + b) / x[0]
    return log(h * h) + 1.0 / x[1], h


PADDINGS = {"zero": 0.0, "negative": -1.0, "huge": 1e300, "tiny": 1e-300, "negative and huge": -1e300}


@every_target
@pytest.mark.parametrize("name", [*FOUR, "domains"])
def test_the_padding_changes_no_bit(target, name):
    """Inputs, gradients for outputs and resets past a length; also no warning is given for what stands there."""
    made = domains if name == "domains" else getattr(cells, name)
    rng, lengths = np.random.default_rng(9), np.array(LENGTHS["unsorted"])
    past = np.arange(STEPS) >= lengths[:, None]
    rnn = RNN(made, input=3, hidden=4, dtype="float64", target=target)
    x, dy = rng.uniform(0.5, 1.5, size=(6, STEPS, 3)), rng.normal(size=(6, STEPS, 4))
    reset, start = rng.random((6, STEPS)) < 0.3, rng.uniform(0.5, 1.0, size=(6, 4))
    state = dict.fromkeys(rnn.initial_state(), start)
    wanted: dict[str, np.ndarray] = {}
    for padding in PADDINGS.values():
        x, dy = np.where(past[..., None], padding, x), np.where(past[..., None], padding, dy)
        reset = np.where(past, padding > 0, reset)
        with np.errstate(all="raise"):
            record = rnn.record(x, state, lengths, reset, truncate=4)
            parameters, dx, first = record.gradients(dy)
            y, last = rnn(x, state, lengths, reset)
            values = rnn.inspect(x, state, lengths, reset)
        found = {"y": y, "dx": dx, "recorded y": record.y, **parameters}
        found |= {f"first {n}": value for n, value in first.items()} | {f"last {n}": value for n, value in last.items()}
        found |= {f"value {n}": value for n, value in values.items()}
        np.testing.assert_array_equal(dx[past], 0.0)
        np.testing.assert_array_equal(y[past], 0.0)
        wanted = wanted or found
        for part, value in wanted.items():
            assert np.isfinite(value).all(), part
            np.testing.assert_array_equal(found[part], value, err_msg=part)


@every_layer
def test_the_padding_of_layers_changes_no_bit(kind):
    rng, lengths, layer = np.random.default_rng(10), np.array(LENGTHS["unsorted"]), layer_of(kind, "numpy")
    past = np.arange(STEPS) >= lengths[:, None]
    x, dy = rng.normal(size=(6, STEPS, 3)), rng.normal(size=(6, STEPS, *layer.output_shape))
    reset = rng.random((6, STEPS)) < 0.3
    wanted = all_of(layer, x, dy, lengths, reset, 2)
    x, dy = np.where(past[..., None], 1e300, x), np.where(past[..., None], -1e3, dy)
    found = all_of(layer, x, dy, lengths, reset | past, 2)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    np.testing.assert_array_equal(found["dx"][past], 0.0)


# ---------------------------------------------------------------- the padding is not computed


@cell
def counting(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), v=weight("hidden", "hidden")):
    """One sigmoid before the loop, one in it, one behind it."""
    h = sigmoid(u @ h + sigmoid(w @ x))
    return sigmoid(v @ h), h


@either_way
@pytest.mark.parametrize("chunk", [4, 4096])
@every_lengths
def test_only_rows_within_the_lengths_are_computed(monkeypatch, lengths, chunk, backwards):
    counted = []
    right = numpy_words.sigmoid
    monkeypatch.setattr(numpy_words, "sigmoid", lambda x: counted.append(len(x)) or right(x))
    monkeypatch.setattr(numpy_target, "CHUNK", chunk)
    graph = lower(counting.graph(input=3, hidden=4))
    Given.random(graph, lengths).run("numpy", graph, backwards)
    assert sum(counted) == 3 * sum(lengths)


@every_lengths
def test_the_interpreter_computes_no_other_steps_either(monkeypatch, lengths):
    counted = []
    right = interpreter_target.interpret
    monkeypatch.setattr(interpreter_target, "interpret", lambda *given: counted.append(1) or right(*given))
    graph = lower(counting.graph(input=3, hidden=4))
    Given.random(graph, lengths).run("interpreter", graph, False)
    assert sum(counted) == sum(lengths)


def test_a_gradient_computes_no_padding():
    """exp overflows at the padding, and its gradient there; both ways this is only looked at within the lengths."""

    @cell
    def exponential(x, h, *, u=weight("hidden", "hidden")):
        return exp(x) + tanh(u @ h)

    rnn = RNN(exponential, input=2, hidden=2, dtype="float64")
    x, dy = np.full((3, 5, 2), 0.5), np.ones((3, 5, 2))
    x[0, 2:], x[2, 1:] = 1e4, 1e4
    with np.errstate(all="raise"):
        found = rnn.gradients(x, dy, lengths=[2, 5, 1])
    assert np.isfinite(found.parameters["u"]).all()


def test_full_lengths_cost_nothing(monkeypatch):
    """They take the road of a batch without lengths: one segment, on views of what the caller gave, and the same bits."""
    rnn, x = RNN(cells.gru, input=3, hidden=4), np.random.default_rng(11).normal(size=(3, 5, 3)).astype(np.float32)
    monkeypatch.setattr(PackedRows, "__init__", lambda *_: pytest.fail("these rows were packed"))
    np.testing.assert_array_equal(rnn(x, lengths=[5, 5, 5])[0], rnn(x)[0])
    rows, inputs = rows_of(5, 3, np.array([5, 5, 5])), np.zeros((5, 3, 2))
    (part,) = rows.parts(4096)
    chunk = rows.chunk(part)
    assert len(chunk.segments) == 1
    assert np.shares_memory(chunk.flat(inputs), inputs)


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_rows(seed, limit):
    """Every step of every example once, in chunks of up to a limit, in segments whose first examples are the same."""
    rng = np.random.default_rng(seed)
    steps, batch = (int(n) for n in rng.integers(1, 9, 2))
    lengths = rng.integers(0, steps + 1, batch)
    rows, seen = rows_of(steps, batch, lengths), []
    at = np.stack(np.meshgrid(np.arange(steps), np.arange(batch), indexing="ij"), -1)  # [T, B, 2]
    room = rows.room((2,), int)
    parts = rows.parts(limit)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])][: len(parts)]
    for part in parts:
        chunk = rows.chunk(part)
        flat = chunk.flat(at)
        assert len(flat) == chunk.rows
        assert chunk.rows <= limit or part.stop - part.start == 1
        chunk.lay(flat + 1, room)
        seen += map(tuple, flat.tolist())
        order = range(batch) if rows.order is None else rows.order.tolist()
        for where, length, examples in chunk.segments:
            block = flat[where].reshape(length, examples, 2)
            np.testing.assert_array_equal(np.diff(block[:, :, 0], axis=0), 1)
            np.testing.assert_array_equal(block[:, :, 1], np.tile(list(order)[:examples], (length, 1)))
        assert sum(length * examples for _, length, examples in chunk.segments) == chunk.rows
        assert len({examples for *_, examples in chunk.segments}) == len(chunk.segments)
    assert sorted(seen) == sorted((t, b) for b, n in enumerate(lengths) for t in range(n))
    within = np.arange(steps)[:, None] < lengths
    np.testing.assert_array_equal(room, np.where(within[..., None], at + 1, 0))


def test_examples_of_one_length_stay_in_order():
    rows = rows_of(9, 6, np.array([3, 9, 3, 0, 9, 3]))
    assert rows.order.tolist() == [1, 4, 0, 2, 5, 3]


# ---------------------------------------------------------------- products of few rows


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 8, 16, 17, 40])
@pytest.mark.parametrize("shape", [(1024, 256), (900, 301), (3, 100_000), (260, 330), (1, 200_000), (65, 2)])
def test_products_with_panels(shape, rows):
    rng = np.random.default_rng(12)
    w, x = np.asfortranarray(rng.standard_normal(shape)), rng.standard_normal((rows, shape[1]))
    for panels in (panels_of(w), None):
        np.testing.assert_allclose(product(x, w, panels), x @ w.T, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FOUR)
def test_panels_in_a_run(monkeypatch, name):
    """Whatever is called large; numbers of examples on both sides of where panels end."""
    monkeypatch.setattr(few_rows, "UNCOPIED", 5 * 12 * 64)
    for direction in ("equations", "gradient"):
        graph = graph_of(name, direction)
        given = Given.random(graph, tuple(n % 7 for n in range(30)))
        wanted = given.run("interpreter", graph, True)
        source = NumpyProgram(schedule(graph), np.float64).source
        assert "product(" not in source
        monkeypatch.setattr(few_rows, "FEW", 10**6)
        assert "product(" in NumpyProgram(schedule(graph), np.float64).source
        found = given.run("numpy", graph, True)
        monkeypatch.setattr(few_rows, "FEW", 16)
        for part in ("outputs", "states", "sums"):
            assert_same(getattr(found, part), getattr(wanted, part))


def test_large_matrices_of_the_loop_have_panels():
    def source(name: str, hidden: int) -> str:
        return RNN(getattr(cells, name), input=400, hidden=hidden, target="numpy").source

    assert source("lstm", 256).count("product(") == 1  # none for the input, which all steps share
    assert "product(" not in source("gru", 128)
    x, lengths = np.random.default_rng(13).normal(size=(20, 3, 3)), np.arange(20) % 4
    pair = [RNN(cells.lstm, input=3, hidden=160, target=target) for target in EVERY_TARGET]
    assert "product(" in pair[0].source
    (y, last), (wanted, end) = (rnn(x, lengths=lengths) for rnn in pair)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=2e-6)
    np.testing.assert_allclose(last.c, end.c, rtol=0, atol=2e-6)


def test_names_that_the_panels_need():
    """A value that is called like the panels of another."""

    @cell
    def taken(x, h, *, u=weight("hidden", "hidden"), u_panels=weight("hidden", "hidden"), w=weight("hidden", "input")):
        u_panels_all = u @ h + w @ x
        return tanh(u_panels_all + u_panels @ tanh(u_panels_all))

    x = np.random.default_rng(14).normal(size=(3, 4, 3))
    pair = [RNN(taken, input=3, hidden=300, dtype="float64", target=target) for target in EVERY_TARGET]
    assert pair[0].source.count("product(") == 2
    np.testing.assert_allclose(pair[0](x)[0], pair[1](x)[0], rtol=0, atol=1e-12)


def test_matrices_of_the_loop_lie_by_columns():
    graph = lower(cells.lstm.graph(input=5, hidden=70))
    made, rnn = NumpyProgram(schedule(graph), np.float64), RNN(cells.lstm, input=5, hidden=70, dtype="float64")
    prepared = made.prepare(rnn.parameters, lasting=True)
    (matrix,) = made.plan.recurrent_matrices
    laid, p = prepared.shared[matrix], rnn.parameters
    assert laid.flags.f_contiguous
    np.testing.assert_array_equal(laid, np.concatenate([p["ui"], p["uf"], p["ug"], p["uo"]]))
    assert all(value.flags.c_contiguous for value in p.values())  # the caller's stay as they were


@pytest.mark.parametrize("steps", [3, 4])
def test_matrices_for_one_run_are_laid_out_where_it_is_long(steps):
    """16 examples: 48 rows are few, 64 are many; either way the same comes out."""
    graph = lower(cells.lstm.graph(input=5, hidden=130))
    made, rnn = NumpyProgram(schedule(graph), np.float64), RNN(cells.lstm, input=5, hidden=130, dtype="float64")
    once, lasting = made.prepare(rnn.parameters), made.prepare(rnn.parameters, lasting=True)
    rng = np.random.default_rng(15)
    inputs = {"x": rng.standard_normal((steps, 16, 5))}
    states = {name: rng.standard_normal((16, 130)) for name in ("h", "c")}
    assert once.panels is None
    found, wanted = (made.run(prepared, inputs, states) for prepared in (once, lasting))
    assert (once.panels is None) == (steps == 3)
    assert len(lasting.panels) == 1
    np.testing.assert_allclose(found.outputs["h"], wanted.outputs["h"], rtol=0, atol=1e-12)
