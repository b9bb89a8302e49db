"""What is written as ONNX and read again: the same numbers, the same layers, and a state that goes on."""

import json

import numpy as np
import onnx
import pytest

import elman
from elman.errors import MissingLibraryError, ModelFileError, SettingError
from elman.gates import GATES
from elman.io.onnx import load, reading, run, save
from elman.io.onnx.gate_nodes import OTHERS, SAME
from elman.replay import OF_PASSES
from elman.testing import random_cell
from messages import said

RNG = np.random.default_rng(0)


def drawn(layer):
    """The layer, with weights that are random and unequal."""
    layer.update({name: value + RNG.normal(size=value.shape) * 0.2 for name, value in layer.parameters.items()})
    return layer


def rnn(cell, **settings):
    usual = {"input": 6, "hidden": 6, "projection": 4, "output": 5}
    sizes = {name: usual.get(name, 3) for name in cell.sizes}
    return drawn(elman.RNN(cell, **sizes, **settings))


def test_every_gate_of_equations_can_be_written():
    assert set(SAME) | set(OTHERS) == set(GATES) - (set(OF_PASSES) - {"detach"})
    assert not set(SAME) & set(OTHERS)


@pytest.mark.filterwarnings("ignore:onnx. Backwards.*it reads from the end of a sequence:UserWarning")
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ["elman", "gru", "gru_reset_before", "lstm", "lstm_peephole", "mlstm", "lstm_projected"])
def test_cells_come_back(name, backwards, tmp_path):
    """As a layer of the same equations, whose state goes on where the first piece ended."""
    layer, path = rnn(elman.cells.CELLS[name]), tmp_path / "cell.onnx"
    written = elman.Backwards(layer) if backwards else layer
    x = RNG.normal(size=(3, 8, *layer.input_shape)).astype(np.float32)
    for state in (False, True):
        save(path, written, state=state)
        loaded = load(path)
        assert (list(loaded.inputs), list(loaded.outputs)) == (["x"], ["y"])
        (found,) = loaded.layers
        assert type(found) is type(written)
        expected, middle = written(x[:, :5])
        y, between = loaded(x[:, :5])
        np.testing.assert_allclose(y, expected, atol=1e-6)
        expected, last = written(x[:, 5:], middle)
        y, after = loaded(x[:, 5:], between)
        np.testing.assert_allclose(y, expected, atol=1e-6)
        pairs = (last["layer"], after.layers[0]["layer"]) if backwards else (last, after.layers[0])
        for wanted, got in zip(*(part.values() for part in pairs), strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_random_equations_come_back(seed, tmp_path):
    """The Scan's body, node by node, gives what the layer gives that its notes tell of."""
    layer = rnn(random_cell(seed), dtype="float64")
    x = RNG.normal(size=(2, 5, *layer.input_shape))
    save(tmp_path / "cell.onnx", layer)
    expected = layer(x)[0]
    np.testing.assert_allclose(run(tmp_path / "cell.onnx", {"x": x})["y"], expected, atol=1e-9, rtol=1e-9)
    y, state = load(tmp_path / "cell.onnx")(x)
    np.testing.assert_allclose(y, expected, atol=1e-9, rtol=1e-9)
    assert len(state.layers) == bool(layer.graph.leaves("state"))


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
def test_models_come_back(pool, tmp_path):
    both = elman.Bidirectional(rnn(elman.cells.gru), rnn(elman.cells.mgu, learn_initial=True))
    model = drawn(elman.Model.from_layers(both, outputs=4, pool=pool))
    x = RNG.normal(size=(3, 7, 6)).astype(np.float32)
    save(tmp_path / "model.onnx", model)
    for y in (run(tmp_path / "model.onnx", {"x": x})["y"], load(tmp_path / "model.onnx")(x)[0]):
        np.testing.assert_allclose(y, model.forward_propagation(x).output, atol=1e-6)


LENGTHS = np.array([8, 0, 3, 5], np.int32)
PADDED = {
    "operator": lambda: rnn(elman.cells.lstm),
    "operator backwards": lambda: elman.Backwards(rnn(elman.cells.gru)),
    "two directions": lambda: elman.Bidirectional(rnn(elman.cells.lstm), rnn(elman.cells.lstm), merge="mean"),
    "scan": lambda: rnn(elman.cells.mlstm),
    "scan both ways": lambda: elman.Bidirectional(rnn(elman.cells.mgu), rnn(elman.cells.lstm_projected)),
    "stack": lambda: elman.Stack([rnn(elman.cells.dense), rnn(elman.cells.mgu), rnn(elman.cells.gru)], residual=True),
    "learnt": lambda: elman.Backwards(rnn(elman.cells.mgu, learn_initial=True)),
}


@pytest.mark.parametrize("name", PADDED)
def test_lengths_of_layers(name, tmp_path):
    """Padding holds anything; an example without a step keeps its state. A file with lengths is read again as one."""
    layer, path = PADDED[name](), tmp_path / "layer.onnx"
    x = RNG.normal(size=(4, 8, *layer.input_shape)).astype(np.float32)
    save(path, layer, lengths=True)
    expected, end = layer(x, lengths=LENGTHS)
    np.testing.assert_allclose(run(path, {"x": x, "lengths": LENGTHS})["y"], expected, atol=1e-6)
    loaded = load(path)
    assert list(loaded.inputs) == ["x", "lengths"]
    y, between = loaded({"x": x, "lengths": LENGTHS})
    np.testing.assert_allclose(y, expected, atol=1e-6)
    expected, _ = layer(x, end)
    y, _ = loaded({"x": x, "lengths": np.full(4, 8, np.int32)}, between)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    assert not np.allclose(y, layer(x)[0], atol=1e-3)


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
def test_lengths_of_models(pool, tmp_path):
    """The read-out of the steps there are; for an example without one that of zeros, as the model has it."""
    both = elman.Bidirectional(rnn(elman.cells.gru), rnn(elman.cells.mgu))
    model = drawn(elman.Model.from_layers(both, outputs=4, pool=pool))
    x = RNG.normal(size=(4, 8, 6)).astype(np.float32)
    save(tmp_path / "model.onnx", model, lengths=True)
    found = run(tmp_path / "model.onnx", {"x": x, "lengths": LENGTHS})["y"]
    np.testing.assert_allclose(found, model.forward_propagation(x, lengths=LENGTHS).output, atol=1e-6)


@pytest.mark.parametrize("cell", ["elman", "gru", "gru_reset_before", "lstm", "lstm_peephole"])
def test_two_directions_are_one_node(cell, tmp_path):
    both = elman.Bidirectional(*(rnn(elman.cells.CELLS[cell]) for _ in "ab"))
    save(tmp_path / "both.onnx", both)
    (layer,) = load(tmp_path / "both.onnx").layers
    assert isinstance(layer, elman.Bidirectional)
    for name, value in both.parameters.items():
        np.testing.assert_array_equal(layer.parameters[name], value)


def test_a_model_of_tokens_goes_on(tmp_path):
    model = drawn(elman.Model(9, hidden_dim=5, layers=2, cell=elman.cells.gru))
    tokens = RNG.integers(0, 9, (2, 8))
    save(tmp_path / "model.onnx", model, state=True)
    loaded = load(tmp_path / "model.onnx")
    first, state = loaded(tokens[:, :3])
    rest, _ = loaded(tokens[:, 3:], state)
    expected = model.forward_propagation(tokens).output
    np.testing.assert_allclose(np.concatenate([first, rest], 1), expected, atol=1e-6)


def test_names_that_the_file_gives(tmp_path):
    stack = elman.Stack([rnn(elman.cells.lstm), elman.Bidirectional(rnn(elman.cells.gru), rnn(elman.cells.gru))])
    with pytest.warns(
        UserWarning, match=r"onnx: Stack\(lstm, Bidirectional\(gru, gru\)\): it reads from the end of a sequence"
    ):
        save(tmp_path / "stack.onnx", stack, state=True)
    graph = onnx.load(tmp_path / "stack.onnx").graph
    states = ["0.h", "0.c", "1.forward.h", "1.backward.h"]
    assert [entry.name for entry in graph.input] == ["x", *(f"state.{name}" for name in states)]
    assert [entry.name for entry in graph.output] == ["y", *(f"next.{name}" for name in states)]
    save(tmp_path / "stack.onnx", stack)
    graph = onnx.load(tmp_path / "stack.onnx").graph
    assert ([entry.name for entry in graph.input], [entry.name for entry in graph.output]) == (["x"], ["y"])


def test_what_cannot_be_written(tmp_path):
    path = tmp_path / "none.onnx"
    assert said(lambda: save(path, elman.cells.lstm), SettingError) == "onnx: <cell lstm> is neither a model nor a layer"
    assert said(lambda: save(path, rnn(elman.cells.gru), state="h"), SettingError) == "onnx: state='h' must be True or False"
    message = said(lambda: save(path, rnn(elman.cells.gru), lengths=[3]), SettingError)
    assert message == "onnx: lengths=[3] must be True or False"
    assert not path.exists()
    nowhere = tmp_path / "none" / "model.onnx"
    assert str(nowhere) in said(lambda: save(nowhere, rnn(elman.cells.gru)), ModelFileError)


def test_equations_that_do_not_fit(tmp_path):
    """A file whose notes were changed is refused, and `run`, which does not read them, runs it."""
    path, layer = tmp_path / "cell.onnx", rnn(elman.cells.mgu)
    save(path, layer)
    made = onnx.load(path)
    (node,) = (node for node in made.graph.node if node.op_type == "Scan")
    facts = json.loads(node.doc_string)
    facts["elman equations"]["nodes"][0]["gate"] = "odd"
    node.doc_string = json.dumps(facts)
    message = said(lambda: load(made), ModelFileError)
    assert message.startswith("onnx: Scan of elman node 'Scan.h.last': its equations cannot be read: there is no gate 'odd'")
    x = RNG.normal(size=(2, 3, 6)).astype(np.float32)
    np.testing.assert_allclose(run(made, {"x": x})["y"], layer(x)[0], atol=1e-6)


def test_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    wanted = 'elman.io.onnx needs the library onnx: pip install "elman[onnx]"'
    for call in (lambda: load("a.onnx"), lambda: save(tmp_path / "a.onnx", rnn(elman.cells.gru)), reading.library):
        assert said(call, MissingLibraryError) == wanted
