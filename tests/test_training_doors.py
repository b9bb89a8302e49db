"""What trainers, their sources and losses refuse at the door: each was passed over, or told late, once."""

import numpy as np
import pytest

import elman
from elman import data, optim, schedules, train
from elman.errors import CheckpointError, DataError, ElmanError, SettingError


def constant(model, source, **settings):
    return elman.Trainer(model, source, optim.Adam(), schedules.Constant(0.01), steps=3, **settings)


def test_padding_is_no_target():
    """Batches whose targets have no lengths of their own would be learnt with their padding."""
    decoder = elman.Model(7, 12, None, elman.cells.gru, seed=1)
    pair = elman.EncoderDecoder(elman.RNN(elman.cells.gru, input=5, hidden=12, seed=1), decoder, start=5, end=6)
    told = "the sequences of a batch have lengths, their targets have none of their own"
    with pytest.raises(DataError, match=f"{told}; elman.data.Pairs gives them"):
        next(constant(pair, data.Padded([[1, 2, 3], [4]], [[1, 2, 6], [6]], batch=2)))
    with pytest.raises(DataError, match=told):
        next(constant(elman.Model(7, 12, None), data.Padded([[1, 2, 3], [4]], [[1, 2, 6], [6]], batch=2), loss="ctc"))


def test_a_loss_of_ones_own_is_a_setting():
    def training(loss):
        return constant(elman.Model(7, 5, None), data.Streams(np.arange(90) % 7, 2, 8), loss=loss)

    def own(logits, batch):
        return 1.0, logits

    with_own, plain = training(own), training(None)
    with pytest.raises(CheckpointError, match="with loss a function, this one has another, or none"):
        plain.restore(with_own.checkpoint())
    with pytest.raises(CheckpointError, match="with loss None, this one has a function"):
        with_own.restore(plain.checkpoint())
    training(own).restore(with_own.checkpoint())


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "the loss gave a NoneType; a number and its gradient for the logits are wanted, as a pair"),
        (1.0, "the loss gave a float; a number"),
        ((np.ones(2), np.ones((2, 8, 7))), "the loss is .2.; a number"),
        (("a", np.ones((2, 8, 7))), "the loss is of the type <U1; a number"),
        ((1.0, 1j * np.ones((2, 8, 7))), "the gradient is of the type complex128; a number"),
    ],
)
def test_what_a_loss_of_ones_own_may_not_give(found, told):
    training = constant(elman.Model(7, 5, None), data.Streams(np.arange(90) % 7, 2, 8), loss=lambda *_: found)
    with pytest.raises(ElmanError, match=told):
        next(training)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"recompute": "no"}, "recompute='no' must be True or False"),
        ({"clip_value": True}, "clip_value=True must be a number"),
    ],
)
def test_settings_that_are_no_numbers_or_truths(settings, told):
    with pytest.raises(SettingError, match=told):
        constant(elman.Model(7, 5, None), data.Streams(np.arange(90) % 7, 2, 8), **settings)


X, Y, TEXT = [[1, 2, 3], [4, 5]], [1, 0], np.arange(90) % 7


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: data.Padded(X, Y, weights=[1.0, np.nan]), "Padded: weight 1: nan; weights are finite, and 0 or more"),
        (lambda: data.Padded(X, X, weights=[[1, 2, 3], [1, -2]]), "Padded: weight 1: -2 at 1; weights are finite"),
        (lambda: data.Streams(range(9), 1, 2, weights=[1.0] * 8 + [np.inf]), "Streams: weights: inf at 8; weights are"),
        (lambda: data.Padded(X, Y, weights=1.0), "Padded: weights are a float; a list with one for each sequence is wanted"),
        (lambda: data.Padded(X, Y, weights={0: 1, 1: 2}), "Padded: weights are a dict; a list"),
        (lambda: data.Padded(X, 3), "Padded: targets are a int; a list"),
        (lambda: data.Padded(3), "Padded: sequences are a int; a list"),
        (lambda: data.Pairs([[1]], None), "Pairs: targets are a NoneType; a list"),
        (lambda: data.Pairs(3, [[4]]), "Pairs: .* are a int; a list"),
    ],
)
def test_what_is_no_list_or_no_weight_is_told_when_the_source_is_made(make, told):
    with pytest.raises(DataError, match=told):
        make()


def test_sequences_and_weights_may_come_one_by_one():
    plain, one_by_one = data.Padded(X, Y, weights=[1.0, 2.0]), data.Padded(iter(X), iter(Y), weights=iter([1.0, 2.0]))
    assert plain.take().weights.tolist() == one_by_one.take().weights.tolist()


class Giving:
    """A source of one's own that gives the same each time."""

    def __init__(self, batch):
        self.batch = batch

    def take(self):
        return self.batch

    def position(self):
        return {}

    def seek(self, position):
        pass


@pytest.mark.parametrize(("batch", "kind"), [(None, "NoneType"), (([[1]], [[1]]), "tuple"), (np.ones((2, 3)), "ndarray")])
def test_what_a_source_gives_is_a_batch(batch, kind):
    trainer = constant(elman.Model(7, 5, None), Giving(batch))
    wanted = r"an elman.data.Batch is wanted, Batch\(x, targets, lengths=None, anew=True, symbols=...\)"
    with pytest.raises(DataError, match=f"^Trainer: the source gave a {kind}; {wanted}$"):
        next(trainer)


@pytest.mark.parametrize("rate", [float("nan"), np.inf, -0.1, None, "0.1", True, np.ones(2)])
def test_a_rate_that_is_none_is_of_the_schedule(rate):
    source = data.Streams(np.arange(90) % 7, 2, 8)
    trainer = elman.Trainer(elman.Model(7, 5, None), source, optim.SGD(), lambda step: rate if step else 0, steps=3)
    assert next(trainer).rate == 0.0
    before = trainer.checkpoint()
    with pytest.raises(SettingError, match=r"^Trainer: the schedule gave .* for update 2; a finite number, 0 or more, is"):
        next(trainer)
    assert trainer.checkpoint().facts == before.facts


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            lambda model: train.train(model, TEXT, {"steps": 3}),
            "train: settings={'steps': 3} is a dict; elman.train.Settings",
        ),
        (lambda model: train.train(model, TEXT, 3), "train: settings=3 is a int; elman.train.Settings"),
        (lambda model: train.Settings(clip=True), "clip=True must be a number above 0, and finite"),
        (lambda model: train.Settings(rate=True), "rate=True must be a number above 0, and finite"),
        (lambda model: train.evaluate(model, TEXT, streams=0), "evaluate: streams=0 must be an integer, 1 or more"),
        (lambda model: train.evaluate(model, TEXT, chunk=0), "evaluate: chunk=0 must be an integer, 1 or more"),
        (lambda model: train.evaluate(model, TEXT, chunk=1.5), "evaluate: chunk=1.5 must be an integer, 1 or more"),
    ],
)
def test_settings_of_training_on_text(asked, told):
    with pytest.raises(SettingError) as caught:
        asked(elman.Model(7, 5, None))
    assert str(caught.value).startswith(told)


BEFORE = {"hidden_dim": 5, "bptt_truncate": None, "cell": elman.cells.gru, "layers": 2, "dropout": 0.2}
OTHER = "other equations, sizes or vocabulary"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bptt_truncate": 4}, "bptt_truncate None, this one has 4"),
        ({"hidden_dim": 6}, "hidden 5, this one has 6"),
        ({"dropout": 0.3}, "dropout 0.2, this one has 0.3"),
        ({"recurrent_dropout": 0.1}, "recurrent_dropout 0.0, this one has 0.1"),
        ({"layers": 3}, OTHER),
        ({"cell": elman.cells.gru_reset_before}, OTHER),
        ({"cell": elman.cells.lstm, "hidden_dim": 6}, OTHER),
        ({"vocabulary": elman.Vocabulary.characters("abcdef")}, OTHER),
    ],
)
def test_what_is_other_in_the_model_of_a_checkpoint_is_told(change, told):
    """By the setting where it is one, else in general."""
    source = data.Streams(np.arange(90) % 7, 2, 8)
    trainer, other = (constant(elman.Model(7, **BEFORE | more), source) for more in ({}, change))
    with pytest.raises(CheckpointError) as caught:
        other.restore(trainer.checkpoint())
    assert str(caught.value) == f"the checkpoint is of a model with {told}"
