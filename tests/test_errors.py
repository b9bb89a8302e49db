"""What is said at the public door: which error, and its words; and that nothing has changed when it is raised."""

import copy
import math
import pickle

import numpy as np
import pytest

import elman
from elman import RNN, Model, State, bias, cell, cells, concatenate, exp, sigmoid, state, tanh, train, weight
from elman.cells.activations import gelu
from elman.errors import (
    CellError,
    DataError,
    ElmanError,
    GraphError,
    MissingLibraryError,
    ModelFileError,
    SettingError,
    ShapeError,
    TextError,
    TokenError,
)
from elman.text import Vocabulary
from messages import said

W, U, B = weight("hidden", "input"), weight("hidden", "hidden"), bias("hidden")
AGAIN = "Was this state made with another size?"
ROWS = "Select rows, or start a new state."


def array(*shape, value=1.0):
    return np.full(shape, value)


def spoiled(value, *place, shape=(4, 3)):
    x = np.ones(shape)
    x[place] = value
    return x


@pytest.fixture
def simple():
    return RNN(cells.elman, input=3, hidden=5, dtype="float32", seed=1)


@pytest.fixture
def double():
    return RNN(cells.lstm, input=3, hidden=5, dtype="float64", seed=2)


@pytest.fixture
def model():
    return Model(8, 5, seed=3)


# ---------------------------------------------------------------- the tree


def test_every_error_is_ours_and_a_builtin_one():
    for error in (
        CellError, GraphError, ShapeError, DataError, TokenError, TextError, ModelFileError, SettingError,
    ):  # fmt: skip
        assert issubclass(error, ElmanError)
        assert issubclass(error, ValueError)
        assert getattr(elman, error.__name__) is error
    assert issubclass(MissingLibraryError, ElmanError)
    assert issubclass(MissingLibraryError, ImportError)


# ---------------------------------------------------------------- the input

FLOATS = "floats are features, integers are tokens"
INPUTS = [
    (spoiled(np.nan, 2, 1), DataError, "elman: the input holds NaN or infinity (first at (2, 1), as float32)"),
    (spoiled(np.inf, 0, 0), DataError, "elman: the input holds NaN or infinity (first at (0, 0), as float32)"),
    (spoiled(-np.inf, 3, 2), DataError, "elman: the input holds NaN or infinity (first at (3, 2), as float32)"),
    (spoiled(1e300, 1, 2), DataError, "elman: the input holds NaN or infinity (first at (1, 2), as float32)"),
    (
        spoiled(np.nan, 1, 2, 0, shape=(2, 4, 3)), DataError,
        "elman: the input holds NaN or infinity (first at (1, 2, 0), as float32)",
    ),
    (array(3), ShapeError, "elman: the input is (3); [T, 3] or [B, T, 3] is wanted, input=3"),
    (array(1, 1, 4, 3), ShapeError, "elman: the input is (1, 1, 4, 3); [T, 3] or [B, T, 3] is wanted, input=3"),
    (array(4, 2), ShapeError, "elman: the input is (4, 2); [T, 3] or [B, T, 3] is wanted, input=3"),
    (array(3, 4), ShapeError, "elman: the input is (3, 4); [T, 3] or [B, T, 3] is wanted, input=3"),
    (array(0, 4, 3), ShapeError, "elman: the batch is empty, (0, 4, 3); at least one sequence is wanted"),
    (1.5, ShapeError, "elman: the input is (); [T, 3] or [B, T, 3] is wanted, input=3"),
    ([], ShapeError, "elman: the input is (0); [T, 3] or [B, T, 3] is wanted, input=3"),
    (2, ShapeError, "elman: tokens are (); [T] or [B, T] is wanted (features must be floats)"),
    (np.ones((4, 3, 1), int), ShapeError, "elman: tokens are (4, 3, 1); [T] or [B, T] is wanted (features must be floats)"),
    (array(4, 3).astype(complex), DataError, f"elman: the input holds complex128; {FLOATS}"),
    (array(4, 3) > 0, DataError, f"elman: the input holds bool; {FLOATS}"),
    ([[None] * 3], DataError, f"elman: the input holds object; {FLOATS}"),
    ([["a"] * 3], DataError, f"elman: the input holds <U1; {FLOATS}"),
    (None, DataError, f"elman: the input holds object; {FLOATS}"),
    ([0, -1], TokenError, "elman: token -1 at position 1 is outside the vocabulary of 3, 0 to 2"),
    ([2, 3, 9], TokenError, "elman: token 3 at position 1 is outside the vocabulary of 3, 0 to 2"),
    ([[0, 1], [2, 7]], TokenError, "elman: token 7 at position 1 of sequence 1 is outside the vocabulary of 3, 0 to 2"),
    ([2**40], TokenError, f"elman: token {2**40} at position 0 is outside the vocabulary of 3, 0 to 2"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "error", "message"), INPUTS)
def test_inputs_that_do_not_fit(simple, x, error, message):
    assert said(lambda: simple(x), error) == message
    assert said(lambda: simple.inspect(x), error) == message
    assert said(lambda: simple.record(x), error) == message


def test_an_input_with_rows_of_different_lengths(simple):
    assert "different lengths" in said(lambda: simple([[1.0, 2.0, 3.0], [1.0]]), ShapeError)


def test_a_float32_overflow_is_fine_in_float64(double):
    assert np.isfinite(double(spoiled(1e300, 1, 2))[0]).all()


def test_a_step_that_does_not_fit(simple):
    wanted = "[3] or [B, 3] is wanted, input=3"
    assert said(lambda: simple.step(array(4)), ShapeError) == f"elman: a step is (4); {wanted}"
    assert said(lambda: simple.step(array(2, 4)), ShapeError) == f"elman: a step is (2, 4); {wanted}"
    sequence = "call the layer for a sequence"
    assert said(lambda: simple.step(array(2, 2, 3)), ShapeError) == f"elman: a step is (2, 2, 3); {wanted}; {sequence}"
    assert said(lambda: simple.step(array(4, 1, 7, 3)), ShapeError) == f"elman: a step is (4, 1, 7, 3); {wanted}"
    assert said(lambda: simple.step([[1, 2]]), ShapeError) == "elman: tokens of a step are (1, 2); one, or [B] is wanted"
    assert said(lambda: simple.step([[1.0], [1.0, 2.0]]), ShapeError) == "elman: the input has rows of different lengths"
    assert said(lambda: simple.step(array(0, 3)), ShapeError).startswith("elman: the batch is empty, (0, 1, 3)")
    assert said(lambda: simple.step([np.nan] * 3), DataError).startswith("elman: the input holds NaN or infinity")
    assert said(lambda: simple.step(3), TokenError) == "elman: token 3 at position 0 is outside the vocabulary of 3, 0 to 2"
    assert (
        said(lambda: simple.step(array(3), array(4)), ShapeError) == f"elman: state a is (4), (hidden=5) is wanted. {AGAIN}"
    )


# ---------------------------------------------------------------- the state


def state_of(rnn, batch=None):
    return rnn(array(*(() if batch is None else (batch,)), 4, 3))[1]


def test_a_state_of_another_batch(simple, double):
    x, batch = array(4, 3), array(2, 4, 3)
    assert said(lambda: simple(x, state_of(simple, 2)), ShapeError) == (
        f"elman: state a (2, 5) is of batch 2, the input is of one sequence, without a batch. {ROWS}"
    )
    assert said(lambda: simple(batch, state_of(simple)), ShapeError) == (
        f"elman: state a (5) is of one sequence, without a batch, the input is of batch 2. {ROWS}"
    )
    assert said(lambda: simple(batch, state_of(simple, 3)), ShapeError) == (
        f"elman: state a (3, 5) is of batch 3, the input is of batch 2. {ROWS}"
    )
    assert said(lambda: double(batch, (array(2, 5), array(3, 5))), ShapeError) == (
        f"lstm: state c (3, 5) is of batch 3, the input is of batch 2. {ROWS}"
    )


def test_a_state_of_another_cell_or_size(simple, double):
    x, wider = array(4, 3), RNN(cells.elman, input=3, hidden=6)
    assert said(lambda: simple(x, state_of(double)), ShapeError) == "elman: this is a state of lstm, with h, c; elman has a"
    assert said(lambda: double(x, state_of(simple)), ShapeError) == "lstm: this is a state of elman, with a; lstm has h, c"
    assert said(lambda: simple(x, state_of(wider)), ShapeError) == f"elman: state a is (6), (hidden=5) is wanted. {AGAIN}"
    assert said(lambda: simple(array(2, 4, 3), array(2, 6)), ShapeError) == (
        f"elman: state a is (2, 6), (2, hidden=5) is wanted. {AGAIN}"
    )
    assert said(lambda: double(x, (array(5), array(4))), ShapeError) == (
        f"lstm: state c is (4), (hidden=5) is wanted. {AGAIN}"
    )
    assert said(lambda: simple(x, 0.0), ShapeError) == f"elman: state a is (), (hidden=5) is wanted. {AGAIN}"


def test_states_that_are_too_few_or_called_otherwise(simple, double):
    x = array(4, 3)
    assert said(lambda: double(x, array(5)), ShapeError) == "lstm: 1 state is given; lstm has h, c"
    assert said(lambda: double(x, (0, 0, 0)), ShapeError) == "lstm: 3 states are given; lstm has h, c"
    assert said(lambda: simple(x, (array(5), array(5))), ShapeError) == "elman: 2 states are given; elman has a"
    assert said(lambda: double(x, {"h": array(5)}), ShapeError) == "lstm: the state has h; lstm has h, c"
    assert said(lambda: simple(x, {"b": array(5)}), ShapeError) == "elman: the state has b; elman has a"
    assert said(lambda: simple(x, {}), ShapeError) == "elman: the state has no fields; elman has a"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (spoiled(np.nan, 3, shape=5), DataError, "elman: state a holds NaN or infinity (first at (3,), as float32)"),
        (spoiled(np.inf, 0, shape=5), DataError, "elman: state a holds NaN or infinity (first at (0,), as float32)"),
        (spoiled(1e39, 4, shape=5), DataError, "elman: state a holds NaN or infinity (first at (4,), as float32)"),
        (array(5).astype(complex), DataError, "elman: state a holds complex128, numbers are wanted"),
        (array(5) > 0, DataError, "elman: state a holds bool, numbers are wanted"),
        ("state", DataError, "elman: state a holds <U5, numbers are wanted"),
        ([[1, 2], [3]], ShapeError, "elman: state a has rows of different lengths"),
    ],
)
def test_states_that_are_no_numbers(simple, given, error, message):
    assert said(lambda: simple(array(4, 3), given), error) == message


def test_the_state_itself(simple):
    found = state_of(simple, 2)
    with pytest.raises(AttributeError, match=r"^a state of elman has a, not h$"):
        _ = found.h
    with pytest.raises(KeyError, match="h"):
        _ = found["h"]
    with pytest.raises(ValueError, match="read-only"):
        found.a[0] = 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)
    assert said(lambda: State({"h": array(2, 3), "c": array(4, 3)}, cell="lstm", batch=2), ShapeError) == (
        "lstm: state c is (4, 3); a batch of 2 is wanted"
    )
    assert said(lambda: State({"h": 1.0}, batch=1), ShapeError) == "State: state h is (); a batch of 1 is wanted"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))])
def test_a_state_can_be_copied(double, again):
    found = state_of(double, 2)
    other = again(found)
    assert other == found
    assert (other.cell, other.batch, repr(other)) == ("lstm", 2, repr(found))
    assert not other.h.flags.writeable
    double(array(2, 4, 3), other)


# ---------------------------------------------------------------- lengths and resets


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1], ShapeError, "elman: lengths are int64 (1); integers (2) are wanted, one a sequence"),
        ([[1, 2]], ShapeError, "elman: lengths are int64 (1, 2); integers (2) are wanted, one a sequence"),
        (3, ShapeError, "elman: lengths are int64 (); integers (2) are wanted, one a sequence"),
        ([1.0, 2.0], ShapeError, "elman: lengths are float64 (2); integers (2) are wanted, one a sequence"),
        ([True, False], ShapeError, "elman: lengths are bool (2); integers (2) are wanted, one a sequence"),
        ("ab", ShapeError, "elman: lengths are <U2 (); integers (2) are wanted, one a sequence"),
        ([1, 5], DataError, "elman: length 5 of sequence 1 is outside 0 to 4, the number of steps"),
        ([-1, 9], DataError, "elman: length -1 of sequence 0 is outside 0 to 4, the number of steps"),
    ],
)
def test_lengths_that_do_not_fit(simple, lengths, error, message):
    assert said(lambda: simple(array(2, 4, 3), lengths=lengths), error) == message


@pytest.mark.parametrize(
    ("reset", "given"),
    [
        ([0, 1, 0, 0], "int64 (4)"),
        (array(4), "float64 (4)"),
        ([True], "bool (1)"),
        (array(4, 2) > 0, "bool (4, 2)"),
        (True, "bool ()"),
    ],
)
def test_resets_that_do_not_fit(simple, reset, given):
    wanted = "truth values (4) or (2, 4) are wanted"
    assert said(lambda: simple(array(2, 4, 3), reset=reset), ShapeError) == f"elman: reset is {given}; {wanted}"


# ---------------------------------------------------------------- parameters

UPDATES = [
    ({"wxx": 1}, SettingError, "elman: there is no parameter 'wxx'; parameters are wax, waa, ba"),
    ({"wax": array(3, 5)}, ShapeError, "elman: wax is (3, 5), (hidden=5, input=3) is wanted"),
    ({"wax": array(15)}, ShapeError, "elman: wax is (15), (hidden=5, input=3) is wanted"),
    ({"ba": None}, ShapeError, "elman: ba is (), (hidden=5) is wanted"),
    ({"ba": spoiled(np.nan, 2, shape=5)}, DataError, "elman: ba holds NaN or infinity (first at (2,), as float32)"),
    (
        {"waa": spoiled(np.inf, 1, 4, shape=(5, 5))},
        DataError,
        "elman: waa holds NaN or infinity (first at (1, 4), as float32)",
    ),
    ({"ba": spoiled(-1e39, 0, shape=5)}, DataError, "elman: ba holds NaN or infinity (first at (0,), as float32)"),
    ({"ba": ["a"] * 5}, DataError, "elman: ba holds <U1, numbers are wanted"),
    ({"ba": array(5) > 0}, DataError, "elman: ba holds bool, numbers are wanted"),
    ({"ba": array(5) * 1j}, DataError, "elman: ba holds complex128, numbers are wanted"),
]


@pytest.mark.parametrize(("values", "error", "message"), UPDATES)
def test_updates_that_do_not_fit_change_nothing(simple, values, error, message):
    before = {name: value.copy() for name, value in simple.parameters.items()}
    y, _ = simple(array(4, 3))
    first = {"waa": array(5, 5, value=0.5)} if "waa" not in values else {"ba": array(5, value=0.5)}
    assert said(lambda: simple.update(first | values), error) == message
    for name, value in before.items():
        np.testing.assert_array_equal(simple.parameters[name], value)
    np.testing.assert_array_equal(simple(array(4, 3))[0], y)


def test_a_failed_update_of_a_model_changes_nothing(model):
    before = {name: value.copy() for name, value in model.parameters.items()}
    good = {"ba": array(5), "wya": array(8, 5)}
    cases = {
        "readout: by is (7), (output=8) is wanted": (ShapeError, {"by": array(7)}),
        "readout: by holds NaN or infinity (first at (0,), as float32)": (DataError, {"by": array(8, value=np.nan)}),
        "elman: wax is (8, 5), (hidden=5, input=8) is wanted": (ShapeError, {"wax": array(8, 5)}),
        "Model: there is no parameter 'b'; parameters are wax, waa, ba, wya, by": (SettingError, {"b": 1}),
    }
    for message, (error, values) in cases.items():
        assert said(lambda values=values: model.update(good | values), error) == message
        for name, value in before.items():
            np.testing.assert_array_equal(model.parameters[name], value, err_msg=message)


def test_parameters_cannot_be_written_past_update(simple, model):
    for owner, name in ((simple, "ba"), (model, "by")):
        with pytest.raises(ValueError, match="read-only"):
            owner.parameters[name][0] = 1
        with pytest.raises(TypeError, match="does not support item assignment"):
            owner.parameters[name] = 1
    mine = array(5)
    simple.update({"ba": mine})
    mine[:] = 7
    assert simple.parameters["ba"].tolist() == [1] * 5


# ---------------------------------------------------------------- making an RNN and a model

SIZE = "must be an integer, 1 or more"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "elman: sizes are input, hidden; input, hidden is missing"),
        ({"hidden": 3}, "elman: sizes are input, hidden; input is missing"),
        ({"input": 3, "hidden": 3, "width": 2}, "elman: sizes are input, hidden; width is not one of them"),
        ({"input": 0, "hidden": 3}, f"elman: size input=0 {SIZE}"),
        ({"input": 3, "hidden": -1}, f"elman: size hidden=-1 {SIZE}"),
        ({"input": 3.5, "hidden": 3}, f"elman: size input=3.5 {SIZE}"),
        ({"input": "3", "hidden": 3}, f"elman: size input='3' {SIZE}"),
        ({"input": True, "hidden": 4321}, f"elman: size input=True {SIZE}"),
        ({"dtype": "float16"}, "dtype float16 is not supported; it is float32 or float64"),
        ({"dtype": "int32"}, "dtype int32 is not supported; it is float32 or float64"),
        ({"dtype": "quad"}, "dtype quad is not supported; it is float32 or float64"),
        ({"target": "cuda"}, "target 'cuda' is unknown; targets are auto, llvm, numpy, interpreter"),
        ({"target": None}, "target None is unknown; targets are auto, llvm, numpy, interpreter"),
        ({"seed": -1}, "seed=-1 must be an integer, 0 or more"),
        ({"seed": 1.5}, "seed=1.5 must be an integer, 0 or more"),
        ({"seed": None}, "seed=None must be an integer, 0 or more"),
        ({"seed": "a"}, "seed='a' must be an integer, 0 or more"),
    ],
)
def test_settings_of_an_rnn(settings, message):
    sizes = {} if {"input", "hidden"} & set(settings) or not settings else {"input": 3, "hidden": 3}
    assert said(lambda: RNN(cells.elman, **sizes, **settings), SettingError) == message


def test_a_size_that_no_array_can_have():
    assert said(lambda: RNN(cells.elman, input=3, hidden=10**20), SettingError).startswith("elman: size hidden=")


def test_what_is_no_cell():
    fix = "make one of a function with @elman.cell, or take one of elman.cells, as elman.cells.gru"
    assert said(lambda: RNN("lstm", input=3, hidden=3), SettingError) == f"RNN: 'lstm' is not a cell; {fix}"
    assert said(lambda: Model(8, cell="lstm"), SettingError) == f"Model: cell='lstm' is not a cell; {fix}"
    assert said(lambda: Model(8, readout=3), SettingError) == f"Model: readout=3 is not a cell; {fix}"
    near = "there is no cell 'rnn'; near it: qrnn, indrnn; `elman cells` lists all"
    assert said(lambda: cells.named("rnn"), SettingError) == near
    assert said(lambda: cells.named("xyz"), SettingError).startswith("there is no cell 'xyz'; cells are elman, gru, ")


@cell
def stateful(a=state("hidden"), s=state("hidden"), *, wya=weight("output", "hidden")):
    return a + s, s


@cell
def narrow(a, *, wya=weight(3, "hidden")):
    return elman.softmax(wya @ a)


@cell
def squashed(a, *, wya=weight("output", "hidden"), by=bias("output")):
    return sigmoid(wya @ a + by)


@cell
def matrix(x, m=state("hidden", "hidden"), *, w=weight("hidden", "input")):
    return m * 0.5 + elman.outer(w @ x, w @ x)


VOCABULARY = Vocabulary.characters("abc")


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((0,), {}, f"Model: word_dim=0 {SIZE}"),
        ((-2,), {}, f"Model: word_dim=-2 {SIZE}"),
        ((8.5,), {}, f"Model: word_dim=8.5 {SIZE}"),
        ((8, 0), {}, f"Model: hidden_dim=0 {SIZE}"),
        ((8, 10**20), {}, f"Model: hidden_dim={10**20} must be an integer, below 2147483648"),
        ((8,), {"cell": cells.lstm_projected, "projection": 0}, f"lstm_projected: size projection=0 {SIZE}"),
        ((8, 5, 0), {}, "bptt_truncate=0 must be a number of steps, 1 or more, or None"),
        ((8, 5, 1.5), {}, "bptt_truncate=1.5 must be a number of steps, 1 or more, or None"),
        ((8, 5, "4"), {}, "bptt_truncate='4' must be a number of steps, 1 or more, or None"),
        ((8, 5, 4, cells.elman, -1), {}, "seed=-1 must be an integer, 0 or more"),
        ((8,), {"width": 3}, "Model: width is no size of elman (input, hidden) or readout (hidden, output)"),
        ((8,), {"dtype": "int8"}, "dtype int8 is not supported; it is float32 or float64"),
        ((8,), {"target": "x"}, "target 'x' is unknown; targets are auto, llvm, numpy, interpreter"),
        ((8,), {"vocabulary": VOCABULARY}, "Model: word_dim=8, but the vocabulary has 4 symbols"),
        ((3,), {"vocabulary": "abc"}, "Model: vocabulary='abc' is none; make one with elman.Vocabulary"),
        (
            (8,), {"readout": cells.elman},
            "Model: the read-out elman has states; a read-out is a map, states belong in the cell",
        ),
        (
            (8,), {"readout": stateful},
            "Model: the read-out stateful has states; a read-out is a map, states belong in the cell",
        ),
        ((8,), {"readout": narrow}, "Model: the read-out gives (3); (8), one value a symbol, is wanted"),
        ((8,), {"cell": matrix}, "Model: the output of matrix is (hidden=100, hidden=100); the read-out wants a vector"),
    ],
)  # fmt: skip
def test_settings_of_a_model(arguments, settings, message):
    assert said(lambda: Model(*arguments, **settings), SettingError) == message


@pytest.mark.parametrize("outputs", [0, -1, 2.0, "a", True])
def test_outputs_are_a_size(outputs):
    layer = RNN(cells.elman, input=3, hidden=5)
    assert said(lambda: Model.from_layers(layer, outputs), SettingError) == f"Model: outputs={outputs!r} {SIZE}"


# ---------------------------------------------------------------- tokens and targets

INTEGERS = "integers [T] or [B, T] are wanted"
EMPTY = "Model: the sequence is empty; at least one token is wanted"
TOKENS = [
    ([], DataError, EMPTY),
    ([[], []], DataError, EMPTY),
    ([0, -1], TokenError, "Model: token -1 at position 1 is outside the vocabulary of 8, 0 to 7"),
    ([7, 8], TokenError, "Model: token 8 at position 1 is outside the vocabulary of 8, 0 to 7"),
    ([[0, 1], [9, 1]], TokenError, "Model: token 9 at position 0 of sequence 1 is outside the vocabulary of 8, 0 to 7"),
    ([0.0, 1.0], ShapeError, f"Model: tokens are float64 (2); {INTEGERS}"),
    ([True], ShapeError, f"Model: tokens are bool (1); {INTEGERS}"),
    ([None], ShapeError, f"Model: tokens are object (1); {INTEGERS}"),
    ([2**70], ShapeError, f"Model: tokens are object (1); {INTEGERS}"),
    ([[[1]]], ShapeError, f"Model: tokens are int64 (1, 1, 1); {INTEGERS}"),
    ([[1], [1, 2]], ShapeError, "Model: tokens of different lengths; pad them and give lengths (elman.pad_sequences)"),
    ("abc", DataError, "Model: this model has no vocabulary, so text has no tokens; give integers"),
]


@pytest.mark.parametrize(("tokens", "error", "message"), TOKENS)
def test_tokens_that_do_not_fit(model, tokens, error, message):
    for call in (
        model.forward_propagation, model.predict, model.inspect, model.generate, lambda given: model.sample(given, 3),
        lambda given: model.stream().push(given), lambda given: model.loss(given, [1, 2]),
        lambda given: model.loss([1, 2], given), lambda given: model.gradients(given, [1, 2]),
        lambda given: train.train(model, given), lambda given: train.evaluate(model, given),
    ):  # fmt: skip
        assert said(lambda call=call: call(tokens), error) == message


def test_one_token_is_no_sequence(model):
    assert said(lambda: model.forward_propagation(3), ShapeError) == f"Model: tokens are int64 (); {INTEGERS}"
    assert model.stream().push(3).shape == (8,)  # but one step of a stream
    assert said(lambda: model.stream().push(8), TokenError).startswith("Model: token 8 at position 0 is outside")


def test_text_without_a_symbol_for_it():
    strict = Model(3, 2, vocabulary=Vocabulary.characters("abc", unknown=False))
    message = said(lambda: strict.forward_propagation("abxc"), TokenError)
    assert message.startswith("character 'x' (U+0078) at position 2 is not among the 3 characters of this vocabulary")
    assert said(lambda: strict.forward_propagation(""), DataError) == EMPTY


def test_targets_and_states_of_a_model(model):
    assert said(lambda: model.loss([1, 2], [1]), ShapeError) == (
        "Model: tokens are (2), targets are (1); one target a token is wanted"
    )
    assert said(lambda: model.gradients([[1, 2]], [1, 2]), ShapeError) == (
        "Model: tokens are (1, 2), targets are (2); one target a token is wanted"
    )
    assert said(lambda: model.loss([1, 2], [1, 8]), TokenError).startswith("Model: token 8 at position 1 is outside")
    for call in (model.forward_propagation, model.predict, lambda t, s: model.loss(t, t, s), model.inspect):
        assert said(lambda call=call: call([1, 2], array(4)), ShapeError) == (
            f"elman: state a is (4), (hidden=5) is wanted. {AGAIN}"
        )
        assert said(lambda call=call: call([1, 2], array(5, value=np.nan)), DataError).startswith("elman: state a holds NaN")
    squash = Model(8, 5, readout=squashed)
    assert squash.forward_propagation([1]).probabilities.shape == (1, 8)
    assert said(lambda: squash.loss([1], [2]), ShapeError) == (  # a sigmoid's targets are vectors
        "Model: targets are (1); (1, output=8) is wanted, as the output"
    )
    assert said(lambda: model.generate([[1, 2]], 3), ShapeError) == (
        "generate: the prompt is (1, 2); one sequence [T] is wanted"
    )


@pytest.mark.parametrize("length", [-1, 1.5, None, "3", True])
def test_lengths_of_what_is_generated(model, length):
    message = f"length={length!r} must be a number of symbols, 0 or more"
    assert said(lambda: model.generate([1], length), SettingError) == message


def test_a_failed_push_leaves_the_stream(model):
    stream = model.stream()
    stream.push([1, 2])
    before = stream.state
    said(lambda: stream.push([3, 99]), TokenError)
    assert stream.state is before
    np.testing.assert_array_equal(stream.push(5), model.forward_propagation([1, 2, 5]).probabilities[-1])


# ---------------------------------------------------------------- gradients and values


def test_gradients_that_do_not_fit(simple):
    x = array(4, 3)
    assert said(
        lambda: simple.gradients(x, array(4, 4)), ShapeError
    ) == "elman: dy is (4, 4), the output is (4, hidden=5)".replace("hidden=", "")
    assert said(lambda: simple.record(x).gradients(array(4, 5), array(4)), ShapeError) == (
        f"elman: state a is (4), (hidden=5) is wanted. {AGAIN}"
    )
    for truncate in (0, -1, 1.5, "a", True):
        message = f"truncate={truncate!r} must be a number of steps, 1 or more, or None"
        assert said(lambda truncate=truncate: simple.record(x, truncate=truncate), SettingError) == message
    assert said(lambda: simple.inspect(x, keep=["add", "z"]), SettingError) == (
        "elman: there is no value 'z'; values are mulax, mulaa, add, a"
    )


def test_indices_of_softmax():
    softmax, x = elman.Softmax(), np.array([1.0, 2.0, 3.0])
    for call in (softmax.loss, softmax.diff):
        assert said(lambda call=call: call(x, 3), TokenError) == "softmax: index 3 is outside 0 to 2"
        assert said(lambda call=call: call(x, -1), TokenError) == "softmax: index -1 is outside 0 to 2"
        assert said(lambda call=call: call(x, 1.5), ShapeError) == "softmax: indices are float64 (); integers () are wanted"
        assert said(lambda call=call: call(array(2, 3), [1, 2, 0]), ShapeError) == (
            "softmax: indices are int64 (3); integers (2) are wanted"
        )
    assert said(lambda: softmax.predict(array(0)), ShapeError) == (
        "softmax: logits are (0); [V] or [..., V] with V >= 1 is wanted"
    )


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "length=0 must be an integer, 1 or more"),
        ({"batch": 1.5}, "batch=1.5 must be an integer, 1 or more"),
        ({"steps": "9"}, "steps='9' must be an integer, 1 or more"),
        ({"steps": True}, "steps=True must be an integer, 1 or more"),
        ({"warm_up": -1}, "warm_up=-1 must be an integer, 0 or more"),
        ({"seed": -1}, "seed=-1 must be an integer, 0 or more"),
        ({"rate": 0}, "rate=0 must be a number above 0, and finite"),
        ({"rate": math.nan}, "rate=nan must be a number above 0, and finite"),
        ({"rate": "fast"}, "rate='fast' must be a number above 0, and finite"),
        ({"clip": -1.0}, "clip=-1.0 must be a number above 0, and finite"),
        ({"clip": math.inf}, "clip=inf must be a number above 0, and finite"),
        ({"clip": None}, "clip=None must be a number above 0, and finite"),
        ({"clip_value": 0}, "clip_value=0 must be a number above 0, and finite"),
        ({"clip_value": "1"}, "clip_value='1' must be a number above 0, and finite"),
        ({"weight_decay": -1}, "Adam: weight_decay=-1 must be a finite number, 0 or more"),
        ({"average": 2}, "average=2 must be a share, at least 0 and below 1, or 1 for the plain mean"),
        ({"average": "much"}, "average='much' must be a share, at least 0 and below 1, or 1 for the plain mean"),
        ({"label_smoothing": 1}, "label_smoothing=1 must be a share, at least 0 and below 1"),
        ({"recompute": 1}, "recompute=1 must be True or False"),
    ],
)
def test_settings_of_training(settings, message):
    assert said(lambda: train.Settings(**settings), SettingError) == message


def test_too_little_to_learn_from(model):
    assert said(lambda: train.train(model, [1]), DataError) == "train: 1 symbol; at least 2 are wanted"
    assert said(lambda: train.evaluate(model, [1]), DataError) == "evaluate: 1 symbol; at least 2 are wanted"
    assert said(lambda: train.bigram_bits([1, 2], [1], 8), DataError) == "bigram: 1 symbol; at least 2 are wanted"
    wanted = "one long sequence [N] is wanted"
    assert said(lambda: train.train(model, [[1, 2], [3, 4]]), ShapeError) == f"train: tokens are (2, 2); {wanted}"
    assert said(lambda: train.evaluate(model, [[1, 2], [3, 4]]), ShapeError) == f"evaluate: tokens are (2, 2); {wanted}"


@pytest.mark.parametrize("share", [1, 1.0, -0.1, math.nan, math.inf, "half", None])
def test_shares_for_validation(share):
    message = f"validation={share!r} must be a share, at least 0 and below 1"
    assert said(lambda: train.split(np.arange(9), share), SettingError) == message


def test_shares_that_leave_too_little():
    message = "a validation share of {} leaves {} of {} symbols to learn from; at least 2 are wanted"
    for share, left, count in ((0.5, 1, 2), (0.9, 1, 10), (0.0, 1, 1), (0.3, 0, 0)):
        assert said(lambda share=share, count=count: train.split(np.arange(count), share), DataError) == message.format(
            f"{share:g}", left, count
        )


# ---------------------------------------------------------------- equations that do not fit

FUNCTIONS = "; use the functions of elman: "
COMPARED = "a comparison of traced values has no gate; use greater(a, b), which gives 1 and 0, and where(...)"
TRUTH = (
    "an `if`, `while`, `and` or `or` asks for the truth of a traced value, which differs from step to step; "
    "use where(condition, a, b), maximum or minimum"
)
NUMBER = "a traced value is not a number yet (math.tanh, float, int?); use the functions of elman, such as tanh"
APART = "a traced value cannot be taken apart element by element; use split(v, parts)"
PARTS = "of a value (hidden=5) has no gate; v[k] and v[start:stop] of a vector have"
FIVE = "of a value (hidden=5), which has 5 numbers, [0] to [4]"
FORGOTTEN = "; did you forget `return`?"


def branching(x, h, *, w=W, u=U):
    if h[0]:
        return w @ x
    return u @ h


def comparing(x, h, *, w=W, u=U):
    if h[0] > 0.5:
        return w @ x
    return u @ h


def equalling(x, h, *, w=W, u=U):
    if h[0] == 0:
        return w @ x
    return u @ h


def looping(x, h, *, w=W, u=U):
    while h:
        h = u @ h
    return h


def element_by_element(x, h, *, w=W, u=U):
    return [tanh(value) for value in h]


def assigning(x, h, *, w=W, u=U):
    h[0] = 1.0
    return h


EQUATIONS = [
    # sizes
    (lambda x, h, *, w=W, u=U: tanh(w @ x + u @ x), "`u @ x`: x has 3 rows, u is (hidden=5, hidden=5)"),
    (lambda x, h, *, w=W, u=U: tanh(w @ h), "`w @ h<t-1>`: h<t-1> has 5 rows, w is (hidden=5, input=3)"),
    (lambda x, h, *, w=W, u=U: x + u @ h, "`x + u @ h<t-1>`: x is (input=3), u @ h<t-1> is (hidden=5)"),
    (lambda x, h, *, w=W, u=U: w * x, "`w * x`: w is (hidden=5, input=3), x is (input=3)"),
    (lambda x, h, *, w=W, u=U: elman.where(h, x, h), "`where(h<t-1>, x, h<t-1>)`: h<t-1> is (hidden=5), x is (input=3)"),
    (lambda x, h, *, w=W, u=U: elman.softmax(u) @ h, "`softmax(u)`: u is (hidden=5, hidden=5), a vector is wanted"),
    (
        lambda x, h, *, w=W, u=U: elman.outer(h, u),
        "`outer(h<t-1>, u)`: h<t-1> is (hidden=5), u is (hidden=5, hidden=5); two vectors are wanted",
    ),
    (lambda x, h, *, w=W, u=U: elman.split(h, 2)[0], "split: a vector of size 5 cannot be cut into 2 equal parts"),
    (lambda x, h, *, w=W, u=U: h[3:1], "`h<t-1>[3:1]`: h<t-1> is (hidden=5), which has no part [3:1]"),
    (lambda x, h, *, w=W, u=U: x, "the new h is (input=3), the state h is (hidden=5); a state keeps its size"),
    (lambda x, h, *, w=W, u=U: concatenate(h, x), "the new h is (8), the state h is (hidden=5); a state keeps its size"),
    (lambda x, h, *, w=W, u=U: np.zeros(4), "the new h is (4), the state h is (hidden=5); a state keeps its size"),
    (lambda x, h, *, w=W, u=U: elman.mean(h), "the new h is (), the state h is (hidden=5); a state keeps its size"),
    # as they are written, whatever the gates are
    (
        lambda x, h, *, w=W, u=U: h @ x * h,
        "`h<t-1> @ x`: h<t-1> is (hidden=5), x is (input=3); two vectors of one size are wanted",
    ),
    (lambda x, h, *, w=W, u=U: x @ w, "`x @ w`: x is (input=3), w is (hidden=5, input=3); as many rows of w are wanted"),
    (
        lambda x, h, *, w=W, u=U: (x + 1) @ (u * 2),
        "`(x + 1) @ (u * 2)`: x + 1 is (input=3), u * 2 is (hidden=5, hidden=5); as many rows of u * 2 are wanted",
    ),
    (lambda x, h, *, w=W, u=U: np.array([1, -2.5]) * h, "`[1, -2.5] * h<t-1>`: [1, -2.5] is (2), h<t-1> is (hidden=5)"),
    (lambda x, h, *, w=W, u=U: u @ np.ones(7), "`u @ array(7)`: array(7) has 7 rows, u is (hidden=5, hidden=5)"),
    (
        lambda x, h, *, w=W, u=U: gelu(x) * (u @ h),
        "`value * (u @ h<t-1>)`: value (made of x) is (input=3), u @ h<t-1> is (hidden=5)",
    ),
    (
        lambda x, h, *, w=W, u=U: gelu(h + u @ h) - 2 * gelu(x),
        "`value - value2`: value (made of h<t-1>, u) is (hidden=5), value2 (made of x) is (input=3)",
    ),
    (lambda x, h, *, w=W, u=U: concatenate([]), "concatenate: no vector is given; one at least is wanted"),
    # operations without a gate
    (lambda x, h, *, w=W, u=U: np.arctan(w @ x), "np.arctan has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: np.sum(w @ x), "np.sum has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: np.concatenate([w @ x, h]), "np.concatenate has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: np.dot(w, x), "np.dot has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: h + (w @ x).max(), ".max has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: h.sum() + h, ".sum has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: h.reshape(1, 5), ".reshape has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: h.astype("float64"), ".astype has no gate" + FUNCTIONS),
    (lambda x, h, *, w=W, u=U: np.vectorize(math.erf)(h), "a traced value is not an array yet; "),
    (lambda x, h, *, w=W, u=U: math.tanh(h[0]) * h, NUMBER),
    (lambda x, h, *, w=W, u=U: float(h[0]) * h, NUMBER),
    (lambda x, h, *, w=W, u=U: h**3, "** 3 has no gate; write a product, or exp(3 * log(...))"),
    (lambda x, h, *, w=W, u=U: h**0.5, "** 0.5 has no gate; write a product, or exp(0.5 * log(...))"),
    (lambda x, h, *, w=W, u=U: 2**h, "2 ** ... has no gate; write exp(log(2) * ...)"),
    (lambda x, h, *, w=W, u=U: h[::2], f"[slice(None, None, 2)] {PARTS}"),
    (lambda x, h, *, w=W, u=U: h[[0, 1]], f"[[0, 1]] {PARTS}"),
    (lambda x, h, *, w=W, u=U: h + h[9], f"[9] {FIVE}"),
    (lambda x, h, *, w=W, u=U: h + h[-6], f"[-6] {FIVE}"),
    (lambda x, h, *, w=W, u=U: h + w[0] @ x, "[0] of a value (hidden=5, input=3) has no gate; v[k] and "),
    # questions about values
    (branching, TRUTH),
    (looping, TRUTH),
    (lambda x, h, *, w=W, u=U: h and u @ h, TRUTH),
    (lambda x, h, *, w=W, u=U: not h, TRUTH),
    (comparing, COMPARED),
    (lambda x, h, *, w=W, u=U: (h > 0) * h, COMPARED),
    (lambda x, h, *, w=W, u=U: max(w @ x, h), COMPARED),
    (lambda x, h, *, w=W, u=U: np.where(h > 0, h, h), COMPARED),
    (element_by_element, APART),
    (lambda x, h, *, w=W, u=U: sum(h), APART),
    (lambda x, h, *, w=W, u=U: h if 3 in h else x, APART),
    # what is not a number
    (lambda x, h, *, w=W, u=U: h * math.nan, "a constant of the equations is NaN"),
    (lambda x, h, *, w=W, u=U: h * 1j, "1j is neither a traced value nor numbers"),
    (lambda x, h, *, w=W, u=U: h + "a", "'a' is neither a traced value nor numbers"),
    (lambda x, h, *, w=W, u=U: None, f"None is returned, which is neither a traced value nor numbers{FORGOTTEN}"),
    (lambda x, h, c, *, w=W, u=U: None, f"None is returned, which is neither a traced value nor numbers{FORGOTTEN}"),
    (lambda x, h, *, w=W, u=U: "abc", "'abc' is returned, which is neither a traced value nor numbers"),
    # how many are returned
    (
        lambda x, h, *, w=W, u=U: (h, h, h),
        "3 values are returned; a cell with 1 states (h) returns its new states, or its output and its new states",
    ),
    (
        lambda x, h, c, *, w=W, u=U: w @ x,
        "1 values are returned; a cell with 2 states (h, c) returns its new states, or its output and its new states",
    ),
    (
        lambda x, h, c, *, w=W, u=U: (h, c, h, c),
        "4 values are returned; a cell with 2 states (h, c) returns its new states, or its output and its new states",
    ),
    # known to be told badly, or not at all
    (equalling, COMPARED),
    (lambda x, h, *, w=W, u=U: (h == 0) * h, COMPARED),
    (lambda x, h, *, w=W, u=U: (h != 0) * h, COMPARED),
    (lambda x, h, *, w=W, u=U: h // 2, "// has no gate"),
    (lambda x, h, *, w=W, u=U: h % 2, "% has no gate"),
    (lambda x, h, *, w=W, u=U: round(h), "round has no gate"),
    (assigning, ""),
    (lambda x, h, *, w=W, u=U: h**h, ""),
    (lambda x, h, *, w=W, u=U: {"h": h}, ""),
    (lambda x, h, *, w=W, u=U: np.add.reduce(h), "np.add.reduce has no gate"),
]


@pytest.mark.parametrize(("equations", "message"), EQUATIONS)
def test_equations_that_do_not_fit(equations, message):
    made = cell(name="made")(equations)
    text = said(lambda: RNN(made, input=3, hidden=5), CellError)
    assert text.startswith(f"made: {message}")
    if FUNCTIONS not in message and message.endswith(
        (COMPARED, TRUTH, NUMBER, APART, "size", "states", "numbers", FORGOTTEN)
    ):
        assert text == f"made: {message}"
    assert said(lambda: elman.check_cell(made, input=3, hidden=5), CellError).startswith("made: ")
    if FUNCTIONS in text:
        for name in ("tanh", "sigmoid", "relu", "exp", "softmax", "maximum", "where", "concatenate"):
            assert f" {name}," in text or text.endswith(f" {name}")


def test_abs_is_the_gate_absolute():
    rnn = RNN(cell(lambda x, h, *, w=W: abs(w @ x)), input=3, hidden=5)
    assert (rnn(-array(2, 3))[0] >= 0).all()


def test_an_activation_may_be_a_lambda():
    rnn = RNN(cells.elman_with(lambda value: exp(-value * value)), input=3, hidden=5)
    assert ((rnn(array(4, 3))[0] > 0) & (rnn(array(4, 3))[0] <= 1)).all()


def test_an_activation_without_a_gate():
    assert said(lambda: RNN(cells.elman_with(np.arctan), input=3, hidden=5), CellError).startswith(
        "elman_arctan: np.arctan has no gate" + FUNCTIONS
    )
    assert said(lambda: RNN(cells.elman_with(math.tanh), input=3, hidden=5), CellError) == f"elman_tanh: {NUMBER}"


def test_errors_of_the_equations_themselves_are_theirs():
    """A mistake in the user's Python keeps its own traceback."""
    with pytest.raises(ZeroDivisionError):
        RNN(cell(lambda x, h, *, w=W: h / (1 // 0)), input=3, hidden=5)


def test_errors_of_the_equations_themselves_name_the_cell():
    made = cell(name="mine")(lambda x, h, *, w=W: nowhere(w @ x))  # noqa: F821
    with pytest.raises(NameError) as caught:
        RNN(made, input=3, hidden=5)
    assert caught.value.__notes__ == ["raised in the equations of the cell mine, while they were traced"]


def test_sizes_that_are_misspelt():
    declared = cell(name="made")(lambda x, h, *, w=weight("hidden", "inptu"): w @ x)
    near, sizes = "; is inptu meant to be input?", "made: sizes are input, hidden, inptu"
    assert said(lambda: RNN(declared, input=3, hidden=5), SettingError) == f"{sizes}; inptu is missing{near}"
    given = "lstm: sizes are input, hidden; {} is not one of them; hidden is missing"
    told = given.format("hiden") + "; is hiden meant to be hidden?"
    assert said(lambda: elman.cells.lstm.graph(input=3, hiden=5), SettingError) == told
    assert said(lambda: elman.cells.lstm.graph(input=3, width=5), SettingError) == given.format("width")


SIGNATURES = [
    (lambda: 0, "made: a cell needs an input, its first positional argument"),
    (lambda *, w=W: w, "made: a cell needs an input, its first positional argument"),
    (lambda x, h, *, w: 0, "made: parameter w is not declared; write w=weight(rows, columns) or w=bias(size)"),
    (lambda x, h, *, w=3: 0, "made: parameter w is not declared; write w=weight(rows, columns) or w=bias(size)"),
    (lambda x, h, *, c=state("a"): 0, "made: parameter c is not declared; write c=weight(rows, columns) or c=bias(size)"),
    (lambda x, h, w=W: 0, "made: parameter w must be keyword-only; put a * before the parameters"),
    (lambda x, h=3: 0, "made: h=3 declares nothing; write h=state(size)"),
    (lambda x, h=None: 0, "made: h=None declares nothing; write h=state(size)"),
    (lambda x, *h: 0, "made: *h is not allowed; name every input, state and parameter"),
    (lambda x, h, **k: 0, "made: *k is not allowed; name every input, state and parameter"),
]


@pytest.mark.parametrize(("function", "message"), SIGNATURES)
def test_signatures_that_do_not_fit(function, message):
    assert said(lambda: cell(name="made")(function), CellError) == message


IS_SIZE = "is not a size; it is a name, 'k*name', or an integer from 1"


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: weight("a b", "c"), f"weight: 'a b' {IS_SIZE}"),
        (lambda: weight("c", ""), f"weight: '' {IS_SIZE}"),
        (lambda: weight(0, 3), f"weight: 0 {IS_SIZE}"),
        (lambda: weight(3, -1), f"weight: -1 {IS_SIZE}"),
        (lambda: weight(True, 3), f"weight: True {IS_SIZE}"),
        (lambda: weight("2*", "a"), f"weight: '2*' {IS_SIZE}"),
        (lambda: weight("*a", "b"), f"weight: '*a' {IS_SIZE}"),
        (lambda: weight("a*2", "b"), f"weight: 'a*2' {IS_SIZE}"),
        (lambda: weight("-1*a", "b"), f"weight: '-1*a' {IS_SIZE}"),
        (lambda: weight("1.5*a", "b"), f"weight: '1.5*a' {IS_SIZE}"),
        (lambda: bias("a+b"), f"bias: 'a+b' {IS_SIZE}"),
        (lambda: state("a b"), f"state: 'a b' {IS_SIZE}"),
        (state, "state: 0 sizes given; a state is a vector (one size) or a matrix (two)"),
        (lambda: state("a", "b", "c"), "state: 3 sizes given; a state is a vector (one size) or a matrix (two)"),
        (
            lambda: weight("a", "b", init="xavier"),
            "weight: init 'xavier' is unknown; it is a number, or one of uniform, zeros, ones, orthogonal",
        ),
        (lambda: weight(1.5, 3), f"weight: 1.5 {IS_SIZE}"),
        (lambda: weight(None, 3), f"weight: None {IS_SIZE}"),
        (lambda: weight("0*a", 3), f"weight: '0*a' {IS_SIZE}"),
        (lambda: weight("²*a", 3), f"weight: '²*a' {IS_SIZE}"),
        (lambda: bias(3, init=None), "bias: init None is unknown; it is "),
        (lambda: bias(3, init=[1]), "bias: init [1] is unknown; it is "),
        (lambda: bias(3, init=math.nan), "bias: init nan "),
    ],
)
def test_declarations_that_do_not_fit(declare, message):
    assert said(declare, SettingError).startswith(message)


@pytest.mark.parametrize("first", [lambda rng, shape: np.full(shape, np.nan), lambda rng, shape: np.zeros(7)])
def test_first_values_that_do_not_fit(first):
    made = cell(lambda x, h, *, w=weight("hidden", "input", init=first): w @ x, name="made")
    with pytest.raises((ShapeError, DataError), match=r"^made: w "):
        RNN(made, input=3, hidden=5)


def test_a_step_on_arrays_that_do_not_fit():
    p = {"wax": array(5, 3), "waa": array(5, 5), "ba": array(5)}
    step = cells.elman.step
    wants = "elman: step wants (x, a, wax=, waa=, ba=), it was given "
    assert said(lambda: step(array(3)), CellError) == wants + "(x)"
    assert said(lambda: step(array(3), array(5), wax=array(5, 3)), CellError) == wants + "(x, a, wax=)"
    assert said(lambda: step(array(3), array(5), array(5), **p), CellError) == wants + "(x, a, one more, wax=, waa=, ba=)"
    assert said(lambda: step(array(3), array(4), **p), ShapeError) == f"elman: a is (4), (hidden=5) is wanted. {AGAIN}"
    assert said(lambda: step(array(2), array(5), **p), ShapeError).startswith("elman: x is (2), (input=3) is wanted")
    assert said(lambda: step(array(4, 3), array(5), **p), ShapeError).startswith("elman: x is (4, 3), (input) is wanted")
    assert said(lambda: step(array(3), array(5), **p | {"waa": array(5, 4)}), ShapeError).startswith(
        "elman: waa is (5, 4), (hidden=5, hidden=5) is wanted"
    )


def test_sizes_of_a_graph():
    sizes = "elman: sizes are input, hidden"
    assert said(cells.elman.graph, SettingError) == f"{sizes}; input, hidden is missing"
    assert said(lambda: cells.elman.graph(input=2, hidden=3, depth=4), SettingError) == f"{sizes}; depth is not one of them"
    assert said(lambda: cells.elman.graph(input=2, hidden=0), SettingError) == f"elman: size hidden=0 {SIZE}"


def test_data_that_is_no_graph():
    for data in (None, {}, [], {"nodes": 3}):
        assert said(lambda data=data: elman.Graph.from_json(data), GraphError).startswith("this is not a graph of elman: ")


def test_the_style_guides_example():
    """Named sizes, the mismatch, the fix."""
    rnn = RNN(cells.lstm, input=3, hidden=5)
    assert said(lambda: rnn(array(4, 3), (array(6), array(6))), ShapeError) == (
        "lstm: state h is (6), (hidden=5) is wanted. Was this state made with another size?"
    )


def test_tracing_under_a_profiler():
    """A profiler that was there goes on; one of another kind than Python's own hook must not break the tracing."""
    import cProfile

    profiler = cProfile.Profile()
    made = cell(lambda x, h, *, w=W: tanh(w @ x) + h, name="profiled")
    profiler.enable()
    try:
        rnn = RNN(made, input=3, hidden=5)
        assert rnn(array(2, 3))[0].shape == (2, 5)
    finally:
        profiler.disable()


def test_parameters_that_are_no_arrays_by_name():
    rnn = RNN(cells.elman, input=3, hidden=2)
    before = dict(rnn.parameters)
    assert said(lambda: rnn.update({"wax": [[1.0, 2.0, 3.0], [1.0]]}), ShapeError) == (
        "elman: wax has rows of different lengths, (hidden=2, input=3) is wanted"
    )
    assert said(lambda: rnn.update([1.0]), SettingError) == (
        "elman: parameters are given as a mapping from name to array, not as list"
    )
    assert all((rnn.parameters[name] == value).all() for name, value in before.items())
