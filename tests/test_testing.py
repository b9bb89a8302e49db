"""The checks that ship for users: they pass what is right, and notice each mistake that is made here on purpose."""

import inspect
import re
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import elman
from elman import CellError, DataError, bias, cell, cells, check_cell, exp, tanh, weight
from elman.declare import state
from elman.gates import GATES
from elman.graph import Builder, Graph
from elman.nodes import LEAVES
from elman.passes import CARRY, SIMPLIFY, lower
from elman.passes.carry import RESET, with_reset
from elman.passes.dead import without_dead
from elman.passes.tokens import tokenise
from elman.program import _program
from elman.rnn import RNN
from elman.targets import Outcome
from elman.targets.numpy import NumpyProgram
from elman.targets.numpy_words import TOTALS, WORDS, Word
from elman.testing import check_gradient, random_cell

FOUR = ("elman", "gru", "gru_reset_before", "lstm")
every_cell = pytest.mark.parametrize("name", FOUR)


@pytest.fixture
def mistakes(monkeypatch):
    """Patches, with no program of the right library left before them and no wrong one after."""
    _program.cache_clear()
    yield monkeypatch
    _program.cache_clear()


def refused(made: elman.Cell, check: str, **sizes) -> str:
    """The message with which a cell fails in the check that is named, and in none before."""
    with pytest.raises(CellError) as caught:
        check_cell(made, **sizes)
    message = str(caught.value)
    assert message.startswith(f"{made.name}: {check}: "), message
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- what is right passes


@pytest.mark.parametrize("seed", [0, 1])
@every_cell
def test_the_cells_pass(name, seed):
    check_cell(getattr(cells, name), seed=seed)


@pytest.mark.parametrize("target", ["numpy", "interpreter"])
@every_cell
def test_the_cells_pass_on_every_target(name, target):
    check_cell(getattr(cells, name), target=target, hidden=2)


@pytest.mark.parametrize("made", [cells.readout, cells.elman_with(elman.relu), cells.readout_with(elman.sigmoid)], ids=str)
def test_maps_and_kinks_pass(made):
    check_cell(made)


@pytest.mark.parametrize("seed", range(100))
def test_random_cells_pass(seed):
    check_cell(random_cell(seed), seed=seed)


@pytest.mark.parametrize("sizes", [{}, {"input": 1, "hidden": 1}, {"hidden": 2}, {"input": 9}])
def test_sizes_can_be_given(sizes):
    check_cell(cells.gru, **sizes)


def test_sizes_differ_where_they_can():
    @cell
    def many(
        x, h, m=state("memory"), *, w=weight("hidden", "input"), v=weight("other", "hidden"), z=weight("more", "other")
    ):
        return z @ (v @ h), tanh(w @ x), m

    check_cell(many)
    (sizes,) = map(dict, many._graphs)
    assert len({*sizes.values()}) == len(sizes) == 5


def test_sizes_that_must_be_equal():
    @cell
    def residual(x, h):
        return tanh(x + h)

    check_cell(residual)
    with pytest.raises(CellError, match=r"residual: `x \+ h<t-1>`: x is \(input=3\), h<t-1> is \(hidden=4\)"):
        check_cell(residual, input=3, hidden=4)


@pytest.mark.parametrize("turned", [False, True])
def test_swapped_rows_and_columns_fit_by_chance_alone(turned):
    @cell
    def swapped(x, h, *, w=weight("input", "hidden"), v=weight("hidden", "input"), u=weight("hidden", "hidden")):
        return tanh((elman.transpose(v) if turned else w) @ x + u @ h)

    with pytest.raises(CellError) as caught:
        check_cell(swapped)
    text, product = str(caught.value), "transpose(v)" if turned else "w"
    assert text.startswith(f"swapped: `{product} @ x`: x has 7 rows, ")
    only = "it fits only where input = hidden; are the rows and columns of a weight swapped?"
    assert text.endswith(f"(input=7, hidden=5); {only}")
    check_cell(swapped, input=5, hidden=5)


def test_sizes_that_must_be_even():
    @cell
    def halves(x, h, *, w=weight("hidden", "input")):
        left, right = elman.split(w @ x + h, 2)
        return elman.concatenate(tanh(left) * right, right)

    check_cell(halves)


def test_values_that_must_be_positive():
    """A cell of logarithms and roots is drawn near its first parameters, and again until all is finite."""

    @cell
    def positive(x, h, *, b=bias("hidden", init=1.0), w=weight("hidden", "input", init=0.5)):
        root = elman.sqrt(h)
        return elman.log(2.0 + b * elman.absolute(w @ x)) + 0.1 * root

    check_cell(positive)


def test_infinities_of_both_sides_agree():
    """A one-hot vector has zeros, whose logarithm is not finite; on tokens it is the same."""

    @cell
    def logarithms(x, h):
        return 0.1 * elman.log(x)[0] + tanh(h)

    check_cell(logarithms)


@pytest.mark.parametrize("made", [None, "lstm", lambda x, h: h])
def test_what_is_no_cell(made):
    with pytest.raises(elman.SettingError, match=r"check_cell: .* is not a cell; make one of a function with @elman.cell"):
        check_cell(made)


def test_a_size_that_the_cell_lacks():
    with pytest.raises(elman.SettingError, match="lstm: sizes are input, hidden; memory is not one of them"):
        check_cell(cells.lstm, memory=3)


def test_it_is_public():
    assert elman.check_cell is check_cell
    assert elman.state("hidden", "memory").shape == ("hidden", "memory")  # and not the module of that name


# ---------------------------------------------------------------- cells that are wrong


def test_equations_that_do_not_fit():
    @cell
    def wrong(x, h, *, w=weight("hidden", "input"), v=weight("hidden", 3)):
        return tanh(w @ x + v @ h)

    with pytest.raises(CellError) as caught:
        check_cell(wrong)
    assert str(caught.value) == "wrong: `v @ h<t-1>`: h<t-1> has 5 rows, v is (hidden=5, 3)"


def test_values_that_are_never_finite():
    @cell
    def infinite(x, h):
        bad = elman.log(-1.0 - h * h)
        return bad + x[0]

    message = refused(infinite, "values")
    assert message == "infinite: values: bad is not finite, whatever the parameters, the input and the state are"


def test_an_equation_that_is_random():
    rng = np.random.default_rng(0)

    @cell
    def random(x, h):
        return tanh(h + x[0]) * rng.random()

    assert re.fullmatch(
        r"random: function on arrays: the output at \(\d,\) is -?[\d.]+, -?[\d.]+ is wanted: [\d.]+ apart",
        refused(random, "function on arrays"),
    )


def test_an_equation_that_asks_whether_it_is_traced():
    @cell
    def sly(x, h):
        return tanh(h + x[0]) * (1.0 if isinstance(h, np.ndarray) else 2.0)

    refused(sly, "function on arrays")


# ---------------------------------------------------------------- gates that are wrong

FORMS = {
    "add": lambda a, b, u, w, x: a + b,
    "subtract": lambda a, b, u, w, x: a - b,
    "multiply": lambda a, b, u, w, x: a * b,
    "divide": lambda a, b, u, w, x: a / (2.0 + b),
    "negate": lambda a, b, u, w, x: -a,
    "maximum": lambda a, b, u, w, x: elman.maximum(a, b),
    "minimum": lambda a, b, u, w, x: elman.minimum(a, b),
    "where": lambda a, b, u, w, x: elman.where(elman.greater(a, b), a, 2.0 * b),
    "sigmoid": lambda a, b, u, w, x: elman.sigmoid(a),
    "tanh": lambda a, b, u, w, x: tanh(a),
    "relu": lambda a, b, u, w, x: elman.relu(a),
    "exp": lambda a, b, u, w, x: a,  # which is one; in another, two wrong signs would make a right one
    "log": lambda a, b, u, w, x: elman.log(2.0 + a),
    "softplus": lambda a, b, u, w, x: elman.softplus(a),
    "sqrt": lambda a, b, u, w, x: elman.sqrt(2.0 + a),
    "absolute": lambda a, b, u, w, x: elman.absolute(a),
    "sin": lambda a, b, u, w, x: elman.sin(a),
    "cos": lambda a, b, u, w, x: elman.cos(a),
    "softmax": lambda a, b, u, w, x: elman.softmax(a),
    "log_softmax": lambda a, b, u, w, x: elman.log_softmax(a),
    "product": lambda a, b, u, w, x: w @ x,
    "outer": lambda a, b, u, w, x: elman.outer(a, b) @ b,
    "transpose": lambda a, b, u, w, x: elman.transpose(u) @ b,
    "sum": lambda a, b, u, w, x: a * elman.sum(b),
    "mean": lambda a, b, u, w, x: a * elman.mean(b),
    "expand": lambda a, b, u, w, x: a * elman.sum(b),
    "slice": lambda a, b, u, w, x: elman.concatenate(a, b)[1 : len(a) + 1],
    "concatenate": lambda a, b, u, w, x: elman.concatenate(a, b)[1 : len(a) + 1],
    "lookup": lambda a, b, u, w, x: w @ x,
    "greater": lambda a, b, u, w, x: elman.greater(a, b) * b,
}
"""For every gate that equations reach, an equation that has it; a product is a look-up where the input is a token."""
NOT_IN_EQUATIONS = {"detach", "one_hot", "cross_entropy", "scatter", "pad", "total"}
"""Put in by passes and by the loss only: `test_gates` sees to their rules."""


def cell_with(gate: str) -> elman.Cell:
    @cell(name=f"with_{gate}")
    def made(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), c=bias("hidden")):
        a, b = exp(0.3 * (w @ x)) - 1.0, exp(0.3 * (u @ h)) - 1.0
        return FORMS[gate](a, b, u, w, x) / 4.0 + c

    return made


def cotangents(gate: str) -> list[int]:
    """The inputs that the gradient rule of a gate gives something for."""
    if gate == "greater":  # a step has none
        return []
    arity = {"where": 3, "concatenate": 2}.get(gate) or GATES[gate].gradient.__code__.co_argcount - 3
    return [k for k in range(arity) if (gate, k) not in {("where", 0), ("lookup", 1)}]


def test_every_gate_is_in_an_equation():
    assert set(FORMS) | NOT_IN_EQUATIONS == set(GATES)
    for gate in set(FORMS) - {"lookup"}:
        assert gate in {node.gate for node in cell_with(gate).graph(input=3, hidden=4).nodes}


@pytest.mark.parametrize("gate", FORMS)
def test_the_cell_of_each_gate_passes(gate):
    check_cell(cell_with(gate))


@pytest.mark.parametrize("factor", [0.0, -1.0])
@pytest.mark.parametrize(("gate", "position"), [(gate, k) for gate in FORMS for k in cotangents(gate)])
def test_a_wrong_gradient_of_a_gate_is_noticed(mistakes, gate, position, factor):
    right = type(GATES[gate]).gradient

    def wrong(self, *arguments, **attributes):
        found = list(right(self, *arguments, **attributes))
        found[position] = found[position] * factor
        return tuple(found)

    mistakes.setattr(type(GATES[gate]), "gradient", wrong)
    message = refused(cell_with(gate), "tokens" if gate == "lookup" else "gradients")
    assert "the gradient for " in message


WORDS_TRIED = [*FORMS, "total", "pad"]


@pytest.mark.parametrize("gate", [gate for gate in WORDS_TRIED if gate != "expand"])
def test_a_wrong_word_of_the_target_is_noticed(mistakes, gate):
    """Off by one in ten thousand."""
    right = WORDS[gate]
    mistakes.setitem(WORDS, gate, lambda *given: Word(f"({right(*given).text}) * 1.0001", 2))
    check = {"lookup": "tokens", "total": "gradients", "pad": "gradients"}.get(gate, "target against interpreter")
    made = cell_with({"total": "add", "pad": "slice"}.get(gate, gate))
    assert "apart" in refused(made, check) or check == "gradients"


@pytest.mark.parametrize(("gate", "check"), [("outer", "gradients"), ("scatter", "tokens")])
def test_a_wrong_total_of_the_target_is_noticed(mistakes, gate, check):
    right = TOTALS[gate]
    mistakes.setitem(TOTALS, gate, lambda *given: Word(f"({right(*given).text}) * 1.0001", 2))
    refused(cells.gru, check)


def test_a_word_that_is_no_python_is_told_in_one_line(mistakes):
    mistakes.setitem(WORDS, "tanh", lambda *_: Word("np.tanh(("))
    assert "SyntaxError" in refused(cells.elman, "values")


def test_a_target_that_fails_is_told_in_one_line(mistakes):
    def run(self, *_, **__):
        raise ZeroDivisionError("of the target")

    mistakes.setattr(NumpyProgram, "run", run)
    assert refused(cells.elman, "values") == "elman: values: ZeroDivisionError: of the target"


# ---------------------------------------------------------------- passes that are wrong


def rebuilt(graph: Graph, change) -> Graph:
    """The graph with some nodes changed: `change(builder, node, inputs)` gives an index, or None for a plain copy."""
    builder, new = Builder(graph.name, notes=graph.notes), []
    for node in graph.nodes:
        inputs = tuple(new[i] for i in node.inputs)
        index = change(builder, node, inputs)
        new.append(builder.copy(node, inputs) if index is None else index)
    return builder.finish(replace(r, node=new[r.node]) for r in graph.results)


def lose_a_term(graph: Graph) -> Graph:
    return rebuilt(graph, lambda _, node, inputs: inputs[0] if node.gate == "add" and node.name else None)


def swap_slices(graph: Graph) -> Graph:
    def change(builder, node, inputs):
        rows = node.shape[0] if node.shape else 0
        if node.gate != "slice" or node.settings["start"] not in (0, rows):
            return None
        start = rows - node.settings["start"]
        return builder.add("slice", inputs, (("start", int(start)), ("stop", int(start + rows))), node.name)

    return rebuilt(graph, change)


def swap_states(graph: Graph) -> Graph:
    states = graph.named("state")
    other = dict(zip(states, reversed(states.values()), strict=True))
    return replace(graph, results=tuple(replace(r, node=other[r.name]) if r.role == "state" else r for r in graph.results))


def forget_the_state(graph: Graph) -> Graph:
    return replace(
        graph,
        results=tuple(replace(r, node=graph.leaves("state")[r.name]) if r.role == "state" else r for r in graph.results),
    )


@pytest.mark.parametrize("wrong", [lose_a_term, swap_slices, swap_states, forget_the_state])
def test_a_wrong_pass_is_noticed(mistakes, wrong):
    mistakes.setattr("elman.passes.SIMPLIFY", (*SIMPLIFY, wrong, without_dead))
    refused(cells.elman if wrong is lose_a_term else cells.lstm, "target against interpreter")


def states_run_on(right: Outcome, full: Outcome, inputs) -> Outcome:
    return replace(right, states=full.states)


def outputs_run_on(right: Outcome, full: Outcome, inputs) -> Outcome:
    return replace(right, outputs=full.outputs)


def all_runs_on(right: Outcome, full: Outcome, inputs) -> Outcome:
    return full


def padding_resets(right: Outcome, full: Outcome, inputs) -> Outcome:
    """A reset past the end, which random resets always have, reaches the state that is returned."""
    anew = inputs[RESET].any(0) if RESET in inputs else np.zeros(1, dtype=bool)
    return replace(right, states={n: np.where(anew[:, None], 0.0, state) for n, state in right.states.items()})


def unsorted(right: Outcome, full: Outcome, inputs) -> Outcome:
    """States come back in another order than they went in."""
    return replace(right, states={n: state[::-1] for n, state in right.states.items()})


@pytest.mark.parametrize("wrong", [states_run_on, outputs_run_on, all_runs_on, padding_resets, unsorted])
@every_cell
def test_wrong_lengths_are_noticed(mistakes, name, wrong):
    run = NumpyProgram.run

    def mistaken(self, prepared, inputs, states, *, lengths=None, **way):
        right = run(self, prepared, inputs, states, lengths=lengths, **way)
        return right if lengths is None else wrong(right, run(self, prepared, inputs, states, **way), inputs)

    mistakes.setattr(NumpyProgram, "run", mistaken)
    refused(getattr(cells, name), "padded batch")


def test_sums_over_the_padding_are_noticed(mistakes):
    run = NumpyProgram.run

    def mistaken(self, prepared, inputs, states, *, lengths=None, **way):
        right = run(self, prepared, inputs, states, lengths=lengths, **way)
        return replace(right, sums=run(self, prepared, inputs, states, **way).sums)

    mistakes.setattr(NumpyProgram, "run", mistaken)
    refused(cells.gru, "gradients")


def test_a_reset_that_does_nothing_is_noticed(mistakes):
    def nothing(graph):
        return rebuilt(with_reset(graph), lambda _, node, inputs: inputs[2] if node.gate == "where" else None)

    assert RESET in nothing(cells.gru.graph(input=3, hidden=4)).leaves("input")
    mistakes.setitem(CARRY, "reset", nothing)
    refused(cells.gru, "reset")


def test_a_reset_of_one_state_alone_is_noticed(mistakes):
    def first(graph):
        def change(builder, node, inputs):
            return inputs[2] if node.gate == "where" and builder.nodes[inputs[2]].name == "c" else None

        return rebuilt(with_reset(graph), change)

    mistakes.setitem(CARRY, "reset", first)
    refused(cells.lstm, "reset")


def test_a_wrong_token_pass_is_noticed(mistakes):
    def negated(graph):
        return rebuilt(
            tokenise(graph),
            lambda b, node, inputs: b.add("negate", (b.copy(node, inputs),)) if node.gate == "lookup" else None,
        )

    mistakes.setattr("elman.passes.tokenise", negated)
    refused(cells.lstm, "tokens")


@pytest.mark.parametrize("lost", [0, -1])
def test_a_gradient_that_loses_a_contribution_is_noticed(mistakes, lost):
    module = sys.modules["elman.passes.differentiate"]
    right = module._added
    mistakes.setattr(
        module, "_added", lambda builder, found: right(builder, found[:-1] if lost and len(found) > 1 else found[-1:])
    )
    assert "the gradient for" in refused(cells.lstm, "gradients")


# ---------------------------------------------------------------- a layer that is wrong


def test_a_step_that_forgets_the_state_is_noticed(mistakes):
    right = RNN.step
    mistakes.setattr(RNN, "step", lambda self, x, state=None: right(self, x))
    refused(cells.gru, "step by step")


def test_chunks_that_start_anew_are_noticed(mistakes):
    right = RNN.__call__

    def call(self, x, state=None, *rest, **asked):
        return right(self, x, None if x.shape[1:2] == (2,) and not asked else state, *rest, **asked)

    mistakes.setattr(RNN, "__call__", call)
    refused(cells.gru, "chunks")


def test_a_value_under_a_wrong_name_is_noticed(mistakes):
    right = RNN.inspect

    def swapped(self, *given, **asked):
        found = right(self, *given, **asked)
        return found | {"r": found["z"], "z": found["r"]}

    mistakes.setattr(RNN, "inspect", swapped)
    assert "interpreter: r at " in refused(cells.gru, "target against interpreter")


def test_a_graph_that_loses_names_in_json_is_noticed(mistakes):
    right = Graph.to_json

    def to_json(self):
        data = right(self)
        return data | {
            "nodes": [{key: node[key] for key in node if key != "name" or node["gate"] in LEAVES} for node in data["nodes"]]
        }

    mistakes.setattr(Graph, "to_json", to_json)
    assert refused(cells.gru, "graph through json") == "gru: graph through json: the graph that comes back is another"


# ---------------------------------------------------------------- gradients of anything


def cubes(at) -> float:
    return float(np.sum(at["a"] ** 3) * at["b"][0])


POINT = {"a": np.array([1.0, -2.0, 0.5]), "b": np.array([2.0])}
RIGHT = {"a": 6.0 * POINT["a"] ** 2, "b": np.array([np.sum(POINT["a"] ** 3)])}


def test_a_right_gradient_passes():
    check_gradient(cubes, RIGHT, POINT)
    check_gradient(cubes, {"a": RIGHT["a"]}, POINT)


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("factor", [0.0, -1.0, 1.0 + 1e-5])
def test_a_wrong_gradient_is_noticed(name, factor):
    with pytest.raises(CellError, match=f"the gradient for {name} gives a slope of "):
        check_gradient(cubes, RIGHT | {name: RIGHT[name] * factor}, POINT)


def test_the_tolerance_can_be_given():
    check_gradient(cubes, RIGHT | {"a": RIGHT["a"] * 1.00001}, POINT, tolerance=1e-4)


def test_nan_is_no_gradient():
    with pytest.raises(CellError, match="the gradient for a gives a slope of nan"):
        check_gradient(cubes, RIGHT | {"a": RIGHT["a"] * np.nan}, POINT)


def test_a_gradient_of_0_passes():
    check_gradient(lambda at: 5.0, {"a": np.zeros(3)}, POINT)
    with pytest.raises(CellError):
        check_gradient(lambda at: 5.0, {"a": np.full(3, 1e-9)}, POINT)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_shapes_of_any_rank(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    check_gradient(lambda at: float(np.sum(np.sin(at["x"]))), {"x": np.cos(x)}, {"x": x})


@pytest.mark.parametrize("function", [np.abs, np.sign, lambda x: np.maximum(x, 3.0 * x)])
def test_a_kink_or_a_jump_is_told(function):
    with pytest.raises(DataError, match="the function is not smooth at this point"):
        check_gradient(lambda at: float(np.sum(function(at["x"]))), {"x": np.ones(1)}, {"x": np.zeros(1)})


@pytest.mark.parametrize("distance", [2e-3, 3e-4, 1e-4])
def test_a_kink_nearby_makes_the_step_smaller(distance):
    x = np.array([distance, -distance])
    check_gradient(lambda at: float(np.sum(np.abs(at["x"]) * 1.7)), {"x": 1.7 * np.sign(x)}, {"x": x})


def test_kinks_of_a_cell_are_avoided():
    """At the first point that is drawn a unit stands at its kink; at another none does."""

    @cell
    def kinked(x, h, *, w=weight("hidden", "input"), b=bias("hidden", init=lambda rng, shape: np.zeros(shape))):
        return elman.relu(w @ x + h) + elman.absolute(b)

    drawn = sys.modules["elman.testing"]._drawn
    calls = []

    def at_the_kink(*given):
        p = drawn(*given)
        calls.append(given)
        if len(calls) == 1:
            p.rnn.update({"b": np.zeros(5)})
        return p

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elman.testing._drawn", at_the_kink)
        check_cell(kinked)
    assert len(calls) == 2


def test_a_cell_that_is_nowhere_smooth():
    @cell
    def rough(x, h):
        return elman.sin(1e9 * x[0]) + h

    assert "not smooth" in refused(rough, "gradients")


# ---------------------------------------------------------------- random cells


def test_one_seed_gives_one_cell():
    assert [random_cell(seed).__doc__ for seed in range(20)] == [random_cell(seed).__doc__ for seed in range(20)]
    assert len({str(random_cell(seed).__doc__) for seed in range(50)}) == 50


def test_its_docstring_is_its_source():
    made = random_cell(7)
    assert made.__doc__.startswith("def random_7(x=state('input')")
    assert made.graph(**dict.fromkeys(made.sizes, 3)).notes == inspect.cleandoc(made.__doc__)


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    sizes = {"input": 3, "hidden": 4, "memory": 2}
    return [made.graph(**{n: sizes[n] for n in made.sizes}) for made in map(random_cell, range(300))]


def test_random_cells_use_every_gate(graphs):
    """Each often, also where it reaches a result, and is differentiated."""
    used = Counter(node.gate for graph in graphs for node in without_dead(graph).nodes)
    for gate in FORMS:
        assert used[gate] >= 5 or gate == "lookup", gate
    assert Counter(node.gate for graph in graphs for node in lower(graph, tokens=True).nodes)["lookup"] > 50


def test_random_cells_are_of_every_kind(graphs):
    """States of any number and size, other outputs than states, values unused or passed on, new states of no state."""
    kinds = Counter()
    for graph in graphs:
        states, new = graph.leaves("state"), graph.named("state")
        uses = [graph.uses[index] for index, node in enumerate(graph.nodes) if node.gate in GATES]
        kinds[f"{len(states)} states"] += 1
        kinds.update({f"a state of {len(graph.nodes[index].shape)} axes" for index in states.values()})
        kinds["states of different sizes"] += len({graph.nodes[index].shape for index in states.values()}) > 1
        kinds["an output that is no state"] += not set(graph.named("output").values()) & set(new.values())
        kinds["a state passed on"] += any(new[name] == index for name, index in states.items())
        kinds["a new state that is a parameter"] += any(graph.nodes[index].gate == "parameter" for index in new.values())
        kinds["a value used three times"] += any(len(use) > 2 for use in uses)
        kinds["a value unused"] += len(without_dead(graph).nodes) < len(graph.nodes)
        kinds["a constant array"] += any(node.gate == "constant" and node.shape for node in graph.nodes)
        kinds["an unused parameter"] += any(not graph.uses[i] for i in graph.leaves("parameter").values())
    assert min(kinds.values()) >= 3, kinds
    assert set(kinds) >= {f"{k} states" for k in range(4)} | {"a state of 1 axes", "a state of 2 axes"}
