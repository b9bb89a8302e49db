"""From PyTorch through this library to ONNX Runtime: modules of every kind, run there, give what PyTorch gives."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")]

from elman.io import pytorch  # noqa: E402
from elman.io.onnx import save  # noqa: E402
from onnx_sessions import session_of  # noqa: E402

B, T, I, H, V = 3, 7, 4, 5, 9
KINDS = {
    "tanh": ("RNN", {}, "RNN"),
    "relu": ("RNN", {"nonlinearity": "relu"}, "RNN"),
    "gru": ("GRU", {}, "GRU"),
    "lstm": ("LSTM", {}, "LSTM"),
    "projected": ("LSTM", {"proj_size": 2}, "Scan"),
}


class Net(torch.nn.Module):
    """Tokens, an embedding, two recurrent layers, two linear ones."""

    def __init__(self, kind, *, both, bias):
        super().__init__()
        name, settings, _ = KINDS[kind]
        self.embedding = torch.nn.Embedding(V, I, padding_idx=0)
        shape = {"bidirectional": both, "bias": bias, "dropout": 0.5, "batch_first": True}
        self.recurrent = getattr(torch.nn, name)(I, H, 2, **shape, **settings)
        self.low = torch.nn.Linear(settings.get("proj_size", H) * (1 + both), 6)
        self.top = torch.nn.Linear(6, 3, bias=bias)

    def forward(self, x, lengths=None):
        y = self.embedding(x)
        if lengths is not None:
            y = torch.nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
        y = self.recurrent(y)[0]
        if lengths is not None:
            y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0]
        return self.top(torch.nn.functional.gelu(self.low(y))).log_softmax(-1)


@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no bias"])
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_module(kind, both, bias, tmp_path):
    torch.manual_seed(0)
    net = Net(kind, both=both, bias=bias).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape) * (0.4 if kind == "relu" else 0.6))
    model = pytorch.load(net, activations=["gelu", "log_softmax"])
    x, lengths = torch.randint(0, V, (B, T)), np.array([7, 2, 4], np.int32)
    save(tmp_path / "net.onnx", model, lengths=True)
    kinds = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    count = 2 * (1 + (both and kind == "projected"))
    assert [name for name in kinds if name in ("RNN", "GRU", "LSTM", "Scan")] == [KINDS[kind][2]] * count
    opened = session_of(tmp_path / "net.onnx")
    with torch.no_grad():
        whole, padded = net(x).numpy(), net(x, lengths).numpy()
    (y,) = opened.run(None, {"x": x.numpy(), "lengths": np.full(B, T, np.int32)})
    np.testing.assert_allclose(y, whole, rtol=0, atol=1e-5)
    (y,) = opened.run(None, {"x": x.numpy(), "lengths": lengths})
    for k, length in enumerate(lengths):
        np.testing.assert_allclose(y[k, :length], padded[k, :length], rtol=0, atol=1e-5)
        assert not y[k, length:].any()
    assert not np.allclose(y[1, :2], whole[1, :2], atol=1e-3) or not both  # the way back begins at the length
