"""What elman writes as ONNX, run by ONNX Runtime: the same numbers, with and without state, also for random equations."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:.*it reads from the end of a sequence:UserWarning")]

import elman  # noqa: E402
from elman.io import maps, packing  # noqa: E402
from elman.io.onnx import run, save  # noqa: E402
from elman.testing import random_cell  # noqa: E402
from onnx_sessions import session_of  # noqa: E402

OPERATOR = {"elman": "RNN", "gru": "GRU", "gru_reset_before": "GRU", "lstm": "LSTM", "lstm_peephole": "LSTM"}
RNG = np.random.default_rng(0)


def drawn(layer):
    """The layer, with weights that are random and unequal."""
    layer.update({name: value + RNG.normal(size=value.shape) * 0.2 for name, value in layer.parameters.items()})
    return layer


def rnn(cell, **settings):
    usual = {"input": 6, "hidden": 6, "projection": 4, "output": 5}
    sizes = {name: settings.pop(name, usual.get(name, 3)) for name in cell.sizes}
    return drawn(elman.RNN(cell, **sizes, **settings))


def runtime(path, inputs):
    opened = session_of(path)
    return dict(zip([output.name for output in opened.get_outputs()], opened.run(None, inputs), strict=True))


def flat(state, before):
    found = {}
    for name, value in state.items():
        found |= flat(value, f"{before}.{name}") if isinstance(value, elman.State) else {f"{before}.{name}": value}
    return found


def assert_same(outcomes, expected, atol):
    for found in outcomes:
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=atol, rtol=1e-4, err_msg=name)


def compare(model, path, x, *, atol=1e-5):
    """All ways of writing, in ONNX Runtime and in our own evaluation, against the model; returns the operators."""

    def run_model(x, state=None, lengths=None):
        if not isinstance(model, elman.Model):
            return model(x, state, lengths=lengths)
        found = model.forward_propagation(x, state, lengths=lengths)
        return found.output, found.state

    given = np.asarray(x) if np.asarray(x).dtype.kind == "f" else np.asarray(x, np.int64)
    save(path, model)
    wanted, middle = run_model(x)
    np.testing.assert_allclose(runtime(path, {"x": given})["y"], wanted, atol=atol)
    np.testing.assert_allclose(run(path, {"x": given})["y"], wanted, atol=atol)
    save(path, model, state=True)
    inputs = {"x": given, **flat(middle, "state")}  # the state of the first run: of the right sizes, and not zero
    wanted, last = run_model(x, middle)
    expected = {"y": wanted, **flat(last, "next")}
    assert_same((runtime(path, inputs), run(path, inputs)), expected, atol)
    save(path, model, state=True, lengths=True)
    inputs["lengths"] = np.array([len(x[0]), 2, 1][: len(x)], np.int32)
    wanted, last = run_model(x, middle, inputs["lengths"])
    assert_same((runtime(path, inputs), run(path, inputs)), {"y": wanted, **flat(last, "next")}, atol)
    return [node.op_type for node in onnx.load(path).graph.node if node.op_type in ("Scan", *OPERATOR.values())]


@pytest.mark.parametrize("name", elman.cells.CELLS)
def test_every_cell(name, tmp_path):
    layer = rnn(elman.cells.CELLS[name])
    x = RNG.normal(size=(3, 7, *layer.input_shape)).astype(np.float32)
    assert compare(layer, tmp_path / "cell.onnx", x) == [OPERATOR.get(name, "Scan")]


@pytest.mark.parametrize("seed", range(24))
def test_random_equations(seed, tmp_path):
    """Every gate that equations can hold, in any order, states of any shape; ONNX Runtime lacks some in float64."""
    layer = rnn(random_cell(seed), input=4, hidden=4)
    x = RNG.normal(size=(2, 5, *layer.input_shape)).astype(np.float32)
    assert compare(layer, tmp_path / "cell.onnx", x, atol=1e-4) == ["Scan"] * bool(layer.graph.leaves("state"))


LAYERS = {
    "relu": lambda: rnn(elman.cells.elman_with(elman.relu)),
    "learnt": lambda: rnn(elman.cells.lstm, learn_initial=True),
    "learnt scan": lambda: rnn(elman.cells.mgu, learn_initial=True),
    "backwards": lambda: elman.Backwards(rnn(elman.cells.gru)),
    "twice backwards": lambda: elman.Backwards(elman.Backwards(rnn(elman.cells.mgu))),
    "stack": lambda: elman.Stack([rnn(elman.cells.lstm), rnn(elman.cells.dense), rnn(elman.cells.mgu)], residual=True),
    "both": lambda: elman.Bidirectional(rnn(elman.cells.gru), rnn(elman.cells.mgu)),
    "relu both": lambda: elman.Bidirectional(*(rnn(elman.cells.elman_with(elman.relu)) for _ in "ab")),
    "both, learnt": lambda: elman.Bidirectional(*(rnn(elman.cells.lstm, learn_initial=True) for _ in "ab")),
    "both, within backwards": lambda: elman.Backwards(elman.Bidirectional(*(rnn(elman.cells.gru) for _ in "ab"))),
    "both, of two sizes": lambda: elman.Bidirectional(rnn(elman.cells.gru), rnn(elman.cells.gru, hidden=3)),
    "both scans": lambda: elman.Bidirectional(*(rnn(elman.cells.lstm_projected) for _ in "ab")),
    "peepholes": lambda: elman.Bidirectional(*(rnn(elman.cells.lstm_peephole) for _ in "ab")),
    "sum": lambda: elman.Bidirectional(rnn(elman.cells.lstm), rnn(elman.cells.lstm), merge="sum"),
    "mean": lambda: elman.Bidirectional(rnn(elman.cells.lstm), rnn(elman.cells.lstm), merge="mean"),
    "product": lambda: elman.Bidirectional(rnn(elman.cells.lstm), rnn(elman.cells.lstm), merge="product"),
}


NODES = {"relu": 1, "learnt": 1, "backwards": 1, "sum": 2, "mean": 2, "product": 2, "relu both": 1, "peepholes": 1,
         "both, learnt": 1, "both, within backwards": 2, "both, of two sizes": 2}  # fmt: skip
"""How many recurrent nodes layers become; two directions of one operator are one."""


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, tmp_path):
    found = compare(LAYERS[name](), tmp_path / "layer.onnx", RNG.normal(size=(3, 7, 6)).astype(np.float32))
    if name in NODES:
        assert (len(found), "Scan" in found) == (NODES[name], False)


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no bias"])
@pytest.mark.parametrize(("kind", "layer", "form"), [
    ("RNN", "RNN", ""), ("GRU", "GRU", ""), ("LSTM", "LSTM", ""), ("GRU", "GRU", "reset_after=False"),
])  # fmt: skip
def test_cells_from_elsewhere_find_their_operators(kind, layer, form, biases, tmp_path):
    """With two biases in a gate, with one, or without any."""
    weights = maps.named("keras" if form else "pytorch", layer, form)
    held = None if biases else [name for name in weights.parameters if name[0] in "wu"]
    both = elman.Bidirectional(*(rnn(packing.cell_of(weights, held)) for _ in "ab"))
    assert compare(both, tmp_path / "layer.onnx", RNG.normal(size=(3, 7, 6)).astype(np.float32)) == [kind]


@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
def test_models_of_features(pool, tmp_path):
    both = elman.Bidirectional(rnn(elman.cells.gru), rnn(elman.cells.lstm))
    model = drawn(elman.Model.from_layers(both, outputs=4, pool=pool, readout=elman.cells.readout_sigmoid))
    compare(model, tmp_path / "model.onnx", RNG.normal(size=(3, 7, 6)).astype(np.float32))


def test_models_of_tokens(tmp_path):
    model = drawn(elman.Model(9, hidden_dim=5, layers=2, cell=elman.cells.gru))
    assert compare(model, tmp_path / "model.onnx", RNG.integers(0, 9, (3, 7))) == ["GRU", "GRU"]


def test_a_model_from_a_file_finds_its_operators(tmp_path):
    model = drawn(elman.Model(9, hidden_dim=5, cell=elman.cells.lstm))
    model.save(tmp_path / "model.safetensors")
    opened = elman.load(tmp_path / "model.safetensors")
    assert compare(opened, tmp_path / "model.onnx", RNG.integers(0, 9, (3, 7))) == ["LSTM"]
