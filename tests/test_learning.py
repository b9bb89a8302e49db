"""Learning and drawing: each rule against a literal one, the whole against a bigram model on real text."""

import email
import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import elman
from elman import Trainer, train
from elman.corpus import read_corpus
from elman.data import Padded, Streams
from elman.errors import DataError, SettingError, TokenError
from elman.optim import SGD, Adam, clip_by_norm
from elman.sampling import Sampling
from elman.schedules import Constant
from elman.text import Vocabulary
from elman.train import Settings, bigram_bits, evaluate, split
from oracles import CELLS, cross_entropy, one_hot, readout, unroll

RHYME = "the cat sat on the mat; the rat ate the oat.\nthe bat, the hat and the gnat: that is that!\n"
V, H = 9, 6


def random_arrays(shapes, rng, scale=1.0):
    return {name: rng.normal(size=shape) * scale for name, shape in shapes.items()}


SHAPES = {"w": (4, 3), "u": (4, 4), "b": (4,)}


# ---------------------------------------------------------------- clipping


def test_clip_scales_all_gradients_together():
    gradients = random_arrays(SHAPES, np.random.default_rng(0), 5.0)
    norm = math.sqrt(sum(float(value) ** 2 for g in gradients.values() for value in g.ravel()))
    for limit in (0.1, 1.0, norm * 0.999):
        clipped, before = clip_by_norm(gradients, limit)
        assert before == pytest.approx(norm, rel=1e-14)
        for name, g in gradients.items():
            np.testing.assert_allclose(clipped[name], g * limit / norm, rtol=1e-14)
        after = math.sqrt(sum(float(np.sum(g**2)) for g in clipped.values()))
        assert after == pytest.approx(limit, rel=1e-13)


def test_clip_leaves_small_gradients():
    gradients = random_arrays(SHAPES, np.random.default_rng(1), 0.01)
    clipped, norm = clip_by_norm(gradients, 1.0)
    assert 0 < norm < 1
    for name, g in gradients.items():
        np.testing.assert_array_equal(clipped[name], g)
    zero, norm = clip_by_norm({"w": np.zeros(3)}, 1.0)
    assert (zero["w"].tolist(), norm) == ([0, 0, 0], 0.0)


def test_clip_keeps_the_type_and_changes_nothing_in_place():
    gradients = {"w": np.full(3, 7, np.float32)}
    clipped, _ = clip_by_norm(gradients, 1.0)
    assert clipped["w"].dtype == np.float32
    assert gradients["w"].tolist() == [7, 7, 7]


# ---------------------------------------------------------------- Adam


def literal_adam(p, gradients, rates, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Algorithm 1 of Kingma and Ba, number by number."""
    p, m, v = p.copy(), np.zeros_like(p), np.zeros_like(p)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        for place in np.ndindex(p.shape):
            m[place] = beta1 * m[place] + (1 - beta1) * g[place]
            v[place] = beta2 * v[place] + (1 - beta2) * g[place] ** 2
            m_hat, v_hat = m[place] / (1 - beta1**t), v[place] / (1 - beta2**t)
            p[place] -= rate * m_hat / (math.sqrt(v_hat) + epsilon)
    return p


@pytest.mark.parametrize("betas", [{}, {"beta1": 0.5, "beta2": 0.7, "epsilon": 0.1}])
def test_adam_is_its_algorithm(betas):
    rng = np.random.default_rng(2)
    start, rates = random_arrays(SHAPES, rng), [0.1, 0.05, 0.2, 0.01, 0.3]
    gradients = [random_arrays(SHAPES, rng, scale) for scale in (1.0, 3.0, 0.1, 10.0, 1e-6)]
    optimiser = Adam(**betas)
    p, memory = start, optimiser.memory(start)
    for g, rate in zip(gradients, rates, strict=True):
        p, memory = optimiser.update(p, g, memory, rate)
    assert memory["count"] == 5
    for name in SHAPES:
        expected = literal_adam(start[name], [g[name] for g in gradients], rates, **betas)
        np.testing.assert_allclose(p[name], expected, rtol=1e-12, atol=1e-14)
        assert np.abs(p[name] - start[name]).max() > 0.05


def test_adam_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    start = rng.normal(size=(5, 4))
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.Adam([theirs], lr=0.03)
    ours = {"w": start}
    memory = Adam().memory(ours)
    for scale in (1.0, 0.2, 5.0, 0.0, 1.0):
        g = rng.normal(size=(5, 4)) * scale
        theirs.grad = torch.tensor(g)
        optimiser.step()
        ours, memory = Adam().update(ours, {"w": g}, memory, 0.03)
    np.testing.assert_allclose(ours["w"], theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_adam_changes_nothing_in_place_and_keeps_the_type():
    p, g = {"w": np.ones(3, np.float32)}, {"w": np.full(3, 2, np.float32)}
    memory = Adam().memory(p)
    new, after = Adam().update(p, g, memory, 0.1)
    assert new["w"].dtype == after["first/w"].dtype == after["second/w"].dtype == np.float32
    assert (p["w"].tolist(), g["w"].tolist()) == ([1, 1, 1], [2, 2, 2])
    assert {name: array.tolist() for name, array in memory.items()} == {"count": 0, "first/w": [0] * 3, "second/w": [0] * 3}
    again, _ = Adam().update(p, g, memory, 0.1)
    np.testing.assert_array_equal(new["w"], again["w"])
    np.testing.assert_allclose(new["w"], 0.9, rtol=1e-6)  # the first step is the rate, whatever the gradient


# ---------------------------------------------------------------- settings


def test_the_rate_rises_and_falls():
    settings = Settings(steps=1000, rate=0.01, warm_up=50)
    for step in (0, 1, 49, 50, 51, 500, 999):
        rising = min(1.0, (step + 1) / 51)
        falling = 0.05 + 0.95 * (1 + math.cos(math.pi * step / 1000)) / 2
        assert settings.rates(step) == pytest.approx(0.01 * rising * falling, rel=1e-12)
    rates = [settings.rates(step) for step in range(1000)]
    height = int(np.argmax(rates))
    assert 45 <= height <= 55
    assert rates[height] == pytest.approx(0.01, rel=0.01)
    assert rates[-1] == pytest.approx(0.0005, rel=0.01)
    assert rates == sorted(rates[: height + 1]) + sorted(rates[height + 1 :], reverse=True)


# ---------------------------------------------------------------- training


def model_of(text, hidden=16, cell=elman.cells.gru, **settings):
    vocabulary = Vocabulary.characters(text)
    return elman.Model(len(vocabulary), hidden, 16, cell, vocabulary=vocabulary, **settings), vocabulary.encode(text)


def test_an_update_is_gradients_clipping_and_adam():
    """The whole of training, written out: windows in order, the state carried, the literal rules."""
    model, tokens = model_of(RHYME * 4, dtype="float64")
    settings = Settings(length=7, batch=3, steps=12, rate=0.02, clip=0.4, warm_up=3, seed=5)
    told = list(train.train(model, tokens, settings))
    p, _ = model_of(RHYME * 4, dtype="float64")
    first = {name: np.zeros_like(value) for name, value in p.parameters.items()}
    second, state, symbols, clipped = dict(first), None, 0, 0
    source = Streams(tokens, batch=3, length=7, seed=5)
    for step in range(12):
        batch = source.take()
        loss, gradients, state = p.gradients(batch.x, batch.targets, None if batch.anew else state)
        norm = math.sqrt(sum(np.sum(g * g) for g in gradients.values()))
        clipped += norm > 0.4
        new = {}
        for name, whole in gradients.items():
            g = whole * min(1.0, 0.4 / norm)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g * g
            m, v = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.999 ** (step + 1))
            new[name] = p.parameters[name] - settings.rates(step) * m / (np.sqrt(v) + 1e-8)
        p.update(new)
        symbols += batch.x.size
        assert (told[step].step, told[step].symbols) == (step + 1, symbols)
        assert told[step].rate == settings.rates(step)
        assert told[step].loss == pytest.approx(loss, rel=1e-10)
        assert told[step].bits == pytest.approx(loss / math.log(2), rel=1e-10)
        assert told[step].norm == pytest.approx(norm, rel=1e-9)
    assert clipped > 0
    for name, value in p.parameters.items():
        np.testing.assert_allclose(model.parameters[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    assert [now.seconds for now in told] == sorted(now.seconds for now in told)


@pytest.mark.parametrize("clip", [0.02, 1e9])
def test_gradients_are_bounded_by_value_and_then_by_norm(clip):
    """Written out; what is told is the norm that they had before."""
    model, tokens = model_of(RHYME * 4, dtype="float64")
    source = Streams(tokens, batch=3, length=7, seed=5)
    trainer = Trainer(model, source, SGD(), Constant(0.5), steps=6, clip=clip, clip_value=0.003)
    told = [(now.norm, now.loss) for now in trainer]
    (p, _), source, state, bounded = model_of(RHYME * 4, dtype="float64"), Streams(tokens, 3, 7, seed=5), None, 0
    for norm, loss in told:
        batch = source.take()
        wanted, gradients, state = p.gradients(batch.x, batch.targets, None if batch.anew else state)
        assert (norm, loss) == (pytest.approx(norm_of(gradients), rel=1e-9), pytest.approx(wanted, rel=1e-10))
        by_value = {name: np.minimum(np.maximum(g, -0.003), 0.003) for name, g in gradients.items()}
        bounded += sum(int((np.abs(g) > 0.003).sum()) for g in gradients.values())
        scale = min(1.0, clip / norm_of(by_value))
        assert (scale < 1) == (clip < 1)
        p.update({name: p.parameters[name] - 0.5 * scale * g for name, g in by_value.items()})
    assert bounded > 100
    for name, value in p.parameters.items():
        np.testing.assert_allclose(model.parameters[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("pool", [None, "max"])
def test_what_counts_twice_is_there_twice(pool):
    """Weights of whole numbers against a source in which sequences come as often; compiled, so that there is a short way."""
    pytest.importorskip("llvmlite")
    rng, counts = np.random.default_rng(8), np.array([2, 1, 0, 3, 1])
    x = [rng.normal(size=(6, 3)) for _ in counts]
    targets = rng.integers(0, 4, 5) if pool else [rng.integers(0, 4, 6) for _ in counts]
    often = np.repeat(np.arange(5), counts)

    def losses(source):
        layer = elman.RNN(elman.cells.gru, input=3, hidden=5, dtype="float64", target="llvm")
        model = elman.Model.from_layers(layer, 4, pool=pool)
        trainer = Trainer(model, source, SGD(), Constant(0.5), steps=6, clip=1e9)
        return [now.loss for now in trainer], model.parameters

    repeated = Padded([x[k] for k in often], [targets[k] for k in often], batch=7)
    weighed = Padded(x, targets, batch=5, weights=counts * 5 / 7)
    (wanted, theirs), (found, ours), (plain, _) = map(losses, (repeated, weighed, Padded(x, targets, batch=5)))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    assert abs(plain[-1] - found[-1]) > 1e-3
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-8, atol=1e-12, err_msg=name)


def test_a_weight_that_is_none_is_told():
    """When the source is made, not when the batch comes amid the training."""
    _, tokens = model_of(RHYME)
    weights = np.ones(len(tokens))
    weights[5] = -1
    with pytest.raises(DataError, match="Streams: weights: -1 at 5; weights are finite, and 0 or more"):
        Streams(tokens, 3, 7, weights=weights)


def norm_of(gradients):
    return math.sqrt(sum(float(np.sum(g * g)) for g in gradients.values()))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_not_finite_is_told_and_not_bounded_away(monkeypatch, value):
    model, tokens = model_of(RHYME)
    before, gradients = dict(model.parameters), model.gradients

    def spoilt(*arguments, **settings):
        loss, found, state = gradients(*arguments, **settings)
        return loss, found | {"wya": np.full_like(found["wya"], value)}, state

    monkeypatch.setattr(model, "gradients", spoilt)
    trainer = Trainer(model, Streams(tokens, 3, 7), SGD(), Constant(0.5), steps=6, clip_value=0.01)
    with pytest.raises(DataError, match=r"the numbers leave all bounds .*; first in the gradient of wya"):
        next(trainer)
    for name, held in before.items():
        np.testing.assert_array_equal(model.parameters[name], held)


@pytest.mark.parametrize("pool", [None, "max"])
def test_labels_are_smoothed_and_steps_made_again_as_the_trainer_is_told(pool):
    """Against the gradients of the model, update by update; what is made again changes no bit where it is compiled."""
    pytest.importorskip("llvmlite")
    how = {"recurrent_dropout": 0.2, "target": "llvm"}
    rng = np.random.default_rng(2)
    x = [rng.normal(size=(int(steps), 3)).astype(np.float32) for steps in rng.integers(1, 30, 20)]
    targets = rng.integers(0, 4, 20) if pool else [rng.integers(0, 4, len(each)) for each in x]

    def parts():
        layers = [elman.RNN(elman.cells.lstm, input=size, hidden=5, seed=size, **how) for size in (3, 5)]
        model = elman.Model.from_layers(elman.Stack(layers, dropout=0.3), 4, pool=pool, bptt_truncate=None if pool else 7)
        return model, Padded(x, targets, batch=6, seed=1)

    def losses(**settings):
        model, source = parts()
        trainer = Trainer(model, source, Adam(), Constant(0.1), steps=11, clip=0.5, seed=3, **settings)
        return [(now.loss, now.norm) for now in trainer], {name: p.tobytes() for name, p in model.parameters.items()}

    (model, source), rule, told = parts(), Adam(), []
    memory = rule.memory(model.parameters)
    for step in range(11):
        batch, noise = source.take(), int(np.random.SeedSequence((3, step)).generate_state(1)[0])
        asked = {"lengths": batch.lengths, "label_smoothing": 0.2, "dropout_seed": noise}
        loss, gradients, _ = model.gradients(batch.x, batch.targets, **asked)
        gradients, norm = clip_by_norm(gradients, 0.5)
        new, memory = rule.update(model.parameters, gradients, memory, 0.1)
        model.update(new)
        told.append((loss, norm))
    smoothed, plain = losses(label_smoothing=0.2), losses()
    np.testing.assert_allclose(smoothed[0], told, rtol=1e-5)
    assert abs(smoothed[0][-1][0] - plain[0][-1][0]) > 1e-3
    assert losses(recompute=True) == plain
    assert losses(recompute=True, label_smoothing=0.2) == smoothed


def test_the_state_is_carried_from_window_to_window(monkeypatch):
    model, tokens = model_of(RHYME * 2)
    given, returned, gradients = [], [], model.gradients

    def spied(x, y, state, **_):
        found = gradients(x, y, state)
        given.append(state)
        returned.append(found[2])
        return found

    monkeypatch.setattr(model, "gradients", spied)
    settings = Settings(length=8, batch=2, steps=25)
    list(train.train(model, tokens, settings))
    source = Streams(tokens, batch=2, length=8, seed=0)
    anew = [source.take().anew for _ in range(25)]
    assert 2 < sum(anew) < 12
    for step, begins in enumerate(anew):
        assert given[step] is (None if begins else returned[step - 1])


@pytest.mark.parametrize("name", CELLS)
def test_training_lowers_the_loss(name):
    model, tokens = model_of(RHYME * 6, 24, getattr(elman.cells, name), seed=1)
    before = evaluate(model, tokens)
    told = list(train.train(model, tokens, Settings(length=16, batch=4, steps=150, rate=0.02)))
    after = evaluate(model, tokens)
    assert before == pytest.approx(math.log2(model.word_dim), rel=0.1)
    assert after < 0.35 * before
    assert np.mean([now.loss for now in told[-10:]]) < 0.3 * np.mean([now.loss for now in told[:10]])


def test_stopping_early_leaves_what_is_learnt():
    model, tokens = model_of(RHYME * 4)
    updates = train.train(model, tokens, Settings(length=8, batch=2, steps=1000))
    for now in updates:
        if now.step == 5:
            break
    same, _ = model_of(RHYME * 4)
    for now in train.train(same, tokens, Settings(length=8, batch=2, steps=1000)):
        if now.step == 5:
            break
    for name, value in same.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], value)


def test_training_is_reproducible_by_seed():
    def trained(seed, first=0):
        model, tokens = model_of(RHYME * 4, seed=first)
        list(train.train(model, tokens, Settings(length=8, batch=4, steps=20, rate=0.02, seed=seed)))
        return model.parameters

    np.random.seed(0)
    one = trained(3)
    np.random.seed(1)
    same, other, elsewhere = trained(3), trained(4), trained(3, 1)
    for name, value in one.items():
        np.testing.assert_array_equal(value, same[name])
    for different in (other, elsewhere):
        assert np.abs(one["wya"] - different["wya"]).max() > 1e-3


@pytest.mark.parametrize("what", ["loss", "gradient", "parameter"])
def test_numbers_that_leave_all_bounds_keep_the_last_good_weights(monkeypatch, what):
    model, tokens = model_of(RHYME * 4)
    gradients, calls = model.gradients, itertools.count(1)

    def spoiled(x, y, state, **_):
        loss, found, last = gradients(x, y, state)
        if next(calls) == 4:
            if what == "loss":
                loss = math.nan
            elif what == "gradient":
                found["un"] = found["un"] * np.float32(np.inf)
        return loss, found, last

    monkeypatch.setattr(model, "gradients", spoiled)
    settings = Settings(length=8, batch=2, steps=9, warm_up=0)
    updates = train.train(model, tokens, settings)
    if what == "parameter":
        updates.schedule = lambda step: 1e300 if step == 3 else 0.01
    for _ in range(3):
        next(updates)
    good = dict(model.parameters)
    with pytest.raises(DataError) as caught:
        next(updates)
    text, rate = str(caught.value), updates.schedule(3)
    assert text.startswith("train: at update 4 the numbers leave all bounds (loss ")
    where = {"loss": "first in the loss", "gradient": "first in the gradient of un", "parameter": "first in the new wr"}
    assert f"; {where[what]}); " in text
    assert text.endswith(
        f"; the model keeps the parameters from before it. A lower rate (now {rate:.3g}) or clip (now 1) may help"
    )
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, good[name])
    assert np.isfinite(model.forward_propagation(tokens[:9]).probabilities).all()


def test_a_rate_that_is_too_high_is_told_in_words_not_warnings():
    model, tokens = model_of(RHYME * 4, cell=elman.cells.elman_with(elman.relu))
    with pytest.raises(DataError, match=r"the numbers leave all bounds"):
        list(train.train(model, tokens, Settings(length=8, batch=2, steps=200, rate=1e25, clip=1e25)))
    assert all(np.isfinite(value).all() for value in model.parameters.values())


# ---------------------------------------------------------------- splitting and measuring


def test_split_keeps_the_end_for_validation():
    tokens = np.arange(100)
    for share, held in ((0.0, 0), (0.1, 10), (0.255, 26), (0.98, 98)):
        training, validation = split(tokens, share)
        assert len(validation) == held
        np.testing.assert_array_equal(np.concatenate([training, validation]), tokens)


def literal_bits(model, tokens, name):
    """Mean surprise over one long pass, number by number."""
    p = {n: np.array(value, np.float64) for n, value in model.parameters.items()}
    oracle = CELLS[name]
    values, _ = unroll(oracle, p, one_hot(tokens[:-1], V), {field: np.zeros(H) for field in oracle.states})
    losses = [
        cross_entropy(readout(p, value[oracle.states[0]])["logits"], target)
        for value, target in zip(values, tokens[1:], strict=True)
    ]
    return sum(losses) / len(losses) / math.log(2)


@pytest.mark.parametrize("name", CELLS)
def test_evaluate_is_one_long_literal_pass(name):
    rng = np.random.default_rng(4)
    model = elman.Model(V, H, cell=getattr(elman.cells, name), dtype="float64")
    model.update({n: rng.normal(size=p.shape) for n, p in model.parameters.items()})
    tokens = rng.integers(0, V, 151)
    expected = literal_bits(model, tokens, name)
    assert expected > 3
    assert evaluate(model, tokens, streams=1) == pytest.approx(expected, rel=1e-12)
    assert evaluate(model, tokens, streams=1, chunk=7) == pytest.approx(expected, rel=1e-12)


def test_evaluate_reads_contiguous_pieces():
    rng = np.random.default_rng(5)
    model = elman.Model(V, H, cell=elman.cells.lstm, dtype="float64")
    model.update({n: rng.normal(size=p.shape) for n, p in model.parameters.items()})
    tokens = rng.integers(0, V, 391)
    pieces = [tokens[start : start + 131] for start in (0, 130, 260)]
    expected = sum(literal_bits(model, piece, "lstm") for piece in pieces) / 3
    assert evaluate(model, tokens, streams=3, chunk=50) == pytest.approx(expected, rel=1e-12)
    assert evaluate(model, tokens, streams=100) == pytest.approx(evaluate(model, tokens, streams=6), rel=1e-12)
    assert evaluate(model, tokens[:20]) == pytest.approx(literal_bits(model, tokens[:20], "lstm"), rel=1e-12)


def literal_bigram(training, validation, size):
    pairs, firsts, singles = Counter(itertools.pairwise(training)), Counter(training[:-1]), Counter(training)
    total, k = 0.0, size / 4
    for a, b in itertools.pairwise(validation):
        alone = (singles[b] + 1) / (len(training) + size)
        total -= math.log2((pairs[a, b] + k * alone) / (firsts[a] + k))
    return total / (len(validation) - 1)


def test_bigram_bits_are_those_of_counts():
    rng = np.random.default_rng(6)
    for size, count in ((5, 400), (40, 300), (3, 1), (7, 0)):
        training = rng.choice(size, count, p=np.arange(1, size + 1) / np.arange(1, size + 1).sum()).tolist()
        validation = rng.integers(0, size, 60).tolist()
        expected = literal_bigram(training, validation, size)
        assert bigram_bits(training, validation, size) == pytest.approx(expected, rel=1e-12)


def test_the_bigram_model_is_a_distribution():
    """Else it would be no rival: the probabilities of what may follow sum to 1."""
    training = np.random.default_rng(7).integers(0, 6, 200)
    for first in range(6):
        total = sum(2.0 ** -bigram_bits(training, [first, second], 6) for second in range(6))
        assert total == pytest.approx(1.0, rel=1e-12)


def test_the_bigram_model_learns_what_a_pair_can_tell():
    tokens = np.tile([0, 1, 2, 3], 500)
    assert bigram_bits(tokens, tokens, 4) < 0.01
    assert bigram_bits(np.random.default_rng(8).integers(0, 4, 50_000), tokens, 4) == pytest.approx(2.0, abs=0.02)


# ---------------------------------------------------------------- real text


def test_a_recurrent_model_beats_a_bigram_model_on_real_text():
    """A few seconds on two packages of the standard library; printed, so that `pytest -s` tells both."""
    corpus = read_corpus([Path(package.__file__).parent for package in (json, email)], suffixes=".py")
    vocabulary = Vocabulary.characters(corpus.text)
    training, held = split(vocabulary.encode(corpus.text), 0.1)
    assert len(training) > 200_000
    model = elman.Model(len(vocabulary), 96, 48, elman.cells.gru, vocabulary=vocabulary)
    for _ in train.train(model, training, Settings(length=48, batch=32, steps=500, rate=0.012)):
        pass
    bits, bigram = evaluate(model, held), bigram_bits(training, held, len(vocabulary))
    print(f"\nvalidation: {bits:.3f} bits per character; a bigram model has {bigram:.3f}")
    assert 3.0 < bigram < 4.2  # an honest rival
    assert bits < 0.85 * bigram
    assert bits < bigram - 0.5
    text = model.generate("def ", 200, temperature=1.0, seed=0)
    assert len(set(text)) > 10
    assert text.count(" ") > 10


# ---------------------------------------------------------------- drawing


LOGITS = np.array([1.5, -2.0, 0.3, 3.0, 0.3, -7.0, 2.2])


def literal_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """Softmax of the logits over the temperature; the k likeliest; the fewest likeliest that make up p."""
    weights = [math.exp((x - max(logits)) / temperature) for x in logits]
    p = [weight / sum(weights) for weight in weights]
    order = sorted(range(len(p)), key=lambda token: (-p[token], token))
    kept = order[: top_k or len(p)]
    if top_p is not None:
        total, nucleus = 0.0, []
        for token in order:
            nucleus.append(token)
            total += p[token]
            if total >= top_p - 1e-12:
                break
        kept = [token for token in kept if token in nucleus]
    rest = sum(p[token] for token in kept)
    return [p[token] / rest if token in kept else 0.0 for token in range(len(p))]


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [None, 1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("top_p", [None, 1e-9, 0.3, 0.6, 0.9, 0.999, 1.0])
def test_probabilities_are_the_literal_ones(temperature, top_k, top_p):
    found = Sampling(temperature, top_k, top_p).probabilities(LOGITS)
    expected = literal_probabilities(LOGITS.tolist(), temperature, top_k, top_p)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    assert found.sum() == pytest.approx(1.0, rel=1e-14)
    assert (found == 0).tolist() == [p == 0 for p in expected]


def test_top_k_and_top_p_of_plain_numbers():
    logits = np.log([0.5, 0.25, 0.125, 0.0625, 0.0625])
    assert Sampling(top_k=2).probabilities(logits) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0])
    assert Sampling(top_p=0.5).probabilities(logits) == pytest.approx([1, 0, 0, 0, 0])
    assert Sampling(top_p=0.51).probabilities(logits) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0])
    assert Sampling(top_p=0.75).probabilities(logits) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0])
    assert Sampling(top_k=1, top_p=0.9).probabilities(logits) == pytest.approx([1, 0, 0, 0, 0])
    assert Sampling(top_k=4).probabilities(logits)[4] == 0  # of equals the first is kept


@pytest.mark.parametrize("temperature", [1e-300, 1e-12, 1e-5])
def test_a_tiny_temperature_is_the_likeliest(temperature):
    assert Sampling(temperature).probabilities(LOGITS).tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert Sampling(temperature).probabilities(np.array([5.0, 1e38, -1e38])).tolist() == [0, 1, 0]
    assert Sampling(temperature).probabilities(np.array([2.0, 1.0, 2.0])).tolist() == [0.5, 0, 0.5]


def test_temperature_zero_is_the_first_of_the_likeliest():
    assert Sampling(0).probabilities(LOGITS).tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert Sampling(0).probabilities(np.array([2.0, 1.0, 2.0])).tolist() == [1, 0, 0]
    assert Sampling(0).probabilities(np.array([2.0, 1.0, 2.0]), banned=0).tolist() == [0, 0, 1]


@pytest.mark.parametrize("temperature", [1e10, 1e300, 1.7e308])
def test_a_huge_temperature_is_even(temperature):
    np.testing.assert_allclose(Sampling(temperature).probabilities(LOGITS), np.full(7, 1 / 7), rtol=1e-8)
    cold = Sampling(temperature).probabilities(LOGITS, banned=3)
    np.testing.assert_allclose(cold, np.where(np.arange(7) == 3, 0, 1 / 6), rtol=1e-8)


def test_what_is_banned_is_never_drawn():
    p = Sampling().probabilities(LOGITS, banned=3)
    assert p[3] == 0
    expected = np.exp(LOGITS) * (np.arange(7) != 3)
    np.testing.assert_allclose(p, expected / expected.sum(), rtol=1e-12)
    assert Sampling().probabilities(np.array([1.0]), banned=0).tolist() == [1.0]  # unless there is nothing else


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.5}, {"temperature": 4.0}, {"top_k": 3}, {"top_p": 0.8}, {"top_k": 5, "top_p": 0.9}]
)
def test_draws_follow_the_probabilities(settings):
    sampling, rng, count = Sampling(**settings), np.random.default_rng(9), 10_000
    drawn = np.bincount([sampling.draw(LOGITS, rng) for _ in range(count)], minlength=7)
    p = np.array(literal_probabilities(LOGITS.tolist(), **settings))
    assert not drawn[p == 0].any()
    expected = count * p[p > 0]
    chi_square, freedom = float(((drawn[p > 0] - expected) ** 2 / expected).sum()), len(expected) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom) + 1


def test_the_ends_of_the_unit_interval_draw_what_may_be_drawn():
    class Ends:
        def __init__(self, value):
            self.value = value

        def random(self):
            return self.value

    for value in (0.0, np.nextafter(0, 1), 0.5, np.nextafter(1, 0)):
        for settings in ({}, {"top_k": 2}, {"top_p": 0.7}, {"temperature": 0}, {"temperature": 1e-300}):
            sampling = Sampling(**settings)
            assert sampling.probabilities(LOGITS)[sampling.draw(LOGITS, Ends(value))] > 0
    assert Sampling(top_k=1).draw(np.array([0.0, 0.0, 9.0]), Ends(0.0)) == 2


NUMBER = "must be a number, 0 or more, and finite"
SHARE = "must be a number above 0, at most 1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, f"temperature=-0.1 {NUMBER}"),
        ({"temperature": math.nan}, f"temperature=nan {NUMBER}"),
        ({"temperature": math.inf}, f"temperature=inf {NUMBER}"),
        ({"temperature": "hot"}, f"temperature='hot' {NUMBER}"),
        ({"temperature": None}, f"temperature=None {NUMBER}"),
        ({"temperature": True}, f"temperature=True {NUMBER}"),
        ({"top_k": 0}, "top_k=0 must be an integer, 1 or more"),
        ({"top_k": 2.0}, "top_k=2.0 must be an integer, 1 or more"),
        ({"top_k": "3"}, "top_k='3' must be an integer, 1 or more"),
        ({"top_k": True}, "top_k=True must be an integer, 1 or more"),
        ({"top_p": 0}, f"top_p=0 {SHARE}"),
        ({"top_p": 1.0001}, f"top_p=1.0001 {SHARE}"),
        ({"top_p": math.nan}, f"top_p=nan {SHARE}"),
        ({"top_p": "a"}, f"top_p='a' {SHARE}"),
    ],
)
def test_settings_of_drawing_out_of_range(settings, message):
    with pytest.raises(SettingError) as caught:
        Sampling(**settings)
    assert str(caught.value) == message
    with pytest.raises(SettingError, match=message.split("=", maxsplit=1)[0]):
        elman.Model(4, 3).sample([1], 5, **settings)  # before anything is drawn


def test_numpy_numbers_are_numbers():
    assert Sampling(np.float32(0.5), np.int64(3), np.float64(0.9)) == Sampling(0.5, 3, 0.9)
    drawn = elman.Model(4, 3).generate([1], np.int64(9), seed=np.int64(5))
    assert drawn.tolist() == elman.Model(4, 3).generate([1], 9, seed=5).tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite(value):
    for sampling in (Sampling(), Sampling(0), Sampling(top_k=1)):
        with pytest.raises(
            DataError, match=r"^sampling: the logits hold NaN or infinity; are the weights of the model too large\?$"
        ):
            sampling.draw(np.array([1.0, value, 2.0]), np.random.default_rng(0))


def test_generate_draws_symbol_after_symbol():
    """By hand: run over all that is there, draw, append."""
    model = elman.Model(V, H, cell=elman.cells.lstm, dtype="float64")
    rng = np.random.default_rng(10)
    model.update({n: rng.normal(size=p.shape) for n, p in model.parameters.items()})
    for settings in ({}, {"temperature": 0.6}, {"top_k": 3}, {"top_p": 0.6, "temperature": 1.5}):
        tokens, draws = [3, 1], np.random.default_rng(11)
        for _ in range(15):
            p = literal_probabilities(model.forward_propagation(tokens).logits[-1].tolist(), **settings)
            tokens.append(int(np.searchsorted(np.cumsum(p), draws.random() * sum(p), side="right")))
        assert model.generate([3, 1], 15, seed=11, **settings).tolist() == tokens[2:]
        assert list(model.sample([3, 1], 15, seed=11, **settings)) == tokens[2:]


def test_generate_is_reproducible_and_takes_text_or_tokens():
    model, _ = model_of(RHYME)
    assert model.generate("the ", 50, seed=1) == model.generate("the ", 50, seed=1) != model.generate("the ", 50, seed=2)
    tokens = model.vocabulary.encode("the ")
    assert model.vocabulary.decode(model.generate(tokens, 50, seed=1)) == model.generate("the ", 50, seed=1)
    assert model.generate("the ", 0) == ""
    assert model.generate(tokens, 0).tolist() == []
    np.random.seed(0)
    one = model.generate("the ", 50)
    np.random.seed(1)
    assert model.generate("the ", 50) == one


def test_sample_begins_before_it_ends():
    model, _ = model_of(RHYME)
    drawn = model.sample("the ", 10**12, seed=0)
    assert len([next(drawn) for _ in range(5)]) == 5


def test_tokens_that_do_not_fit_are_refused_before_training():
    model, tokens = model_of(RHYME)
    with pytest.raises(TokenError, match=rf"^Model: token 99 at position {len(tokens)} is outside the vocabulary of "):
        train.train(model, [*tokens, 99])
    with pytest.raises(TokenError, match=r"^bigram: token 7 at position 1 is outside the vocabulary of 5, 0 to 4"):
        bigram_bits([1, 2], [1, 7], 5)
    with pytest.raises(TokenError, match=r"^bigram: token 9 at position 0 is outside the vocabulary of 5, 0 to 4"):
        bigram_bits([9, 2], [1, 1], 5)
