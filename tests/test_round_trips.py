"""From one format through this library into another: what comes out at the end computes what went in."""

import numpy as np
import pytest

import elman
from c_programs import Library, needs_compiler
from elman.export import TOLERANCE, to_c
from elman.io import jax, keras, pytorch

h5py = pytest.importorskip("h5py")
onnx = pytest.importorskip("onnx")

from elman.io.onnx import load, run, save  # noqa: E402
from test_foreign_weights import torch_arrays, torch_loop  # noqa: E402
from test_keras_files import RARE, arrays, layer, loop, zipped  # noqa: E402

I, H, T, V = 3, 4, 6, 7


def keras_nets():
    """Layers of files of Keras, each with what they give for `x` after every step."""
    rng = np.random.default_rng(0)
    table, w, b = rng.normal(size=(V, I)), rng.normal(size=(H, 5)), rng.normal(size=5)
    lstm, before, after, simple = arrays(4), arrays(3), arrays(3, inputs=H, bias="two", seed=1), arrays(1, inputs=H, seed=2)
    usual, hard = {"reset_after": True}, {"activation": "gelu", "recurrent_activation": "hard_sigmoid"}
    gelu, slopes = RARE["gelu"], RARE["hard_sigmoid"]
    stacked = {"class_name": "StackedRNNCells", "module": "keras.layers", "config": {"name": "cells", "cells": [
        layer(f"{kind}Cell", kind, activation="tanh", recurrent_activation="sigmoid", **usual)[0] for kind in ("LSTM", "GRU")
    ]}}  # fmt: skip
    held = {"cell/cells/lstm_cell": lstm, "cell/cells/gru_cell": after}
    return {
        "lstm": ([layer("LSTM", "a", lstm), layer("Dense", "b", [w, b], activation="gelu")], None,
                 lambda x: gelu(loop("LSTM", lstm, x) @ w + b)),
        "two": ([layer("LSTM", "a", lstm), layer("GRU", "b", after, **usual),
                 layer("Dense", "c", [w], activation="softmax")], None,
                lambda x: softmax(loop("GRU", after, loop("LSTM", lstm, x)) @ w)),
        "before": ([layer("GRU", "a", before, reset_after=False, **hard), layer("SimpleRNN", "b", simple)], None,
                   lambda x: loop("SimpleRNN", simple, loop("GRU before", before, x, f=gelu, g=slopes))),
        "cells": ([layer("RNN", "a", held, cell=stacked), layer("Dense", "b", [w, b], activation="linear")], None,
                  lambda x: loop("GRU", after, loop("LSTM", lstm, x)) @ w + b),
        "tokens": ([layer("Embedding", "e", [table]), layer("GRU", "a", before, reset_after=False)], V,
                   lambda x: loop("GRU before", before, table[x])),
    }  # fmt: skip


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def drawn(symbols, rng):
    return rng.normal(size=(T, I)) if symbols is None else rng.integers(symbols, size=T)


@needs_compiler
def test_keras_to_c(tmp_path):
    nets, models = keras_nets(), {}
    for name, (layers, _, _) in nets.items():
        models[name] = keras.load(zipped(tmp_path / f"{name}.keras", layers))
    library = Library(tmp_path, [to_c(model, name=name) for name, model in models.items()])
    for name, (_, symbols, expected) in nets.items():
        x = drawn(symbols, np.random.default_rng(1))
        wanted = expected(x)
        np.testing.assert_allclose(
            library.run(name, x, wanted.shape[1:], "float64"), wanted, rtol=0, atol=1e-11, err_msg=name
        )
    assert TOLERANCE["float64"] <= 1e-11


@pytest.mark.parametrize("name", keras_nets())
def test_keras_to_onnx(name, tmp_path):
    layers, symbols, expected = keras_nets()[name]
    model, x = keras.load(zipped(tmp_path / "m.keras", layers)), drawn(symbols, np.random.default_rng(1))
    save(tmp_path / "m.onnx", model)
    for y in (run(tmp_path / "m.onnx", {"x": x[None]})["y"], load(tmp_path / "m.onnx")(x[None])[0]):
        np.testing.assert_allclose(y[0], expected(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_pytorch_to_onnx_and_back(rows, tmp_path):
    """Two layers both ways: nodes of their operators, whose weights give the state_dict again, each bias at its place."""
    ends = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    held, x = torch_arrays(rows, ends=ends), np.random.default_rng(1).normal(size=(1, T, I))
    save(tmp_path / "m.onnx", pytorch.load(held))
    found, y = load(tmp_path / "m.onnx"), x[0]
    for level in ("_l0", "_l1"):
        ahead, behind = (torch_loop(held, y[::way], np.zeros(H), np.zeros(H), level + end)[::way]
                         for way, end in ((1, ""), (-1, "_reverse")))  # fmt: skip
        y = np.concatenate((ahead, behind), -1)
    np.testing.assert_allclose(found(x)[0][0], y, rtol=0, atol=1e-12)
    again = pytorch.state_dict(elman.Model.from_layers(elman.Stack(list(found.layers)), outputs=2))
    for end in ends:
        for name in ("weight_ih", "weight_hh"):
            np.testing.assert_array_equal(again[f"rnn.{name}{end}"], held[f"{name}{end}"])
        sums = (sum(arrays[f"{before}bias_{part}{end}"] for part in ("ih", "hh")) for arrays, before in
                ((again, "rnn."), (held, "")))  # fmt: skip
        np.testing.assert_allclose(*sums, rtol=0, atol=1e-12)


@pytest.mark.parametrize("framework", jax.FRAMEWORKS)
def test_pytorch_to_jax_and_back(framework):
    """What has one bias in a gate there goes from library to library to the bit."""
    rng = np.random.default_rng(3)
    layers = elman.Stack([elman.RNN(elman.cells.gru, input=I, hidden=H), elman.RNN(elman.cells.lstm, input=H, hidden=5)])
    model = elman.Model.from_layers(layers, outputs=2, readout=elman.cells.readout_linear)
    model.update({name: rng.normal(size=value.shape) for name, value in model.parameters.items()})
    there = jax.load(jax.arrays(model, framework), framework)
    x = rng.normal(size=(T, I)).astype("f4")
    np.testing.assert_array_equal(there.forward_propagation(x).output, model.forward_propagation(x).output)
    found, wanted = pytorch.state_dict(there), pytorch.state_dict(model)
    assert list(found) == list(wanted)
    assert all(found[name].tobytes() == value.tobytes() for name, value in wanted.items())


def test_keras_to_pytorch(tmp_path):
    """Both biases of a GRU, one of an LSTM and a second of zeros; gates in the order of PyTorch."""
    layers, _, expected = keras_nets()["two"]
    model, x = keras.load(zipped(tmp_path / "m.keras", layers)), drawn(None, np.random.default_rng(1))
    there = pytorch.load(pytorch.state_dict(model), activations=["softmax"])
    np.testing.assert_allclose(there.forward_propagation(x).output, expected(x), rtol=0, atol=1e-12)
