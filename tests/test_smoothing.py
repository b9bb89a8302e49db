"""Label smoothing: losses against the targets written out, gradients against slopes."""

import numpy as np
import pytest

import elman
from elman import Model, SettingError, cells
from oracles import random_direction, sigmoid, slope, softmax

LENGTHS = (5, 0, 3, 1)
STEPS, INPUT, HIDDEN, OUTPUT = 5, 3, 4, 6
every_readout = pytest.mark.parametrize("readout", ["softmax", "sigmoid"])
every_share = pytest.mark.parametrize("share", [0.1, 0.6])
every_target = pytest.mark.parametrize("target", ["numpy", "llvm", "interpreter"])


def problem(readout, target="numpy", pool=None):
    rng = np.random.default_rng(5)
    layer = elman.RNN(cells.gru, input=INPUT, hidden=HIDDEN, dtype="float64", target=target)
    model = Model.from_layers(
        layer, OUTPUT, readout=cells.readout if readout == "softmax" else cells.readout_sigmoid, pool=pool
    )
    model.update({name: rng.normal(size=value.shape) for name, value in model.parameters.items()})
    x, axes = rng.normal(size=(len(LENGTHS), STEPS, INPUT)), (len(LENGTHS), STEPS) if pool is None else (len(LENGTHS),)
    targets = rng.integers(OUTPUT, size=axes) if readout == "softmax" else (rng.random((*axes, OUTPUT)) < 0.2).astype(float)
    return model, x, targets


def literal(readout, logits, target, share):
    """Of one reading, from the targets that smoothing makes."""
    if readout == "softmax":
        told = np.full(OUTPUT, share / OUTPUT)
        told[target] += 1 - share
        return -sum(t * np.log(p) for t, p in zip(told, softmax(logits), strict=True))
    told, p = (1 - share) * target + share / 2, sigmoid(logits)
    return -np.mean([t * np.log(q) + (1 - t) * np.log(1 - q) for t, q in zip(told, p, strict=True)])


@every_readout
@every_share
@every_target
def test_smoothed_losses_are_those_of_smoothed_targets(readout, share, target):
    model, x, targets = problem(readout, target)
    logits = model.forward_propagation(x, lengths=LENGTHS).logits
    expected = np.mean(
        [literal(readout, logits[b, t], targets[b, t], share) for b, length in enumerate(LENGTHS) for t in range(length)]
    )
    loss = model.loss(x, targets, lengths=LENGTHS, label_smoothing=share)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert model.gradients(x, targets, lengths=LENGTHS, label_smoothing=share)[0] == pytest.approx(expected, rel=1e-12)
    assert abs(loss - model.loss(x, targets, lengths=LENGTHS)) > 1e-3


@every_readout
@every_share
def test_a_head_that_reads_once_is_smoothed(readout, share):
    model, x, targets = problem(readout, pool="max")
    logits = model.forward_propagation(x, lengths=LENGTHS).logits
    expected = np.mean([literal(readout, logits[b], targets[b], share) for b, length in enumerate(LENGTHS) if length])
    assert model.loss(x, targets, lengths=LENGTHS, label_smoothing=share) == pytest.approx(expected, rel=1e-12)


@every_readout
@every_share
@every_target
def test_gradients_of_smoothed_losses_are_slopes(readout, share, target):
    model, x, targets = problem(readout, target)
    _, gradients, _ = model.gradients(x, targets, lengths=LENGTHS, label_smoothing=share)
    start = dict(model.parameters)

    def loss(parameters):
        model.update(parameters)
        return model.loss(x, targets, lengths=LENGTHS, label_smoothing=share)

    direction = random_direction(start, np.random.default_rng(6))
    expected = sum(float(np.sum(gradients[name] * direction[name])) for name in start)
    assert slope(loss, start, direction) == pytest.approx(expected, rel=1e-6)
    assert abs(expected) > 1e-2


def test_no_smoothing_is_what_it_was():
    model, x, targets = problem("softmax")
    one, other = (model.gradients(x, targets, **asked) for asked in ({}, {"label_smoothing": 0.0}))
    assert one[0] == other[0]
    assert all(one[1][name].tobytes() == other[1][name].tobytes() for name in one[1])


def test_an_encoder_decoder_is_smoothed():
    decoder = Model(OUTPUT, HIDDEN, None, cells.gru, dtype="float64", seed=1)
    net = elman.EncoderDecoder(elman.RNN(cells.gru, input=INPUT, hidden=HIDDEN, dtype="float64"), decoder, start=0)
    rng = np.random.default_rng(7)
    net.update({name: rng.normal(size=value.shape) for name, value in net.parameters.items()})
    x, targets = rng.normal(size=(2, STEPS, INPUT)), rng.integers(OUTPUT, size=(2, 4))
    logits = net.forward_propagation(x, targets).logits
    expected = np.mean([literal("softmax", logits[b, t], targets[b, t], 0.2) for b in range(2) for t in range(4)])
    assert net.loss(x, targets, label_smoothing=0.2) == pytest.approx(expected, rel=1e-12)
    assert net.gradients(x, targets, label_smoothing=0.2)[0] == pytest.approx(expected, rel=1e-12)


def test_smoothing_of_what_is_no_label_is_told():
    linear = Model.from_layers(elman.RNN(cells.gru, input=2, hidden=3), 4, readout=cells.readout_linear)
    x, y = np.ones((5, 2)), np.ones((5, 4))
    for asked in (linear.loss, linear.gradients):
        with pytest.raises(SettingError) as caught:
            asked(x, y, label_smoothing=0.1)
        assert str(caught.value) == "Model: label_smoothing=0.1, but this read-out's targets are numbers, not labels"
    with pytest.raises(SettingError) as caught:
        linear.loss(x, y, label_smoothing=1)
    assert str(caught.value) == "Model: label_smoothing=1 must be a share, at least 0 and below 1"
    assert linear.loss(x, y, label_smoothing=0.0) == linear.loss(x, y)
