"""State as a value: what it holds, how rows are taken and joined, how it is kept, and what a layer refuses."""

import copy
import pickle

import numpy as np
import pytest

import elman
from elman import DataError, ModelFileError, ShapeError, State
from elman.io import safetensors

B = 4


def random_arrays(*, batch: int | None = B, dtype: str = "float64", seed: int = 0) -> dict[str, np.ndarray]:
    rng, rows = np.random.default_rng(seed), () if batch is None else (batch,)
    return {name: rng.normal(size=(*rows, size)).astype(dtype) for name, size in (("h", 3), ("c", 5))}


def random_state(**asked) -> State:
    return State(random_arrays(**asked), cell="lstm", batch=asked.get("batch", B))


def nested_state(batch: int | None = B, seed: int = 0) -> State:
    """The state of a stack of twelve layers, so that their names do not sort as they stand; one of them a pair."""
    parts = {str(k): random_state(batch=batch, seed=seed + k) for k in range(11)}
    pair = {way: random_state(batch=batch, seed=seed + k) for k, way in enumerate(("forward", "backward"), start=20)}
    return State(parts | {"11": State(pair, cell="Bidirectional", batch=batch)}, cell="Stack", batch=batch)


def assert_same(got: State, wanted: State) -> None:
    """To the bit, in the same order."""
    assert (got.cell, got.batch, list(got)) == (wanted.cell, wanted.batch, list(wanted))
    for name in wanted:
        if isinstance(wanted[name], State):
            assert_same(got[name], wanted[name])
        else:
            assert got[name].dtype == wanted[name].dtype
            np.testing.assert_array_equal(got[name], wanted[name])


# ---------------------------------------------------------------- fields


def test_fields_have_names():
    arrays = random_arrays()
    state = State(arrays, cell="lstm", batch=B)
    np.testing.assert_array_equal(state.h, arrays["h"])
    np.testing.assert_array_equal(state["c"], arrays["c"])
    assert (list(state), len(state), state.cell, state.batch) == (["h", "c"], 2, "lstm", B)
    assert "h" in state
    assert "n" not in state
    assert 0 not in state  # a row is no field
    assert 0 not in random_state(batch=None)


def test_an_unknown_field_lists_those_there_are():
    with pytest.raises(AttributeError, match=r"^a state of lstm has h, c, not n$"):
        _ = random_state().n
    with pytest.raises(KeyError, match="n"):
        random_state()["n"]
    with pytest.raises(AttributeError, match=r"^a state of this cell has h, not n$"):
        _ = State({"h": np.zeros(2)}).n


def test_parts_are_the_layers():
    state = nested_state()
    assert [layer.cell for layer in state.layers] == ["lstm"] * 11 + ["Bidirectional"]
    np.testing.assert_array_equal(state.layers[10].c, random_arrays(seed=10)["c"])
    np.testing.assert_array_equal(state["11"].backward.h, random_arrays(seed=21)["h"])
    assert random_state().layers == ()


@pytest.mark.parametrize(
    ("fields", "batch", "error", "message"),
    [
        ({"h": np.zeros((3, 2))}, 4, ShapeError, "lstm: state h is (3, 2); a batch of 4 is wanted"),
        ({"h": 1.0}, 1, ShapeError, "lstm: state h is (); a batch of 1 is wanted"),
        ({"h": np.zeros((1, 2))}, 0, ShapeError, "lstm: state h is (1, 2); a batch of 0 is wanted"),
        (
            {"0": random_state(batch=3)},
            4,
            ShapeError,
            "lstm: state 0 is State(lstm, h (3, 3), c (3, 5); batch 3); a batch of 4 is wanted",
        ),
        (
            {"0": random_state(batch=3)},
            None,
            ShapeError,
            "lstm: state 0 is State(lstm, h (3, 3), c (3, 5); batch 3); one example, without a batch, is wanted",
        ),
        ({"h": [[1.0], [1.0, 2.0]]}, 2, ShapeError, "lstm: state h has rows of different lengths"),
        ({"h": ["a", "b"]}, 2, DataError, "lstm: state h holds <U1, numbers are wanted"),
        ({"h": [None]}, 1, DataError, "lstm: state h holds object, numbers are wanted"),
        ({"h": [1j]}, 1, DataError, "lstm: state h holds complex128, numbers are wanted"),
        ({"0": {"h": np.zeros(2)}}, None, ShapeError, "lstm: state 0 has parts, h; an array is wanted"),
    ],
)
def test_what_is_no_state_says_so(fields, batch, error, message):
    with pytest.raises(error) as raised:
        State(fields, cell="lstm", batch=batch)
    assert str(raised.value) == message


# ---------------------------------------------------------------- rows

ROWS = [0, 3, -1, np.int64(2), slice(1, 3), slice(None, None, -2), slice(3, 9), [2, 0, 0], [-1, 1], np.array([3]), ...]
ROWS += [[True, False, False, True], np.array([False, True, True, False]), (slice(0, 2),), [], slice(2, 2), [False] * B]


@pytest.mark.parametrize("rows", ROWS, ids=repr)
def test_rows_are_those_of_the_arrays(rows):
    arrays, selected = random_arrays(), random_state()[rows]
    assert selected.batch == (None if np.ndim(arrays["h"][rows]) == 1 else len(arrays["h"][rows]))
    assert selected.cell == "lstm"
    for name, array in arrays.items():
        np.testing.assert_array_equal(selected[name], array[rows])


@pytest.mark.parametrize("rows", [2, [3, 1], [True, False, True, False]], ids=repr)
def test_rows_of_parts(rows):
    state, selected = nested_state(), nested_state()[rows]
    assert_same(selected["10"], state["10"][rows])
    assert_same(selected["11"].forward, state["11"].forward[rows])
    assert selected["11"].batch == selected.batch


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (4, "lstm: rows 4 of a batch of 4: index 4 is out of bounds for axis 0 with size 4"),
        (-5, "lstm: rows -5 of a batch of 4: index -5 is out of bounds"),
        ([0, 7], "lstm: rows [0, 7] of a batch of 4: index 7 is out of bounds"),
        ([True, False], "lstm: rows [True, False] of a batch of 4: boolean index did not match"),
        (1.0, "lstm: rows 1.0 of a batch of 4: "),
        ((0, 1), "lstm: rows (0, 1) of a batch of 4: too many indices"),
        (None, "lstm: rows None have 2 axes; an index or a list is wanted"),
        (True, "lstm: rows True have 2 axes; an index or a list is wanted"),
        ([[0, 1], [1, 2]], "lstm: rows [[0, 1], [1, 2]] have 2 axes; an index or a list is wanted"),
    ],
    ids=repr,
)
def test_rows_that_are_not_there(rows, message):
    with pytest.raises(ShapeError) as raised:
        random_state()[rows]
    assert str(raised.value).startswith(message)


def test_one_example_has_no_rows():
    with pytest.raises(ShapeError, match=r"^lstm: this is the state of one example; only a batch has rows to select$"):
        random_state(batch=None)[0]


# ---------------------------------------------------------------- joining


def test_stack_joins_singles_and_batches():
    batches = (None, 2, None, 3, 1)
    states = [random_state(batch=batch, seed=k) for k, batch in enumerate(batches)]
    joined = State.stack(iter(states))
    assert (joined.batch, joined.cell, list(joined)) == (8, "lstm", ["h", "c"])
    at = 0
    for state in states:
        rows = at if state.batch is None else slice(at, at + state.batch)
        assert_same(joined[rows], state)
        at += state.batch or 1


def test_stack_joins_parts():
    states = [nested_state(2, seed=0), nested_state(None, seed=50), nested_state(1, seed=90)]
    joined = State.stack(states)
    assert joined.batch == joined["11"].batch == joined["11"].backward.batch == 4
    for rows, state in zip((slice(0, 2), 2, slice(3, 4)), states, strict=True):
        assert_same(joined[rows], state)


def test_stack_of_one_makes_a_batch():
    state = random_state(batch=None)
    assert State.stack([state]).batch == 1
    assert_same(State.stack([state])[0], state)


def test_stack_takes_fields_by_name():
    state = random_state()
    turned = State({"c": state.c, "h": state.h}, cell="lstm", batch=B)
    np.testing.assert_array_equal(State.stack([state, turned]).c, np.concatenate([state.c, state.c]))


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (
            State(random_arrays(), cell="mine", batch=B),
            ShapeError,
            "State.stack: State(lstm, h (4, 3), c (4, 5); batch 4) and State(mine, h (4, 3), c (4, 5); batch 4) "
            "are not of one cell and size",
        ),
        (
            State({"h": np.zeros(3), "c": np.zeros(6)}, cell="lstm"),
            ShapeError,
            "State.stack: State(lstm, h (4, 3), c (4, 5); batch 4) and State(lstm, h (3), c (6)) "
            "are not of one cell and size",
        ),
        (
            State({"h": np.zeros(3)}, cell="lstm"),
            ShapeError,
            "State.stack: State(lstm, h (4, 3), c (4, 5); batch 4) and State(lstm, h (3)) are not of one cell and size",
        ),
        (
            random_state(dtype="float32"),
            DataError,
            "State.stack: states of lstm are float32 and float64; give one type",
        ),
    ],
)
def test_stack_of_what_does_not_belong_together(other, error, message):
    with pytest.raises(error) as raised:
        State.stack([random_state(), other])
    assert str(raised.value) == message


def test_stack_of_nothing():
    with pytest.raises(ShapeError, match=r"^State.stack: no state is given; one or more are wanted$"):
        State.stack([])


# ---------------------------------------------------------------- copies


def test_copy_replaces_fields():
    state, c = random_state(), np.arange(20.0).reshape(4, 5)
    other = state.copy(c=c)
    assert_same(other, State({"h": state.h, "c": c}, cell="lstm", batch=B))
    assert_same(state, random_state())
    assert_same(state.copy(), state)


def test_copy_replaces_parts():
    state, part = nested_state(), random_state(seed=7)
    other = state.copy(**{"2": part})
    assert_same(other["2"], part)
    assert_same(other["3"], state["3"])


def test_copy_of_what_is_not_there():
    with pytest.raises(ShapeError, match=r"^lstm: there is no field d; fields are h, c$"):
        random_state().copy(d=1.0)
    with pytest.raises(ShapeError, match=r"^lstm: state c is \(3, 5\), \(4, 5\) is wanted$"):
        random_state().copy(c=np.zeros((3, 5)))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
@pytest.mark.parametrize("state", [random_state(), random_state(batch=None, dtype="float32"), nested_state()])
def test_copies_and_pickles_are_states(state, again):
    other = again(state)
    assert other is not state
    assert_same(other, state)
    leaf = other["11"].forward if "11" in other else other
    assert not leaf.h.flags.writeable


# ---------------------------------------------------------------- a value


def test_nothing_changes_a_state():
    state = nested_state()
    part = state["11"].forward
    with pytest.raises(ValueError, match="read-only"):
        part.h[0] = 1.0
    with pytest.raises(AttributeError, match=r"^a state is a value: h cannot be set; copy\(h=\.\.\.\) makes another state$"):
        part.h = np.zeros((B, 3))
    with pytest.raises(AttributeError, match="batch cannot be set"):
        state.batch = 2
    with pytest.raises(AttributeError, match="cell cannot be deleted"):
        del state.cell
    with pytest.raises(TypeError):
        part["h"] = np.zeros((B, 3))
    assert_same(state, nested_state())


def test_a_state_shares_no_memory_with_what_the_caller_gave():
    arrays, fields = random_arrays(), {}
    fields |= arrays
    state = State(fields, cell="lstm", batch=B)
    arrays["h"][:] = 7.0
    del fields["c"]
    assert_same(state, random_state())
    selected = state[1:3]
    assert not np.shares_memory(selected.h, arrays["h"])


@pytest.mark.parametrize("rows", [(), (2,)])
def test_states_of_a_layer_share_no_memory_with_it(rows):
    rnn = elman.RNN(elman.cells.lstm, input=3, hidden=4, dtype="float64")
    rng = np.random.default_rng(1)
    x, given = rng.normal(size=(*rows, 5, 3)), {name: rng.normal(size=(*rows, 4)) for name in ("h", "c")}
    y, state = rnn(x, given)
    _, empty = rnn(x[..., :0, :], given)
    last = state.h.copy()
    y[:] = 0.0
    given["h"][:] = 0.0
    np.testing.assert_array_equal(state.h, last)
    assert np.abs(empty.h).min() > 0.0
    assert not state.h.flags.writeable


def test_equality():
    state = random_state()
    assert state == random_state()
    assert state == State({"c": state.c, "h": state.h}, cell="lstm", batch=B)  # a mapping
    assert nested_state() == nested_state()
    different = [
        random_state(seed=1),
        State(random_arrays(), cell="gru", batch=B),
        State(random_arrays(), cell="lstm"),  # one example whose states are matrices
        random_state(dtype="float32"),
        state[:3],
        State({"h": state.h}, cell="lstm", batch=B),
        nested_state(),
        dict(state),
        None,
    ]
    assert not any(state == other for other in different)
    assert all(state != other for other in different)
    assert nested_state() != nested_state().copy(**{"5": random_state(seed=60)})
    assert State({}, batch=2) != State({}, batch=3)
    with pytest.raises(TypeError, match="unhashable"):
        hash(state)


def test_numbers_that_only_float64_tells_apart_are_different():
    one = State({"h": np.array([1.0])}, cell="elman")
    assert one != State({"h": np.array([1.0 + 2**-50])}, cell="elman")


def test_repr():
    assert repr(random_state()) == "State(lstm, h (4, 3), c (4, 5); batch 4)"
    assert repr(random_state(batch=None)) == "State(lstm, h (3), c (5))"
    assert repr(State({"h": np.zeros(2)})) == "State(h (2))"
    assert repr(State({}, cell="map", batch=3)) == "State(map; batch 3)"
    stack = elman.Stack([elman.RNN(elman.cells.gru, input=3, hidden=4), elman.RNN(elman.cells.elman, input=4, hidden=2)])
    assert repr(stack.initial_state(5)) == (
        "State(Stack(gru, elman), 0 State(gru, h (5, 4); batch 5), 1 State(elman, a (5, 2); batch 5); batch 5)"
    )


# ---------------------------------------------------------------- files

KEPT = {
    "batch": random_state(),
    "one example": random_state(batch=None),
    "float32": random_state(dtype="float32"),
    "parts": nested_state(),
    "no fields": State({}, cell="map", batch=3),
    "no rows": random_state()[:0],
    "a matrix": State({"c": np.arange(6.0).reshape(2, 3)}, cell="mlstm"),
    "a number": State({"m": 2.5}),
    "not contiguous": State({"h": np.arange(12.0).reshape(3, 4).T}, cell="elman", batch=4),
    "names of other alphabets": State({"état": np.ones(2)}, cell="réseau"),
}
every_kept = pytest.mark.parametrize("kind", KEPT)


@every_kept
def test_what_is_saved_is_loaded(kind, tmp_path):
    KEPT[kind].save(tmp_path / "state")
    loaded = State.load(str(tmp_path / "state"))
    assert_same(loaded, KEPT[kind])
    assert loaded == KEPT[kind]
    assert all(not array.flags.writeable for array in loaded.values() if isinstance(array, np.ndarray))


@every_kept
def test_equal_states_give_equal_bytes(kind, tmp_path):
    state = KEPT[kind]
    state.save(tmp_path / "one")
    pickle.loads(pickle.dumps(state)).save(tmp_path / "two")
    State.load(tmp_path / "one").save(tmp_path / "three")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == (tmp_path / "three").read_bytes()


def test_another_state_gives_other_bytes(tmp_path):
    states = [random_state(), random_state(seed=1), random_state().copy(c=random_state().c + 1e-15), random_state()[:2]]
    states += [State(random_arrays(), cell="gru", batch=B), State(random_arrays(), cell="lstm")]
    files = set()
    for state in states:
        state.save(tmp_path / "state")
        files.add((tmp_path / "state").read_bytes())
    assert len(files) == len(states)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_says_so(share, tmp_path):
    path = tmp_path / "state"
    nested_state().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelFileError, match="is truncated, damaged or no safetensors file"):
        State.load(path)


def tree(cell="lstm", batch=None, fields=(("h", None),)):
    return {"cell": cell, "batch": batch, "fields": [list(field) for field in fields]}


FORMAT = {"format": "elman state", "version": 1}
HOSTILE = {
    "no facts": {},
    "a model": {"format": "elman model", "version": 1},
    "another version": {"format": "elman state", "version": 2, "tree": tree()},
    "no tree": FORMAT,
    "a tree that is a number": FORMAT | {"tree": 3},
    "a tree that is a list": FORMAT | {"tree": [1, 2]},
    "a tree that is a text": FORMAT | {"tree": "h"},
    "no fields": FORMAT | {"tree": {"cell": "lstm", "batch": None}},
    "fields that are a number": FORMAT | {"tree": {"cell": "lstm", "batch": None, "fields": 1}},
    "fields by name": FORMAT | {"tree": {"cell": "lstm", "batch": None, "fields": {"h": None}}},
    "a field that is missing": FORMAT | {"tree": tree(fields=[("h", None), ("c", None)])},
    "an array that is no field": FORMAT | {"tree": tree(fields=[])},
    "a field twice": FORMAT | {"tree": tree(fields=[("h", None), ("h", None)])},
    "a field without a name": FORMAT | {"tree": tree(fields=[(1, None)])},
    "a list for a name": FORMAT | {"tree": tree(fields=[([], None)])},
    "a part that is a text": FORMAT | {"tree": tree(fields=[("h", "x")])},
    "a cell that is a number": FORMAT | {"tree": tree(cell=5)},
    "a batch that is a text": FORMAT | {"tree": tree(batch="2")},
    "a batch that is true": FORMAT | {"tree": tree(batch=True)},
    "a negative batch": FORMAT | {"tree": tree(batch=-1)},
    "a wrong batch": FORMAT | {"tree": tree(batch=3)},
    "a huge batch": FORMAT | {"tree": tree(batch=10**30)},
    "a part of another batch": FORMAT | {"tree": tree(batch=2, fields=[("h", None), ("a", tree(fields=[]))])},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_says_so(kind, tmp_path):
    path = tmp_path / "state"
    safetensors.write(path, {"h": np.ones((2, 3))}, HOSTILE[kind])
    with pytest.raises(ModelFileError) as raised:
        State.load(path)
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("levels", [300, 100_000])
def test_parts_without_end_say_so(levels, tmp_path):
    from safetensors.numpy import save

    part = '{"cell": "", "batch": null, "fields": [["h", '
    text = '{"format": "elman state", "version": 1, "tree": ' + part * levels + "null" + "]]}" * levels + "}"
    (tmp_path / "state").write_bytes(save({"h": np.ones(3)}, metadata={safetensors.KEY: text}))
    with pytest.raises(ModelFileError, match=r"cannot be read|not a whole state"):
        State.load(tmp_path / "state")


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_a_file_of_what_is_no_number_says_so(dtype, tmp_path):
    path = tmp_path / "state"
    safetensors.write(path, {"h": np.ones(3, dtype)}, FORMAT | {"tree": tree()})
    with pytest.raises(ModelFileError, match=f"state h holds {dtype}, numbers are wanted"):
        State.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="there is no such file"):
        State.load(tmp_path / "state")
    with pytest.raises(ModelFileError, match=r"cannot be written: the folder .* does not exist"):
        random_state().save(tmp_path / "no" / "state")


def test_a_model_is_no_state(tmp_path):
    elman.Model(5, hidden_dim=3).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="format 'elman model' is not 'elman state', version 1"):
        State.load(tmp_path / "model")


# ---------------------------------------------------------------- what a layer takes and refuses


def layer(kind: str, dtype: str = "float64", hidden: int = 4) -> elman.Layer:
    def rnn(cell, inputs, seed=0):
        return elman.RNN(cell, input=inputs, hidden=hidden, dtype=dtype, seed=seed)

    made = {
        "lstm": lambda: rnn(elman.cells.lstm, 3),
        "gru": lambda: rnn(elman.cells.gru, 3),
        "stack": lambda: elman.Stack([rnn(elman.cells.gru, 3), rnn(elman.cells.lstm, hidden)]),
        "both": lambda: elman.Bidirectional(rnn(elman.cells.gru, 3), rnn(elman.cells.gru, 3, seed=1)),
        "stack of both": lambda: elman.Stack([layer("both", dtype, hidden), rnn(elman.cells.lstm, 2 * hidden)]),
    }
    return made[kind]()


def random_x(*rows: int, steps: int = 6, inputs: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*rows, steps, inputs))


REFUSED = {
    "another cell": ("lstm", lambda: layer("gru").initial_state(2), "lstm: this is a state of gru, with h; lstm has h, c"),
    "a stack's": (
        "gru",
        lambda: layer("stack").initial_state(2),
        "gru: this is a state of Stack(gru, lstm), with 0, 1; gru has h",
    ),
    "another stack's": (
        "stack",
        lambda: layer("both").initial_state(2),
        "Stack(gru, lstm): this is a state of Bidirectional(gru, gru)",
    ),
    "another size": (
        "lstm",
        lambda: layer("lstm", hidden=5).initial_state(2),
        "lstm: state h is (2, 5), (2, hidden=4) is wanted. Was this state made with another size?",
    ),
    "another batch": (
        "lstm",
        lambda: layer("lstm").initial_state(3),
        "lstm: state h (3, 4) is of batch 3, the input is of batch 2. Select rows, or start a new state.",
    ),
    "no batch": (
        "lstm",
        lambda: layer("lstm").initial_state(),
        "lstm: state h (4) is of one sequence, without a batch, the input is of batch 2. Select rows, or start a new state.",
    ),
    "another size in a stack": (
        "stack",
        lambda: [layer("gru").initial_state(2), layer("lstm", hidden=5).initial_state(2)],
        "Stack, part 1: lstm: state h is (2, 5), (2, hidden=4) is wanted. Was this state made with another size?",
    ),
    "another batch in a stack": (
        "stack",
        lambda: layer("stack").initial_state(1),
        "Stack, part 0: gru: state h (1, 4) is of batch 1, the input is of batch 2. Select rows, or start a new state.",
    ),
    "another cell in a stack": (
        "stack",
        lambda: {"0": layer("gru").initial_state(2), "1": layer("gru").initial_state(2)},
        "Stack, part 1: lstm: this is a state of gru, with h; lstm has h, c",
    ),
    "far inside": (
        "stack of both",
        lambda: {
            "0": {"forward": None, "backward": np.zeros((2, 9))},
            "1": None,
        },
        "Stack, part 0: Bidirectional, part backward: gru: state h is (2, 9), (2, hidden=4) is wanted. "
        "Was this state made with another size?",
    ),
    "too few parts": (
        "stack",
        lambda: [np.zeros((2, 4))],
        "Stack(gru, lstm): the state has one part for each of 0, 1; this is 1 parts",
    ),
    "other parts": (
        "both",
        lambda: {"forward": None, "back": None},
        "Bidirectional(gru, gru): the state has one part for each of forward, backward; this is one with forward, back",
    ),
    "an array for a stack": (
        "stack",
        lambda: np.zeros((2, 4)),
        "Stack(gru, lstm): the state has one part for each of 0, 1; this is of type ndarray",
    ),
    "parts for an array": ("gru", lambda: {"h": {"h": 1.0}}, "gru: state h has parts, h; an array is wanted"),
    "a state for an array": (
        "gru",
        lambda: {"h": layer("gru").initial_state(2)},
        "gru: state h has parts, h; an array is wanted",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_state_that_does_not_fit_says_which(case):
    kind, given, message = REFUSED[case]
    with pytest.raises(ShapeError) as raised:
        layer(kind)(random_x(2), given())
    assert str(raised.value) == message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_not_finite_says_where(value):
    h = np.zeros((2, 4))
    h[1, 2] = value
    with pytest.raises(
        DataError, match=r"^Stack, part 0: gru: state h holds NaN or infinity \(first at \(1, 2\), as float64\)$"
    ):
        layer("stack")(random_x(2), [h, None])


@pytest.mark.parametrize("kind", ["lstm", "gru", "stack", "both", "stack of both"])
def test_a_float64_state_is_refused_by_a_float32_layer(kind):
    wide, narrow, x = layer(kind), layer(kind, "float32"), random_x(2)
    _, state = wide(x)
    for given in (state, list(state.values()) if state.layers else state):
        with pytest.raises(DataError) as raised:
            narrow(x, given)
        said = "state h is float64, this layer computes in float32. Was this state made by another layer?"
        assert str(raised.value).endswith(said + " Plain arrays are cast.")


@pytest.mark.parametrize("kind", ["lstm", "stack of both"])
def test_other_types_that_lose_nothing_are_taken(kind):
    wide, narrow, x = layer(kind), layer(kind, "float32"), random_x(2)

    def plain(state):
        return {name: plain(value) if isinstance(value, State) else value for name, value in state.items()}

    def rounded(state, dtype):
        fields = {n: rounded(v, dtype) if isinstance(v, State) else v.astype(dtype) for n, v in state.items()}
        return State(fields, cell=state.cell, batch=state.batch)

    _, state = wide(x)
    wanted, _ = narrow(x, rounded(state, "float32"))
    np.testing.assert_array_equal(narrow(x, plain(state))[0], wanted)  # arrays are cast
    small = rounded(state, "float32")
    np.testing.assert_array_equal(wide(x, small)[0], wide(x, rounded(small, "float64"))[0])  # nothing is lost
    if kind == "lstm":
        ones = State({"h": np.ones((2, 4), int), "c": np.ones((2, 4), int)}, cell="lstm", batch=2)
        np.testing.assert_array_equal(narrow(x, ones)[0], narrow(x, [np.ones((2, 4))] * 2)[0])


def test_every_form_of_a_state_of_parts():
    stack, x = layer("stack of both"), random_x(2)
    _, state = stack(x)
    both, last = state.layers
    h = {way: np.array(both[way].h) for way in both}
    forms = [state, dict(state), [both, last], (both, last), {"1": last, "0": {"backward": h["backward"], **h}}]
    forms += [[h, {"h": last.h, "c": last.c}], [(h["forward"], h["backward"]), (last.h, last.c)], state.copy()]
    wanted, _ = stack(x, state)
    assert np.abs(wanted - stack(x)[0]).max() > 1e-3
    for form in forms:
        np.testing.assert_array_equal(stack(x, form)[0], wanted)


@pytest.mark.parametrize("learnt", [False, True])
def test_a_part_that_is_not_given_is_initial(learnt):
    rng = np.random.default_rng(3)
    layers = [elman.RNN(elman.cells.gru, input=3, hidden=3, dtype="float64", seed=k, learn_initial=learnt) for k in (0, 1)]
    stack = elman.Stack(layers)
    if learnt:
        stack.update({name: rng.normal(size=3) for name in ("0.h0", "1.h0")})
    x, h = random_x(2), rng.normal(size=(2, 3))
    initial = np.array(stack.initial_state(2)["1"].h)
    assert bool(np.abs(initial).max() > 0.1) == learnt
    np.testing.assert_array_equal(stack(x, [h, None])[0], stack(x, [h, initial])[0])


def test_initial_states():
    for kind in ("lstm", "stack of both"):
        for batch in (None, 3):
            state = layer(kind, "float32").initial_state(batch)
            assert state.batch == batch
            leaf = state["0"].backward if kind != "lstm" else state
            assert leaf.h.dtype == np.float32
            np.testing.assert_array_equal(leaf.h, np.zeros((4,) if batch is None else (batch, 4)))
