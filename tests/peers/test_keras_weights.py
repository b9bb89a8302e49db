"""Keras as the oracle of its own models: every file comes in and computes the same."""

import os

import numpy as np
import pytest

import elman
from elman import importing
from elman.errors import ModelFileError
from elman.io import keras as ours

pytest.importorskip("h5py")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", exc_type=ImportError)
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

L = keras.layers
TOKENS = {"shape": (None,), "dtype": "int32"}
FEATURES = {"shape": (None, 3)}
NETS = {
    "simple": (FEATURES, lambda: [L.SimpleRNN(4, return_sequences=True)]),
    "simple, last": (FEATURES, lambda: [L.SimpleRNN(4, activation="relu", use_bias=False), L.Dense(2)]),
    "gru": (FEATURES, lambda: [L.GRU(4, return_sequences=True), L.Dense(5, activation="sigmoid")]),
    "gru without bias": (FEATURES, lambda: [L.GRU(4, use_bias=False, return_sequences=True)]),
    "gru, reset before": (FEATURES, lambda: [L.GRU(4, reset_after=False), L.Dense(5, "relu"), L.Dense(2, "softmax")]),
    "lstm": (FEATURES, lambda: [L.LSTM(4, return_sequences=True), L.Dropout(0.5), L.LSTM(2)]),
    "lstm, other activations": (
        FEATURES,
        lambda: [L.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid", return_sequences=True)],
    ),
    "gru, other activations": (FEATURES, lambda: [L.GRU(4, activation="elu", recurrent_activation="hard_sigmoid")]),
    "embedding": (TOKENS, lambda: [L.Embedding(9, 3, mask_zero=True), L.LSTM(4), L.Dense(9, "softmax")]),
    "both ways": (
        FEATURES,
        lambda: [L.Bidirectional(L.LSTM(4, return_sequences=True)), L.Bidirectional(L.GRU(3)), L.Dense(2)],
    ),
    "sum of both ways": (FEATURES, lambda: [L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode="sum")]),
    "mean of both ways": (FEATURES, lambda: [L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode="ave")]),
    "product of both ways": (FEATURES, lambda: [L.Bidirectional(L.SimpleRNN(4, return_sequences=True), merge_mode="mul")]),
    "sum of the last": (FEATURES, lambda: [L.Bidirectional(L.GRU(4), merge_mode="sum"), L.Dense(2, "relu")]),
    "product of the last": (FEATURES, lambda: [L.Bidirectional(L.LSTM(4), merge_mode="mul")]),
    "mean of the last": (FEATURES, lambda: [L.Bidirectional(L.SimpleRNN(4), merge_mode="ave"), L.Dense(2)]),
    "directions that differ": (
        FEATURES,
        lambda: [
            L.Bidirectional(
                L.LSTM(4, return_sequences=True, use_bias=False),
                backward_layer=L.GRU(3, activation="relu", return_sequences=True, go_backwards=True),
            )
        ],
    ),
    "a cell": (FEATURES, lambda: [L.RNN(L.GRUCell(4, reset_after=False), return_sequences=True)]),
    "cells": (FEATURES, lambda: [L.RNN([L.LSTMCell(4), L.GRUCell(5), L.LSTMCell(3)], return_sequences=True)]),
    "cells both ways": (FEATURES, lambda: [L.Bidirectional(L.RNN([L.LSTMCell(4), L.GRUCell(5)])), L.Dense(2)]),
    "twice from the end": (
        FEATURES,
        lambda: [L.GRU(4, go_backwards=True, return_sequences=True), L.Bidirectional(L.LSTM(3)), L.Dense(2)],
    ),
    "activations alone": (
        FEATURES,
        lambda: [L.LSTM(4), L.Dense(5), L.ReLU(6.0), L.Dense(5), L.Activation("gelu"), L.Dense(3), L.Softmax()],
    ),
    "gelu": (FEATURES, lambda: [L.GRU(4, activation="gelu", recurrent_activation="sparse_sigmoid"), L.Dense(3, "gelu")]),
    "from the end": (FEATURES, lambda: [L.GRU(4, go_backwards=True), L.Dense(2)]),
    "layers over time": (
        FEATURES,
        lambda: [
            L.Masking(),
            L.TimeDistributed(L.Dense(5, "elu")),
            L.LSTM(4, return_sequences=True),
            L.TimeDistributed(L.Dense(2)),
        ],
    ),
}


def random(net):
    """The model with random unequal weights."""
    rng = np.random.default_rng(0)
    net.set_weights([rng.normal(size=w.shape) * 0.7 for w in net.get_weights()])
    return net


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", NETS)
def test_a_model_is_imported_and_proved(tmp_path, name, suffix):
    given, layers = NETS[name]
    net, path = random(keras.Sequential([L.Input(**given), *layers()])), tmp_path / f"net{suffix}"
    net.save(path)
    model, told = importing.imported(path)
    assert told.startswith("proved: differs by")
    assert f"from Keras {keras.__version__}" in told
    x = (
        np.random.default_rng(1).normal(size=(2, 6, 3))
        if given is FEATURES
        else np.random.default_rng(1).integers(1, 9, (2, 6))
    )
    expected = keras.ops.convert_to_numpy(net(x))
    np.testing.assert_allclose(
        model.forward_propagation(x).output, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max())
    )
    model.save(tmp_path / "model")
    assert elman.load(tmp_path / "model").proof is not None


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_frozen_direction(tmp_path, suffix):
    """A .h5 file has what is trained first."""
    net = keras.Sequential([L.Input(**FEATURES), L.Bidirectional(L.LSTM(4, return_sequences=True))])
    net.layers[0].forward_layer.trainable = False
    random(net).save(tmp_path / f"net{suffix}")
    x = np.random.default_rng(1).normal(size=(2, 6, 3))
    got = ours.load(tmp_path / f"net{suffix}").forward_propagation(x).output
    np.testing.assert_allclose(got, keras.ops.convert_to_numpy(net(x)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_several_outputs_are_refused(tmp_path, suffix):
    """Both of a chain of layers, and the states that a layer returns besides."""
    x = L.Input((None, 3))
    low = L.GRU(4, return_sequences=True)(x)
    keras.Model(x, [low, L.Dense(2)(low)]).save(tmp_path / f"net{suffix}")
    with pytest.raises(ModelFileError, match="a model that gives its last layer is read"):
        ours.load(tmp_path / f"net{suffix}")
    _, h, _ = L.LSTM(4, return_sequences=True, return_state=True)(x)
    keras.Model(x, L.Dense(2)(h)).save(tmp_path / f"net{suffix}")
    with pytest.raises(ModelFileError, match="return_state=True has no counterpart"):
        ours.load(tmp_path / f"net{suffix}")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_functional_model(tmp_path, suffix):
    x = L.Input((None, 3))
    y = L.Dense(2)(L.LSTM(4)(L.Bidirectional(L.GRU(3, return_sequences=True))(x)))
    random(keras.Model(x, y)).save(tmp_path / f"net{suffix}")
    assert importing.imported(tmp_path / f"net{suffix}")[1].startswith("proved")
    branched = keras.Model(x, L.Add()([L.LSTM(4)(x), L.GRU(4)(x)]))
    branched.save(tmp_path / f"two{suffix}")
    with pytest.raises(ModelFileError, match="layers upon one another are read"):
        ours.load(tmp_path / f"two{suffix}")


def test_what_is_masked_is_told_by_lengths(tmp_path):
    net = random(keras.Sequential([L.Input(**TOKENS), L.Embedding(9, 3, mask_zero=True), L.GRU(4), L.Dense(2)]))
    net.save(tmp_path / "net.keras")
    tokens, lengths = np.random.default_rng(2).integers(1, 9, (3, 6)), [6, 2, 4]
    tokens[np.arange(6) >= np.array(lengths)[:, None]] = 0
    got = ours.load(tmp_path / "net.keras").forward_propagation(tokens, lengths=lengths).output
    np.testing.assert_allclose(got, keras.ops.convert_to_numpy(net(tokens)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_is_refused(tmp_path, suffix):
    keras.Sequential([L.Input((None, 3)), L.Lambda(lambda x: x * 2), L.LSTM(4)]).save(tmp_path / f"net{suffix}")
    with pytest.raises(ModelFileError, match="is a Lambda, which carries code; code in a file is not run"):
        ours.load(tmp_path / f"net{suffix}")
