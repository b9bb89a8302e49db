"""What people who tried the library as users ran into, each with the least that shows it."""

import threading

import numpy as np
import pytest

import elman
from elman import RNN, EncoderDecoder, Model, ShapeError, Stack, State, cells, sigmoid, tanh


def test_parameters_set_while_another_thread_runs_are_those_that_count_from_then_on(monkeypatch):
    """What a program prepares of old parameters is never kept beside new ones."""
    rnn = RNN(cells.gru, input=3, hidden=4, target="numpy")
    x, new = np.ones((2, 3)), {name: 2 * value for name, value in rnn.parameters.items()}
    compiled = rnn._program(elman.program.Asked())
    begun, go_on = threading.Event(), threading.Event()
    prepare = compiled.prepare

    def slow(*arguments, **settings):
        begun.set()
        assert go_on.wait(10)
        return prepare(*arguments, **settings)

    monkeypatch.setattr(compiled, "prepare", slow)
    thread = threading.Thread(target=rnn, args=(x,))
    thread.start()
    assert begun.wait(10)
    rnn.update(new)
    go_on.set()
    thread.join()
    monkeypatch.setattr(compiled, "prepare", prepare)
    other = RNN(cells.gru, input=3, hidden=4, target="numpy")
    other.update(new)
    np.testing.assert_array_equal(rnn(x)[0], other(x)[0])


def test_types_of_one_stream_are_not_those_of_another():
    rnn = RNN(cells.gru, input=1000, hidden=5)
    small, large = np.array([1, 2, 3], np.int8), np.array([300, 301, 302])
    for order in ({0: small, 1: large}, {1: large, 0: small}, {0: [1, 2, 3], 1: large.astype(np.uint16)}):
        found = rnn.streams(2).push(order)
        for number, tokens in ((0, [1, 2, 3]), (1, [300, 301, 302])):
            np.testing.assert_allclose(found[number], rnn(tokens)[0], rtol=0, atol=1e-6)
    fine = RNN(cells.gru, input=2, hidden=3, dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 4, 2))
    found = fine.streams(2).push({0: x[0].astype(np.float32), 1: x[1]})
    np.testing.assert_allclose(found[1], fine(x[1])[0], rtol=0, atol=1e-14)
    assert np.abs(found[1] - fine(x[1].astype(np.float32))[0]).max() > 1e-10


def test_cells_of_one_name_keep_their_states_apart():
    one, other = (RNN(cells.elman_with(g, name="mine"), input=2, hidden=3) for g in (tanh, sigmoid))
    assert one.name == other.name == "mine"
    _, state = one(np.ones((4, 2)))
    one(np.ones((1, 2)), state)
    for given in (state, State.stack([state])[0], state.copy()):
        with pytest.raises(ShapeError, match="a state of another cell that is called mine too; their equations differ"):
            other(np.ones((1, 2)), given)
    other(np.ones((1, 2)), dict(state))  # a mapping belongs to nobody


def test_a_state_keeps_its_name_apart_through_a_file(tmp_path):
    rnn = RNN(cells.elman_with(sigmoid), input=2, hidden=3)
    _, state = rnn(np.ones((4, 2)))
    state.save(tmp_path / "state")
    again = State.load(tmp_path / "state")
    assert (again, again.equations) == (state, state.equations)
    rnn(np.ones((1, 2)), again)


def test_a_copy_is_of_the_types_and_sizes_of_the_state():
    rnn = RNN(cells.lstm, input=3, hidden=5)
    _, last = rnn(np.ones((4, 2, 3)))
    changed = last.copy(c=np.zeros((4, 5)))
    assert changed.c.dtype == np.float32
    rnn(np.ones((4, 1, 3)), changed)
    with pytest.raises(ShapeError, match=r"lstm: state c is \(4, 6\), \(4, 5\) is wanted"):
        last.copy(c=np.zeros((4, 6)))


def test_tokens_without_a_step_are_a_sequence_too():
    model = Model(5, 4, cell=cells.gru)
    state = model.stream().state
    for tokens, axes in ((np.zeros(0, int), ()), (np.zeros((2, 0), int), (2,))):
        found = model.forward_propagation(tokens)
        assert found.probabilities.shape == (*axes, 0, 5)
        assert found.state == model.initial_state(*axes)
    stream = model.stream()
    assert stream.push(np.zeros(0, int)).shape == (0, 5)
    assert stream.state == state
    pool = model.streams(2)
    found = pool.push({0: np.zeros(0, int), 1: [1, 2]})
    np.testing.assert_allclose(found[1], model.forward_propagation([1, 2]).probabilities, rtol=0, atol=1e-6)
    assert model.loss(np.zeros(0, int), np.zeros(0, int)) == 0.0


WITHOUT = ("indrnn", "sru", "mingru", "minlstm", "rg_lru", "mlstm")
"""Cells whose states meet no product."""


@pytest.mark.parametrize("name", WITHOUT)
def test_cells_without_a_recurrent_product_have_nothing_to_drop(name):
    cell = cells.CELLS[name]
    with pytest.raises(elman.SettingError, match=f"recurrent_dropout=0.5, but {name} brings no state to a product"):
        RNN(cell, **dict.fromkeys(cell.sizes, 4), recurrent_dropout=0.5)


@pytest.mark.parametrize("name", [name for name in cells.CELLS if name not in WITHOUT])
def test_recurrent_dropout_drops_nothing_where_nothing_recurs(name):
    """From a state of zeros the first step is as without; the second is not."""
    cell = cells.CELLS[name]
    rnn = RNN(cell, **dict.fromkeys(cell.sizes, 8), recurrent_dropout=0.5, dtype="float64")
    x = np.random.default_rng(1).normal(size=(3, 8))
    dropped, plain = rnn.record(x, dropout_seed=1).y, rnn(x)[0]
    np.testing.assert_allclose(dropped[0], plain[0], rtol=0, atol=1e-15)
    assert np.abs(dropped[2] - plain[2]).max() > 1e-6


def test_inspecting_layers_does_not_make_what_the_readout_gives(monkeypatch):
    model = Model(6, 4, cell=cells.gru)
    monkeypatch.setattr(type(model.head), "_run", lambda *_: pytest.fail("the read-out was computed"))
    assert model.inspect([1, 2], keep=["z"])["z"].shape == (2, 4)


def test_an_encoder_decoder_shows_the_side_that_is_asked_for(monkeypatch):
    net = EncoderDecoder(RNN(cells.gru, input=3, hidden=4), Model(5, 4, None, cells.gru), start=0)
    monkeypatch.setattr(net.decoder, "inspect", lambda *_, **__: pytest.fail("the decoder was run"))
    assert set(net.inspect(np.ones((2, 3)), [1, 2], keep=["encoder.z"])) == {"encoder.z"}


BAD = {
    "lengths of too many targets": (
        lambda net: net.loss(np.ones((2, 4, 3)), [[1, 2], [2, 1]], None, [1, 2, 1]),
        "EncoderDecoder(gru, gru), targets: lengths are int64 (3); integers (2) are wanted, one a sequence",
    ),
    "a length of all targets": (
        lambda net: net.loss(np.ones((2, 4, 3)), [[1, 2], [2, 1]], None, 3),
        "EncoderDecoder(gru, gru), targets: lengths are int64 (); integers (2) are wanted, one a sequence",
    ),
    "a length beyond the targets": (
        lambda net: net.loss(np.ones((2, 4, 3)), [[1, 2], [2, 1]], None, [9, 1]),
        "EncoderDecoder(gru, gru), targets: length 9 of sequence 0 is outside 0 to 2, the number of steps",
    ),
    "one layer on both sides": (
        lambda net: EncoderDecoder(net.decoder.rnn, net.decoder, start=0),
        "EncoderDecoder: encoder and decoder hold the same layer; make one for each",
    ),
    "arrays as states": (
        lambda net: State.stack([np.zeros(3)]),
        "State.stack: ndarray is given among the states; each must be a State",
    ),
    "no number of examples": (
        lambda net: net.encoder.initial_state(-1),
        "gru: batch=-1 must be a number of examples, 0 or more, or None",
    ),
    "a layer instead of a list": (
        lambda net: Stack(net.encoder),
        "Stack: RNN(gru, input=3, hidden=4, float32) is no list of layers; write Stack([first, second])",
    ),
    "a word for a truth value": (
        lambda net: RNN(cells.gru, input=3, hidden=4, learn_initial="x"),
        "RNN: learn_initial='x' must be True or False",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes(name):
    act, message = BAD[name]
    net = EncoderDecoder(RNN(cells.gru, input=3, hidden=4), Model(5, 4, None, cells.gru), start=0)
    with pytest.raises(elman.ElmanError) as raised:
        act(net)
    assert str(raised.value) == message


def test_settings_are_told():
    one, two = (RNN(cells.gru, input=4, hidden=4, seed=seed) for seed in (0, 1))
    assert "residual" in repr(Stack([one, two], residual=True, dropout=0.25))
    assert "dropout=0.25" in repr(Stack([one, two], residual=True, dropout=0.25))
    assert repr(elman.Bidirectional(one, two, merge="sum")).endswith("merge=sum)")
    assert "learn_initial" in repr(RNN(cells.gru, input=4, hidden=4, learn_initial=True))


# ---------------------------------------------------------------- what is said


def said(call):
    with pytest.raises(elman.ElmanError) as raised:
        call()
    return type(raised.value).__name__, str(raised.value)


def test_a_batch_that_is_pushed_to_one_stream():
    fix = "is pushed; a step or a chunk is wanted, and streams(n) runs sequences side by side"
    layer, model = RNN(cells.gru, input=3, hidden=5), Model(5, 4)
    of_features = Model.from_layers(RNN(cells.gru, input=3, hidden=5), 2)
    told = {
        ("ShapeError", f"gru: (4, 7, 3) {fix}"): lambda: layer.stream().push(np.ones((4, 7, 3))),
        ("ShapeError", f"gru: (4, 7) {fix}"): lambda: layer.stream().push(np.ones((4, 7), int)),
        ("ShapeError", f"Model(elman): (4, 7) {fix}"): lambda: model.stream().push(np.ones((4, 7), int)),
        ("ShapeError", f"Model(gru): (4, 7, 3) {fix}"): lambda: of_features.stream().push(np.ones((4, 7, 3))),
    }
    for message, act in told.items():
        assert said(act) == message


def test_a_number_that_is_none_is_that_of_a_stream():
    pool = RNN(cells.gru, input=3, hidden=5).streams(4)
    pool.leave(1)
    step, chunk = np.ones((3, 3)), np.ones((3, 4, 3))
    step[1, 2] = chunk[2, 3, 0] = np.nan
    told = "holds NaN or infinity (first at"
    before = pool.state
    for act, message in (
        (lambda: pool.push(step), f"gru: what stream 2 is given {told} (2,))"),
        (lambda: pool.push(chunk), f"gru: what stream 3 is given {told} (3, 0))"),
        (lambda: pool.push(step[1:], streams=[3, 0]), f"gru: what stream 3 is given {told} (2,))"),
        (lambda: pool.push({0: chunk[0], 2: step[1]}), f"gru: what stream 2 is given {told} (2,))"),
    ):
        assert said(act) == ("DataError", message)
        assert pool.state == before
    pool.push(chunk, lengths=[4, 4, 3])  # what is not read may be anything
    assert said(lambda: pool.push(np.full((3, 3), 1e300)))[1].endswith("(first at (0, 0, 0), as float32)")


def test_no_stream_is_named():
    layer = RNN(cells.gru, input=3, hidden=5)
    told = "gru: there is no stream to push to; "
    nothing = np.ones((0, 3))
    assert said(lambda: layer.streams(2).push(nothing, streams=[]))[1] == (
        f"{told}streams=[] names none; name one, or leave it out for all"
    )
    assert said(lambda: layer.streams().push(nothing))[1] == f"{told}join() adds one"


def test_a_closed_stream_of_a_layer():
    layer = RNN(cells.gru, input=3, hidden=5)
    stream, pool = layer.stream(), layer.streams(2)
    stream.close()
    pool.close()
    assert said(lambda: stream.push(np.ones(3)))[1] == "gru: this stream is closed; stream() opens another"
    assert said(lambda: pool.push(np.ones((2, 3))))[1] == "gru: this pool of streams is closed; streams(n) opens another"


def test_a_value_of_one_number():
    @elman.cell
    def gated(x, h, *, w=elman.weight("hidden", "input"), v=elman.weight(1, "hidden")):
        z = sigmoid(v @ h)
        return h + z * tanh(w @ x)

    kind, message = said(lambda: RNN(gated, input=3, hidden=5))
    assert kind == "CellError"
    assert message.endswith(
        "is (1), tanh(w @ x) is (hidden=5); [0] makes a number of sigmoid(v @ h<t-1>), which meets every shape"
    )
    kind, message = said(lambda: RNN(elman.cell(lambda x, h: x + h), input=3, hidden=5))
    assert "makes a number" not in message


def test_numbers_of_threads_of_numpy():
    try:
        assert elman.threads(np.int64(2)) == 2
        assert type(elman.threads()) is int
        for wrong in (np.bool_(True), np.float64(2), np.int64(0), True):
            assert said(lambda wrong=wrong: elman.threads(wrong))[0] == "SettingError"
    finally:
        elman.threads(None)


def test_masked_arrays_are_refused_and_not_read():
    layer, model = RNN(cells.gru, input=3, hidden=5), Model(5, 4)
    x = np.ma.masked_array(np.ones((4, 3)), mask=np.eye(4, 3, dtype=bool))
    h = np.ma.masked_array(np.ones(5), mask=[1, 0, 0, 0, 0])
    tokens = np.ma.masked_array([1, 2], mask=[0, 1])
    dy = np.ma.masked_array(np.ones((4, 5)), mask=np.eye(4, 5))
    for what, act in (
        ("gru: the input", lambda: layer(x)),
        ("gru: the input", lambda: layer.step(x[0])),
        ("gru: what is pushed", lambda: layer.stream().push(x)),
        ("gru: what is pushed", lambda: layer.stream().push(x[0].astype(np.float32))),
        ("gru: what is pushed", lambda: layer.streams(4).push(x)),
        ("gru: state h", lambda: layer(x.data, h)),
        ("gru: dy", lambda: layer.gradients(x.data, dy)),
        ("gru: br", lambda: layer.update({"br": h})),
        ("gru: the array of lengths", lambda: layer(x.data[None], lengths=tokens[1:])),
        ("Model: the sequence of tokens", lambda: model.loss(tokens, [1, 2])),
        ("Model: the sequence of tokens", lambda: model.loss([1, 2], tokens)),
        ("pad_sequences: sequence 1", lambda: elman.pad_sequences([[1], tokens])),
    ):
        kind, message = said(act)
        assert (kind, message.partition(" is a masked array")[0]) == ("DataError", what)
    nothing_masked = np.ma.masked_array(np.ones((4, 3)))
    np.testing.assert_array_equal(layer(nothing_masked)[0], layer(np.ones((4, 3)))[0])


class Recorded:
    """What a tensor that records gradients, or lies on a device, does when it is asked for an array."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __array__(self, *_, **__):
        raise self.kind("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        raise AssertionError("what is given is not changed")


class Unreadable(Recorded):
    detach = property()


@pytest.mark.parametrize("kind", [RuntimeError, TypeError])
def test_what_is_no_array_for_now_is_refused(kind):
    layer, model, given = RNN(cells.gru, input=3, hidden=5), Model(5, 4), Recorded(kind)
    for what, act in (
        ("gru: the input", lambda: layer(given)),
        ("gru: the input", lambda: layer.step(given)),
        ("gru: what is pushed", lambda: layer.stream().push(given)),
        ("gru: state h", lambda: layer(np.ones((4, 3)), given)),
        ("gru: br", lambda: layer.update({"br": given})),
        ("Model: the sequence of tokens", lambda: model.predict(given)),
        ("Streams: the sequence", lambda: elman.data.Streams(given)),
    ):
        fix = "is a Recorded that NumPy cannot read; give x.detach().cpu().numpy()"
        assert said(act) == ("DataError", f"{what} {fix}")
    told = "gru: the input is a Unreadable that NumPy cannot read: Can't call numpy() on Tensor that requires grad."
    assert said(lambda: layer(Unreadable(kind))) == ("DataError", told)


@pytest.mark.parametrize("target", ["numpy", "llvm"])
def test_a_stream_goes_on_from_an_infinite_state_of_its_own(target):
    """By steps and chunks, of any type of numbers, alone and in a pool; a state that somebody gives must be finite."""
    if target == "llvm" and not pytest.importorskip("elman.targets.llvm.machine").machines():
        pytest.skip("no fused multiply-add here")

    @elman.cell
    def exploding(x, h, *, w=elman.weight("hidden", "input")):
        return h * h + w @ x

    layer = RNN(exploding, input=2, hidden=2, target=target)
    layer.update({"w": [[1e30, 0.0], [0.0, 0.1]]})
    x = np.ones((8, 2), np.float32)
    model = Model.from_layers(layer, 1, readout=cells.readout_linear)
    whole, last = layer(x)
    assert np.isinf(whole[-1, 0])
    assert np.isfinite(whole[-1, 1])
    for pieces in ([1] * 8, [2, 1, 4, 1], [3, 5]):
        stream, at = layer.stream(), 0
        for size in pieces:
            chunk = x[at] if size == 1 else x[at : at + size].astype(np.float64)
            np.testing.assert_allclose(np.atleast_2d(stream.push(chunk)), whole[at : at + size], rtol=1e-6)
            at += size
        assert stream.state == last or target == "numpy"
    pool = layer.streams(2)
    for row in x[:7]:
        pool.push([row, 0 * row])
    found = pool.push({1: x[0], 0: x[7]})
    np.testing.assert_allclose(found[0], whole[7], rtol=1e-6)
    np.testing.assert_allclose(found[1], layer(np.concatenate([0 * x[:7], x[:1]]))[0][7], rtol=1e-6)
    running = model.stream()
    running.push(x[:6])
    assert running.push(x[6:]).shape == (2, 1)
    for act in (lambda: layer(x, last), lambda: layer.stream(last), lambda: pool.join(last)):
        assert said(act) == ("DataError", "exploding: state h holds NaN or infinity (first at (0,), as float32)")
