"""Trainings on pairs of sequences, by an encoder-decoder or by CTC: loops by hand, resumption, threads, what goes wrong."""

import copy
import math
from functools import partial

import numpy as np
import pytest

import elman
from elman import RNN, Bidirectional, EncoderDecoder, Model, Stack, Trainer, cell, cells, optim, sqrt, weight
from elman.data import Batch, Padded, Pairs
from elman.errors import CheckpointError, DataError, ModelFileError, SettingError, ShapeError, TokenError
from elman.journal import entries
from elman.losses import CTC
from elman.runs import LOG, Run
from elman.schedules import Averaging, Constant, EarlyStopping
from messages import said
from test_runs import STEPS, asked, assert_same, batch_of_one_kind, exploding, told

TARGETS = ["numpy", "llvm"]
BLANK = 4

# ---------------------------------------------------------------- trainings


def pairs(seed: int, symbols: int, count: int = 17, longest: int = 7):
    """Sources and targets of tokens: their lengths have nothing to do with each other; some labels come twice."""
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(1, longest + 1, count) for _ in range(2))
    return [rng.integers(0, symbols, n) for n in x], [rng.integers(0, symbols, n) for n in y]


def drawn(model, seed: int = 9):
    """Random weights, so that none is zero or equal to another."""
    rng = np.random.default_rng(seed)
    model.update({name: 0.4 * rng.normal(size=value.shape) for name, value in model.parameters.items()})
    return model


def handed(target: str = "auto") -> EncoderDecoder:
    """Tokens to tokens: the encoder's last state is the decoder's first; both drop something."""
    layers = [RNN(cells.gru, input=9, hidden=5, seed=k, recurrent_dropout=0.2, target=target) for k in (1, 2)]
    decoder = Model.from_layers(layers[1], 9, tokens=True, seed=3)
    return drawn(EncoderDecoder(layers[0], decoder, start=8, end=7))


def bridged(target: str = "auto") -> EncoderDecoder:
    """Features, read in both directions, to features: each state of the decoder begins by way of a bridge."""
    both = Bidirectional(*(RNN(cells.gru, input=3, hidden=4, seed=k, target=target) for k in (1, 2)))
    layers = [RNN(cells.lstm, input=2, hidden=5, target=target), RNN(cells.gru, input=5, hidden=6, target=target)]
    decoder = Model.from_layers(Stack(layers, dropout=0.3), 2, seed=3, readout=cells.readout_linear)
    return drawn(EncoderDecoder(both, decoder, bridge=cells.dense))


def labels(target: str = "auto") -> Model:
    """Tokens to labels without their times."""
    layers = [RNN(cells.gru, input=size, hidden=5, seed=size, target=target) for size in (9, 5)]
    return drawn(Model.from_layers(Stack(layers, dropout=0.3), BLANK + 1, tokens=True, bptt_truncate=4, seed=3))


def source_of(make) -> Pairs:
    x, y = pairs(5, 7)
    if make is labels:  # steps enough for all labels and the blanks between them
        return Pairs([np.repeat(x[k], 15) for k in range(17)], [row % BLANK for row in y], batch=4, seed=6)
    if make is bridged:
        rng = np.random.default_rng(7)
        return Pairs([rng.normal(size=(len(row), 3)) for row in x], [rng.normal(size=(len(row), 2)) for row in y], 4, seed=6)
    return Pairs(x, [np.append(row, 7) for row in y], batch=4, seed=6)


def trainer_of(make, target: str = "auto", **settings) -> Trainer:
    settings = ({"loss": CTC(BLANK)} if make is labels else {}) | settings
    return Trainer(make(target), source_of(make), **asked(settings))


MAKES = [handed, bridged, labels]
each = pytest.mark.parametrize("make", MAKES)
reversing, drawing, labelling = (partial(trainer_of, make) for make in MAKES)


def by_hand(make, target: str, steps: int):
    """The same with a loop of one's own: losses, norms, and the parameters at the end."""
    model, source, rule, rates = make(target), source_of(make), optim.Adam(), asked({})["schedule"]
    memory, found = rule.memory(model.parameters), []
    for step in range(steps):
        batch = source.take()
        seed = int(np.random.SeedSequence((8, step)).generate_state(1)[0])
        given = {"lengths": batch.lengths, "target_lengths": batch.target_lengths, "dropout_seed": seed}
        gradients = partial(model.ctc_gradients, blank=BLANK) if make is labels else model.gradients
        loss, slopes, *_ = gradients(batch.x, batch.targets, **given)
        norm = optim.global_norm(slopes)
        updated, memory = rule.update(model.parameters, slopes, memory, rates(step), scale=min(1.0, 0.5 / norm))
        model.update(updated)
        found.append((loss, norm))
    return found, model.parameters


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("target", TARGETS)
@each
def test_updates_are_those_of_a_loop_by_hand(make, target):
    if target == "llvm":
        pytest.importorskip("llvmlite")
    trainer = trainer_of(make, target)
    found = [(now.loss, now.norm) for now in trainer]
    wanted, parameters = by_hand(make, target, STEPS)
    assert found == wanted
    assert any(norm > 0.5 for _, norm in wanted)  # some were clipped
    for name, value in trainer.model.parameters.items():
        assert value.tobytes() == parameters[name].tobytes(), name
    assert trainer.state is None or make is labels


@each
def test_resumed_anywhere_it_ends_with_the_same_bits(make, tmp_path):
    """After the first update, in an epoch, at its end, before the last; each in a trainer that has gone elsewhere."""
    settings = {"averaging": Averaging(0.9)}
    whole = trainer_of(make, **settings)
    updates = [told(now) for now in whole]
    whole.save(tmp_path / "whole")
    assert whole.source.steps_per_epoch == 5
    for stop in (1, 3, 5, 12, STEPS - 1):
        half, rest = (trainer_of(make, **settings) for _ in range(2))
        for _ in range(stop):
            next(half)
        half.save(tmp_path / "half")
        for _ in range(2):
            next(rest)
        assert [told(now) for now in rest.resume(tmp_path / "half")] == updates[stop:]
        assert_same(rest.checkpoint(), whole.checkpoint())
        rest.save(tmp_path / "rest")
        assert (tmp_path / "rest").read_bytes() == (tmp_path / "whole").read_bytes()


@each
def test_threads_change_no_bit(make):
    pytest.importorskip("llvmlite")
    ends, before = [], elman.threads()
    for count in (1, 2):
        elman.threads(count)
        try:
            trainer = trainer_of(make, "llvm")
            ends.append(([told(now) for now in trainer], trainer.checkpoint()))
        finally:
            elman.threads(before)
    assert ends[0][0] == ends[1][0]
    assert_same(ends[0][1], ends[1][1])


@each
def test_a_copy_goes_on_by_itself(make):
    whole, trainer = trainer_of(make), trainer_of(make)
    updates = [told(now) for now in whole]
    for _ in range(5):
        next(trainer)
    for again in (copy.deepcopy(trainer), trainer):
        assert [told(now) for now in again] == updates[5:]
        assert_same(again.checkpoint(), whole.checkpoint())


@each
def test_making_steps_again_changes_no_bit(make):
    pytest.importorskip("llvmlite")
    plain, again = (trainer_of(make, "llvm", recompute=recompute) for recompute in (False, True))
    assert [told(now) for now in plain] == [told(now) for now in again]
    assert_same(again.checkpoint(), plain.checkpoint())


def test_labels_are_smoothed_for_a_decoder():
    trainer = reversing(label_smoothing=0.2)
    batch, seed = source_of(handed).take(), trainer._noise()
    given = {"label_smoothing": 0.2, "dropout_seed": seed}
    wanted = handed().gradients(batch.x, batch.targets, batch.lengths, batch.target_lengths, **given)[0]
    plain = handed().gradients(batch.x, batch.targets, batch.lengths, batch.target_lengths, dropout_seed=seed)[0]
    assert next(trainer).loss == wanted != plain


@each
def test_every_symbol_counts(make):
    """Symbols are steps of the targets, as many as an epoch has."""
    trainer, source = trainer_of(make), source_of(make)
    for _ in range(source.steps_per_epoch):
        now = next(trainer)
    assert now.symbols == sum(len(row) + (make is handed) for row in pairs(5, 7)[1])  # with the token that ends them


# ---------------------------------------------------------------- losses of one's own


def test_a_loss_of_ones_own_is_of_logits_and_batch():
    """Cross entropy of steps, told by hand, is what a model has without it; here of padded sequences."""
    rng = np.random.default_rng(3)
    x = [rng.integers(0, 9, n) for n in (5, 2, 7, 4, 3)]

    def cross_entropy(logits, batch):
        live = np.arange(logits.shape[1]) < batch.lengths[:, None]
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        picked = np.take_along_axis(p, batch.targets[..., None], -1)[..., 0]
        return -np.log(picked)[live].mean(), (p - np.eye(9)[batch.targets]) / live.sum()

    def trainer(**settings):
        model = drawn(Model.from_layers(RNN(cells.gru, input=9, hidden=5, dtype="float64"), 9, tokens=True))
        return Trainer(model, Padded(x, x, batch=2), optim.SGD(), Constant(0.5), steps=12, **settings)

    one, other = trainer(loss=cross_entropy), trainer()
    np.testing.assert_allclose([now.loss for now in one], [now.loss for now in other], rtol=1e-12)
    for name, value in one.model.parameters.items():
        np.testing.assert_allclose(value, other.model.parameters[name], rtol=1e-10, err_msg=name)


def test_a_name_stands_for_a_loss():
    one, other = (labelling(loss=loss) for loss in ("ctc", CTC()))
    for trainer in (one, other):
        trainer.source = Pairs([np.arange(8), np.arange(5)], [[1, 2, 2], []], batch=2)
    assert [told(now) for now in one] == [told(now) for now in other]
    assert one.loss == other.loss == CTC(0, zero_infinity=False)


@pytest.mark.parametrize("make", [handed, bridged])
def test_inspection_drops_what_a_training_drops(make):
    """So that the value that went wrong can be found again: the loss follows from the values that are shown."""
    net, batch = make(), source_of(make).take()
    given = batch.x, batch.targets, batch.lengths, batch.target_lengths
    live, losses = np.arange(batch.targets.shape[1]) < batch.target_lengths[:, None], []
    for seed in (None, 1, 2):
        values = net.inspect(*given, dropout_seed=seed)
        if make is handed:
            picked = np.take_along_axis(values["decoder.probabilities"], batch.targets[..., None], -1)[..., 0]
            loss = -np.log(picked[live]).mean()
        else:
            loss = ((values["decoder.logits"] - batch.targets)[live] ** 2).mean()
        losses.append(net.gradients(*given, dropout_seed=seed)[0])
        assert losses[-1] == pytest.approx(loss, rel=1e-5)
        record = net.encoder.record(batch.x, None, batch.lengths, dropout_seed=seed)
        shown = net.encoder.inspect(batch.x, None, batch.lengths, dropout_seed=seed)
        names = ("h",) if make is handed else ("forward.h", "backward.h")
        np.testing.assert_array_equal(np.concatenate([shown[name] for name in names], -1), record.y)
    assert len(set(losses)) == 3


# ---------------------------------------------------------------- runs


MEASURES = {
    handed: lambda model: model.loss([1, 2, 3], [3, 2, 7]),
    bridged: lambda model: model.loss(np.ones((4, 3)), np.ones((3, 2))),
    labels: lambda model: model.ctc_loss(np.arange(8), [1, 0, 0], blank=BLANK),
}


@each
def test_a_run_measures_stops_and_goes_on(make, tmp_path):
    """Cut off and begun again it is as one run, down to what measured best."""

    def run_in(name):
        trainer = trainer_of(make, averaging=Averaging(0.5), schedule=Constant(0.2))
        stopping = EarlyStopping(2, least=0.01)
        return Run(tmp_path / name, trainer, save_every=2, measure=lambda: MEASURES[make](trainer.model), stopping=stopping)

    with run_in("whole") as whole:
        steps = [now.step for now in whole]
    with run_in("cut") as run:
        for now in run:
            if now.step == 5:
                break
    with run_in("cut") as again:
        assert again.resumed == 4
        assert [now.step for now in again] == steps[4:]
    assert_same(again.trainer.checkpoint(), whole.trainer.checkpoint())
    told_of = [[entry["validation"] for entry in entries(tmp_path / name / LOG) if "validation" in entry]
               for name in ("whole", "cut")]  # fmt: skip
    assert told_of[0] == told_of[1]
    assert (again.best, again.stopping) == (whole.best, whole.stopping)
    assert whole.best.loss == min(told_of[0])
    before = MEASURES[make](whole.trainer.model)
    assert whole.take_best() == whole.best.step
    assert MEASURES[make](whole.trainer.model) == whole.best.loss != before


@each
def test_a_checkpoint_opens_as_its_model(make, tmp_path):
    trainer = trainer_of(make)
    for _ in range(3):
        next(trainer)
    trainer.save(tmp_path / "file")
    opened = (elman.load if make is labels else EncoderDecoder.load)(tmp_path / "file")
    assert MEASURES[make](opened) == MEASURES[make](trainer.model)
    if make is not labels:
        hint = "'elman model' version 1 is read; elman.EncoderDecoder.load opens it"
        assert hint in said(lambda: elman.load(tmp_path / "file"), ModelFileError)


def other_decoder() -> EncoderDecoder:
    layers = [RNN(cells.gru, input=9, hidden=5, seed=k, recurrent_dropout=0.2) for k in (1, 2)]
    return EncoderDecoder(layers[0], Model.from_layers(layers[1], 9, tokens=True, seed=3), start=8, end=6)


def test_the_checkpoint_of_another_training_is_refused():
    for before, other, message in (
        (reversing(), Trainer(other_decoder(), source_of(handed), **asked({})),
         "the checkpoint is of a model with end 7, this one has 6"),
        (labelling(), labelling(loss=CTC(BLANK, zero_infinity=True)),
         "the checkpoint is of a training with loss CTC(blank=4, zero_infinity=False), "
         "this one has CTC(blank=4, zero_infinity=True)"),
        (labelling(), labelling(loss=None),
         "the checkpoint is of a training with loss CTC(blank=4, zero_infinity=False), this one has another, or none"),
    ):  # fmt: skip
        next(before)
        kept = other.checkpoint()
        assert said(lambda before=before, other=other: other.restore(before.checkpoint()), CheckpointError) == message
        assert_same(other.checkpoint(), kept)


def test_what_is_said_of_a_training_is_no_equation():
    """Notes in `training` of a model do not make it another."""
    before, other = reversing(), reversing()
    next(before)
    other.model.decoder.training["note"] = other.model.training["note"] = "begun again"
    other.restore(before.checkpoint())
    assert other.step == 1


# ---------------------------------------------------------------- where numbers leave all bounds


def failing(model, batch, **settings) -> str:
    """Where a first update went wrong, which has not been."""
    source = batch_of_one_kind(batch.x, None)
    source.take = lambda: batch
    trainer = Trainer(model, source, optim.SGD(), Constant(settings.pop("rate", 0.01)), steps=9, **settings)
    before = trainer.checkpoint()
    found = said(lambda: next(trainer), DataError)
    assert_same(trainer.checkpoint(), before)
    assert found.startswith("train: at update 1 the numbers leave all bounds (loss ")
    return found.partition("; ")[2].partition(");")[0]


def leaving(size: int, hidden: int = 3, seed: int = 1) -> RNN:
    """A layer whose `wide` is infinite where it reads token 5."""
    layer = RNN(exploding, input=size, hidden=hidden, seed=seed)
    w = np.zeros((hidden, size))
    w[1, 5] = 200.0
    layer.update({"w": w, "u": np.zeros((hidden, hidden))})
    return layer


TOLD = Batch(np.array([[1, 2, 5], [1, 5, 5]]), np.array([[1, 2, 3, 5, 6], [5, 6, 0, 0, 0]]), np.array([2, 3]), True, 7,
             target_lengths=np.array([5, 2]))  # fmt: skip
"""Token 5 stands in a source at step 1 of example 1, and is told a decoder, a step late, at steps 1 and 4."""


@pytest.mark.parametrize("bridge", [None, cells.dense])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_value_of_the_encoder_is_named(bridge, dropout):
    quiet = RNN(exploding, input=7, hidden=3, seed=2, recurrent_dropout=dropout)
    quiet.update({"w": np.zeros((3, 7))})
    net = EncoderDecoder(leaving(7), Model.from_layers(quiet, 7, tokens=True), bridge=bridge, start=0, end=6)
    assert failing(net, TOLD) == "first in encoder.wide, which is inf at step 1 of example 1, counted from 0"


@pytest.mark.parametrize("bridge", [None, cells.dense])
def test_a_value_of_the_decoder_is_named(bridge):
    quiet = RNN(exploding, input=7, hidden=3, seed=2)
    net = EncoderDecoder(quiet, Model.from_layers(leaving(7), 7, tokens=True), bridge=bridge, start=0, end=6)
    assert failing(net, TOLD) == "first in decoder.wide, which is inf at step 1 of example 1, counted from 0"
    net.update({"decoder.w": np.zeros((3, 7)), "decoder.by": np.full(7, 3e38), "decoder.wya": np.full((7, 3), 3e38)})
    assert failing(net, TOLD) == "first in decoder.mulya, which is inf at step 0 of example 0, counted from 0"


@cell
def rooted(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
    """Its slope at zero is infinite, its value is not."""
    s = w @ x + u @ h
    return sqrt(s * s)


@pytest.mark.parametrize("bridge", [None, cells.dense])
def test_a_gradient_that_comes_to_the_encoder_is_named(bridge):
    """The decoder's first step reads nothing but the encoder's state, which is zero: all values are finite."""
    encoder, inner = RNN(rooted, input=7, hidden=3), RNN(rooted, input=7, hidden=3, seed=2)
    encoder.update({"w": np.zeros((3, 7))})
    inner.update({"w": np.zeros((3, 7))})
    net = EncoderDecoder(encoder, Model.from_layers(inner, 7, tokens=True), bridge=bridge, start=0, end=6)
    assert failing(net, TOLD).startswith("first in the gradient of encoder.")


@cell
def straight(x, *, w=weight("hidden", "input")):
    """y = w x, without bounds"""
    return w @ x


def test_a_value_of_a_bridge_is_named():
    """By the state that it is for; the encoder, which drops something, is finite."""
    encoder = RNN(cells.gru, input=7, hidden=3, seed=1, recurrent_dropout=0.3)
    layers = [RNN(cells.lstm, input=7, hidden=3), RNN(cells.gru, input=3, hidden=2)]
    net = EncoderDecoder(encoder, Model.from_layers(Stack(layers), 7, tokens=True), bridge=straight, start=0, end=6)
    net.update({"encoder.bz": np.full(3, -9.0), "encoder.bn": np.full(3, 9.0), "bridge.0.c.w": np.zeros((3, 3))})
    for name, rows in (("bridge.1.h", 2), ("bridge.0.c", 3)):
        net.update({f"{name}.w": np.full((rows, 3), -3e38)})
        assert failing(net, TOLD) == f"first in {name}, which is -inf at example 0, counted from 0"


@pytest.mark.parametrize("seed", [None, 3])
def test_what_bridges_give_is_shown(seed):
    """It is what the decoder begins from: for a batch, one source, and where nothing else is asked for."""
    net, batch = bridged(), source_of(bridged).take()
    given = batch.x, batch.targets, batch.lengths, batch.target_lengths
    shown = net.inspect(*given, dropout_seed=seed)
    assert [name for name in shown if name.startswith("bridge.")] == ["bridge.0.h", "bridge.0.c", "bridge.1.h"]
    ends = np.arange(4), batch.lengths - 1
    last = np.concatenate([shown["encoder.forward.h"][ends], shown["encoder.backward.h"][:, 0]], -1)
    for name in ("0.h", "0.c", "1.h"):
        w, b = (net.parameters[f"bridge.{name}.{each}"] for each in "wb")
        np.testing.assert_allclose(shown[f"bridge.{name}"], np.tanh(last @ w.T + b), rtol=1e-5, atol=1e-6)
        alone = net.inspect(*given, keep=f"bridge.{name}", dropout_seed=seed)
        np.testing.assert_array_equal(alone[f"bridge.{name}"], shown[f"bridge.{name}"])
        one = net.inspect(batch.x[1, : batch.lengths[1]], batch.targets[1], keep=f"bridge.{name}")[f"bridge.{name}"]
        np.testing.assert_allclose(one, net.inspect(*given)[f"bridge.{name}"][1], rtol=1e-5, atol=1e-6)


def test_a_new_parameter_of_an_encoder_decoder_is_named():
    batch = source_of(handed).take()
    assert failing(handed(), batch, rate=1e300) == "first in the new encoder.wr"


@pytest.mark.parametrize(
    ("at", "number", "where"),
    [
        ((1, 2, 3), math.nan, "is nan at step 2 of example 1"),
        ((slice(None), slice(1, None)), -math.inf, "is -inf at step 1 of example 0"),
        ((0, 1, 2), 1e200, "is inf at step 1 of example 0"),  # as a number of the model
    ],
)
@pytest.mark.parametrize("loss", [1.0, math.nan])
def test_the_gradient_that_a_loss_gave_is_named(at, number, where, loss):
    """Past a length it is not looked at, here the last steps of the first source."""

    def own(logits, batch):
        slopes = logits.astype(np.float64)
        slopes[at], slopes[0, 2] = number, math.nan
        return loss, slopes

    words = "first in the gradient that the loss gave for the logits, which"
    assert failing(labels(), TOLD, loss=own) == f"{words} {where}, counted from 0"


def test_the_gradient_that_a_loss_gave_once_a_sequence_is_named():
    def own(logits, batch):
        return 1.0, np.where(np.arange(len(logits))[:, None] == 1, math.nan, logits)

    words = "first in the gradient that the loss gave for the logits, which is nan at example 1, counted from 0"
    assert failing(pooled(), TOLD, loss=own) == words


def test_a_value_of_a_model_is_named_whatever_its_loss():
    """CTC does not look at logits that are not finite."""
    model = Model.from_layers(leaving(7), 7, tokens=True)
    assert failing(model, TOLD, loss="ctc") == "first in wide, which is inf at step 1 of example 1, counted from 0"
    assert failing(Model.from_layers(RNN(cells.gru, input=7, hidden=3), 7, tokens=True), TOLD,
                   loss=lambda logits, batch: (math.nan, logits)) == "first in the loss"  # fmt: skip


SHORT = Pairs([[1, 2, 3, 4], [5, 6, 1]], [[1, 1], [2, 2, 1]], batch=2)


def test_a_sequence_too_short_for_its_labels_is_told():
    """Three steps say three labels, unless two are equal; it is no matter of the rate."""
    trainer = Trainer(labels(), SHORT, **asked({"loss": "ctc"}))
    before = trainer.checkpoint()
    assert said(lambda: next(trainer), DataError) == (
        "CTC: sequence 0 of the batch has 3 steps, its 3 labels take 4 (between equal ones stands a blank); leave such "
        "out, or let them count 0 with loss=elman.losses.CTC(zero_infinity=True)"
    )
    assert_same(trainer.checkpoint(), before)


def test_a_sequence_too_short_for_its_labels_may_count_nothing():
    def model():
        return drawn(Model.from_layers(RNN(cells.gru, input=9, hidden=5), 5, tokens=True))

    found = next(Trainer(model(), SHORT, **asked({"loss": CTC(zero_infinity=True)})))
    assert found.loss == pytest.approx(model().ctc_gradients([1, 2, 3, 4], [1, 1])[0] / 2, rel=1e-6)


# ---------------------------------------------------------------- what does not fit


def pooled() -> Model:
    return Model.from_layers(RNN(cells.gru, input=9, hidden=5), 5, tokens=True, pool="last")


def unfit(model, source, **settings):
    return lambda: next(Trainer(model, source, **asked(settings)))


X, LABELS = np.arange(12).reshape(3, 4) % 9, np.array([1, 2, 1])

UNFIT = {
    "Trainer: targets have lengths of their own, a loss of steps wants one for each step; loss='ctc' learns labels without "
    "their times, an EncoderDecoder another sequence":
        (DataError, lambda: unfit(labels(), Pairs(X, X))),
    "Trainer: a loss of all logits is for a Model; this EncoderDecoder has its own, so leave loss out":
        (SettingError, lambda: unfit(handed(), Pairs(X, X), loss="ctc")),
    "Trainer: loss='cct' is none; take 'ctc', elman.losses.CTC(...), a function, or None":
        (SettingError, lambda: unfit(labels(), Pairs(X, X), loss="cct")),
    "Trainer: loss=<class 'elman.losses.CTC'> is none; take 'ctc', elman.losses.CTC(...), a function, or None":
        (SettingError, lambda: unfit(labels(), Pairs(X, X), loss=CTC)),
    "Trainer: label_smoothing=0.1 goes with the loss of steps, not of all logits":
        (SettingError, lambda: unfit(labels(), Pairs(X, X), loss="ctc", label_smoothing=0.1)),
    "CTC: blank=5 must be a token, 0 to 4": (SettingError, lambda: unfit(labels(), Pairs(X, X), loss=CTC(5))),
    "CTC: zero_infinity=1 must be True or False":
        (SettingError, lambda: unfit(labels(), Pairs(X, X), loss=CTC(zero_infinity=1))),
    "Model: CTC wants a distribution at every step; this model reads once, a softmax each step does":
        (SettingError, lambda: unfit(pooled(), Pairs(X, X), loss="ctc")),
    "ctc: target 0 of sequence 1 is 0, the blank, which stands for no label":
        (DataError, lambda: unfit(labels(), Pairs(X, [[1], [0, 2], [3, 3, 3]], batch=3), loss="ctc")),
    "ctc: targets are int64 (3), logits (3, 4, 5); labels [B, U] are wanted, as many sequences":
        (ShapeError, lambda: unfit(labels(), Padded(X, LABELS), loss="ctc")),
    "EncoderDecoder(gru, gru): the source is a batch of 3, the targets are one sequence; one target a source is wanted":
        (ShapeError, lambda: unfit(handed(), Padded(X, LABELS))),
    "Model: token 9 at position 1 of sequence 0 is outside the vocabulary of 9, 0 to 8":
        (TokenError, lambda: unfit(handed(), Pairs(X[:1], [[1, 9]]))),
    "Model: the gradient is (3, 4, 4), the logits are (3, 4, 5)":
        (ShapeError, lambda: unfit(labels(), Pairs(X, X), loss=lambda logits, _: (0.0, logits[..., 1:]))),
}  # fmt: skip


@pytest.mark.parametrize("make", [handed, labels])
def test_weights_are_not_passed_over(make):
    """What has no use for them says so; a loss of one's own finds them in the batch."""
    source = Padded(X, X % 4 + 1, batch=3, once=True, weights=[1, 2, 3])
    settings = {"loss": "ctc"} if make is labels else {}
    message = "Trainer: the batch has weights, which only the steps of a Model have; make the source without them"
    assert said(unfit(make(), source, **settings), DataError) == message
    seen = []
    unfit(labels(), source, loss=lambda logits, batch: (seen.append(batch.weights), (1.0, logits))[1])()
    assert sorted(seen[0].tolist()) == [1, 2, 3]


@pytest.mark.parametrize("message", UNFIT)
def test_what_does_not_fit_is_told(message):
    error, make = UNFIT[message]
    assert said(make(), error) == message


def test_what_a_decoder_is_refused_is_no_matter_of_bounds():
    """A wrong batch is told as it is, though the same class of error tells of a state that is not finite."""
    x, y = [np.ones((4, 3))] * 2, [np.ones((2, 2)), np.full((1, 2), np.nan)]
    text = said(unfit(bridged(), Pairs(x, y)), DataError)
    assert text.startswith("Model: ")
    assert "NaN" in text
