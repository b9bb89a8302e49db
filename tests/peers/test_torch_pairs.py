"""PyTorch as the oracle of trainings on pairs: its autograd and its Adam, each sequence by itself and without padding."""

import numpy as np
import pytest

from elman import RNN, EncoderDecoder, Model, Trainer, cells, data, optim
from elman.losses import CTC
from elman.schedules import Cosine

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

STEPS, RATES, CLIP, START, BLANK = 12, Cosine(0.05, 12), 0.8, 5, 2


def sequences(rng, symbols, least, most, count=9):
    return [rng.integers(0, symbols, n) for n in rng.integers(least, most + 1, count)]


def drawn(model):
    rng = np.random.default_rng(1)
    model.update({name: 0.5 * rng.normal(size=value.shape) for name, value in model.parameters.items()})
    return {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters.items()}


def run(p, before, tokens, a):
    """The states of an Elman network after each token, from a state."""
    found = []
    for token in tokens:
        a = torch.tanh(p[f"{before}wax"][:, int(token)] + p[f"{before}waa"] @ a + p[f"{before}ba"])
        found.append(a)
    return torch.stack(found)


def told(p, batch):
    """The mean cross entropy of all target steps, with teacher forcing."""
    losses = []
    for x, y, n, u in zip(batch.x, batch.targets, batch.lengths, batch.target_lengths, strict=True):
        a = run(p, "encoder.", x[:n], torch.zeros(4, dtype=torch.float64))[-1]
        states = run(p, "decoder.", [START, *y[: u - 1]], a)
        logits = states @ p["decoder.wya"].T + p["decoder.by"]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(y[:u]), reduction="none"))
    return torch.cat(losses).mean()


def labelled(p, batch):
    """The mean of the losses of the sequences, which PyTorch's own mean would divide by their labels."""
    losses = []
    for x, y, n, u in zip(batch.x, batch.targets, batch.lengths, batch.target_lengths, strict=True):
        logits = run(p, "", x[:n], torch.zeros(4, dtype=torch.float64)) @ p["wya"].T + p["by"]
        given = torch.log_softmax(logits, -1)[:, None], torch.tensor(y[None, :u]), torch.tensor([n]), torch.tensor([u])
        losses.append(torch.nn.functional.ctc_loss(*given, blank=BLANK, reduction="sum"))
    return torch.stack(losses).mean()


def encoder_decoder():
    layers = {"input": 6, "hidden": 4, "dtype": "float64"}
    decoder = Model.from_layers(RNN(cells.elman, **layers), 6, tokens=True)
    return EncoderDecoder(RNN(cells.elman, **layers), decoder, start=START)


def model_of_labels():
    return Model.from_layers(RNN(cells.elman, input=6, hidden=4, dtype="float64"), 4, tokens=True, bptt_truncate=None)


@pytest.mark.parametrize("kind", ["encoder-decoder", "ctc"])
def test_a_training_is_that_of_pytorch(kind):
    rng = np.random.default_rng(2)
    if kind == "ctc":
        model, loss_of, loss = model_of_labels(), labelled, CTC(BLANK)
        x, y = sequences(rng, 6, 8, 13), [labels + (labels >= BLANK) for labels in sequences(rng, 3, 0, 4)]
    else:
        model, loss_of, loss = encoder_decoder(), told, None
        x, y = sequences(rng, 6, 1, 8), sequences(rng, 6, 1, 6)
    p, source = drawn(model), data.Pairs(x, y, batch=4, seed=3)
    adam = torch.optim.Adam(p.values())
    wanted = []
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = RATES(step)
        adam.zero_grad()
        found = loss_of(p, source.take())
        found.backward()
        norm = torch.stack([value.grad.norm() for value in p.values()]).norm()
        for value in p.values():
            value.grad *= min(1.0, CLIP / float(norm))
        adam.step()
        wanted.append((found.item(), norm.item()))
    trainer = Trainer(model, data.Pairs(x, y, batch=4, seed=3), optim.Adam(), RATES, steps=STEPS, clip=CLIP, loss=loss)
    np.testing.assert_allclose([(now.loss, now.norm) for now in trainer], wanted, rtol=1e-9)
    assert sum(norm > CLIP for _, norm in wanted) > 2
    assert wanted[-1][0] < wanted[0][0]
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, p[name].detach().numpy(), rtol=1e-8, atol=1e-11, err_msg=name)
