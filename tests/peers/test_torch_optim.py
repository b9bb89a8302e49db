"""PyTorch as the oracle of optimisers: the same gradients lead to the same parameters."""

import numpy as np
import pytest

from elman.optim import SGD, Adagrad, Adam, AdamW, RMSProp, clip_by_norm, clip_by_value

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

RATE = 0.03
PAIRS = (
    (SGD(), "SGD", {}),
    (SGD(0.9, weight_decay=0.1), "SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    (SGD(0.7, nesterov=True), "SGD", {"momentum": 0.7, "nesterov": True}),
    (Adagrad(weight_decay=0.2), "Adagrad", {"weight_decay": 0.2}),
    (RMSProp(), "RMSprop", {}),
    (RMSProp(0.8, 1e-3, 0.6, 0.1), "RMSprop", {"alpha": 0.8, "eps": 1e-3, "momentum": 0.6, "weight_decay": 0.1}),
    (Adam(), "Adam", {}),
    (Adam(0.7, 0.8, 1e-3, 0.2), "Adam", {"betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
    (AdamW(), "AdamW", {}),
    (AdamW(weight_decay=0.5), "AdamW", {"weight_decay": 0.5}),
)
SHAPES = {"w": (5, 4), "b": (4,)}


@pytest.mark.parametrize(("rule", "name", "settings"), PAIRS, ids=repr)
def test_updates_are_those_of_pytorch(rule, name, settings):
    rng = np.random.default_rng(3)
    ours = {n: rng.normal(size=shape) for n, shape in SHAPES.items()}
    theirs = {n: torch.nn.Parameter(torch.tensor(value)) for n, value in ours.items()}
    optimiser = getattr(torch.optim, name)(theirs.values(), lr=RATE, **settings)
    memory = rule.memory(ours)
    for scale in (1.0, 0.2, 5.0, 0.0, 1.0):
        g = {n: rng.normal(size=shape) * scale for n, shape in SHAPES.items()}
        for n, value in theirs.items():
            value.grad = torch.tensor(g[n])
        optimiser.step()
        ours, memory = rule.update(ours, g, memory, RATE)
        for n, value in theirs.items():
            np.testing.assert_allclose(ours[n], value.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_clipping_is_that_of_pytorch():
    rng = np.random.default_rng(4)
    g = {n: rng.normal(size=shape) for n, shape in SHAPES.items()}
    for clip, ours in (
        (lambda p: torch.nn.utils.clip_grad_norm_(p, 0.7), lambda: clip_by_norm(g, 0.7)[0]),
        (lambda p: torch.nn.utils.clip_grad_value_(p, 0.3), lambda: clip_by_value(g, 0.3)),
    ):
        theirs = {n: torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for n, shape in SHAPES.items()}
        for n, value in theirs.items():
            value.grad = torch.tensor(g[n])
        clip(theirs.values())
        for n, value in ours().items():
            np.testing.assert_allclose(value, theirs[n].grad.numpy(), rtol=2e-6)
