"""Files that PyTorch's exporters write: run, loaded, and carried on by state, against the PyTorch model itself."""

import io
import logging
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

import elman  # noqa: E402
from elman.errors import ModelFileError  # noqa: E402
from elman.importing import imported  # noqa: E402
from elman.io.onnx import as_model, load, run  # noqa: E402

B, T, I, H, V = 2, 7, 4, 5, 11


class Tagger(torch.nn.Module):
    """Tokens, an embedding, layers, a norm, a read-out."""

    def __init__(self, kind, *, both, layers):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, I)
        self.recurrent = getattr(torch.nn, kind)(I, H, layers, batch_first=True, bidirectional=both)
        self.norm = torch.nn.LayerNorm(H * (1 + both))
        self.linear = torch.nn.Linear(H * (1 + both), 3)

    def forward(self, x):
        y, _ = self.recurrent(self.embedding(x))
        return self.linear(self.norm(y)).log_softmax(-1)


class Streaming(torch.nn.Module):
    """Its state goes in and out."""

    def __init__(self, kind):
        super().__init__()
        self.recurrent, self.linear = getattr(torch.nn, kind)(I, H, 2), torch.nn.Linear(H, 3)

    def forward(self, x, *state):
        y, last = self.recurrent(x, state if len(state) > 1 else state[0])
        return self.linear(y).softmax(-1), *(last if len(state) > 1 else [last])


class Classifier(torch.nn.Module):
    """A batch norm before, the last state and a mean behind."""

    def __init__(self):
        super().__init__()
        self.norm, self.recurrent = torch.nn.BatchNorm1d(I), torch.nn.LSTM(I, H, batch_first=True)
        self.linear = torch.nn.Linear(H, 3)

    def forward(self, x):
        y, (h, _) = self.recurrent(self.norm(x.transpose(1, 2)).transpose(1, 2))
        return self.linear(torch.relu(h[-1] + y[:, -1] + y.mean(1))).argmax(-1), y


def unequal(model):
    torch.manual_seed(0)
    for parameter in [*model.parameters(), *model.buffers()]:
        if parameter.dtype == torch.float32:
            torch.nn.init.uniform_(parameter, 0.1, 0.9)
            parameter.data *= torch.sign(torch.randn(parameter.shape)) if parameter.requires_grad else 1
    return model.eval()


def exported(model, inputs, *, dynamo):
    if dynamo:
        pytest.importorskip("onnxscript")
    names, memory = [f"in{k}" for k in range(len(inputs))], io.BytesIO()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                return torch.onnx.export(model, inputs, dynamo=True, verbose=False, input_names=names).model_proto
            axes = {name: {0: "a", 1: "b"} for name in names[:1]}
            torch.onnx.export(model, inputs, memory, dynamo=False, input_names=names, dynamic_axes=axes)
    finally:
        logging.disable(logging.NOTSET)
    return memory.getvalue()


def compare(model, inputs, made):
    with torch.no_grad():
        wanted = model(*inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    found = run(made, {f"in{k}": value.numpy() for k, value in enumerate(inputs)})
    for got, expected in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)
    return wanted


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_taggers(kind, both, layers):
    model, x = unequal(Tagger(kind, both=both, layers=layers)), torch.randint(0, V, (B, T))
    made = exported(model, (x,), dynamo=False)
    compare(model, (x,), made)
    longer = torch.randint(0, V, (3, T + 4))  # other sizes than those that were exported
    y, state = load(made)(longer.numpy())
    ordinary = as_model(made)
    with torch.no_grad():
        np.testing.assert_allclose(y, model(longer).numpy(), atol=1e-5)
        np.testing.assert_allclose(ordinary.forward_propagation(longer.numpy()).output, model(longer).numpy(), atol=1e-5)
    assert (len(state.layers), state.batch) == (layers, 3)
    assert (ordinary.reads_tokens, len(ordinary.rnn.layers)) == (True, 1 + layers)


@pytest.mark.parametrize(("kind", "both"), [("RNN", False), ("GRU", True), ("LSTM", True)])
def test_taggers_of_the_second_exporter(kind, both):
    """It writes the loop of an RNN out, step by step, and then there is no recurrent node."""
    model, x = unequal(Tagger(kind, both=both, layers=2)), torch.randint(0, V, (B, T))
    made = exported(model, (x,), dynamo=True)
    [wanted] = compare(model, (x,), made)
    assert len(load(made).layers) == (0 if kind == "RNN" else 2)
    if kind == "RNN":
        with pytest.raises(ModelFileError, match="has no counterpart in a model"):
            as_model(made)
    else:
        np.testing.assert_allclose(as_model(made).forward_propagation(x.numpy()).output, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_state_that_is_passed_through(kind):
    """Given by name it is what PyTorch takes; left to us, a sequence in two pieces gives what the whole gives."""
    model, x = unequal(Streaming(kind)), torch.randn(T, B, I)
    zeros, state = ([make(2, B, H) for _ in range(1 + (kind == "LSTM"))] for make in (torch.zeros, torch.randn))
    made = exported(model, (x, *state), dynamo=False)
    compare(model, (x, *state), made)
    loaded = load(made)
    assert list(loaded.inputs) == ["in0"]
    with torch.no_grad():
        whole, *last = model(x, *zeros)
    first, middle = loaded(x[:3].numpy())
    rest, end = loaded(x[3:].numpy(), middle)
    np.testing.assert_allclose(np.concatenate([first, rest]), whole.numpy(), atol=1e-5)
    for name, value in zip("hc", last, strict=False):
        got = np.stack([tuple(layer.values())["hc".index(name)] for layer in end.layers])
        np.testing.assert_allclose(got, value.numpy(), atol=1e-5)


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_classifier(dynamo):
    model, x = unequal(Classifier()), torch.randn(B, T, I)
    compare(model, (x,), exported(model, (x,), dynamo=dynamo))


# ---------------------------------------------------------------- as ordinary models


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_files_that_pass_their_state_through_are_models_that_keep_it(kind):
    module, x = unequal(Streaming(kind)), torch.randn(T, B, I)
    zeros = [torch.zeros(2, B, H) for _ in range(1 + (kind == "LSTM"))]
    model = as_model(exported(module, (x, *zeros), dynamo=False))
    with torch.no_grad():
        wanted = module(x, *zeros)[0].numpy()[:, 0]
    stream = model.stream()
    np.testing.assert_allclose(np.stack([stream.push(step) for step in x.numpy()[:, 0]]), wanted, atol=1e-5)


def test_an_import_is_proved_by_the_runtime(tmp_path):
    pytest.importorskip("onnxruntime")
    module, x = unequal(Tagger("GRU", both=True, layers=2)), torch.randint(0, V, (B, T))
    (tmp_path / "net.onnx").write_bytes(exported(module, (x,), dynamo=False))
    model, told = imported(tmp_path / "net.onnx")
    assert told.startswith("proved: differs by ")
    assert "from ONNX Runtime" in told
    with torch.no_grad():
        wanted = module(torch.from_numpy(model.proof.x))
    np.testing.assert_allclose(model.proof.y, wanted.numpy(), atol=1e-5)


def test_the_runtime_is_given_states_of_zero(tmp_path):
    pytest.importorskip("onnxruntime")
    model = elman.Model.from_layers(elman.RNN(elman.cells.lstm, input=I, hidden=H), outputs=3)
    elman.io.onnx.save(tmp_path / "net.onnx", model, state=True)
    again, _ = imported(tmp_path / "net.onnx")
    np.testing.assert_allclose(model.forward_propagation(again.proof.x).output, again.proof.y, atol=1e-5)
    module, x = unequal(Streaming("LSTM")), torch.randn(T, B, I)  # a file for this batch and no other
    made = exported(module, (x, *(torch.zeros(2, B, H) for _ in "hc")), dynamo=False)
    (tmp_path / "two.onnx").write_bytes(made)
    with pytest.raises(ModelFileError, match=r"ONNX Runtime does not run it on an input \(3, 11, 4\): .*--expect$"):
        imported(tmp_path / "two.onnx")
