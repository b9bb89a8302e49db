"""The laws of sequences, as properties of layers that nobody chose: any cell, stacks, directions, and all of these nested.

Each law is tested on every cell of the library, on random equations and on random layers of layers, at random sizes, from
random states, with lengths (0 and unsorted among them) and resets. What is expected is what the layer gives to one row, one
piece or one direction by itself, put together by hand.
"""

from itertools import pairwise

import numpy as np
import pytest

import elman
from elman import RNN, Backwards, Bidirectional, Layer, State
from elman.stack import MERGES
from layers import ALL, BOTH_WAYS, FORWARD, MADE_OF_LAYERS, RANDOM_CELLS, SEEDS, by_direction, changed, leaves, problem

CLOSE = {"float64": 1e-13, "float32": 1e-6}
"""How far two ways to one value may lie apart, relative to the largest of an array (at least 1)."""
GRADIENTS_CLOSE = {"float64": 1e-12, "float32": 1e-5}

every_layer = pytest.mark.parametrize("name", ALL, scope="module")  # one layer after another, so that programs are kept
every_forward_layer = pytest.mark.parametrize("name", FORWARD, scope="module")
on_every_type = pytest.mark.parametrize("dtype", CLOSE)


def assert_close(got, wanted, close: float = CLOSE["float64"]) -> None:
    assert np.shape(got) == np.shape(wanted)
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=0, atol=close * max(1.0, float(np.abs(wanted).max(initial=0.0))))


def assert_state(got: State, wanted: State, close: float = CLOSE["float64"]) -> None:
    assert (got.cell, list(got), got.batch) == (wanted.cell, list(wanted), wanted.batch)
    for name, value in wanted.items():
        if isinstance(value, State):
            assert_state(got[name], value, close)
        else:
            assert_close(got[name], value, close)


def pieces(steps: int, rng: np.random.Generator) -> list[slice]:
    """Random chunks of time, an empty one among them."""
    cuts = sorted([0, steps, *rng.integers(0, steps + 1, 3)])
    return [slice(a, b) for a, b in pairwise(cuts)]


# ---------------------------------------------------------------- 1: steps and chunks are the sequence


@on_every_type
@every_forward_layer
def test_steps_are_the_sequence(name, dtype):
    p = problem(name, dtype)
    for given in (p.state, None):
        y, last = p.layer(p.x, given)
        state = given
        for t in range(p.size[1]):
            y_t, state = p.layer.step(p.x[:, t], state)
            assert_close(y_t, y[:, t], CLOSE[dtype])
        assert_state(state, last, CLOSE[dtype])


@every_forward_layer
def test_steps_of_one_sequence(name):
    p = problem(name)
    y, last = p.layer(p.x[0], p.state[0])
    state = p.state[0]
    for t in range(p.size[1]):
        y_t, state = p.layer.step(p.x[0, t], state)
        assert_close(y_t, y[t])
    assert_state(state, last)


@on_every_type
@every_forward_layer
def test_chunks_are_the_sequence(name, dtype):
    """With lengths and resets, which go on from chunk to chunk."""
    p = problem(name, dtype)
    y, last = p.layer(p.x, p.state, p.lengths, p.reset)
    state = p.state
    for part in pieces(p.size[1], np.random.default_rng(1)):
        lengths = np.clip(p.lengths - part.start, 0, part.stop - part.start)
        y_part, state = p.layer(p.x[:, part], state, lengths, p.reset[:, part])
        assert_close(y_part, y[:, part], CLOSE[dtype])
    assert_state(state, last, CLOSE[dtype])


# ---------------------------------------------------------------- 2: a padded batch is its sequences alone


@on_every_type
@every_layer
def test_a_padded_batch_is_its_sequences_alone(name, dtype):
    p = problem(name, dtype)
    for state in (p.state, None):
        y, last = p.layer(p.x, state, p.lengths, p.reset)
        for b, n in enumerate(p.lengths):
            alone = p.row(b) if state is not None else p.row(b) | {"state": None}
            wanted, end = p.layer(**alone)
            assert_close(y[b, :n], wanted, CLOSE[dtype])
            np.testing.assert_array_equal(y[b, n:], 0.0)
            assert_state(last[b], end, CLOSE[dtype])


@every_layer
def test_a_row_without_a_step_keeps_its_state(name):
    p = problem(name)
    (b,) = np.flatnonzero(p.lengths == 0)[:1]
    _, last = p.layer(p.x, p.state, p.lengths, np.ones(p.size, dtype=bool))
    assert_state(last[int(b)], p.state[int(b)], 0.0)


@every_layer
def test_the_padding_is_not_read(name):
    p = problem(name)
    past = np.arange(p.size[1]) >= p.lengths[:, None]
    x = np.where(past[..., None], -5.0, p.x)
    for got, wanted in zip(
        p.layer(x, p.state, p.lengths, p.reset | past), p.layer(p.x, p.state, p.lengths, p.reset), strict=True
    ):
        assert_state(got, wanted) if isinstance(got, State) else assert_close(got, wanted)


@every_layer
def test_full_lengths_are_none(name):
    p = problem(name)
    y, last = p.layer(p.x, p.state, np.full(p.size[0], p.size[1]))
    wanted, end = p.layer(p.x, p.state)
    assert_close(y, wanted)
    assert_state(last, end)


@pytest.mark.parametrize("name", MADE_OF_LAYERS)
def test_inspected_values_obey_lengths(name):
    p = problem(name)
    values = p.layer.inspect(p.x, p.state, p.lengths, p.reset)
    assert tuple(values) == p.layer.values
    for b, n in enumerate(p.lengths):
        for value, wanted in p.layer.inspect(**p.row(b)).items():
            assert_close(values[value][b, :n], wanted)
            np.testing.assert_array_equal(values[value][b, n:], 0.0)
    some = p.layer.values[::3]
    for value, array in p.layer.inspect(p.x, p.state, p.lengths, p.reset, keep=some).items():
        np.testing.assert_array_equal(array, values[value])


# ---------------------------------------------------------------- 3: rows do not see each other


@on_every_type
@every_layer
def test_rows_do_not_see_each_other(name, dtype):
    p, rng = problem(name, dtype), np.random.default_rng(3)
    y, last = p.layer(p.x, p.state, p.lengths, p.reset)
    for b in range(p.size[0]):
        x, reset, lengths, others = p.x.copy(), p.reset.copy(), p.lengths.copy(), np.arange(p.size[0]) != b
        x[b], reset[b], lengths[b] = rng.normal(size=x[b].shape), ~reset[b], p.size[1] - lengths[b]
        swap = np.where(others, np.arange(p.size[0]), (b + 1) % p.size[0])
        got, end = p.layer(x, p.state[swap], lengths, reset)
        assert_close(got[others], y[others], CLOSE[dtype])
        assert_state(end[others], last[others], CLOSE[dtype])


@every_layer
def test_the_order_of_rows_does_not_matter(name):
    p = problem(name)
    order = np.random.default_rng(4).permutation(p.size[0])
    y, last = p.layer(p.x[order], p.state[order], p.lengths[order], p.reset[order])
    wanted, end = p.layer(p.x, p.state, p.lengths, p.reset)
    assert_close(y, wanted[order])
    assert_state(last, end[order])


# ---------------------------------------------------------------- 4: a reset is a new start


@on_every_type
@every_layer
def test_a_reset_is_a_new_start(name, dtype):
    """The sequence is parted before each reset, for both directions; the state given is where each of them begins."""
    p = problem(name, dtype)
    initial = p.layer.initial_state()
    y, last = p.layer(p.x, p.state, reset=p.reset)
    for b in range(p.size[0]):
        cuts = [
            0,
            *np.flatnonzero(p.reset[b]),
            p.size[1],
        ]  # a reset before the first step parts it from nothing: [0, 0, ...]
        parts = [slice(start, stop) for start, stop in pairwise(cuts)]
        ahead = [p.state[b] if k == 0 else initial for k in range(len(parts))]
        behind = [p.state[b] if k == len(parts) - 1 else initial for k in range(len(parts))]
        ends = []
        for part, first_state, last_state in zip(parts, ahead, behind, strict=True):
            wanted, end = p.layer(p.x[b, part], by_direction(p.layer, first_state, last_state))
            assert_close(y[b, part], wanted, CLOSE[dtype])
            ends.append(end)
        lowest = ends[1] if p.reset[b, 0] else ends[0]  # the piece of the first step, where a backward direction ends
        assert_state(last[b], by_direction(p.layer, ends[-1], lowest), CLOSE[dtype])


@every_layer
def test_resets_of_all_rows_at_once(name):
    p = problem(name)
    y, last = p.layer(p.x, p.state, p.lengths, p.reset[0])
    wanted, end = p.layer(p.x, p.state, p.lengths, np.broadcast_to(p.reset[0], p.size))
    np.testing.assert_array_equal(y, wanted)
    assert_state(last, end, 0.0)
    y, _ = p.layer(p.x, p.state, p.lengths, np.zeros(p.size[1], dtype=bool))
    assert_close(y, p.layer(p.x, p.state, p.lengths)[0])


# ---------------------------------------------------------------- 5: two directions are two runs by hand


def by_hand(layer: Layer, x: np.ndarray, state: State, reset: np.ndarray) -> tuple[np.ndarray, State, dict]:
    """One row read from its last step to its first: the input is turned, the layer runs forward, the output is turned."""
    steps = len(x)
    turned_reset = np.zeros(steps, dtype=bool)
    for s in range(1, steps):
        if reset[s]:  # parts s - 1 from s; read backwards, s - 1 comes after it
            turned_reset[steps - 1 - (s - 1)] = True
    y, last = layer(x[::-1].copy(), state, reset=turned_reset)
    values = layer.inspect(x[::-1].copy(), state, reset=turned_reset)
    return y[::-1], last, {name: value[::-1] for name, value in values.items()}


MERGED = {
    "concatenate": lambda a, b: np.array([[*one, *two] for one, two in zip(a, b, strict=True)]).reshape(len(a), -1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "product": lambda a, b: a * b,
}


@on_every_type
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("merge", MERGES)
def test_two_directions_are_two_runs_by_hand(merge, seed, dtype):
    p = problem(f"{merge} {seed}", dtype)
    assert isinstance(p.layer, Bidirectional)
    forward, backward = p.layer.parts["forward"], p.layer.parts["backward"]
    y, last = p.layer(p.x, p.state, p.lengths, p.reset)
    values = p.layer.inspect(p.x, p.state, p.lengths, p.reset)
    for b, n in enumerate(p.lengths):
        x, state, reset = p.row(b).values()
        y_a, end_a = forward(x, state.forward, reset=reset)
        y_b, end_b, values_b = by_hand(backward, x, state.backward, reset)
        if n:
            assert_close(y[b, :n], MERGED[merge](y_a, y_b).astype(dtype), CLOSE[dtype])
        assert_state(last[b], State({"forward": end_a, "backward": end_b}, cell=p.layer.name), CLOSE[dtype])
        values_a = forward.inspect(x, state.forward, reset=reset)
        for way, found in (("forward", values_a), ("backward", values_b)):
            for name, value in found.items():
                assert_close(values[f"{way}.{name}"][b, :n], value, CLOSE[dtype])


@pytest.mark.parametrize("name", [f"backwards {seed}" for seed in SEEDS])
def test_one_direction_backwards_is_a_run_by_hand(name):
    p = problem(name)
    assert isinstance(p.layer, Backwards)
    y, last = p.layer(p.x, p.state, p.lengths, p.reset)
    for b, n in enumerate(p.lengths):
        x, state, reset = p.row(b).values()
        wanted, end, _ = by_hand(p.layer.layer, x, state.layer, reset)
        assert_close(y[b, :n], wanted)
        assert_state(last[b], State({"layer": end}, cell=p.layer.name))


@pytest.mark.parametrize("name", [f"{kind} {seed}" for kind in ("stack", "residual", "stack in stack") for seed in SEEDS])
def test_a_stack_is_its_layers_by_hand(name):
    p = problem(name)
    x, ends = p.x, {}
    for k, (part, layer) in enumerate(p.layer.parts.items()):
        y, ends[part] = layer(x, p.state[part], p.lengths, p.reset)
        x = y + x if k and p.layer.residual else y
    y, last = p.layer(p.x, p.state, p.lengths, p.reset)
    assert_close(y, x)
    assert_state(last, State(ends, cell=p.layer.name, batch=p.size[0]))


@every_layer
def test_backwards_twice_is_forwards(name):
    p = problem(name)
    twice = Backwards(Backwards(p.layer))
    state = State(
        {"layer": State({"layer": p.state}, cell=twice.layer.name, batch=p.size[0])}, cell=twice.name, batch=p.size[0]
    )
    y, last = twice(p.x, state, p.lengths, p.reset)
    wanted, end = p.layer(p.x, p.state, p.lengths, p.reset)
    assert_close(y, wanted)
    assert_state(last.layer.layer, end)


# ---------------------------------------------------------------- 6: saved, loaded and continued


@on_every_type
@every_layer
def test_a_state_that_was_saved_goes_on(name, dtype, tmp_path):
    """What reads from the end has no middle to go on from; there, too, a file changes no bit of a state."""
    p, middle = problem(name, dtype), problem(name, dtype).size[1] // 2
    _, state = p.layer(p.x[:, :middle], p.state, reset=p.reset[:, :middle])
    state.save(tmp_path / "state")
    loaded = State.load(tmp_path / "state")
    y, last = p.layer(p.x[:, middle:], loaded, reset=p.reset[:, middle:])
    unsaved, end = p.layer(p.x[:, middle:], state, reset=p.reset[:, middle:])
    np.testing.assert_array_equal(y, unsaved)
    assert_state(last, end, 0.0)
    if name in FORWARD:
        wanted, end = p.layer(p.x, p.state, reset=p.reset)
        assert_close(y, wanted[:, middle:], CLOSE[dtype])
        assert_state(last, end, CLOSE[dtype])


@every_layer
def test_states_of_rows_that_were_saved_go_on_as_a_batch(name, tmp_path):
    p = problem(name)
    for b in range(p.size[0]):
        p.state[b].save(tmp_path / str(b))
    state = State.stack([State.load(tmp_path / str(b)) for b in range(p.size[0])])
    assert state == p.state
    np.testing.assert_array_equal(p.layer(p.x, state)[0], p.layer(p.x, p.state)[0])


# ---------------------------------------------------------------- gradients obey the same laws


def assert_gradients(got, wanted, close: float = GRADIENTS_CLOSE["float64"]) -> None:
    assert list(got.parameters) == list(wanted.parameters)
    for name, value in wanted.parameters.items():
        np.testing.assert_equal(got.parameters[name].dtype, value.dtype)
        assert_close(got.parameters[name], value, close)
    assert_close(got.x, wanted.x, close)
    assert_state(got.state, wanted.state, close)


def total(many: list[dict]) -> dict:
    return {name: sum(one[name] for one in many) for name in many[0]}


@pytest.mark.parametrize(
    ("dtype", "truncate", "given"), [("float64", None, True), ("float64", 2, False), ("float32", None, False)]
)
@every_layer
def test_gradients_of_a_padded_batch_are_the_sum_over_rows(name, dtype, truncate, given):
    p, close = problem(name, dtype), GRADIENTS_CLOSE[dtype]
    dy, d_last = p.weights(5)
    asked = {"x": p.x, "state": p.state if given else None, "lengths": p.lengths, "reset": p.reset}
    found = p.layer.record(**asked, truncate=truncate).gradients(dy, d_last)
    sums = []
    for b, n in enumerate(p.lengths):
        row = p.row(b) if given else p.row(b) | {"state": None}
        alone = p.layer.record(**row, truncate=truncate).gradients(dy[b, :n], d_last[b])
        assert_close(found.x[b, :n], alone.x, close)
        np.testing.assert_array_equal(found.x[b, n:], 0.0)
        assert_state(found.state[b], alone.state, close)
        sums.append(alone.parameters)
    for parameter, wanted in total(sums).items():
        assert_close(found.parameters[parameter], wanted, close)


@every_layer
def test_the_padding_contributes_no_gradient(name):
    p = problem(name)
    dy, d_last = p.weights(6)
    past = np.arange(p.size[1]) >= p.lengths[:, None]
    wanted = p.layer.record(p.x, p.state, p.lengths, p.reset).gradients(dy, d_last)
    x, dy = np.where(past[..., None], 5.0, p.x), dy.copy()
    dy[past] = 1e3
    assert_gradients(p.layer.record(x, p.state, p.lengths, p.reset | past).gradients(dy, d_last), wanted)


@every_layer
def test_gradients_of_rows_do_not_see_each_other(name):
    p, rng = problem(name), np.random.default_rng(7)
    dy, d_last = p.weights(7)
    wanted = p.layer.record(p.x, p.state, p.lengths, p.reset).gradients(dy, d_last)
    x, reset, others = p.x.copy(), p.reset.copy(), np.arange(p.size[0]) != 1
    x[1], reset[1], dy[1] = rng.normal(size=x[1].shape), ~reset[1], 9.0
    found = p.layer.record(x, p.state, p.lengths, reset).gradients(dy, d_last)
    assert_close(found.x[others], wanted.x[others], GRADIENTS_CLOSE["float64"])
    assert_state(found.state[others], wanted.state[others], GRADIENTS_CLOSE["float64"])


@on_every_type
@every_forward_layer
def test_gradients_of_chunks_are_those_of_the_sequence(name, dtype):
    """Each chunk hands the gradient for its first state to the chunk before it."""
    p = problem(name, dtype)
    dy, d_last = p.weights(8)
    for given in (p.state, None):
        wanted = p.layer.record(p.x, given, p.lengths, p.reset).gradients(dy, d_last)
        records, state = [], given
        for part in pieces(p.size[1], np.random.default_rng(9)):
            lengths = np.clip(p.lengths - part.start, 0, part.stop - part.start)
            records.append((part, p.layer.record(p.x[:, part], state, lengths, p.reset[:, part])))
            state = records[-1][1].state
        d_state, d_x, sums = d_last, np.zeros_like(p.x), []
        for part, record in reversed(records):
            parameters, d_x[:, part], d_state = record.gradients(dy[:, part], d_state)
            sums.append(parameters)
        assert_gradients(elman.Gradients(total(sums), d_x, d_state), wanted, GRADIENTS_CLOSE[dtype])


@pytest.mark.parametrize("truncate", [1, 3])
@every_forward_layer
def test_truncated_gradients_are_the_sum_over_chunks(name, truncate):
    """Each chunk starts from the state that the one before it left, as if it had been given."""
    p = problem(name)
    dy, _ = p.weights(15)
    for given in (p.state, None):
        wanted = p.layer.record(p.x, given, p.lengths, p.reset, truncate=truncate).gradients(dy)
        state, found = given, []
        for start in range(0, p.size[1], truncate):
            part, lengths = slice(start, start + truncate), np.clip(p.lengths - start, 0, truncate)
            lengths = np.minimum(lengths, p.size[1] - start)
            record = p.layer.record(p.x[:, part], state, lengths, p.reset[:, part])
            found.append(record.gradients(dy[:, part]))
            state = record.state
        d_x = np.concatenate([one.x for one in found], axis=1)
        sums = total([one.parameters for one in found])
        assert_gradients(elman.Gradients(sums, d_x, found[0].state), wanted)


@every_layer
def test_gradients_of_a_reset_are_those_of_a_new_start(name):
    p = problem(name)
    dy, _ = p.weights(10)
    for b in range(p.size[0]):
        found = p.layer.record(p.x[b], reset=p.reset[b]).gradients(dy[b])
        sums = []
        for start, stop in pairwise([0, *np.flatnonzero(p.reset[b]), p.size[1]]):
            piece = p.layer.record(p.x[b, start:stop]).gradients(dy[b, start:stop])
            assert_close(found.x[start:stop], piece.x, GRADIENTS_CLOSE["float64"])
            sums.append(piece.parameters)
        for parameter, wanted in total(sums).items():
            assert_close(found.parameters[parameter], wanted, GRADIENTS_CLOSE["float64"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("merge", ["sum", "concatenate"])
def test_gradients_of_two_directions_are_those_of_two_runs(merge, seed):
    p = problem(f"{merge} {seed}")
    dy, d_last = p.weights(11)
    forward, backward = p.layer.parts["forward"], p.layer.parts["backward"]
    cut = forward.output_shape[0]
    for b in range(p.size[0]):
        dy_a, dy_b = (dy[b, :, :cut], dy[b, :, cut:]) if merge == "concatenate" else (dy[b], dy[b])
        a = forward.record(p.x[b], p.state[b].forward).gradients(dy_a, d_last[b].forward)
        z = backward.record(p.x[b, ::-1], p.state[b].backward).gradients(dy_b[::-1], d_last[b].backward)
        found = p.layer.record(p.x[b], p.state[b]).gradients(dy[b], d_last[b])
        assert_close(found.x, a.x + z.x[::-1], GRADIENTS_CLOSE["float64"])
        assert_state(found.state.forward, a.state, GRADIENTS_CLOSE["float64"])
        assert_state(found.state.backward, z.state, GRADIENTS_CLOSE["float64"])
        for parameter, wanted in a.parameters.items():
            assert_close(found.parameters[f"forward.{parameter}"], wanted, GRADIENTS_CLOSE["float64"])
        for parameter, wanted in z.parameters.items():
            assert_close(found.parameters[f"backward.{parameter}"], wanted, GRADIENTS_CLOSE["float64"])


# ---------------------------------------------------------------- tokens, the interpreter


@every_layer
def test_tokens_are_one_hot_inputs(name):
    p = problem(name)
    size = p.x.shape[-1]
    tokens = np.random.default_rng(12).integers(size, size=p.size)
    y, last = p.layer(tokens, p.state, p.lengths, p.reset)
    wanted, end = p.layer(np.eye(size)[tokens], p.state, p.lengths, p.reset)
    assert_close(y, wanted)
    assert_state(last, end)
    values = p.layer.inspect(tokens, p.state, p.lengths, p.reset)
    for value, wanted in p.layer.inspect(np.eye(size)[tokens], p.state, p.lengths, p.reset).items():
        assert_close(values[value], wanted)
    dy, d_last = p.weights(12)
    found = p.layer.record(tokens, p.state, p.lengths, p.reset).gradients(dy, d_last)
    by_vectors = p.layer.record(np.eye(size)[tokens], p.state, p.lengths, p.reset).gradients(dy, d_last)
    assert found.x is None
    assert_gradients(found._replace(x=by_vectors.x), by_vectors)


@pytest.mark.parametrize("name", [f"{kind} 0" for kind in ("stack", "residual", *BOTH_WAYS)])
def test_the_interpreter_gives_the_same(name):
    p, slow = problem(name), problem(name, target="interpreter")
    for parameter, value in p.layer.parameters.items():
        np.testing.assert_array_equal(slow.layer.parameters[parameter], value)
    dy, d_last = p.weights(13)
    for given in (p.state, None):
        wanted, end = slow.layer(p.x, given, p.lengths, p.reset)
        y, last = p.layer(p.x, given, p.lengths, p.reset)
        assert_close(y, wanted, 1e-12)  # the passes have put sums in another order
        assert_state(last, end, 1e-12)
        by_gates = slow.layer.record(p.x, given, p.lengths, p.reset).gradients(dy, d_last)
        assert_gradients(p.layer.record(p.x, given, p.lengths, p.reset).gradients(dy, d_last), by_gates, 1e-11)


# ---------------------------------------------------------------- the problems are hard enough


def test_the_problems_can_show_a_mistake():
    """Lengths, resets, states and inputs matter in nearly all of them, and in most of the equations drawn at random."""
    seen = {mistake: set() for mistake in ("lengths", "reset", "state", "input")}
    for name in ALL:
        p = problem(name)
        y, last = p.layer(p.x, p.state, p.lengths, p.reset)
        live = np.arange(p.size[1]) < p.lengths[:, None]
        others = {
            "lengths": p.layer(p.x, p.state, None, p.reset),
            "reset": p.layer(p.x, p.state, p.lengths),
            "state": p.layer(p.x, changed(p.state, np.zeros_like), p.lengths, p.reset),
            "input": p.layer(p.x[:, ::-1], p.state, p.lengths, p.reset),
        }
        for mistake, (other, end) in others.items():
            apart = [(y - other)[live], *(one - two for one, two in zip(leaves(last), leaves(end), strict=True))]
            if max(np.abs(array).max(initial=0.0) for array in apart) > 1e-3:
                seen[mistake].add(name)
    at_random = {f"random_{seed}" for seed in RANDOM_CELLS}
    for names in seen.values():
        assert len(names - at_random) >= 0.95 * len(set(ALL) - at_random)
        assert len(names & at_random) >= 0.6 * len(at_random)


def test_the_padding_contributes_no_gradient_where_the_equations_have_no_value():
    @elman.cell
    def logarithm(x, h, *, w=elman.weight("hidden", "input"), u=elman.weight("hidden", "hidden")):
        return elman.tanh(elman.log(elman.absolute(w @ x)) + u @ h)

    rnn, rng = RNN(logarithm, input=3, hidden=4, dtype="float64"), np.random.default_rng(14)
    x, dy = np.zeros((2, 5, 3)), rng.normal(size=(2, 5, 4))
    x[0], x[1, :2] = rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    found = rnn.gradients(x, dy, lengths=[5, 2])
    wanted = [rnn.gradients(x[b, :n], dy[b, :n]).parameters for b, n in ((0, 5), (1, 2))]
    for parameter, value in total(wanted).items():
        assert_close(found.parameters[parameter], value)
