"""Every pass: the graph before and after computes the same, and is of the form that the pass promises.

The texts in `goldens/` are compared letter by letter; `ELMAN_GOLDENS=write pytest tests/test_passes.py` makes them anew.
"""

import os
import re
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import elman
from elman import bias, cell, cells, exp, relu, sigmoid, softmax, tanh, weight
from elman.declare import state
from elman.errors import CellError, SettingError
from elman.graph import Builder, Graph
from elman.nodes import LEAVES, Result
from elman.passes import SIMPLIFY, differentiate, lower, schedule
from elman.passes.carry import CUT, RESET, with_reset, with_truncation
from elman.passes.dead import without_dead
from elman.passes.dependence import dependence
from elman.passes.factor import factor
from elman.passes.keep import keep
from elman.passes.merge import merge
from elman.passes.reorder import reorder
from elman.passes.schedule import PHASES, Plan
from elman.passes.tokens import tokenise
from elman.program import Asked, Program, program
from elman.targets.interpreter import interpret
from elman.testing import check_gradient, random_cell

GOLDENS = Path(__file__).parent / "goldens"
SIZES = {"input": 3, "hidden": 4, "memory": 2}
FOUR = ("elman", "gru", "gru_reset_before", "lstm")
GRAPHS = [*FOUR, *range(40)]
every_graph = pytest.mark.parametrize("which", GRAPHS)
every_cell = pytest.mark.parametrize("name", FOUR)
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # random cells overflow where nobody looks


@cache
def graph_of(which: str | int) -> Graph:
    made = random_cell(which) if isinstance(which, int) else getattr(cells, which)
    return made.graph(**{name: SIZES[name] for name in made.sizes})


def random_leaves(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """A random value for every leaf, by name."""
    rng = np.random.default_rng(seed)
    leaves = {}
    for node in graph.nodes:
        if node.gate == "token":
            leaves[node.name] = int(rng.integers(node.settings["size"]))
        elif node.gate in LEAVES and node.gate != "constant":
            leaves[node.name] = rng.standard_normal(node.shape)
    return leaves


def results(graph: Graph, leaves) -> dict[tuple[str, str], np.ndarray]:
    """What one step gives, by role and name."""
    values = interpret(graph, leaves)
    return {(result.role, result.name): np.asarray(values[result.node]) for result in graph.results}


def assert_same(got, expected) -> None:
    assert got.keys() >= expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-12, atol=1e-12, err_msg=str(key))


def gates(graph: Graph) -> list[str]:
    return [node.gate for node in graph.nodes if node.gate not in LEAVES]


def in_phase(plan: Plan, phase: str) -> list[str]:
    return [plan.graph.nodes[index].gate for index in plan.nodes(phase)]


def compiled(name: str, **asked) -> Program:
    return program(getattr(cells, name).graph(input=3, hidden=5), Asked(**asked), "float64", "numpy")


# ---------------------------------------------------------------- before and after


@pytest.mark.parametrize("rewrite", [*dict.fromkeys(SIMPLIFY), lower], ids=lambda rewrite: rewrite.__name__)
@every_graph
def test_a_pass_changes_no_value(which, rewrite):
    graph = graph_of(which)
    after, leaves = rewrite(graph), random_leaves(graph)
    assert_same(results(after, leaves), results(graph, leaves))
    assert [(r.role, r.name) for r in after.results] == [(r.role, r.name) for r in graph.results]
    for kind in LEAVES[:-1]:
        assert list(after.leaves(kind)) == list(graph.leaves(kind))


@pytest.mark.parametrize("rewrite", [*dict.fromkeys(SIMPLIFY), lower], ids=lambda rewrite: rewrite.__name__)
@every_graph
def test_a_pass_changes_no_gradient(which, rewrite):
    """The backward graph is a graph like any other."""
    backward = differentiate(graph_of(which)).backward
    leaves = random_leaves(backward)
    assert_same(results(rewrite(backward), leaves), results(backward, leaves))


@every_graph
def test_keep(which):
    graph = graph_of(which)
    kept, leaves = keep(graph, graph.values), random_leaves(graph)
    values, found = interpret(graph, leaves), results(kept, leaves)
    assert_same(found, {("output", name): values[index] for name, index in graph.values.items()})
    assert_same(results(lower(graph, keeping=graph.values), leaves), found)


def test_keep_of_an_unknown_name():
    with pytest.raises(SettingError) as caught:
        keep(graph_of("lstm"), ["c", "forget"])
    assert str(caught.value) == "lstm: there is no value 'forget'; values are i, f, g, o, c, h"


@every_graph
def test_tokens_are_one_hot_vectors(which):
    graph = graph_of(which)
    tokens = tokenise(graph)
    assert_same(results(lower(graph, tokens=True), leaves := random_leaves(tokens)), results(tokens, leaves))
    for token in range(SIZES["input"]):
        found = results(tokens, leaves | {"x": token})
        assert_same(found, results(graph, leaves | {"x": np.eye(SIZES["input"])[token]}))


@every_graph
def test_all_asked_at_once(which):
    """Reset, truncation, tokens and values to keep, in the one graph that is run."""
    graph = graph_of(which)
    asked = lower(graph, carry=("reset", "truncate"), tokens=True, keeping=graph.values)
    leaves = random_leaves(asked) | {RESET: 0.0, CUT: 1.0}
    expected = results(keep(graph, graph.values), leaves | {"x": np.eye(SIZES["input"])[leaves["x"]]})
    assert_same(results(asked, leaves), expected)


# ---------------------------------------------------------------- how the state is carried


@pytest.mark.parametrize("flag", [0.0, 1.0])
@every_graph
def test_reset(which, flag):
    graph = graph_of(which)
    leaves = random_leaves(graph)
    before = {name: np.zeros_like(leaves[name]) if flag else leaves[name] for name in graph.leaves("state")}
    assert_same(results(with_reset(graph), leaves | {RESET: flag}), results(graph, leaves | before))


@pytest.mark.parametrize("flag", [0.0, 1.0])
@every_graph
def test_truncation_changes_no_value(which, flag):
    graph = graph_of(which)
    leaves = random_leaves(graph)
    assert_same(results(with_truncation(graph), leaves | {CUT: flag}), results(graph, leaves))


@pytest.mark.parametrize("carry", [names for n in range(3) for names in combinations(("reset", "truncate"), n)])
def test_only_the_flags_asked_for_are_inputs(carry):
    names = {"reset": RESET, "truncate": CUT}
    assert set(lower(graph_of("gru"), carry=carry).leaves("input")) == {"x"} | {names[rule] for rule in carry}


def test_carry_rules_do_nothing_to_a_map():
    graph = cells.readout.graph(hidden=4, output=3)
    for rewrite in (with_reset, with_truncation):
        assert gates(rewrite(graph)) == gates(graph)


# ---------------------------------------------------------------- differentiate


def gradient_of_one_step(graph: Graph, leaves, weights):
    """Gradients for all vector inputs, states and parameters of the sum of weights times results."""
    derived = differentiate(graph)
    assert_same(results(derived.forward, leaves), results(graph, leaves))
    forward = results(derived.forward, leaves)
    given = {name: leaves[name] if name in leaves else forward["output", name] for name in derived.kept}
    given |= {f"d_output_{name}": w for (role, name), w in weights.items() if role == "output"}
    given |= {f"d_{name}": w for (role, name), w in weights.items() if role == "state"}
    found = results(derived.backward, leaves | given)
    assert set(derived.backward.leaves("input")) <= set(given)
    for name in graph.leaves("parameter"):  # one that reaches no result has no entry
        found.setdefault(("sum", name), np.zeros_like(leaves[name]))
    return {name if role == "sum" else name.removeprefix("d_"): value for (role, name), value in found.items()}


def check_one_step(graph: Graph, flags, seed: int = 0) -> None:
    """Kinks are rare: at one of three points there is none."""
    for attempt in range(3):
        leaves = random_leaves(graph, seed + attempt) | flags
        rng = np.random.default_rng(seed)
        weights = {key: rng.standard_normal(value.shape) for key, value in results(graph, leaves).items()}
        found = gradient_of_one_step(graph, leaves, weights)
        point = {name: leaves[name] for kind in ("input", "state", "parameter") for name in graph.leaves(kind)}
        point = {name: value for name, value in point.items() if name not in flags}
        assert set(found) == set(point)

        def loss(at, leaves=leaves, weights=weights):
            return sum(float(np.sum(weights[key] * value)) for key, value in results(graph, leaves | dict(at)).items())

        try:
            return check_gradient(loss, found, point)
        except elman.DataError:
            continue
    raise AssertionError("no smooth point")


@every_graph
def test_differentiate(which):
    check_one_step(graph_of(which), {})
    check_one_step(lower(graph_of(which)), {})


@pytest.mark.parametrize("flag", [0.0, 1.0])
@pytest.mark.parametrize("which", [*FOUR, *range(10)])
def test_differentiate_with_reset(which, flag):
    check_one_step(lower(graph_of(which), carry=("reset",)), {RESET: flag})


@every_cell
def test_no_gradient_passes_a_cut(name):
    graph = lower(graph_of(name), carry=("truncate",))
    leaves = random_leaves(graph)
    weights = {key: np.ones_like(value) for key, value in results(graph, leaves).items()}
    whole = gradient_of_one_step(graph_of(name), leaves, weights)
    for flag in (0.0, 1.0):
        found = gradient_of_one_step(graph, leaves | {CUT: flag}, weights)
        for key, value in whole.items():
            cut = flag and key in graph.leaves("state")
            np.testing.assert_allclose(found[key], 0.0 * value if cut else value, rtol=1e-12, atol=1e-12)
            assert np.abs(value).max() > 1e-3


def test_kept_values_have_names_of_their_own():
    """A cell may call its input, its states and its values as the backward graph would."""

    @cell
    def names(kept_7, d_h, *, d_x=weight("hidden", "input"), kept_3=bias("hidden")):
        kept_5 = tanh(d_x @ kept_7 + kept_3)
        kept_6 = kept_5 * exp(kept_5) * d_h
        return kept_6 * kept_5

    graph = names.graph(input=3, hidden=4)
    for tokens in (False, True):
        check = lower(graph, tokens=tokens)
        derived = differentiate(check)
        assert len(set(derived.kept)) == len(derived.kept)
        outputs = [result.name for result in derived.forward.results if result.role == "output"]
        assert len(set(outputs)) == len(outputs)
    check_one_step(graph, {})


def test_parts_are_laid_side_by_side():
    """The gradient of four slices that make up a vector is one concatenation, without a pad or an addition."""
    backward = lower(differentiate(lower(graph_of("lstm"))).backward)
    assert gates(backward).count("concatenate") == 3  # the gradient, and the two stacks of weights
    assert "pad" not in gates(backward)


# ---------------------------------------------------------------- dependence


def test_dependence():
    @cell
    def made(x, h, *, w=weight("hidden", "input"), b=bias("hidden"), v=weight("hidden", "hidden")):
        shared = exp(b)
        hoisted = w @ x
        h = tanh(hoisted + shared * h)
        sunk = v @ h
        return sunk, h

    graph = made.graph(input=3, hidden=4)
    facts, at = dependence(graph), graph.values
    table = {name: (facts.shared[i], facts.reached[i], facts.feeds[i]) for name, i in at.items()}
    assert table == {
        "shared": (True, False, True),
        "hoisted": (False, False, True),
        "h": (False, True, True),
        "sunk": (False, True, False),
    }
    assert not any(facts.totalled)


# ---------------------------------------------------------------- factor


@cell
def divided(x, h, *, w=weight("hidden", "input"), g=bias("hidden"), s=bias(1)):
    """By a number of the step, by one of the parameters, and by a vector."""
    z = w @ x + h
    centred = z - elman.mean(z)
    normal = centred / elman.sqrt(elman.mean(centred * centred) + 0.1)
    return normal / exp(s[0]) + z / (2 + g * g)


def divisors(graph: Graph) -> list[bool]:
    """For every division of a vector whether a number divides it."""
    nodes = graph.nodes
    return [nodes[n.inputs[1]].gate == "expand" for n in nodes if n.gate == "divide" and n.shape]


def test_a_number_divides_no_element():
    graph = divided.graph(input=3, hidden=4)
    assert sorted(divisors(graph)) == [False, True, True]
    assert divisors(factor(graph)) == [False]
    assert "normal" in factor(graph).values
    leaves = random_leaves(graph)
    assert_same(results(factor(graph), leaves), results(graph, leaves))
    backward = lower(differentiate(lower(graph)).backward)
    assert set(divisors(backward)) == {False}
    check_one_step(lower(graph), {})


@pytest.mark.parametrize("summed", [elman.sum, elman.mean])
def test_a_sign_leaves_a_sum(summed):
    """Which changes no bit, unlike what else could leave one."""

    @cell
    def signs(x, h, *, b=bias("hidden")):
        less = -(h * b)
        return less + summed(less)

    graph = signs.graph(input=3, hidden=7)
    after, leaves = factor(graph), random_leaves(graph)
    [index] = (i for i, node in enumerate(after.nodes) if node.gate in ("sum", "mean"))
    assert after.nodes[after.nodes[index].inputs[0]].gate == "multiply"
    for key, wanted in results(graph, leaves).items():
        np.testing.assert_array_equal(results(after, leaves)[key], wanted)


# ---------------------------------------------------------------- remake


def kept_by(graph: Graph) -> list[str]:
    """The gates whose values go from the forward to the backward direction."""
    derived = differentiate(graph)
    outputs = derived.forward.named("output")
    return sorted(graph.nodes[outputs[name]].gate for name in derived.kept if name in outputs)


def test_light_values_are_made_again():
    """Of mgu f, n and the last h are brought, 1 - f and f h are not; of a normalised vector what is centred, and numbers."""
    graph = lower(cells.mgu.graph(input=3, hidden=4))
    assert kept_by(graph) == ["sigmoid", "state", "tanh"]
    check_one_step(graph, {})
    graph = lower(divided.graph(input=3, hidden=4))
    assert kept_by(graph) == ["divide", "divide", "sqrt", "subtract"], "one of these divisions is of a vector by a vector"


def test_values_made_again_are_made_of_values_made_again():
    @cell
    def chained(x, h, *, w=weight("hidden", "input")):
        n = tanh(w @ x)
        inner = n * h
        outer = inner - n
        return inner * outer * sigmoid(outer * n)

    graph = lower(chained.graph(input=3, hidden=4))
    assert kept_by(graph) == ["sigmoid", "state", "tanh"]
    check_one_step(graph, {})


def test_what_a_product_or_an_activation_made_is_brought():
    @cell
    def heavy(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
        p, q = w @ x, exp(h)
        return p * q * (u @ (p + q))

    assert kept_by(lower(heavy.graph(input=3, hidden=4))) == ["exp", "product", "product"]


# ---------------------------------------------------------------- reorder


def test_reorder_leaves_one_addition_of_what_is_hoisted():
    plan = schedule(lower(graph_of("elman")))
    assert in_phase(plan, "before") == ["product", "add"]
    assert in_phase(plan, "loop") == ["product", "add", "tanh"]
    state_before, waa = plan.graph.leaves("state")["a"], plan.graph.leaves("parameter")["waa"]
    assert plan.needs("loop") == sorted([state_before, waa, plan.nodes("before")[-1]])


@every_cell
def test_reorder_puts_one_hoisted_term_into_each_sum_of_the_loop(name):
    plan = schedule(lower(graph_of(name)))
    nodes, hoisted, found = plan.graph.nodes, set(plan.nodes("before")), 0
    for index in plan.nodes("loop"):
        node = nodes[index]
        if node.gate == "add" and set(node.inputs) & hoisted:
            (other,) = set(node.inputs) - hoisted
            assert nodes[other].gate != "add", "a sum of the loop holds another, beside a hoisted term"
            found += 1
    assert found == {"elman": 1, "gru": 3, "gru_reset_before": 3, "lstm": 4}[name]


def test_reorder_puts_shared_terms_first_then_the_input_then_the_state():
    @cell
    def sums(x, h, *, u=weight("hidden", "hidden"), w=weight("hidden", "input"), b=bias("hidden"), d=bias("hidden")):
        h = tanh(((u @ h + b) + w @ x) + (h + d))
        return h

    after = str(without_dead(reorder(sums.graph(input=3, hidden=4))))
    assert "h = tanh(b + d + w @ x + u @ h<t-1> + h<t-1>)" in after


def test_reorder_keeps_names_and_sums_used_twice():
    @cell
    def sums(x, h, *, w=weight("hidden", "input"), b=bias("hidden")):
        inner = h + w @ x
        outer = inner + b
        return tanh(outer) * inner

    graph = reorder(sums.graph(input=3, hidden=4))
    assert {"inner", "outer"} <= set(graph.values)
    leaves = random_leaves(graph)
    np.testing.assert_allclose(
        interpret(graph, leaves)[graph.values["inner"]], leaves["h"] + leaves["w"] @ leaves["x"], rtol=1e-14
    )


# ---------------------------------------------------------------- merge


@pytest.mark.parametrize(("name", "products"), [("elman", 2), ("gru", 2), ("gru_reset_before", 3), ("lstm", 2)])
def test_products_of_one_vector_become_one(name, products):
    graph = graph_of(name)
    weights = sum(len(node.shape) == 2 for node in graph.nodes if node.gate == "parameter")
    assert gates(graph).count("product") == weights
    assert gates(lower(graph)).count("product") == products


def test_a_product_that_feeds_no_state_is_not_merged_into_the_loop():
    @cell
    def two(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), v=weight(3, "hidden"), z=weight(3, "input")):
        return v @ h + z @ x, tanh(w @ x + u @ h)

    plan = schedule(lower(two.graph(input=3, hidden=4)))
    assert (plan.multiplications("loop"), plan.multiplications("after")) == (16, 12)
    assert in_phase(plan, "loop").count("product") == in_phase(plan, "after").count("product") == 1


def test_only_products_of_shared_matrices_are_merged():
    @cell
    def matrices(x, m=state("hidden", "input"), n=state("hidden", "input"), *, w=weight("hidden", "input")):
        return m @ x + n @ x + w @ x, m, n

    graph = matrices.graph(input=3, hidden=4)
    assert gates(merge(graph)).count("product") == 3
    assert "concatenate" not in gates(merge(graph))


# ---------------------------------------------------------------- without_dead


def test_dead_code_goes_and_leaves_stay():
    @cell
    def wasteful(x, h, k, *, w=weight("hidden", "input"), unused=weight("hidden", "hidden"), b=bias("hidden")):
        dead = unused @ h
        deader = exp(dead) * 0.5
        alive = w @ x
        more = relu(deader)  # noqa: F841
        return tanh(alive), k

    graph = wasteful.graph(input=3, hidden=4)
    after = without_dead(graph)
    assert gates(after) == ["product", "tanh"]
    assert set(graph.values) - set(after.values) == {"dead", "deader", "more"}
    assert list(after.leaves("parameter")) == ["w", "unused", "b"]
    assert list(after.leaves("state")) == ["h", "k"]
    assert not after.leaves("constant")
    assert without_dead(after) == after


# ---------------------------------------------------------------- tokens


@every_cell
def test_a_token_needs_no_product_with_the_input(name):
    graph = lower(graph_of(name), tokens=True)
    assert not graph.leaves("input")
    assert gates(graph).count("lookup") == 1
    assert "one_hot" not in gates(graph)
    plan = schedule(graph)
    assert plan.multiplications("before") == 0
    assert plan.multiplications("loop") == schedule(lower(graph_of(name))).multiplications("loop")


@every_cell
def test_the_gradient_of_a_token_is_scattered(name):
    made = compiled(name, tokens=True, gradient=True)
    plan, weights = made.backward_plan, made.plan.graph.leaves("parameter").values()
    assert gates(plan.graph).count("scatter") == 1
    (scatter,) = (i for i, node in enumerate(plan.graph.nodes) if node.gate == "scatter")
    assert plan.phases[scatter] == "", "never made, only its total"
    squares = sum(int(made.plan.graph.nodes[i].shape == (5, 5)) for i in weights)
    assert plan.multiplications("after") == squares * 25  # recurrent weights only
    assert not [name for name in plan.graph.named("output") if name == "d_x"]


def test_a_token_used_elsewhere_is_one_hot_there():
    @cell
    def mixed(x, h, *, w=weight("hidden", "input")):
        return tanh(w @ x) * h[0] + elman.sum(x * x) * h

    graph = tokenise(mixed.graph(input=3, hidden=4))
    assert gates(graph).count("lookup") == gates(graph).count("one_hot") == 1


def test_tokens_stand_for_vectors_only():
    builder = Builder("number")
    x = builder.leaf("input", "x", ())
    with pytest.raises(CellError, match="number: the input x is no vector, so tokens cannot stand for it"):
        tokenise(builder.finish([Result("y", "output", builder.add("tanh", (x,)))]))


# ---------------------------------------------------------------- schedule


def test_every_phase():
    @cell
    def phases(x, h, *, w=weight("hidden", "input"), b=bias("hidden"), v=weight("output", "hidden")):
        scale = exp(b)
        seen = scale * (w @ x)
        h = tanh(seen * h)
        return softmax(v @ h), h

    plan = schedule(lower(phases.graph(input=3, hidden=4, output=2)))
    assert {phase: in_phase(plan, phase) for phase in PHASES} == {
        "prepare": ["exp"],
        "before": ["product", "multiply"],
        "loop": ["multiply", "tanh"],
        "after": ["product", "softmax"],
        "finish": [],
    }
    names = {node.name: i for i, node in enumerate(plan.graph.nodes) if node.name and node.gate != "state"}
    assert plan.gives("prepare") == [names["scale"]]
    assert plan.gives("before") == [names["seen"]]
    assert plan.gives("loop") == [names["h"]]
    assert plan.needs("after") == sorted([names["v"], names["h"]])
    assert [plan.multiplications(phase) for phase in PHASES] == [0, 12, 0, 8, 0]
    assert plan.recurrent
    assert str(plan) == (
        "plan of phases, for a step of one example\n"
        "          products  multiplications     operations     bytes read\n"
        "  prepare        0                0              0              0 once\n"
        "    1 exp\n"
        "  before         1               12             24             48 a chunk\n"
        "    1 product, 1 multiply\n"
        "  loop           0                0              0              0 a step\n"
        "    1 multiply, 1 tanh\n"
        "  after          1                8             16             32 a chunk\n"
        "    1 product, 1 softmax"
    )


@pytest.mark.parametrize("merging", [True, False])
@pytest.mark.parametrize(("name", "gates"), [("elman", 1), ("gru", 3), ("lstm", 4)])
def test_what_a_plan_counts_by_hand(name, gates, merging):
    """Merged or not, the same numbers are multiplied and the same bytes read; only products are fewer."""
    plan = schedule(lower(cells.CELLS[name].graph(input=3, hidden=5), merging=merging), 8)
    assert [len(plan.products(phase)) for phase in ("before", "loop")] == [1 if merging else gates] * 2
    assert [plan.multiplications(phase) for phase in ("before", "loop")] == [gates * 15, gates * 25]
    assert [plan.bytes_read(phase) for phase in PHASES] == [0, gates * 15 * 8, gates * 25 * 8, 0, 0]
    assert plan.bytes_read("before", "loop") == gates * 40 * 8


def test_a_matrix_that_two_products_meet_is_read_once():
    @cell
    def twice(x, h, m=state("hidden", "hidden"), *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
        return tanh(w @ x + u @ tanh(u @ h) + m @ h), m

    plan = schedule(lower(twice.graph(input=3, hidden=4)))
    assert (len(plan.products("loop")), plan.multiplications("loop")) == (3, 48)
    assert plan.bytes_read("loop") == 16 * 4, "a state is not one matrix for all examples"


def test_totals_of_outer_products_are_products():
    plan = compiled("lstm", gradient=True).backward_plan
    assert sorted(node.gate for node in plan.products("after")) == ["outer", "outer", "product"]
    assert plan.bytes_read("after") == 20 * 3 * plan.itemsize


def test_a_plan_knows_the_bytes_of_its_numbers():
    made = {dtype: elman.RNN(cells.lstm, input=3, hidden=5, dtype=dtype).plan for dtype in ("float32", "float64")}
    assert {dtype: plan.bytes_read("loop") for dtype, plan in made.items()} == {"float32": 400, "float64": 800}


@pytest.mark.parametrize(("name", "size"), [*((name, 12) for name in cells.CELLS), ("lstm", 6000)])
def test_a_plan_fits_in_80_columns(name, size):
    made = cells.CELLS[name]
    plan = schedule(lower(made.graph(**dict.fromkeys(made.sizes, size)), merging=False), 8)
    lines = plan.table(dict.fromkeys(PHASES, 99999.9)).splitlines()
    assert max(map(len, lines)) <= 80
    counted = re.findall(r"\b(\d+) ([a-z]\w*)", " ".join(line for line in lines if line.startswith("    ")))
    assert sum(int(count) for count, _ in counted) == sum(map(bool, plan.phases)), "no gate is left out"


def test_microseconds_stand_at_the_end():
    plan = schedule(lower(graph_of("elman")))
    lines = plan.table({"before": 0.25, "loop": 1234.5}).splitlines()
    assert [line.split()[-3:] for line in lines[2::2]] == [["a", "chunk", "0.250"], ["a", "step", "1,234"]]
    assert [line[73:] for line in plan.table().splitlines()[1:]] == [""] * (len(lines) - 1)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@every_graph
def test_phases_come_in_order(which, direction):
    """What a phase reads stands in a phase before it, and a value is in the loop only if state reaches and needs it."""
    graph = lower(graph_of(which))
    if direction == "backward":
        graph = lower(differentiate(graph).backward)
    plan, facts = schedule(graph), dependence(graph)
    for index, phase in enumerate(plan.phases):
        if phase in PHASES:
            for source in plan.graph.nodes[index].inputs:
                earlier = plan.phases[source]
                assert not earlier or PHASES.index(earlier) <= PHASES.index(phase)
        if phase == "loop":
            assert facts.reached[index]
            assert facts.feeds[index]
        if phase in ("prepare", "before"):
            assert not facts.reached[index]
    assert sorted(i for phase in PHASES for i in plan.nodes(phase)) == [i for i, phase in enumerate(plan.phases) if phase]


@pytest.mark.parametrize(("name", "products"), [("elman", 1), ("gru", 1), ("gru_reset_before", 2), ("lstm", 1)])
def test_products_in_the_loop(name, products):
    """Of the recurrent weights alone; forward and backward."""
    made = compiled(name, gradient=True)
    assert in_phase(made.plan, "loop").count("product") == products
    assert in_phase(made.backward_plan, "loop").count("product") == products
    squares = sum(node.shape == (5, 5) for node in made.plan.graph.nodes if node.gate == "parameter")
    assert made.plan.multiplications("loop") == made.backward_plan.multiplications("loop") == 25 * squares


@every_cell
def test_gradients_of_parameters_leave_the_loop(name):
    plan = compiled(name, gradient=True).backward_plan
    assert not {"total", "outer", "scatter"} & set(in_phase(plan, "loop"))
    totals = [plan.graph.nodes[i] for i in plan.nodes("after") if plan.graph.nodes[i].gate == "total"]
    outers = [node.inputs[0] for node in totals if plan.graph.nodes[node.inputs[0]].gate == "outer"]
    assert len(outers) == (3 if name == "gru_reset_before" else 2)  # for x, for h, and there for r * h
    assert {plan.phases[i] for i in outers} == {""}  # never made, only their total
    weights = sum(len(node.shape) == 2 for node in plan.graph.nodes if node.gate == "parameter")
    assert weights == len([1 for i in graph_of(name).nodes if i.gate == "parameter" and len(i.shape) == 2])


def test_a_map_has_no_loop():
    plan = schedule(lower(cells.readout.graph(hidden=4, output=3)))
    assert not plan.recurrent
    assert in_phase(plan, "before") == ["product", "add", "softmax"]


# ---------------------------------------------------------------- goldens


def source(name: str, direction: str) -> str:
    made = compiled(name, gradient=direction == "backward")
    return made.backward_source if direction == "backward" else made.source


TEXTS = {
    **{f"graph_{name}": lambda name=name: str(getattr(cells, name).graph(input=3, hidden=5)) for name in FOUR},
    "graph_readout": lambda: str(cells.readout.graph(hidden=5, output=4)),
    "graph_lstm_lowered": lambda: str(lower(cells.lstm.graph(input=3, hidden=5))),
    "graph_elman_backward": lambda: str(compiled("elman", gradient=True).backward_plan.graph),
    "plan_lstm": lambda: str(compiled("lstm").plan),
    "plan_lstm_backward": lambda: str(compiled("lstm", gradient=True).backward_plan),
    "source_elman": lambda: source("elman", "forward"),
    "source_elman_backward": lambda: source("elman", "backward"),
    "source_elman_tokens": lambda: compiled("elman", tokens=True).source,
}


@pytest.mark.parametrize("name", TEXTS)
def test_golden(name):
    path, text = GOLDENS / f"{name}.txt", TEXTS[name]() + "\n"
    if os.environ.get("ELMAN_GOLDENS") == "write":
        GOLDENS.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_no_golden_is_left_over():
    assert {path.stem for path in GOLDENS.glob("*")} == set(TEXTS)
