"""Groups that are computed row by row: which they are, where what passes between them stands, and that no bit changes."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import RNN, bias, cell, cells
from elman.graph import Builder
from elman.nodes import Result
from elman.passes import differentiate, lower, schedule
from elman.targets.interpreter import Interpreter
from elman.targets.llvm.groups import Grouping
from elman.targets.llvm.machine import machines
from elman.targets.llvm.places import BRIEF, Places
from elman.targets.llvm.program import LlvmProgram
from elman.targets.llvm.recipe import walks

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield
    elman.threads(None)


def places_of(graph) -> Places:
    return Places(Grouping(schedule(lower(graph, merging=False), registers=True)))


@cell
def wide(x, h, *, b=bias("hidden"), g=bias("hidden")):
    """Without a matrix, so that it may be large: all of a step is one strand."""
    z = h * g + x
    centred = z - elman.mean(z)
    return elman.tanh(centred / elman.sqrt(elman.mean(centred * centred) + 0.1) + b)


def of_wide(hidden: int, dtype: str = "float32") -> RNN:
    layer, rng = RNN(wide, input=hidden, hidden=hidden, dtype=dtype, target="llvm"), np.random.default_rng(hidden)
    layer.update({name: value + rng.normal(size=value.shape) for name, value in layer.parameters.items()})
    return layer


# ---------------------------------------------------------------- which groups


@pytest.mark.parametrize("name", cells.CELLS)
def test_strands_are_the_groups_in_their_order(name):
    places = places_of(cells.CELLS[name].graph(**dict.fromkeys(cells.CELLS[name].sizes, 8)))
    for phase, strands in places.strands.items():
        assert [group for strand in strands for group in strand] == places.phases[phase]
        for strand in strands:
            assert len(strand) == 1 or not any(group.total or walks(places.grouping, group) for group in strand)


def test_a_normalised_layer_is_a_product_and_a_strand():
    places = places_of(cells.lstm_layer_norm.graph(input=3, hidden=8))
    product, strand = places.strands["loop"]
    assert [places.graph.nodes[i].gate for group in product for i in group.nodes] == ["product"]
    assert len(strand) > 8
    inside = {i for group in strand for i in group.nodes}
    passing = {i for i in inside if i in places.grouping.stored} - {*places.states.values(), *places.outputs.values()}
    assert passing == inside & places.brief.keys()
    starts = sorted(places.brief[i] for i in passing)
    assert starts[0] == 0, "each strand begins anew"
    assert len(set(starts)) == len(starts)
    product_of_step = product[0].nodes[0]
    assert product_of_step not in places.brief, "the whole batch has a product before the strand begins"


def test_an_lstm_has_none():
    places = places_of(cells.lstm.graph(input=3, hidden=8))
    assert not places.brief
    assert all(len(strand) == 1 for strands in places.strands.values() for strand in strands)


def test_what_is_brief_is_small():
    small, large = (places_of(wide.graph(input=hidden, hidden=hidden)) for hidden in (100, BRIEF // 2 + 16))
    assert len(large.brief) < len(small.brief)
    shapes = [large.graph.nodes[i].shape for i in large.brief]
    assert sum(int(np.prod(shape, dtype=int)) for shape in shapes) <= BRIEF


# ---------------------------------------------------------------- values and bits


@pytest.mark.parametrize("hidden", [1, 37, 640, BRIEF // 2 + 21])
def test_rows_one_by_one_and_together(hidden):
    """Values of the interpreter; the bits of a row alone are those in a batch, padded, and on two threads."""
    layer, rng = of_wide(hidden, "float64"), np.random.default_rng(1)
    x, first = rng.normal(size=(7, 5, hidden)), rng.normal(size=(7, hidden))
    elman.threads(1)
    y, last = layer(x, first)
    other = Interpreter(layer.plan, "float64")
    found = other.run(other.prepare(layer.parameters), {"x": x.swapaxes(0, 1)}, {"h": first})
    np.testing.assert_allclose(y, found.outputs["h"].swapaxes(0, 1), rtol=1e-10, atol=1e-12)
    lengths = np.array([5, 0, 3, 5, 1, 4, 2])
    padded, ends = layer(x, first, lengths=lengths)
    for b, length in enumerate(lengths):
        alone, end = layer(x[b, :length], first[b]) if length else (y[b, :0], first[b])
        assert alone.tobytes() == y[b, :length].tobytes() == padded[b, :length].tobytes()
        assert length == 0 or np.asarray(end["h"]).tobytes() == ends["h"][b].tobytes()
    for count in (2, 3):
        elman.threads(count)
        again, end = layer(x, first)
        assert again.tobytes() == y.tobytes()
        assert end["h"].tobytes() == last["h"].tobytes()


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("name", ["lstm_layer_norm", "gru_layer_norm"])
def test_threads_that_share_lanes_share_the_rows_of_a_strand(name, rows):
    """So large that two threads share the lanes of its products; with one row the strand is one thread's."""
    elman.threads(1)
    layer = RNN(cells.CELLS[name], input=16, hidden=320, target="llvm", seed=3)
    x = np.random.default_rng(2).normal(size=(rows, 6, 16)).astype(np.float32)
    wanted, last = layer(x)
    for count in (2, 3):
        elman.threads(count)
        y, state = layer(x)
        assert y.tobytes() == wanted.tobytes()
        assert all(state[part].tobytes() == last[part].tobytes() for part in last)


# ---------------------------------------------------------------- what gates of a row share


def test_what_is_known_of_a_row_changes_no_bit():
    """The largest logit and the sum of exponentials, found once for a softmax, its logarithm and the loss."""

    def run(*names: str) -> dict[str, np.ndarray]:
        builder = Builder("_".join(names))
        x, token = builder.leaf("input", "x", (37,)), builder.leaf("token", "token", (), (("size", 37),))
        given = {"cross_entropy": (x, token)}
        made = [Result(name, "output", builder.add(name, given.get(name, (x,)))) for name in names]
        program = LlvmProgram(schedule(builder.finish(made)), "float32")
        inputs = {"x": values, "token": tokens}
        read = {name: inputs[name] for name in (*program.graph.leaves("input"), *program.graph.leaves("token"))}
        return program.run(program.prepare({}), read, {}).outputs

    rng = np.random.default_rng(4)
    values, tokens = (5 * rng.normal(size=(3, 4, 37))).astype(np.float32), rng.integers(0, 37, (3, 4))
    values[1, 2, 5] = np.nan
    every = "cross_entropy", "softmax", "log_softmax"
    for names in (every, every[::-1], ("softmax", "cross_entropy")):
        for name, found in run(*names).items():
            assert found.tobytes() == run(name)[name].tobytes(), (names, name)


def test_what_is_known_of_one_vector_is_not_of_another():
    builder = Builder("two")
    pair = [builder.leaf("input", name, (21,)) for name in ("x", "z")]
    graph = builder.finish([Result(str(i), "output", builder.add("log_softmax", (i,))) for i in pair])
    values = {name: 4 * np.random.default_rng(k).normal(size=(2, 3, 21)) for k, name in enumerate(("x", "z"))}
    program = LlvmProgram(schedule(graph), "float64")
    for found, x in zip(program.run(program.prepare({}), values, {}).outputs.values(), values.values(), strict=True):
        np.testing.assert_allclose(np.exp(found), np.exp(x) / np.exp(x).sum(-1, keepdims=True), rtol=1e-13)


@pytest.mark.parametrize("size", [1, 5, 16, 33, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_go_in_sixteen_lanes_that_meet_in_halves(dtype, size):
    builder = Builder("summed")
    x = builder.leaf("input", "x", (size,))
    graph = builder.finish([Result("y", "output", builder.add("sum", (x,)))])
    values = (1e3 * np.random.default_rng(size).normal(size=(2, 3, size))).astype(dtype)
    lanes = np.zeros((2, 3, 16), dtype)
    for j in range(size):
        lanes[..., j % 16] += values[..., j]
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    for machine in machines().values():
        program = LlvmProgram(schedule(graph), dtype, machine)
        found = program.run(program.prepare({}), {"x": values}, {}).outputs["y"]
        np.testing.assert_array_equal(found, lanes[..., 0])


def test_states_that_are_only_shown_stand_once():
    """What the backward direction wants of a state goes to it, and not to the workspace as well."""
    forward = differentiate(lower(cells.mgu.graph(input=3, hidden=8), merging=False)).forward
    places = Places(Grouping(schedule(forward, registers=True)))
    [state] = forward.leaves("state").values()
    assert [place.kind for place in places.written(state, "loop")] == ["output"]
