"""The NumPy target against the interpreter: random cells, every way of asking, odd sizes, chunks, names, types."""

from functools import cache
from itertools import product

import numpy as np
import pytest

import elman
from elman import RNN, bias, cell, cells, sigmoid, tanh, weight
from elman.declare import state
from elman.graph import Builder
from elman.nodes import Result
from elman.passes import schedule
from elman.program import Asked, program
from elman.targets import TARGETS, target
from elman.targets import numpy as numpy_target
from elman.targets.interpreter import Interpreter
from elman.targets.numpy import NumpyProgram, NumpyTarget
from elman.testing import random_cell
from test_gates import CASES, random_inputs

FOUR = ("elman", "gru", "gru_reset_before", "lstm")
CLOSE = 1e-10
every_cell = pytest.mark.parametrize("name", FOUR)
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # random cells overflow where nobody looks


def assert_same(got, expected, tolerance: float = CLOSE) -> None:
    """The same names, and values that agree relative to the largest of each; infinities and NaN in the same places."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].shape == value.shape, name
        scale = max(1.0, np.absolute(value[np.isfinite(value)]).max(initial=0.0))
        np.testing.assert_allclose(got[name], value, rtol=0, atol=tolerance * scale, err_msg=name)


class Problem:
    """A cell at random sizes, and one random way of asking: batch, length, tokens, lengths, resets, truncation."""

    def __init__(self, made: elman.Cell, seed: int, **given) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.cell, self.sizes = made, {name: int(rng.choice([1, 2, 3, 7])) for name in made.sizes}
        self.steps, self.batch = int(rng.choice([0, 1, 2, 5, 9])), (None, 1, 3)[rng.integers(3)]
        self.tokens, self.truncate = bool(rng.integers(2)), (None, 1, 2, 3)[rng.integers(4)]
        self.__dict__.update(given)
        first = self.layer("numpy")
        rows = () if self.batch is None else (self.batch,)
        self.parameters = {n: v + 0.5 * rng.standard_normal(v.shape) for n, v in first.parameters.items()}
        (leaf,) = first.graph.leaves("input").values()
        (size,) = first.graph.nodes[leaf].shape
        axes = (*rows, self.steps)
        self.x = rng.integers(size, size=axes) if self.tokens else rng.standard_normal((*axes, size))
        states = {name: first.graph.nodes[index].shape for name, index in first.graph.leaves("state").items()}
        self.state = {name: rng.standard_normal((*rows, *shape)) for name, shape in states.items()}
        self.dstate = {name: rng.standard_normal(value.shape) for name, value in self.state.items()}
        self.asked = {}
        if self.batch and rng.random() < 0.5:
            self.asked["lengths"] = rng.integers(0, self.steps + 1, size=self.batch)
        if rng.random() < 0.5:
            self.asked["reset"] = rng.random(axes) < 0.3

    def layer(self, target_name: str, dtype: str = "float64") -> RNN:
        return RNN(self.cell, dtype=dtype, target=target_name, **self.sizes)

    def solve(self, target_name: str, dtype: str = "float64") -> dict[str, np.ndarray]:
        """Everything that a layer gives: outputs, last states, named values, and all gradients."""
        rnn = self.layer(target_name, dtype)
        rnn.update(self.parameters)
        y, last = rnn(self.x, self.state, **self.asked)
        record = rnn.record(self.x, self.state, **self.asked, truncate=self.truncate)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        parameters, dx, first = record.gradients(dy, self.dstate)
        assert (dx is None) == self.tokens
        return {
            "y": y,
            **{f"last {name}": value for name, value in last.items()},
            **{f"value {name}": value for name, value in rnn.inspect(self.x, self.state, **self.asked).items()},
            "recorded y": record.y,
            **{f"recorded {name}": value for name, value in record.state.items()},
            **{f"gradient {name}": value for name, value in parameters.items()},
            **{f"first {name}": value for name, value in first.items()},
            **({} if dx is None else {"dx": dx}),
        }


@cache
def interpreted(seed: int) -> dict[str, np.ndarray]:
    return Problem(random_cell(seed), seed).solve("interpreter")


# ---------------------------------------------------------------- against the interpreter


@pytest.mark.parametrize("seed", range(120))
def test_random_cells(seed):
    assert_same(Problem(random_cell(seed), seed).solve("numpy"), interpreted(seed))


@pytest.mark.parametrize("chunk", [1, 4, 7])
@pytest.mark.parametrize("seed", range(40))
def test_chunks(monkeypatch, seed, chunk):
    """Rows of a chunk: fewer than one step of the batch, and numbers that do not divide the steps."""
    monkeypatch.setattr(numpy_target, "CHUNK", chunk)
    assert_same(Problem(random_cell(seed), seed).solve("numpy"), interpreted(seed))


@pytest.mark.parametrize("chunk", [1, 6, 8, 4096])
@pytest.mark.parametrize("tokens", [False, True])
@every_cell
def test_chunks_of_a_long_batch(monkeypatch, name, tokens, chunk):
    """Several chunks of 2 or more steps (but for the first), of 3 examples with lengths, resets and cuts."""
    problem = Problem(getattr(cells, name), 5, steps=13, batch=3, tokens=tokens, truncate=4, sizes={"input": 6, "hidden": 5})
    problem.asked = {"lengths": np.array([13, 0, 8]), "reset": np.random.default_rng(2).random((3, 13)) < 0.2}
    expected = problem.solve("interpreter")
    calls = []
    run_chunk = NumpyProgram._chunk
    monkeypatch.setattr(NumpyProgram, "_chunk", lambda self, *rest: calls.append(1) or run_chunk(self, *rest))
    monkeypatch.setattr(numpy_target, "CHUNK", chunk)
    assert_same(problem.solve("numpy"), expected)
    # Call, record, gradients, inspect; 2 examples run for 8 steps, then 1 for 5: 21 rows, and a step is never parted.
    assert len(calls) == 4 * {1: 13, 6: 4, 8: 3, 4096: 1}[chunk]


def test_wide_rows_make_short_chunks(monkeypatch):
    """A matrix state of 400 values a row, kept at every step."""

    @cell
    def matrix(x, m=state("hidden", "hidden"), *, w=weight("hidden", "input")):
        seen = tanh(w @ x)
        return m @ seen, 0.5 * m + elman.outer(seen, seen)

    problem = Problem(matrix, 6, steps=7, batch=None, tokens=False, truncate=None, sizes={"input": 2, "hidden": 20})
    expected = problem.solve("interpreter")
    lengths = []
    run_chunk = NumpyProgram._chunk
    monkeypatch.setattr(
        NumpyProgram, "_chunk", lambda self, p, x, c, *rest: lengths.append(c.rows) or run_chunk(self, p, x, c, *rest)
    )
    monkeypatch.setattr(numpy_target, "CHUNK", 7)
    assert_same(problem.solve("numpy"), expected)
    assert max(lengths) < 7


@pytest.mark.parametrize("sizes", list(product((1, 2, 3, 7), repeat=2)), ids=str)
@every_cell
def test_odd_sizes(name, sizes):
    seed = 100 + 10 * sizes[0] + sizes[1]
    problem = Problem(getattr(cells, name), seed, sizes={"input": sizes[0], "hidden": sizes[1]})
    assert_same(problem.solve("numpy"), problem.solve("interpreter"))


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("steps", [0, 1, 6])
@every_cell
def test_steps_and_batches(name, steps, batch, tokens):
    problem = Problem(getattr(cells, name), 3, steps=steps, batch=batch, tokens=tokens)
    assert_same(problem.solve("numpy"), problem.solve("interpreter"))


@every_cell
def test_no_step_at_all(name):
    """The state comes back as it was, the gradient for it too, and nothing else is there."""
    problem = Problem(getattr(cells, name), 4, steps=0, batch=2, tokens=False, truncate=None)
    problem.asked = {}
    found = problem.solve("numpy")
    assert found["y"].shape == (2, 0, problem.sizes["hidden"])
    for key, value in problem.state.items():
        np.testing.assert_array_equal(found[f"last {key}"], value)
        np.testing.assert_array_equal(found[f"first {key}"], problem.dstate[key])
    for key in problem.parameters:
        np.testing.assert_array_equal(found[f"gradient {key}"], np.zeros_like(problem.parameters[key]))


@pytest.mark.parametrize("seed", range(40))
def test_float32_stays_float32(seed):
    """In every value and gradient, whatever constants the equations hold."""
    problem = Problem(random_cell(seed), seed)
    found = problem.solve("numpy", "float32")
    assert {name for name, value in found.items() if value.dtype != np.float32} == set()


def test_float32_of_constants_alone():
    @cell
    def constants(x, h):
        chosen = elman.where(elman.greater(h, 0.0), 1.0, -0.5)
        return elman.where(elman.greater(x[0], 0.0), 0.25, 0.75), chosen * h

    rnn = RNN(constants, input=2, hidden=3)
    x, h = np.array([[1.0, 2.0], [-1.0, 2.0]]), np.array([1.0, -2.0, 3.0])
    y, last = rnn(x, h)
    assert (y.dtype, last.h.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(y, [0.25, 0.75])
    np.testing.assert_array_equal(last.h, [1.0, 1.0, 3.0])
    assert rnn.inspect(x, h)["chosen"].dtype == np.float32
    assert rnn(x[None], h[None], lengths=[1])[0].dtype == np.float32


# ---------------------------------------------------------------- every gate, wherever its inputs stand


def positions(name, case):
    """What each input may be: computed once, brought by every step, carried, or written in the equations."""
    if name == "total":
        return []
    kinds = [("token",) if isinstance(s, int) else ("parameter", "input", "state", "constant") for s in case.shapes]
    combinations = [kinds for kinds in product(*kinds) if set(kinds) != {"constant"}]
    if name == "detach":  # of a state, where an input says so
        combinations = [("state", "input")]
    return combinations


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}{case.shapes}".replace(" ", "") for name, case in CASES])
def test_every_gate_in_every_position(name, case, dtype):
    steps, rows = 2, 3
    for kinds in positions(name, case):
        builder, given = Builder(name), {"parameter": {}, "input": {}, "state": {}, "token": {}}
        operands = []
        drawn = [[random_inputs(name, case, 10 * t + b) for b in range(rows)] for t in range(steps)]
        for k, (kind, shape) in enumerate(zip(kinds, case.shapes, strict=True)):
            values = np.array([[row[k] for row in step] for step in drawn])  # [T, B, ...]
            if kind == "constant":
                operands.append(builder.constant(values[0, 0]))
                continue
            attributes = (("size", shape),) if kind == "token" else ()
            operands.append(builder.leaf(kind, f"x{k}", () if kind == "token" else shape, attributes))
            chosen = {"parameter": values[0, 0], "state": values[0]}.get(kind, values)
            given[kind][f"x{k}"] = chosen if kind == "token" else chosen.astype(dtype)
        if not given["input"] | given["token"]:
            given["input"]["clock"] = np.zeros((steps, rows, 1), dtype)
            builder.leaf("input", "clock", (1,))
        y = builder.add(name, operands, tuple(case.attributes.items()))
        states = [Result(f"x{k}", "state", operands[k]) for k, kind in enumerate(kinds) if kind == "state"]
        if states and builder.nodes[y].shape == case.shapes[kinds.index("state")] and name not in ("log", "sqrt", "divide"):
            states[0] = Result(states[0].name, "state", y)  # so that it stands in the loop
        plan = schedule(builder.finish([Result("y", "output", y), *states]))
        found = []
        for made in (NumpyProgram(plan, dtype), Interpreter(plan, dtype)):
            outcome = made.run(made.prepare(given["parameter"]), given["input"] | given["token"], given["state"])
            found.append({"y": outcome.outputs["y"]} | outcome.states)
        assert {value.dtype for value in found[0].values()} == {np.dtype(dtype)}, kinds
        assert_same(*found, tolerance=1e-12 if dtype == "float64" else 1e-5)


# ---------------------------------------------------------------- tokens


def test_a_token_whose_matrix_changes_from_step_to_step():
    """The look-up of a column in a matrix of the state."""

    @cell
    def fast_weights(x, m=state("hidden", "input"), *, w=weight("hidden", "input")):
        y = m @ x + w @ x
        return y, 0.5 * m + elman.outer(y, x)

    for tokens in (False, True):
        problem = Problem(fast_weights, 1, steps=5, batch=3, tokens=tokens, sizes={"input": 4, "hidden": 3})
        assert_same(problem.solve("numpy"), problem.solve("interpreter"))


@pytest.mark.parametrize("steps", [2, 3, 4, 30])
def test_the_table_of_a_vocabulary(steps):
    """With fewer rows than the vocabulary has entries each is looked up, with more all entries are made once."""
    problem = Problem(cells.gru, 2, steps=steps, batch=2, tokens=True, sizes={"input": 7, "hidden": 3})
    assert_same(problem.solve("numpy"), problem.solve("interpreter"))


def test_a_prepared_table_serves_every_call():
    made = program(cells.lstm.graph(input=5, hidden=3), Asked(tokens=True), "float64", "numpy")
    rnn = RNN(cells.lstm, input=5, hidden=3, dtype="float64")
    lasting, plain = (made.prepare(rnn.parameters, lasting=lasting) for lasting in (True, False))
    states = {"h": np.zeros((1, 3)), "c": np.zeros((1, 3))}
    assert lasting.table
    for tokens in ([4], [0, 1], [3, 3, 2]):
        x = {"x": np.array(tokens)[:, None]}
        found, expected = (made.forward(prepared, x, states).outcome.outputs for prepared in (lasting, plain))
        assert_same(found, expected, 0.0)


# ---------------------------------------------------------------- states


@pytest.mark.parametrize("target_name", ["numpy", "interpreter"])
def test_states_that_change_places(target_name):
    """A new state may be another state as it was."""

    @cell
    def swapped(x, h, c):
        return c, h

    rnn = RNN(swapped, input=1, hidden=2, dtype="float64", target=target_name)
    y, last = rnn(np.zeros((3, 1)), {"h": [1.0, 2.0], "c": [3.0, 4.0]})
    np.testing.assert_array_equal(y, [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(last.h, [3.0, 4.0])
    np.testing.assert_array_equal(last.c, [1.0, 2.0])
    _, _, first = rnn.gradients(np.zeros((3, 1)), np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]), last)
    np.testing.assert_array_equal(first.h, [10.0, 20.0])
    np.testing.assert_array_equal(first.c, [101.0, 202.0])


@pytest.mark.parametrize("target_name", ["numpy", "interpreter"])
def test_states_that_need_no_loop(target_name):
    """Passed on, made of the input, of the parameters, or of constants alone."""

    @cell
    def still(x, h, i, p, c, *, w=weight("hidden", "input"), b=bias("hidden")):
        return h + i + p + c, h, w @ x, b, np.array([1.0, 2.0])

    rnn = RNN(still, input=1, hidden=2, dtype="float64", target=target_name)
    rnn.update({"w": [[1.0], [2.0]], "b": [10.0, 20.0]})
    start = {"h": [100.0, 200.0], "i": [0.5, 0.5], "p": [0.25, 0.25], "c": [0.0, 0.0]}
    y, last = rnn(np.array([[3.0], [4.0]]), start)
    np.testing.assert_array_equal(y, [[100.75, 200.75], [114.0, 228.0]])
    for name, value in {"h": [100.0, 200.0], "i": [4.0, 8.0], "p": [10.0, 20.0], "c": [1.0, 2.0]}.items():
        np.testing.assert_array_equal(last[name], value)
    parameters, dx, first = rnn.gradients(np.array([[3.0], [4.0]]), np.ones((2, 2)), start, lengths=None)
    np.testing.assert_array_equal(parameters["b"], [1.0, 1.0])
    np.testing.assert_array_equal(parameters["w"], [[3.0], [3.0]])
    np.testing.assert_array_equal(dx, [[3.0], [0.0]])
    np.testing.assert_array_equal(first.h, [2.0, 2.0])
    np.testing.assert_array_equal(first.i, [1.0, 1.0])


@pytest.mark.parametrize("target_name", ["numpy", "interpreter"])
def test_an_input_that_nothing_needs_has_a_gradient_of_0(target_name):
    @cell
    def deaf(x, h, *, u=weight("hidden", "hidden")):
        return tanh(u @ h)

    rnn = RNN(deaf, input=4, hidden=2, dtype="float64", target=target_name)
    _, dx, _ = rnn.gradients(np.ones((2, 3, 4)), np.ones((2, 3, 2)), np.ones((2, 2)))
    np.testing.assert_array_equal(dx, np.zeros((2, 3, 4)))


@every_cell
def test_a_run_leaves_its_arguments_alone(name):
    problem = Problem(getattr(cells, name), 7, steps=5, batch=3, tokens=False)
    before = {"x": problem.x.copy(), **{key: value.copy() for key, value in problem.state.items()}}
    problem.solve("numpy")
    for key, value in before.items():
        np.testing.assert_array_equal({"x": problem.x, **problem.state}[key], value)


# ---------------------------------------------------------------- emitted source


def nested(rng: np.random.Generator, depth: int, x, h, w, u):
    """A random expression without a name inside, so that all of it is written in one line, in brackets."""
    if depth == 0:
        return (h, w @ x, h * 0.5, -0.25 * h)[rng.integers(4)]
    a, b = (nested(rng, depth - 1, x, h, w, u) for _ in range(2))
    forms = (
        lambda: a + b, lambda: a - b, lambda: a * b, lambda: a / (2.0 + b * b), lambda: -a, lambda: a - (b - h),
        lambda: a * (u @ b), lambda: u @ (a - b), lambda: (a + b)[0] * h, lambda: -(a * b), lambda: 1.0 / (1.5 + a * a),
        lambda: a / 2.0 / (3.0 / (1.0 + b * b)), lambda: elman.sum(a - b) - h, lambda: tanh(a) * elman.mean(-b),
        lambda: elman.transpose(elman.outer(a, b)) @ h, lambda: (u - elman.outer(a, h)) @ b, lambda: a - -0.5,
        lambda: elman.concatenate(a - b, -h)[1 : len(a) + 1], lambda: elman.where(elman.greater(a, -b), -a, a - b),
        lambda: elman.maximum(a - b, -np.inf), lambda: elman.minimum(np.inf, a - b),
        lambda: a / (2.0 * (1.0 + b * b)), lambda: a * (b / (1.5 + a * a)), lambda: u @ (a / (2.0 + b * b)),
    )  # fmt: skip
    return forms[rng.integers(len(forms))]()


@pytest.mark.parametrize("seed", range(60))
def test_brackets(seed):
    @cell
    def deep(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
        return tanh(nested(np.random.default_rng(seed), 3, x, h, w, u))

    problem = Problem(deep, seed, steps=3, batch=2, sizes={"input": 2, "hidden": 3})
    assert_same(problem.solve("numpy"), problem.solve("interpreter"))


def test_names_that_the_source_needs_itself():
    """Locals, arguments and parameters named like variables, words and keywords of the emitted module."""

    @cell
    def loop(order, np, len, np_all, *, t=weight("hidden", "input"), sigmoid_=bias("hidden"), v1=bias("hidden"),
             constant_3=weight("hidden", "hidden"), prepare=bias("hidden"), broadcast=bias("hidden")):  # fmt: skip
        before = t @ order + sigmoid_
        after = constant_3 @ np + before
        np_next = tanh(after * prepare + v1)
        finish = sigmoid(np_next) + broadcast * np
        np_all_all = finish * len
        range = np_all_all - np_all
        return finish, range, np_all * 0.5 + finish

    problem = Problem(loop, 1, steps=5, batch=3, tokens=False, sizes={"input": 2, "hidden": 3})
    assert_same(problem.solve("numpy"), problem.solve("interpreter"))


def test_names_of_other_alphabets():
    """A file may hold names that Python reads as one (it normalises a ligature to its letters), and the source must not."""
    builder = Builder("letters")
    x, wide, narrow = (
        builder.leaf("input", "\u03be", (2,)),
        builder.leaf("state", "\ufb01", (2,)),
        builder.leaf("state", "fi", (2,)),
    )
    y = builder.add("multiply", (x, wide), name="\u03ae")
    graph = builder.finish(
        [Result("y", "output", y), Result("\ufb01", "state", narrow), Result("fi", "state", builder.add("add", (y, wide)))]
    )
    problem = Problem(elman.from_graph(graph), 2, steps=4, batch=2, tokens=False)
    assert_same(problem.solve("numpy"), problem.solve("interpreter"))


def test_the_source_is_what_runs():
    rnn = RNN(cells.elman, input=3, hidden=5, dtype="float64")
    x, a = np.random.default_rng(0).standard_normal((4, 3)), np.random.default_rng(1).standard_normal(5)
    module: dict = {}
    exec(rnn.source, module)
    p = rnn.parameters
    (hoisted,) = module["before"](p["wax"], p["ba"], x)
    outputs = np.empty((4, 1, 5))
    waa = np.asfortranarray(p["waa"])  # as the loop is given it
    (last,) = module["loop"](range(4), waa, hoisted[:, None], outputs, a[None])
    y, end = rnn(x, a)
    np.testing.assert_array_equal(outputs[:, 0], y)
    np.testing.assert_array_equal(last[0], end.a)


@pytest.mark.parametrize("target", ["numpy", "interpreter"])
def test_assembly_is_that_of_machine_code(target):
    rnn = RNN(cells.elman, input=3, hidden=5, target=target)
    told = r'^elman: it runs without machine code of its own; target="llvm" makes some$'
    with pytest.raises(elman.SettingError, match=told):
        rnn.assembly  # noqa: B018


# ---------------------------------------------------------------- the table of targets


def test_targets_by_name():
    assert set(TARGETS) >= {"auto", "numpy", "interpreter"}
    assert target("numpy") == NumpyTarget()
    with pytest.raises(elman.SettingError, match="target 'cuda' is unknown; targets are auto, llvm, numpy, interpreter"):
        target("cuda")
