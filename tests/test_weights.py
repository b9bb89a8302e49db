"""Weights of losses: a weighted gradient is the weighted mean of those of each loss alone."""

import numpy as np
import pytest

from elman import RNN, Backwards, Bidirectional, Model, cells
from elman.errors import DataError, ShapeError

READOUTS = {"softmax": cells.readout, "sigmoid": cells.readout_sigmoid, "linear": cells.readout_linear}


def problem(readout, pool, seed=0):
    """A model, four sequences with lengths, and their targets."""
    rng = np.random.default_rng(seed)
    layers = Bidirectional(*(RNN(cells.lstm, input=3, hidden=4, dtype="float64", seed=s) for s in (1, 2)))
    model = Model.from_layers(layers, outputs=3, readout=READOUTS[readout], pool=pool)
    model.update({name: rng.normal(size=value.shape) for name, value in model.parameters.items()})
    axes = (4,) if pool else (4, 6)
    targets = rng.integers(0, 3, axes) if readout == "softmax" else rng.uniform(size=(*axes, 3))
    return model, rng.normal(size=(4, 6, 3)), np.array([6, 1, 0, 4]), targets, rng.uniform(0, 3, axes)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("pool", [None, "last", "mean", "max"])
def test_weighted_gradients_are_those_of_each_sequence_together(readout, pool):
    """Each loss alone is asked for by targets and weights that are 1 there and 0 elsewhere."""
    model, x, lengths, targets, weights = problem(readout, pool)
    loss, gradients, _ = model.gradients(x, targets, lengths=lengths, weights=weights)
    count = 3 if pool else lengths.sum()
    total, summed = 0.0, {name: np.zeros_like(value) for name, value in gradients.items()}
    for b, length in enumerate(lengths):
        if not length:
            continue
        one, part = x[b, :length], targets[b] if pool else targets[b, :length]
        losses, _ = model.losses(one, part)
        inner = weights[b] if pool else weights[b, :length]
        total += float((losses * inner).sum())
        for step in [()] if pool else range(length):
            single = np.ones(()) if pool else np.eye(length)[step]
            _, found, _ = model.gradients(one, part, weights=single)
            for name, value in found.items():
                summed[name] += value * (inner if pool else length * inner[step])
    assert np.isclose(loss, total / count, rtol=1e-12)
    for name, value in gradients.items():
        assert np.allclose(value, summed[name] / count, rtol=1e-9, atol=1e-12), name


def test_a_weight_of_two_is_a_sequence_twice():
    model, x, lengths, targets, _ = problem("softmax", "last")
    loss, gradients, _ = model.gradients(x, targets, lengths=lengths, weights=[2, 1, 1, 0])
    twice = [0, 0, 1]
    both = model.gradients(x[twice], targets[twice], lengths=lengths[twice])
    assert np.isclose(loss, both[0])
    assert all(np.allclose(gradients[name], both[1][name], atol=1e-14) for name in gradients)


def test_ones_change_nothing_and_padding_may_hold_anything():
    model, x, lengths, targets, weights = problem("linear", None)
    plain, ones = (model.gradients(x, targets, lengths=lengths, weights=w) for w in (None, np.ones((4, 6))))
    assert plain[0] == ones[0]
    assert all(np.array_equal(plain[1][name], ones[1][name]) for name in plain[1])
    past = np.arange(6) >= lengths[:, None]
    wild = np.where(past, np.nan, weights)
    found, wanted = (model.gradients(x, targets, lengths=lengths, weights=w) for w in (wild, weights))
    assert found[0] == wanted[0]
    assert all(np.array_equal(found[1][name], wanted[1][name]) for name in found[1])


def test_wrong_weights_are_said():
    model, x, lengths, targets, weights = problem("softmax", None)
    for wrong, error, words in (
        (weights[:, 0], ShapeError, r"Model: weights are \(4\); \(4, 6\) is wanted, one for each target"),
        (-weights, DataError, r"Model: weight -.* at \(0, 0\); weights are finite, and 0 or more"),
        (np.where(weights > 1, np.nan, weights), DataError, "weights are finite"),
        ([["a"] * 6] * 4, DataError, "weights hold no numbers"),
    ):
        with pytest.raises(error, match=words):
            model.gradients(x, targets, lengths=lengths, weights=wrong)
    backwards = Model.from_layers(Backwards(RNN(cells.gru, input=3, hidden=2)), outputs=2, pool="last")
    with pytest.raises(ShapeError, match=r"weights are \(6\); \(\) is wanted"):
        backwards.gradients(x[0], 1, weights=np.ones(6))
