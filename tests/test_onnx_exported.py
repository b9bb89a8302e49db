"""Files that tf2onnx wrote of nets of Keras (`exported/make.py`): run, loaded, and made models of where they can be."""

from pathlib import Path

import numpy as np
import pytest

from elman.errors import ModelFileError
from elman.importing import imported
from elman.io.onnx import as_model, load, run

HERE = Path(__file__).parent / "exported"
FILES = sorted(path.stem for path in HERE.glob("*.onnx"))

LOOPS = {"simple", "gru", "gru_before", "masked"}
"""tf2onnx keeps LSTM as an operator, where nothing is masked; all else it writes as a Loop."""


def recorded(name):
    with np.load(HERE / f"{name}.npz") as held:
        return HERE / f"{name}.onnx", held["x"], held["y"]


@pytest.mark.parametrize("name", FILES)
def test_files_give_what_keras_gave(name):
    path, x, y = recorded(name)
    np.testing.assert_allclose(run(path, {"x": x})["y"], y, atol=1e-6)
    loaded = load(path)
    np.testing.assert_allclose(loaded(x)[0], y, atol=1e-6)
    assert bool(loaded.layers) == (name not in LOOPS)
    assert np.abs(loaded(x[:, ::-1])[0] - y).max() > 1e-2  # the order of the steps is seen


@pytest.mark.parametrize("name", sorted(set(FILES) - LOOPS))
def test_layers_are_models(name):
    path, x, y = recorded(name)
    model, told = imported(path, (x, y))
    assert told.startswith("proved: differs by ")
    longer = np.concatenate([x, x[:, ::-1]], 1)
    np.testing.assert_allclose(model.forward_propagation(longer).output, load(path)(longer)[0], atol=1e-6)


def test_what_stands_upon_one_another():
    both, norm = (as_model(HERE / f"{name}.onnx") for name in ("both", "norm"))
    assert (both.rnn.name, both.readout.name) == ("Stack(embedding, Bidirectional(lstm, lstm), lstm)", "readout_linear")
    assert (both.reads_tokens, both.word_dim, both.head.once) == (True, 6, True)
    assert (norm.rnn.name, norm.readout.name, norm.reads_tokens) == ("lstm", "readout_onnx", False)


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_loops_are_none(name):
    with pytest.raises(ModelFileError, match=rf"^{name}\.onnx: \w+ node 'v\d+' has no counterpart in a model: .* as it is$"):
        as_model(HERE / f"{name}.onnx")
