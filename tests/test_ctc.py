"""CTC: losses against the sum over every way, gradients against slopes, what a model says against what it learnt to say."""

import itertools
import math

import numpy as np
import pytest

import elman
from elman import DataError, Model, SettingError, ShapeError, TokenError, cells
from elman.ctc import ctc
from elman.labellings import ctc_beams, ctc_decode
from elman.optim import Adam, clip_by_norm
from oracles import random_direction, slope, softmax

LENGTHS = (6, 4, 0, 1, 6, 5)
TARGETS = ((1, 2), (2, 2), (), (), (1, 1, 2), (2,))


def merged(way, blank):
    """Labels of a way, one step after another."""
    said, before = [], None
    for label in way:
        if label not in (before, blank):
            said.append(label)
        before = label
    return tuple(said)


def every_way(logits, blank):
    """The probability of every labelling, from every way there is."""
    p = np.array([softmax(z) for z in logits]).reshape(logits.shape)
    found = {}
    for way in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        labels = merged(way, blank)
        found[labels] = found.get(labels, 0.0) + math.prod(p[t, label] for t, label in enumerate(way))
    return found


def problem(rng, blank, size=3):
    """Logits and padded targets whose padding is no label at all."""
    logits = 2 * rng.normal(size=(len(LENGTHS), max(LENGTHS), size))
    others = [label for label in range(size) if label != blank]
    targets = np.full((len(TARGETS), 3), -7)
    for row, labels in enumerate(TARGETS):
        targets[row, : len(labels)] = [others[label - 1] for label in labels]
    return logits, targets, [len(labels) for labels in TARGETS]


def literal_losses(logits, targets, counts, blank):
    found = []
    for z, labels, length, count in zip(logits, targets, LENGTHS, counts, strict=True):
        found.append(-math.log(every_way(z[:length], blank)[tuple(labels[:count].tolist())]))
    return found


# ---------------------------------------------------------------- the loss


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_a_loss_is_the_sum_over_every_way(blank):
    logits, targets, counts = problem(np.random.default_rng(0), blank)
    losses, _ = ctc(logits, targets, LENGTHS, counts, blank)
    np.testing.assert_allclose(losses, literal_losses(logits, targets, counts, blank), rtol=1e-12, atol=1e-14)
    assert losses[2] == 0.0  # no step, and nothing to say


@pytest.mark.parametrize("blank", [0, 2])
def test_gradients_are_slopes(blank):
    rng = np.random.default_rng(1)
    logits, targets, counts = problem(rng, blank)
    _, d_logits = ctc(logits, targets, LENGTHS, counts, blank)
    for row in range(len(LENGTHS)):
        for _ in range(3):
            along = np.zeros_like(logits)
            along[row] = random_direction({"z": logits[row]}, rng)["z"]
            expected = slope(
                lambda p: float(np.sum(ctc(p["z"], targets, LENGTHS, counts, blank)[0])), {"z": logits}, {"z": along}
            )
            assert float(np.sum(d_logits * along)) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    for row, length in enumerate(LENGTHS):
        assert not d_logits[row, length:].any()
        assert np.abs(d_logits[row, :length]).min(initial=1) > 1e-12
        np.testing.assert_allclose(d_logits[row].sum(-1), 0, atol=1e-12)


def test_every_labelling_together_is_certain():
    logits = np.random.default_rng(2).normal(size=(1, 4, 3))
    total = 0.0
    for count in range(5):
        for labels in itertools.product((1, 2), repeat=count):
            total += float(np.exp(-ctc(logits, np.array([labels], int).reshape(1, count))[0][0]))
    assert total == pytest.approx(1.0, rel=1e-12)


def test_too_few_steps_are_infinite():
    logits = np.random.default_rng(3).normal(size=(3, 3, 4))
    targets = [[1, 1, 0], [1, 2, 3], [1, 1, 2]]  # three steps, three, four
    for asked, last in (({}, math.inf), ({"zero_infinity": True}, 0.0)):
        losses, d_logits = ctc(logits, targets, None, [2, 3, 3], **asked)
        assert losses[:2] == pytest.approx(ctc(logits[:2], targets[:2], None, [2, 3])[0])
        assert losses[2] == last
        assert d_logits[:2].all()
        assert not d_logits[2].any()
    assert ctc(logits[:1], targets[:1], [0], [1])[0].tolist() == [math.inf]


def test_the_batch_and_its_padding_change_nothing():
    rng = np.random.default_rng(4)
    logits, targets, counts = problem(rng, 0)
    losses, d_logits = ctc(logits, targets, LENGTHS, counts)
    for row, (length, count) in enumerate(zip(LENGTHS, counts, strict=True)):
        alone, d_alone = ctc(logits[row : row + 1, :length], targets[row : row + 1, :count])
        assert alone[0] == pytest.approx(losses[row], rel=1e-13)
        np.testing.assert_allclose(d_logits[row, :length], d_alone[0], rtol=1e-12, atol=1e-15)
        logits[row, length:] = np.nan
    again, d_again = ctc(logits, targets, LENGTHS, counts)
    np.testing.assert_array_equal(again, losses)
    np.testing.assert_array_equal(d_again, d_logits)


@pytest.mark.parametrize("scale", [1e3, 1e30, 1e290])
def test_huge_logits_give_numbers(scale):
    logits = np.random.default_rng(5).normal(size=(2, 5, 3)) * scale
    losses, d_logits = ctc(logits, [[1, 2], [2, 2]])
    assert (losses > scale / 100).all()
    assert np.isfinite(losses).all()
    assert np.isfinite(d_logits).all()
    assert np.abs(d_logits).max() <= 1 + 1e-12


def test_what_no_number_can_tell_is_infinite():
    losses, d_logits = ctc([[[1e308, -1e308, 0.0]]], [[1]])
    assert losses.tolist() == [math.inf]
    assert not d_logits.any()


def test_long_sequences_do_not_underflow():
    logits = np.random.default_rng(6).normal(size=(2, 3000, 5)).astype(np.float32)
    losses, d_logits = ctc(logits, np.random.default_rng(7).integers(1, 5, size=(2, 400)))
    assert losses.dtype == d_logits.dtype == np.float64
    assert (losses > 1000).all()
    assert np.isfinite(d_logits).all()
    np.testing.assert_allclose(d_logits.sum(-1), 0, atol=1e-9)


Z = np.zeros((2, 4, 3))


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ((Z[0], [[1], [2]]), ShapeError, "ctc: logits are float64 (4, 3); floats [B, T, V] are wanted"),
        ((Z, [1, 2]), ShapeError,
         "ctc: targets are int64 (2), logits (2, 4, 3); labels [B, U] are wanted, as many sequences"),
        ((Z, [[1.0], [2.0]]), ShapeError,
         "ctc: targets are float64 (2, 1), logits (2, 4, 3); labels [B, U] are wanted, as many sequences"),
        ((Z, [[1]]), ShapeError,
         "ctc: targets are int64 (1, 1), logits (2, 4, 3); labels [B, U] are wanted, as many sequences"),
        ((Z, [[1], [1, 2]]), ShapeError,
         "ctc: targets of different lengths; pad them and give target_lengths (elman.pad_sequences)"),
        ((Z, [[1], [3]]), TokenError,
         "ctc, targets: token 3 at position 0 of sequence 1 is outside the vocabulary of 3, 0 to 2"),
        ((Z, [[1, 2], [1, 0]]), DataError, "ctc: target 1 of sequence 1 is 0, the blank, which stands for no label"),
        ((Z, [[1], [2]], [4, 5]), DataError, "ctc: length 5 of sequence 1 is outside 0 to 4, the number of steps"),
        ((Z, [[1], [2]], None, [2, 1]), DataError,
         "ctc, targets: length 2 of sequence 0 is outside 0 to 1, the number of steps"),
        ((Z, [[1], [2]], None, None, 3), SettingError, "ctc: blank=3 must be a token, 0 to 2"),
        ((Z + np.inf, [[1], [2]]), DataError, "ctc: logits hold NaN or infinity within the lengths"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(arguments, kind, text):
    with pytest.raises(kind) as caught:
        ctc(*arguments)
    assert str(caught.value) == text


# ---------------------------------------------------------------- labellings


@pytest.mark.parametrize("blank", [0, 2])
def test_wide_beams_find_every_labelling(blank):
    rng = np.random.default_rng(8)
    for length in (0, 1, 5):
        logits = 1.5 * rng.normal(size=(length, 3))
        expected = sorted(every_way(logits, blank).items(), key=lambda pair: -pair[1])
        found = ctc_beams(logits, 1000, blank)
        assert [tuple(one.tokens.tolist()) for one in found] == [labels for labels, _ in expected]
        np.testing.assert_allclose([math.exp(one.log_probability) for one in found], [p for _, p in expected], rtol=1e-10)


def test_narrow_beams_find_no_more_than_there_is():
    rng = np.random.default_rng(9)
    better = 0
    for _ in range(30):
        logits = rng.normal(size=(6, 4))
        ways = every_way(logits, 0)
        greedy, narrow, wide = (tuple(ctc_decode(logits, width=width).tolist()) for width in (None, 2, 30))
        for one in ctc_beams(logits, 5):
            assert math.exp(one.log_probability) <= ways[tuple(one.tokens.tolist())] * (1 + 1e-12)
        assert ways[wide] >= ways[narrow] * (1 - 1e-12)
        assert ways[wide] == pytest.approx(max(ways.values()))
        better += ways[wide] > ways[greedy] * 1.001
    assert better > 5


def test_the_likeliest_way_is_merged():
    rng = np.random.default_rng(10)
    for blank in (0, 3):
        logits = rng.normal(size=(5, 12, 4))
        lengths = [12, 0, 7, 1, 9]
        said = ctc_decode(logits, lengths, blank)
        for row, length in enumerate(lengths):
            assert tuple(said[row].tolist()) == merged(logits[row, :length].argmax(-1).tolist(), blank)
            assert ctc_decode(logits[row, :length], blank=blank).tolist() == said[row].tolist()
        for row, labels in enumerate(ctc_decode(logits, lengths, blank, width=3)):
            assert labels.tolist() == ctc_beams(logits[row, : lengths[row]], 3, blank)[0].tokens.tolist()


def test_what_labellings_cannot_be_read_from_is_told():
    for call, kind, text in (
        (lambda: ctc_decode(Z[0, 0]), ShapeError, "ctc: logits are float64 (3); floats [T, V] or [B, T, V] are wanted"),
        (lambda: ctc_beams(Z), ShapeError, "ctc: logits are (2, 4, 3); beams search in one sequence [T, V]"),
        (lambda: ctc_beams(Z[0], 0), SettingError, "width=0 must be a number of beams, 1 or more"),
        (lambda: ctc_decode(Z[0] * np.nan), DataError, "ctc: logits hold NaN or infinity within the lengths"),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value) == text


# ---------------------------------------------------------------- models


def model_of(target="numpy", dtype="float64", layers=None):
    layers = layers or elman.RNN(cells.gru, input=2, hidden=4, dtype=dtype, target=target)
    model = Model.from_layers(layers, 3)
    rng = np.random.default_rng(11)
    model.update({name: rng.normal(size=value.shape) for name, value in model.parameters.items()})
    return model, rng.normal(size=(len(LENGTHS), max(LENGTHS), 2))


@pytest.mark.parametrize("target", ["numpy", "llvm"])
@pytest.mark.parametrize("both", [False, True])
def test_gradients_of_a_model_are_slopes(target, both):
    asked = {"input": 2, "hidden": 3, "dtype": "float64", "target": target}
    layers = elman.Bidirectional(elman.RNN(cells.gru, **asked), elman.RNN(cells.lstm, **asked)) if both else None
    model, x = model_of(target, layers=layers)
    _, targets, counts = problem(np.random.default_rng(0), 0)
    loss, gradients, last = model.ctc_gradients(x, targets, None, LENGTHS, target_lengths=counts)
    propagated = model.forward_propagation(x, lengths=LENGTHS)
    expected = np.mean(literal_losses(propagated.logits, targets, counts, 0))
    assert loss == pytest.approx(expected, rel=1e-10)
    assert model.ctc_loss(x, targets, None, LENGTHS, target_lengths=counts) == pytest.approx(expected, rel=1e-10)
    assert list(gradients) == list(model.parameters)
    assert all(np.array_equal(last[name], propagated.state[name]) for name in last) or both
    start = dict(model.parameters)

    def loss_at(parameters):
        model.update(parameters)
        return model.ctc_loss(x, targets, None, LENGTHS, target_lengths=counts)

    for names in [*([name] for name in start), list(start)]:
        direction = random_direction({name: start[name] for name in names}, np.random.default_rng(12))
        got = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
        assert got == pytest.approx(slope(loss_at, start, direction), rel=1e-6, abs=1e-10), names


@pytest.mark.parametrize("seed", [None, 5])
def test_what_is_asked_of_a_model_reaches_its_loss(seed):
    """Another blank, resets and dropout: the loss, and its slope."""
    layers = [elman.RNN(cells.gru, input=size, hidden=3, dtype="float64") for size in (2, 3)]
    model, x = model_of(layers=elman.Stack(layers, dropout=0.5))
    _, targets, counts = problem(np.random.default_rng(15), 2)
    asked = {"reset": np.random.default_rng(16).random(x.shape[:2]) < 0.3, "target_lengths": counts, "blank": 2}
    expected = np.mean(
        literal_losses(model.forward_propagation(x, None, LENGTHS, asked["reset"]).logits, targets, counts, 2)
    )
    assert model.ctc_loss(x, targets, None, LENGTHS, **asked) == pytest.approx(expected, rel=1e-10)
    loss, gradients, _ = model.ctc_gradients(x, targets, None, LENGTHS, **asked, dropout_seed=seed)
    assert (loss == pytest.approx(expected, rel=1e-10)) == (seed is None)

    def loss_at(parameters):
        model.update(parameters)
        return model.ctc_gradients(x, targets, None, LENGTHS, **asked, dropout_seed=seed)[0]

    start = dict(model.parameters)
    direction = random_direction(start, np.random.default_rng(12))
    got = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
    assert got == pytest.approx(slope(loss_at, start, direction), rel=1e-6, abs=1e-10)


@pytest.mark.parametrize(("zero_infinity", "loss"), [(False, math.inf), (True, 0.0)])
def test_too_few_steps_of_a_model(zero_infinity, loss):
    model, x = model_of()
    found, gradients, _ = model.ctc_gradients(x[0, :4], [1, 1, 1], zero_infinity=zero_infinity)
    assert found == model.ctc_loss(x[0, :4], [1, 1, 1], zero_infinity=zero_infinity) == loss
    assert not any(value.any() for value in gradients.values())


def test_one_sequence_is_a_batch_of_one():
    model, x = model_of()
    loss, gradients, _ = model.ctc_gradients(x[0], [1, 2])
    batched = model.ctc_gradients(x[:1], [[1, 2]])
    assert loss == pytest.approx(batched[0], rel=1e-13)
    for name, value in gradients.items():
        np.testing.assert_allclose(value, batched[1][name], rtol=1e-11, atol=1e-14)
    assert model.ctc_loss(x[0], [1, 2]) == pytest.approx(loss, rel=1e-13)
    assert model.ctc_decode(x[0]).tolist() == model.ctc_decode(x[:1])[0].tolist()


@pytest.mark.parametrize("pool", [None, "max"])
def test_a_loss_of_ones_own_is_the_loss_it_says(pool):
    """Cross entropy written by hand gives the gradients of the model's own."""
    layers = elman.RNN(cells.gru, input=2, hidden=4, dtype="float64")
    model, rng = Model.from_layers(layers, 3, pool=pool, bptt_truncate=3), np.random.default_rng(13)
    x, targets = rng.normal(size=(4, 5, 2)), rng.integers(3, size=(4, 5) if pool is None else 4)
    lengths = np.array([5, 3, 0, 4])
    live = np.arange(5) < lengths[:, None] if pool is None else lengths > 0

    def score(logits):
        y = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        picked = np.take_along_axis(y, targets[..., None], -1)[..., 0]
        d_logits = (y - np.eye(3)[targets]) / live.sum()
        return -np.log(picked)[live].mean(), np.where(live[..., None], d_logits, np.nan)

    loss, gradients, last = model.gradients_of(score, x, None, lengths)
    expected = model.gradients(x, targets, None, lengths)
    assert loss == pytest.approx(expected[0], rel=1e-12)
    assert last["h"].tolist() == expected[2]["h"].tolist()
    for name, value in expected[1].items():
        np.testing.assert_allclose(gradients[name], value, rtol=1e-10, atol=1e-13, err_msg=name)
    with pytest.raises(ShapeError) as caught:
        model.gradients_of(lambda logits: (0.0, logits[..., :2]), x[:2])
    given = ("(2, 5, 2)", "(2, 5, 3)") if pool is None else ("(2, 2)", "(2, 3)")
    assert str(caught.value) == f"Model: the gradient is {given[0]}, the logits are {given[1]}"


def test_a_model_that_cannot_transcribe_says_so():
    layer, x = elman.RNN(cells.gru, input=2, hidden=3), np.ones((1, 4, 2))
    for model, what in (
        (Model.from_layers(layer, 3, pool="last"), "reads once"),
        (Model.from_layers(layer, 3, readout=cells.readout_sigmoid), "ends in sigmoid"),
    ):
        for asked in (lambda model=model: model.ctc_gradients(x, [[1]]), lambda model=model: model.ctc_decode(x)):
            with pytest.raises(SettingError) as caught:
                asked()
            told = f"Model: CTC wants a distribution at every step; this model {what}, a softmax each step does"
            assert str(caught.value) == told


def test_a_model_learns_to_say_labels_whose_times_it_was_never_told():
    """Bursts of one of two signs among noise, of any length: how many, and which, in their order."""
    rng = np.random.default_rng(14)

    def bursts(count):
        x, targets, counts = 0.1 * rng.normal(size=(count, 24, 1)), np.zeros((count, 4), int), rng.integers(1, 5, count)
        for row, said in enumerate(counts):
            for k in range(said):
                sign, begin = rng.integers(2), 6 * k + rng.integers(0, 3)
                x[row, begin : begin + rng.integers(1, 4), 0] += 2.0 * sign - 1.0
                targets[row, k] = 1 + sign
        return x, targets, counts

    model = Model.from_layers(elman.RNN(cells.gru, input=1, hidden=16), 3)
    rule = Adam()
    memory = rule.memory(model.parameters)
    for _ in range(150):
        x, targets, counts = bursts(16)
        _, gradients, _ = model.ctc_gradients(x, targets, target_lengths=counts)
        parameters, memory = rule.update(model.parameters, clip_by_norm(gradients, 5.0)[0], memory, 0.02)
        model.update(parameters)
    x, targets, counts = bursts(100)
    expected = [labels[:count].tolist() for labels, count in zip(targets, counts, strict=True)]
    for width in (None, 4):
        said = model.ctc_decode(x, width=width)
        assert np.mean([labels.tolist() == told for labels, told in zip(said, expected, strict=True)]) > 0.9
