"""PyTorch as the oracle of losses: values, and gradients for the read-out and what it reads."""

import numpy as np
import pytest

import elman
from elman import Model, cells

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

B, T, HIDDEN, OUTPUT = 3, 5, 4, 6


def losses_of_pytorch(kind, logits, targets, smoothing):
    if kind == "readout":
        flat = logits.reshape(-1, OUTPUT), torch.tensor(targets.reshape(-1))
        return torch.nn.functional.cross_entropy(*flat, label_smoothing=smoothing)
    targets = torch.tensor((1 - smoothing) * targets + smoothing / 2)
    if kind == "readout_sigmoid":
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    return torch.nn.functional.mse_loss(logits, targets)


@pytest.mark.parametrize(
    ("kind", "smoothing"),
    [("readout", 0.0), ("readout", 0.1), ("readout", 0.7), ("readout_sigmoid", 0.0), ("readout_sigmoid", 0.3),
     ("readout_linear", 0.0)],
)  # fmt: skip
def test_losses_are_those_of_pytorch(kind, smoothing):
    rng = np.random.default_rng(1)
    layer = elman.RNN(cells.dense, input=HIDDEN, hidden=HIDDEN, dtype="float64")
    model = Model.from_layers(layer, OUTPUT, readout=getattr(cells, kind))
    model.update({name: rng.normal(size=value.shape) for name, value in model.parameters.items()})
    x = rng.normal(size=(B, T, HIDDEN))
    targets = rng.integers(OUTPUT, size=(B, T)) if kind == "readout" else rng.random((B, T, OUTPUT))
    loss, gradients, _ = model.gradients(x, targets, label_smoothing=smoothing)
    theirs = {name: torch.tensor(np.array(value), requires_grad=True) for name, value in model.parameters.items()}
    below = torch.tanh(torch.tensor(x) @ theirs["w"].T + theirs["b"])
    expected = losses_of_pytorch(kind, below @ theirs["wya"].T + theirs["by"], targets, smoothing)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for name, value in theirs.items():
        np.testing.assert_allclose(gradients[name], value.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
