"""Files of layers upon layers and of encoder-decoders: the same bits come back, also where the cells' Python is not."""

import os
import subprocess
import sys

import numpy as np
import pytest

import elman
import layers as made
from elman import (
    RNN,
    Backwards,
    Bidirectional,
    EncoderDecoder,
    Model,
    Stack,
    bias,
    cell,
    cells,
    weight,
)
from elman.io import safetensors
from elman.stack import MERGES
from elman.text import Vocabulary
from forging import SOURCE, colliding, messages, random, rnn, sequence, source_and_targets

TEXT = "the cat sat on the mat\n"
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@cell
def named_by_the_cell(a, *, wax=weight("output", "hidden"), ba=bias("output")):
    return elman.softmax(wax @ a + ba)


@cell
def halves(x, *, w=weight("2*hidden", "input"), b=bias("2*hidden")):
    """A bridge that is cut at a number, which another size would not have."""
    a, c = elman.split(w @ x + b, 2)
    return elman.tanh(a) * c


def both(merge="concatenate", inputs=3, **settings):
    return Bidirectional(rnn(cells.gru, inputs, **settings), rnn(cells.elman, inputs, **settings), merge=merge)


def learning(**settings):
    return rnn(cells.lstm, learn_initial=True, recurrent_dropout=0.25, **settings)


def spoken(kind, **settings):
    vocabulary = Vocabulary.of_kind(kind, TEXT, 260 if kind == "subwords" else None)
    size = len(vocabulary)
    layers = Stack([rnn(cells.lstm, size, 4, **settings), rnn(cells.gru, 4, 3, **settings)], dropout=0.25)
    return Model.from_layers(layers, size, vocabulary=vocabulary, bptt_truncate=5)


MODELS = {
    "stack": lambda s: Model.from_layers(Stack([rnn(**s), rnn(cells.lstm, **s)], dropout=0.5), 2),
    "layers by number": lambda s: Model(7, 3, 4, cells.lstm, layers=3, dropout=0.25, **s),
    "residual": lambda s: Model.from_layers(Stack([rnn(**s), rnn(cells.lstm, **s), both("mean", **s)], residual=True), 2),
    **{
        merge: lambda s, merge=merge: Model.from_layers(both(merge, **s), 2, readout=cells.readout_linear)
        for merge in MERGES
    },
    "backwards": lambda s: Model.from_layers(Backwards(rnn(cells.lstm, **s)), 2),
    "learn_initial": lambda s: Model.from_layers(learning(**s), 2, bptt_truncate=2),
    "learn_initial in parts": lambda s: Model.from_layers(Bidirectional(learning(**s), Stack([learning(**s)])), 2),
    "tokens": lambda s: Model.from_layers(both(inputs=6, **s), 6, tokens=True),
    **{f"pool {pool}": lambda s, pool=pool: Model.from_layers(both(**s), 2, pool=pool) for pool in ("last", "mean", "max")},
    "pool last, backwards": lambda s: Model.from_layers(Stack([rnn(**s), Backwards(rnn(**s))]), 2, pool="last"),
    "pool last, of tokens": lambda s: Model.from_layers(rnn(inputs=6, **s), 2, pool="last", tokens=True),
    "linear": lambda s: Model.from_layers(rnn(**s), 2, readout=cells.readout_linear),
    "sigmoid": lambda s: Model.from_layers(rnn(**s), 2, readout=cells.readout_sigmoid, pool="max"),
    "collision": lambda s: Model.from_layers(rnn(colliding, **s), 2),
    "collision with wax": lambda s: Model.from_layers(rnn(cells.elman, **s), 2, readout=named_by_the_cell),
    "no parameters": lambda s: Model.from_layers(RNN(cells.running_mean, input=3, **s), 2, readout=cells.readout_sigmoid),
    **{f"{kind} of text": lambda s, kind=kind: spoken(kind, **s) for kind in ("characters", "bytes", "words", "subwords")},
}


def assert_same_parameters(one, other):
    ours, theirs = one.parameters, other.parameters
    assert {name: value.dtype for name, value in ours.items()} == {name: value.dtype for name, value in theirs.items()}
    assert_same_arrays(ours, theirs)


def assert_same_arrays(one, other):
    assert list(one) == list(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def assert_same(one, other):
    """Same parameters, values, outputs, states and gradients, to the bit, and everything else that a model is."""
    assert_same_parameters(one, other)
    assert (repr(one), one.values, one.word_dim) == (repr(other), other.values, other.word_dim)
    assert (one.head.once, one.reads_tokens, one.training) == (other.head.once, other.reads_tokens, other.training)
    assert (one.vocabulary, one.bptt_truncate) == (other.vocabulary, other.bptt_truncate)
    x = sequence(one, 6)
    x, lengths = np.stack([x, x[::-1]]), [6, 4]
    first, second = (m.forward_propagation(x, lengths=lengths) for m in (one, other))
    for name in ("a", "logits", "output"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.state == second.state
    assert_same_arrays(one.inspect(x, lengths=lengths), other.inspect(x, lengths=lengths))
    targets = one.predict(x, lengths=lengths)
    assert one.loss(x, targets, lengths=lengths) == other.loss(x, targets, lengths=lengths)
    for seed in (None, 7):
        found, again = (m.gradients(x, targets, lengths=lengths, dropout_seed=seed) for m in (one, other))
        assert found[0] == again[0]
        assert_same_arrays(found[1], again[1])


def comes_back(path, model):
    model.training = {"bits": 1.5, "of": ["naïve 🙂", None, {"steps": 2**70}]}
    model.save(path)
    opened = elman.load(path)
    assert_same(model, opened)
    opened.save(path.parent / "again")
    assert (path.parent / "again").read_bytes() == path.read_bytes()
    return opened


# ---------------------------------------------------------------- there and back


@every_dtype
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_layers_comes_back_to_the_bit(tmp_path, name, dtype):
    model = random(MODELS[name]({"dtype": dtype}))
    opened = comes_back(tmp_path / "model", model)
    assert opened.rnn.dtype == dtype
    if "of text" in name:
        assert opened.generate("the ", 12, seed=3) == model.generate("the ", 12, seed=3)


@pytest.mark.parametrize("name", made.ALL)
def test_any_layer_comes_back_to_the_bit(tmp_path, name):
    """Every cell of the library, random cells, and layers of layers of them."""
    layer = made.problem(name, "float32").layer
    if len(layer.output_shape) != 1:
        pytest.skip("a model is of layers that give vectors")
    comes_back(tmp_path / "model", Model.from_layers(layer, 3, readout=cells.readout_sigmoid))


@pytest.mark.parametrize(
    ("name", "names"),
    [("collision", ["readout.wya", "readout.by"]), ("collision with wax", ["readout.wax", "readout.ba"])],
)
def test_parameters_that_collide_stand_under_two_names(tmp_path, name, names):
    model = random(MODELS[name]({}))
    model.save(tmp_path / "model")
    arrays, _ = safetensors.read(tmp_path / "model")
    assert set(names) < set(arrays)
    assert {name.removeprefix("readout.") for name in names} < set(arrays)
    assert_same(model, elman.load(tmp_path / "model"))


def test_settings_that_are_true_in_another_way_come_back(tmp_path):
    layers = Stack([rnn(), rnn(learn_initial=1)], residual=np.True_)
    opened = comes_back(tmp_path / "model", Model.from_layers(layers, 3, tokens=1))
    assert (opened.rnn.residual, opened.rnn.layers[1].learn_initial, opened.reads_tokens) == (True, True, True)


def test_training_goes_on_as_if_nothing_had_happened(tmp_path):
    """Loss and gradients after steps of descent, with dropout, half of them in the model that was opened."""
    one = random(MODELS["residual"]({}))
    other, x, targets = one, sequence(one, 5), [0, 1, 1, 0, 1]
    for step in range(6):
        if step == 3:
            one.save(tmp_path / "model")
            other = elman.load(tmp_path / "model")
        for model in {id(m): m for m in (one, other)}.values():
            gradients = model.gradients(x, targets, dropout_seed=step)[1]
            model.update({name: value - 0.1 * gradients[name] for name, value in model.parameters.items()})
    assert other is not one
    assert_same(one, other)


# ---------------------------------------------------------------- encoder-decoders


def translator(**s):
    """Of two directions, with a bridge to each of four states."""
    layers = Stack([rnn(cells.lstm, 6, 2, **s), rnn(cells.lstm, 2, 4, **s)], dropout=0.25)
    decoder = Model.from_layers(layers, vocabulary=Vocabulary.characters("abcde"), outputs=6)
    return EncoderDecoder(both(**s), decoder, bridge=cells.dense, start=0, end=1)


def deep(inputs=3, **s):
    return Stack([rnn(cells.lstm, inputs, 4, **s), learning_of(4, **s)], residual=False, dropout=0.5)


def learning_of(inputs, **s):
    return RNN(cells.gru, input=inputs, hidden=2, learn_initial=True, recurrent_dropout=0.25, **s)


NETWORKS = {
    "one state": lambda s: EncoderDecoder(rnn(**s), Model(6, 3, 2, cells.gru, **s), start=0),
    "cells of other names": lambda s: EncoderDecoder(
        rnn(cells.gru_reset_before, **s), Model(6, 3, 2, cells.gru, **s), start=0
    ),
    "two states": lambda s: EncoderDecoder(rnn(cells.lstm, **s), Model(6, 3, None, cells.lstm, **s), start=5, end=0),
    "stacks": lambda s: EncoderDecoder(deep(**s), Model.from_layers(deep(6, **s), 6, tokens=True), start=2, end=2),
    "bridges": lambda s: translator(**s),
    "bridges of their own": lambda s: EncoderDecoder(
        deep(**s), Model.from_layers(deep(6, **s), 6, tokens=True), bridge=halves, start=0, seed=3
    ),
    "from tokens": lambda s: EncoderDecoder(rnn(inputs=9, **s), Model(6, 3, 4, cells.gru, **s), start=1),
    "features": lambda s: EncoderDecoder(rnn(**s), Model.from_layers(rnn(inputs=2, **s), 2, readout=cells.readout_linear)),
    "features, bridge": lambda s: EncoderDecoder(
        both(**s), Model.from_layers(rnn(cells.lstm, 2, 5, **s), 2, readout=cells.readout_linear), bridge=cells.dense
    ),
    "learnt states": lambda s: EncoderDecoder(learning(**s), Model.from_layers(learning(**s), 3, tokens=True), start=1),
}


def random_network(network, seed=0):
    rng = np.random.default_rng(seed)
    network.update({name: 0.7 * rng.normal(size=p.shape) for name, p in network.parameters.items()})
    return network


def assert_same_network(one, other):
    assert_same_parameters(one, other)
    assert (repr(one), one.start, one.end, one.training) == (repr(other), other.start, other.end, other.training)
    assert (one.decoder.vocabulary, one.decoder.bptt_truncate) == (other.decoder.vocabulary, other.decoder.bptt_truncate)
    assert one.decoder.training == other.decoder.training
    x, targets = source_and_targets(one)
    lengths = {"lengths": [5, 3], "target_lengths": [2, 4]}
    first, second = (n.forward_propagation(x, targets, **lengths) for n in (one, other))
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.output, second.output)
    assert (first.state, one.encode(x)) == (second.state, other.encode(x))
    for seed in (None, 7):
        found, again = (n.gradients(x, targets, **lengths, dropout_seed=seed) for n in (one, other))
        assert found[0] == again[0]
        assert_same_arrays(found[1], again[1])
    np.testing.assert_array_equal(one.generate(x[0], 5), other.generate(x[0], 5))
    if one.decoder.reads_tokens:
        assert repr(one.beam_search(x[0], 4)) == repr(other.beam_search(x[0], 4))


@every_dtype
@pytest.mark.parametrize("name", NETWORKS)
def test_an_encoder_decoder_comes_back_to_the_bit(tmp_path, name, dtype):
    network = random_network(NETWORKS[name]({"dtype": dtype}))
    network.training, network.decoder.training = {"bits": 1.5}, {"before": [1, None]}
    network.save(tmp_path / "network")
    opened = EncoderDecoder.load(tmp_path / "network")
    assert_same_network(network, opened)
    opened.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "network").read_bytes()


def test_many_bridges_come_back_in_their_order(tmp_path):
    """A sum of four gradients has other bits in another order; names of JSON come back sorted."""
    network = random_network(translator())
    network.save(tmp_path / "network")
    opened = EncoderDecoder.load(tmp_path / "network")
    assert list(opened._bridges) == ["0.h", "0.c", "1.h", "1.c"]
    assert list(opened.parameters) == list(network.parameters)


def test_each_opens_its_own(tmp_path):
    Model(6, 3).save(tmp_path / "model")
    translator().save(tmp_path / "network")
    assert messages(lambda: elman.load(tmp_path / "network")) == (
        f"{tmp_path}/network: format 'elman encoder-decoder' version 1; 'elman model' version 1 is read; "
        "elman.EncoderDecoder.load opens it"
    )
    assert messages(lambda: EncoderDecoder.load(tmp_path / "model")) == (
        f"{tmp_path}/model: format 'elman model' version 1; 'elman encoder-decoder' version 1 is read"
    )
    assert messages(lambda: EncoderDecoder.load(tmp_path / "no")) == f"{tmp_path}/no: there is no such file"


def test_a_network_cut_short_is_refused_at_every_length(tmp_path):
    NETWORKS["one state"]({}).save(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for length in range(0, len(data), 29):
        (tmp_path / "cut").write_bytes(data[:length])
        assert "is truncated, damaged or no safetensors file" in messages(lambda: EncoderDecoder.load(tmp_path / "cut"))


# ---------------------------------------------------------------- where the Python of the cells is not

LIBRARY = '''
import numpy as np
import elman
from elman import RNN, Bidirectional, EncoderDecoder, Model, Stack, bias, cell, split, tanh, weight
from elman.declare import state


@cell
def own(x, h, trace=state("hidden"), *, w=weight("2*hidden", "input"), u=weight("2*hidden", "hidden"), b=bias("2*hidden")):
    """A cell of one's own."""
    new, gate = split(w @ x + u @ h + b, 2)
    h = tanh(new) * elman.sigmoid(gate) + 0.125 * trace
    return h, 0.5 * trace + np.array([0.5, -0.25, 1.0])


@cell
def read(a, *, wya=weight("output", "hidden"), by=bias("output")):
    return elman.softmax(2 * (wya @ a) + by)


@cell
def joined(x, *, w=weight("2*hidden", "input")):
    a, b = split(w @ x, 2)
    return tanh(a) + b


def layer(inputs):
    return RNN(own, input=inputs, hidden=3, learn_initial=True)


def changed(network):
    rng = np.random.default_rng(1)
    network.update({name: 0.5 * rng.normal(size=p.shape) for name, p in network.parameters.items()})
    return network


def models():
    layers = Stack([Bidirectional(layer(4), layer(4), merge="sum"), layer(3)], dropout=0.5, residual=True)
    yield "model", changed(Model.from_layers(layers, 5, readout=read, pool="max"))
    decoder = Model.from_layers(layer(6), 6, readout=read, tokens=True)
    yield "network", changed(EncoderDecoder(Bidirectional(layer(4), layer(4)), decoder, bridge=joined, start=0, end=1))
'''
FOUND = """
import sys
import numpy as np


def found(network):
    x = np.sin(np.arange(24.0).reshape(2, 3, 4)).astype("float32")
    targets = np.array([[1, 2, 3], [4, 0, 2]]) if hasattr(network, "encoder") else np.array([3, 1])
    loss, gradients, *_ = network.gradients(x, targets, dropout_seed=2)
    given = (x, targets) if hasattr(network, "encoder") else (x,)
    run = network.forward_propagation(*given)
    return {"loss": loss, "logits": run.logits, "a": run.a, **{"d_" + n: g for n, g in gradients.items()}}
"""


def test_own_cells_open_in_a_process_that_lacks_them(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "own_cells.py").write_text(LIBRARY)
    (tmp_path / "writes.py").write_text(
        FOUND + "from own_cells import models\n"
        "for name, network in models():\n"
        "    network.save(f'{sys.argv[1]}/{name}')\n"
        "    np.savez(f'{sys.argv[1]}/{name}.expected.npz', **found(network))\n"
    )
    (tmp_path / "reads.py").write_text(
        FOUND + "import elman\n"
        "for name, load in (('model', elman.load), ('network', elman.EncoderDecoder.load)):\n"
        "    network = load(f'{sys.argv[1]}/{name}')\n"
        "    np.savez(f'{sys.argv[1]}/{name}.found.npz', **found(network))\n"
        "    network.save(f'{sys.argv[1]}/{name}.again')\n"
        "try: import own_cells\n"
        "except ModuleNotFoundError: print('own_cells is not there')\n"
    )

    def runs(script, *folders):
        path = {"PYTHONPATH": os.pathsep.join((SOURCE, *map(str, folders))), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(tmp_path / script), str(tmp_path)]
        return subprocess.run(command, env=os.environ | path, check=True, capture_output=True, text=True).stdout

    runs("writes.py", home)
    (home / "own_cells.py").unlink()
    assert runs("reads.py") == "own_cells is not there\n"
    for name in ("model", "network"):
        with np.load(tmp_path / f"{name}.expected.npz") as expected, np.load(tmp_path / f"{name}.found.npz") as found:
            assert len(expected.files) > 10
            assert_same_arrays(expected, found)
        assert (tmp_path / f"{name}.again").read_bytes() == (tmp_path / name).read_bytes()
