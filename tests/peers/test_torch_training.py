"""PyTorch as the oracle of a training: weighted and smoothed losses of padded sequences, clipped twice, update by update."""

import numpy as np
import pytest

import elman
from elman.data import Padded
from elman.optim import SGD
from elman.schedules import Constant

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

H, I, V, STEPS = 6, 3, 4, 12
CLIP, CLIP_VALUE, SMOOTHING = 0.02, 0.01, 0.1


def trained(target: str):
    """A trainer and its twin of sources; sequences of unequal lengths, a weight for each of their steps."""
    rng = np.random.default_rng(5)
    x = [rng.normal(size=(int(steps), I)) for steps in rng.integers(1, 9, 14)]
    targets, weights = ([draw(len(each)) for each in x] for draw in (lambda n: rng.integers(0, V, n), rng.random))
    ours, theirs = (Padded(x, targets, batch=5, seed=2, weights=weights) for _ in range(2))
    layer = elman.RNN(elman.cells.elman, input=I, hidden=H, dtype="float64", target=target)
    model = elman.Model.from_layers(layer, V)
    how = {"clip": CLIP, "clip_value": CLIP_VALUE, "label_smoothing": SMOOTHING}
    return elman.Trainer(model, ours, SGD(0.9, weight_decay=0.1), Constant(0.5), steps=STEPS, **how), theirs


class Theirs(torch.nn.Module):
    """The same net; of the two biases one is 0 and stays so."""

    def __init__(self, model: elman.Model) -> None:
        super().__init__()
        self.rnn = torch.nn.RNN(I, H, batch_first=True, dtype=torch.float64)
        self.read = torch.nn.Linear(H, V, dtype=torch.float64)
        self.named = {
            "wax": self.rnn.weight_ih_l0, "waa": self.rnn.weight_hh_l0, "ba": self.rnn.bias_ih_l0,
            "wya": self.read.weight, "by": self.read.bias,
        }  # fmt: skip
        with torch.no_grad():
            self.rnn.bias_hh_l0.zero_()
            for name, value in model.parameters.items():
                self.named[name].copy_(torch.tensor(np.array(value)))

    def loss(self, batch):
        """The mean over the steps within the lengths of what each costs, as much as it counts."""
        logits = self.read(self.rnn(torch.tensor(batch.x))[0])
        asked = {"reduction": "none", "label_smoothing": SMOOTHING}
        losses = torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(batch.targets).reshape(-1), **asked)
        live = torch.arange(batch.x.shape[1]) < torch.tensor(batch.lengths)[:, None]
        return (losses * (torch.tensor(batch.weights) * live).reshape(-1)).sum() / live.sum()


def norm_of(parameters):
    return torch.nn.utils.get_total_norm([p.grad for p in parameters])


@pytest.mark.parametrize("target", ["llvm", "numpy"])
def test_a_training_is_that_of_pytorch(target):
    if target == "llvm":
        pytest.importorskip("llvmlite")
    trainer, source = trained(target)
    net, bounded = Theirs(trainer.model), 0
    parameters = list(net.named.values())
    rule = torch.optim.SGD(parameters, lr=0.5, momentum=0.9, weight_decay=0.1)
    for now in trainer:
        rule.zero_grad()
        loss = net.loss(source.take())
        loss.backward()
        assert now.loss == pytest.approx(loss.item(), rel=1e-10)
        assert now.norm == pytest.approx(norm_of(parameters).item(), rel=1e-10)
        bounded += sum(int((p.grad.abs() > CLIP_VALUE).sum()) for p in parameters)
        torch.nn.utils.clip_grad_value_(parameters, CLIP_VALUE)
        assert norm_of(parameters) > CLIP
        scale = CLIP / norm_of(parameters)  # clip_grad_norm_ adds 1e-6 to the norm
        for p in parameters:
            p.grad *= scale
        rule.step()
        for name, value in net.named.items():
            np.testing.assert_allclose(trainer.model.parameters[name], value.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert bounded > 100
    assert now.step == STEPS
