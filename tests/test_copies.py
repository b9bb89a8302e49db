"""Copies and pickles: what computes is equal to the bit, here and in a process that begins anew; a stream refuses."""

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest

import elman
from elman import RNN, Backwards, Bidirectional, EncoderDecoder, Model, Stack, State, StreamError, Vocabulary, cells
from elman.pooled import Pooled


@elman.cell
def own(x, h, *, w=elman.weight("hidden", "input"), u=elman.weight("hidden", "hidden"), b=elman.bias("hidden")):
    """h = tanh(w x + u h + b)"""
    return elman.tanh(w @ x + u @ h + b)


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


every_way = pytest.mark.parametrize("again", [copy.deepcopy, pickled], ids=["copied", "pickled"])
X = np.random.default_rng(0).normal(size=(4, 6, 3))


def rnn(cell=cells.gru, seed=0, width=3, **settings):
    layer, rng = RNN(cell, input=width, hidden=5, seed=seed, **settings), np.random.default_rng(seed)
    layer.update({name: value + 0.1 * rng.normal(size=value.shape) for name, value in layer.parameters.items()})
    return layer


LAYERS = {
    "lstm": lambda: rnn(cells.lstm),
    "a cell of one's own": lambda: rnn(own, dtype="float64"),
    "made by a function": lambda: rnn(cells.elman_with(elman.relu), target="interpreter"),
    "a lambda": lambda: rnn(elman.cell(lambda x, h, *, w=elman.weight("hidden", "input"): elman.tanh(w @ x + 0.5 * h))),
    "a first state": lambda: rnn(learn_initial=True, recurrent_dropout=0.25),
    "further sizes": lambda: RNN(cells.lstm_projected, input=3, hidden=4, projection=2),
    "stack": lambda: Stack([rnn(), rnn(cells.lstm, width=5)], dropout=0.25, residual=False),
    "residual": lambda: Stack([rnn(), rnn(width=5)], residual=True),
    "bidirectional": lambda: Bidirectional(rnn(), rnn(seed=1), merge="mean"),
    "backwards": lambda: Backwards(rnn()),
    "pooled": lambda: Pooled(rnn(), "mean"),
}


@every_way
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name, again):
    layer = LAYERS[name]()
    y, state = layer(X)  # it has run, so it has programs, and locks in them
    record = layer.record(X, dropout_seed=3)
    other = again(layer)
    assert repr(other) == repr(layer)
    assert [leaf.target for leaf in other._leaves().values()] == [leaf.target for leaf in layer._leaves().values()]
    found, last = other(X)
    np.testing.assert_array_equal(found, y)
    assert last == state
    np.testing.assert_array_equal(other.record(X, dropout_seed=3).y, record.y)
    other(X, state)  # a state of the one is a state of the other
    assert not any(value.flags.writeable for value in other.parameters.values())


@every_way
def test_a_copy_learns_by_itself(again):
    layer = rnn()
    before, other = {name: value.copy() for name, value in layer.parameters.items()}, again(layer)
    other.update({name: value + 1 for name, value in before.items()})
    for name, value in layer.parameters.items():
        np.testing.assert_array_equal(value, before[name])
        np.testing.assert_array_equal(other.parameters[name], before[name] + 1)


def test_a_copy_in_this_process_has_the_cell_itself():
    layer = rnn(own)
    assert copy.deepcopy(layer).cell is copy.copy(layer).cell is own
    assert copy.copy(layer).parameters["w"] is not layer.parameters["w"]
    assert pickled(layer).cell is not own  # its equations have come along


def test_copies_of_copies():
    layer = pickled(rnn(cells.elman_with(elman.relu)))
    for again in (copy.deepcopy, pickled):
        np.testing.assert_array_equal(again(again(layer))(X)[0], layer(X)[0])
    np.testing.assert_array_equal(rnn(pickled(layer.cell))(X)[0], rnn(layer.cell)(X)[0])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_brings_equations_and_no_code(protocol):
    """All that it names is of this library, or of NumPy."""
    named = set()

    class Watched(pickle.Unpickler):
        def find_class(self, module, name):
            named.add(module.partition(".")[0])
            return super().find_class(module, name)

    layer = Stack([rnn(own), rnn(cells.elman_with(elman.relu), width=5)])
    opened = Watched(io.BytesIO(pickle.dumps(layer, protocol))).load()
    np.testing.assert_array_equal(opened(X)[0], layer(X)[0])
    assert named <= {"elman", "numpy", "copyreg", "builtins", "_codecs"}


@every_way
def test_a_model(again):
    model = Model(7, 5, cell=cells.lstm, layers=2, dropout=0.5, vocabulary=Vocabulary.characters("abcdef"), seed=3)
    model.training["steps"] = [1, 2]
    found = model.forward_propagation("abcdefa")
    other = again(model)
    assert (repr(other), other.vocabulary, other.bptt_truncate) == (repr(model), model.vocabulary, 4)
    np.testing.assert_array_equal(other.forward_propagation("abcdefa").output, found.output)
    assert other.forward_propagation("abcdefa").state == found.state
    asked = [1, 2, 3], [2, 3, 4]
    for name, value in model.gradients(*asked, dropout_seed=1)[1].items():
        np.testing.assert_array_equal(other.gradients(*asked, dropout_seed=1)[1][name], value)
    other.training["steps"].append(3)
    assert model.training == {"steps": [1, 2]}


@every_way
@pytest.mark.parametrize("pool", [None, "last", "max"])
def test_a_model_of_layers(again, pool):
    model = Model.from_layers(Bidirectional(rnn(), rnn(cells.lstm, seed=1)), 2, pool=pool, seed=3)
    wanted = model.forward_propagation(X, lengths=[6, 2, 0, 5])
    found = again(model).forward_propagation(X, lengths=[6, 2, 0, 5])
    np.testing.assert_array_equal(found.output, wanted.output)
    assert found.state == wanted.state


@every_way
@pytest.mark.parametrize("bridge", [None, cells.dense])
def test_an_encoder_decoder(again, bridge):
    net = EncoderDecoder(rnn(), Model(6, 5, None, cells.gru, seed=4), bridge=bridge, start=0, end=5)
    net.loss(X[0], [1, 2, 5])
    other = again(net)
    assert repr(other) == repr(net)
    assert other.loss(X[0], [1, 2, 5]) == net.loss(X[0], [1, 2, 5])
    np.testing.assert_array_equal(other.generate(X[0], 8), net.generate(X[0], 8))
    for name, value in net.gradients(X[0], [1, 2, 5])[1].items():
        np.testing.assert_array_equal(other.gradients(X[0], [1, 2, 5])[1][name], value)


@every_way
def test_a_state(again):
    _, state = Stack([rnn(), rnn(width=5)])(X)
    other = again(state)
    assert isinstance(other, State)
    assert other == state
    assert not other.layers[0].h.flags.writeable


@every_way
@pytest.mark.parametrize("cell", [own, *cells.CELLS.values(), cells.readout, cells.dense], ids=lambda cell: cell.name)
def test_a_cell_is_found_by_its_name(again, cell):
    assert again(cell) is cell


def test_a_cell_without_a_name_is_copied_and_not_pickled():
    inside = cells.elman_with(elman.relu)
    found = copy.deepcopy(inside)
    assert str(found.graph(input=2, hidden=3)) == str(inside.graph(input=2, hidden=3))
    with pytest.raises((pickle.PicklingError, AttributeError), match="elman_with"):
        pickle.dumps(inside)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_refuses(again):
    one, pool = "stream(state) goes on from it", "join(state[row]) goes on from it"
    told = {rnn().stream(): ("a stream", one), rnn().streams(2): ("a pool of streams", pool)}
    for stream, (what, fix) in told.items():
        with pytest.raises(StreamError) as raised:
            again(stream)
        assert str(raised.value) == f"gru: {what} is not copied or pickled; its state is, and {fix}"


def _run(given):
    layer, x = given
    return layer(x)


def test_workers_that_begin_anew():
    layers = [rnn(own), rnn(cells.elman_with(elman.relu)), Bidirectional(rnn(), rnn(seed=1))]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(_run, [(layer, X) for layer in layers])
    for (y, state), layer in zip(found, layers, strict=True):
        wanted, last = layer(X)
        np.testing.assert_array_equal(y, wanted)
        assert state == last
        layer(X, state)


def test_a_cell_of_a_script_is_known_to_its_workers(tmp_path):
    script = """
        import copy, multiprocessing, pickle
        import elman
        from elman import tanh, weight

        @elman.cell
        def mine(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
            return tanh(w @ x + u @ h)

        def known(cell):
            return cell is mine, cell

        if __name__ == "__main__":
            assert pickle.loads(pickle.dumps(mine)) is mine
            assert copy.deepcopy(mine) is mine
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                there, back = pool.apply(known, (mine,))
            print(there, back is mine)
    """
    (tmp_path / "script.py").write_text(dedent(script))
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("True True\n", 0), done.stderr
