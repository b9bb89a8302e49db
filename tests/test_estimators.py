"""Estimators: what they learn, unequal lengths, probabilities, searching and pipelines, pickles, and what they say."""

import copy
import importlib
import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import elman
from elman import bias, cell, cells, tanh, weight
from elman.errors import DataError, MissingLibraryError, SettingError, ShapeError, TokenError
from elman.estimators import SequenceClassifier, SequenceRegressor, SequenceTagger
from elman.optim import SGD
from messages import said

QUICK = {"hidden": 6, "epochs": 2, "random_state": 0}
CLASSES = {"classifier": SequenceClassifier, "regressor": SequenceRegressor, "tagger": SequenceTagger}

every_estimator = pytest.mark.parametrize("kind", CLASSES)


def data(kind, count=40, seed=0, tokens=False):
    """Sequences of 2 to 12 steps, and targets of a kind that follow from more than one step."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 13, count)
    X = [rng.integers(0, 5, length) if tokens else rng.normal(size=(length, 2)) for length in lengths]
    first = [x if tokens else x[:, 0] for x in X]
    if kind == "tagger":
        return X, [np.where(np.cumsum(x - x.mean()) > 0, "up", "down") for x in first]
    sums = np.array([x.mean() for x in first])
    return X, (np.where(sums > np.median(sums), "up", "down") if kind == "classifier" else 30 + 4 * sums)


def made(kind, **settings):
    return CLASSES[kind](**{**QUICK, **settings})


def flat(predicted):
    """Predictions as one array, whichever estimator they are of."""
    return np.concatenate(predicted) if isinstance(predicted, list) else predicted


# ---------------------------------------------------------------- they learn


def sign_of_first(count, seed):
    """Which sign the first step has, with noise behind it: a task of memory; and what no count of single steps tells."""
    rng = np.random.default_rng(seed)
    signs, lengths = rng.choice([-1.0, 1.0], count), rng.integers(3, 11, count)
    X = [np.concatenate(([[sign]], rng.normal(size=(length, 1)))) for sign, length in zip(signs, lengths, strict=True)]
    return X, np.where(signs > 0, "plus", "minus")


def test_a_classifier_learns_to_remember():
    (X, y), (new, wanted) = sign_of_first(200, 0), sign_of_first(200, 1)
    classifier = SequenceClassifier(cell="gru", hidden=16, epochs=40, rate=0.02, random_state=0).fit(X, y)
    assert classifier.score(new, wanted) > 0.95
    assert accuracy_score(wanted, classifier.predict(new)) == classifier.score(new, wanted)
    ends = LogisticRegression().fit([x[-1] for x in X], y)
    assert ends.score([x[-1] for x in new], wanted) < 0.65, "the last step alone does not tell"
    assert classifier.losses_[0] > 0.6
    assert classifier.losses_[-1] < 0.1
    assert list(classifier.classes_) == ["minus", "plus"]


def test_a_regressor_learns_numbers_of_any_scale():
    (X, one), (new, wanted) = data("regressor", 150), data("regressor", 60, seed=1)
    settings = {"cell": "gru", "hidden": 12, "epochs": 60, "rate": 0.02, "pool": "mean", "random_state": 0}
    regressor = SequenceRegressor(**settings).fit(X, one)
    assert regressor.score(new, wanted) > 0.9
    assert np.isclose(r2_score(wanted, regressor.predict(new)), regressor.score(new, wanted))
    both = SequenceRegressor(**settings).fit(X, np.stack([one, 1e6 * one - 5], 1))
    found = both.predict(new)
    assert found.shape == (60, 2)
    assert r2_score(wanted, found[:, 0]) > 0.9
    assert r2_score(1e6 * wanted - 5, found[:, 1]) > 0.9
    assert np.allclose(both.model_.predict(new[0]), found[0], rtol=1e-5), "the model itself gives numbers of that scale"


def open_brackets(count, seed):
    """How many brackets are open after each step, 0 to 2: tokens, and labels for each."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for length in rng.integers(4, 16, count):
        depth, moves, depths = 0, [], []
        for _ in range(length):
            move = int(rng.choice([m for m in (-1, 0, 1) if 0 <= depth + m <= 2]))
            depth += move
            moves.append(move + 1), depths.append(("none", "one", "two")[depth])
        X.append(np.array(moves)), y.append(depths)
    return X, y


def test_a_tagger_learns_a_label_for_every_step():
    (X, y), (new, wanted) = open_brackets(150, 0), open_brackets(60, 1)
    tagger = SequenceTagger(cell="gru", hidden=12, epochs=25, rate=0.02, random_state=0).fit(X, y)
    assert tagger.score(new, wanted) > 0.97
    predicted = tagger.predict(new)
    right = sum(
        int(a == b) for said, labels in zip(predicted, wanted, strict=True) for a, b in zip(said, labels, strict=True)
    )
    assert tagger.score(new, wanted) == right / sum(map(len, wanted))
    assert list(tagger.classes_) == ["none", "one", "two"]
    single = max(np.mean([label == common for labels in wanted for label in labels]) for common in tagger.classes_)
    assert single < 0.5, "no label alone is right so often"


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": 2, "dropout": 0.2, "recurrent_dropout": 0.1},
        {"bidirectional": True, "cell": "gru"},
        {"cell": cells.elman, "optimiser": "rmsprop", "schedule": "constant"},
        {"cell": "lstm_projected", "sizes": {"projection": 4}, "clip": None},
        {"optimiser": SGD(momentum=0.9), "rate": 0.3, "pool": "max"},
    ],
    ids="-".join,
)
def test_settings_reach_the_model_and_it_learns(settings):
    X, y = data("classifier", 100)
    classifier = SequenceClassifier(
        **{"hidden": 10, "epochs": 40, "rate": 0.02, "pool": "mean", "random_state": 0} | settings
    )
    assert classifier.fit(X, y).score(X, y) > 0.85
    names = classifier.model_.parameters
    assert any(name.startswith("1.") for name in names) == ("layers" in settings)
    assert any("backward." in name for name in names) == ("bidirectional" in settings)


# ---------------------------------------------------------------- lengths, forms of input


@every_estimator
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_unequal_lengths_give_what_each_gives_alone(kind, tokens, bidirectional):
    X, y = data(kind, tokens=tokens)
    estimator = made(kind, dtype="float64", bidirectional=bidirectional).fit(X, y)
    together = estimator.predict_proba(X) if kind != "regressor" else estimator.predict(X)
    for place, x in enumerate(X):
        alone = estimator.model_.forward_propagation(x).output
        alone = alone[0] if kind == "regressor" else alone
        assert np.allclose(together[place], alone, rtol=1e-9), place
    turned = estimator.predict(X[::-1])[::-1]
    assert (
        np.allclose(turned, estimator.predict(X))
        if kind == "regressor"
        else all(map(np.array_equal, turned, estimator.predict(X)))
    )


@pytest.mark.parametrize("kind", ["classifier", "tagger"])
def test_probabilities(kind):
    X, y = data(kind)
    estimator = made(kind).fit(X, y)
    probabilities = estimator.predict_proba(X)
    for found in probabilities:
        assert np.allclose(found.sum(-1), 1, atol=1e-6)
        assert (found > 0).all()
    assert len({tuple(found.ravel().round(6)) for found in probabilities}) > 30, "they differ from sequence to sequence"
    likeliest = [estimator.classes_[found.argmax(-1)] for found in probabilities]
    assert (flat([np.atleast_1d(x) for x in likeliest]) == flat(estimator.predict(X))).all()


def objects(X):
    found = np.empty(len(X), object)
    found[:] = X
    return found


FORMS = {
    "tuple": tuple,
    "objects": objects,
    "nested lists": lambda X: [x.tolist() for x in X],
    "float32": lambda X: [x.astype(np.float32) for x in X],
    "backwards in memory": lambda X: [x[::-1].copy()[::-1] for x in X],
}


@pytest.mark.parametrize("form", FORMS)
def test_sequences_come_in_any_form(form):
    X, y = data("classifier")
    wanted = made("classifier").fit(X, y)
    found = made("classifier").fit(FORMS[form](X), y)
    assert np.array_equal(found.predict_proba(FORMS[form](X)), wanted.predict_proba(X))


def test_one_array_is_as_many_sequences():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 7, 3)), rng.integers(0, 3, 30)
    wanted = made("classifier").fit(list(X), y).predict_proba(list(X))
    for form in (X, X.astype(object), X.tolist()):
        assert np.array_equal(made("classifier").fit(form, y).predict_proba(form), wanted)
    column, table = X[:, :, :1], X[:, :, 0]
    assert np.array_equal(*(made("classifier").fit(form, y).predict_proba(form) for form in (column, table)))


def test_frames_and_series_of_pandas_are_read():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    table, y = rng.normal(size=(30, 7)), rng.integers(0, 3, 30)
    frame = pandas.DataFrame(table)
    assert np.array_equal(
        made("classifier").fit(frame, y).predict_proba(frame), made("classifier").fit(table, y).predict_proba(table)
    )


def test_integers_are_tokens_where_they_stand_alone():
    X, y = data("classifier", tokens=True)
    classifier = made("classifier").fit(X, y)
    assert (classifier.model_.reads_tokens, classifier.model_.word_dim, classifier.n_features_in_) == (True, 5, 1)
    assert made("classifier", symbols=9).fit(X, y).model_.word_dim == 9
    numbers = made("classifier").fit([x[:, None] for x in X], y)
    assert (numbers.model_.reads_tokens, numbers.n_features_in_) == (False, 1)
    mixed = made("classifier").fit([x / 2 if place else x for place, x in enumerate(X)], y)
    assert not mixed.model_.reads_tokens, "one sequence of floats says that they are numbers"
    assert np.array_equal(mixed.predict_proba(X), mixed.predict_proba([x.astype(float) for x in X]))


@every_estimator
@pytest.mark.parametrize("tokens", [False, True])
def test_a_sequence_without_steps_counts_for_nothing(kind, tokens):
    X, y = data(kind, tokens=tokens)
    wanted = made(kind).fit(X, y)
    added = [*y, []] if kind == "tagger" else np.append(y, y[:1])
    estimator = made(kind).fit([*X, []], added)
    assert np.array_equal(flat(estimator.predict(X)), flat(wanted.predict(X)))
    alone = estimator.predict([[]])
    assert len(alone) == 1
    if kind == "tagger":
        assert alone[0].shape == (0,)
        assert estimator.score([*X, []], added) == wanted.score(X, y)


# ---------------------------------------------------------------- learning


@every_estimator
def test_the_same_random_state_gives_the_same_bits(kind):
    X, y = data(kind)
    settings = {"layers": 2, "dropout": 0.3, "validation": 0.2}
    one, other = (made(kind, **settings).fit(X, y) for _ in range(2))
    for name, value in one.model_.parameters.items():
        assert np.array_equal(value, other.model_.parameters[name]), name
    assert one.losses_ == other.losses_
    assert one.validation_losses_ == other.validation_losses_
    again = one.fit(X, y)
    assert again is one
    assert again.losses_ == other.losses_
    third = made(kind, **settings, random_state=1).fit(X, y)
    assert third.losses_ != other.losses_


def test_without_random_state_numpy_draws():
    X, y = data("classifier")
    np.random.seed(3)
    one, other = (made("classifier", random_state=None).fit(X, y).losses_ for _ in range(2))
    np.random.seed(3)
    assert made("classifier", random_state=None).fit(X, y).losses_ == one != other
    drawn = np.random.RandomState(5)
    first, second = (made("classifier", random_state=drawn).fit(X, y).losses_ for _ in range(2))
    assert first != second


def test_the_first_loss_is_that_of_the_model_that_the_settings_make():
    """One batch, one epoch: the loss before the update is what its parameters give, by the sequences one at a time."""
    X, y = data("classifier")
    classifier = made("classifier", epochs=1, batch=len(X), rate=1e-12, dtype="float64").fit(X, y)
    places = [list(classifier.classes_).index(label) for label in y]
    alone = [classifier.model_.loss(x, place) for x, place in zip(X, places, strict=True)]
    assert np.isclose(classifier.losses_[0], np.mean(alone), rtol=1e-9)
    tagger = made("tagger", epochs=1, batch=7, rate=1e-12, dtype="float64").fit(*data("tagger"))
    steps = [-np.log(p[row]) for p, row in zip(*_of_steps(tagger), strict=True)]
    assert np.isclose(tagger.losses_[0], np.mean(np.concatenate(steps)), rtol=1e-9)


def _of_steps(tagger):
    """Probabilities of each sequence, and where in them those of the labels stand."""
    X, y = data("tagger")
    rows = [(np.arange(len(labels)), np.searchsorted(tagger.classes_, labels)) for labels in y]
    return tagger.predict_proba(X), rows


def test_validation_stops_and_gives_the_best_parameters_back():
    rng = np.random.default_rng(0)
    X, y = [rng.normal(size=(5, 3)) for _ in range(60)], rng.integers(0, 2, 60)  # nothing to learn, so it soon gets worse
    settings = {**QUICK, "hidden": 16, "epochs": 60, "rate": 0.03, "validation": 0.3, "schedule": "constant"}
    stopped = SequenceClassifier(**settings, patience=4).fit(X, y)
    assert stopped.n_iter_ == len(stopped.losses_) == len(stopped.validation_losses_) < 60
    assert stopped.best_epoch_ == np.argmin(stopped.validation_losses_) == stopped.n_iter_ - 5
    shorter = SequenceClassifier(**{**settings, "epochs": stopped.best_epoch_ + 1}, patience=None).fit(X, y)
    assert np.array_equal(shorter.predict_proba(X), stopped.predict_proba(X))
    whole = SequenceClassifier(**settings, patience=None).fit(X, y)
    assert whole.n_iter_ == 60
    assert whole.losses_[-1] < 0.3
    assert whole.validation_losses_[-1] > 2 * min(stopped.validation_losses_)
    assert SequenceClassifier(**QUICK).fit(X, y).validation_losses_ == []


@every_estimator
def test_a_warm_start_goes_on(kind):
    X, y = data(kind)
    settings = {"epochs": 8, "schedule": "constant", "warm_start": True, "dtype": "float64"}
    estimator = made(kind, **settings).fit(X, y)
    before, first = flat(estimator.predict(X)), estimator.losses_
    estimator.set_params(rate=1e-12, epochs=1).fit(X, y)
    same = (
        np.allclose(flat(estimator.predict(X)), before)
        if kind == "regressor"
        else (flat(estimator.predict(X)) == before).all()
    )
    assert same
    assert estimator.losses_[0] < first[-1] < first[0]
    cold = (
        made(
            kind,
            **settings,
        )
        .set_params(warm_start=False)
        .fit(X, y)
        .fit(X, y)
    )
    assert cold.losses_ == first


def rare(count, seed):
    """A label that is rare, and hard to see: one in ten, with noise that hides half of the difference."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.uniform(size=count) < 0.1, "rare", "usual")
    return [rng.normal(1.0 if label == "rare" else 0.0, 1.0, (rng.integers(2, 5), 1)) for label in y], y


def test_balanced_labels_find_what_is_rare():
    (X, y), (new, wanted) = rare(300, 0), rare(300, 1)
    settings = {"cell": "gru", "hidden": 8, "epochs": 15, "rate": 0.02, "pool": "mean", "random_state": 0}
    found = {}
    for counts in (None, "balanced", {"usual": 0.01}):
        predicted = SequenceClassifier(**settings, class_weight=counts).fit(X, y).predict(new)
        found[str(counts)] = np.mean(predicted[wanted == "rare"] == "rare")
        if counts == "balanced":
            assert np.mean(predicted[wanted == "usual"] == "usual") > 0.6
    assert found["None"] < 0.4
    assert 0.6 < found["balanced"] <= found["{'usual': 0.01}"]
    tagged = [np.full(len(x), label) for x, label in zip(X, y, strict=True)]
    shares = []
    for counts in (None, "balanced"):
        tagger = SequenceTagger(**{n: v for n, v in settings.items() if n != "pool"}, class_weight=counts).fit(X, tagged)
        shares.append(np.mean(np.concatenate(tagger.predict(new)) == "rare"))
    assert 2 * shares[0] < shares[1]


def test_the_first_loss_is_weighted_by_label():
    X, y = data("classifier")
    y[:15] = "up"
    settings = {"epochs": 1, "batch": len(X), "rate": 1e-12, "dtype": "float64"}
    for counts in ({"up": 3.0, "down": 0.5}, {"up": 3.0}, "balanced"):
        classifier = made("classifier", class_weight=counts, **settings).fit(X, y)
        told = counts if counts != "balanced" else {label: len(y) / (2 * np.sum(y == label)) for label in ("up", "down")}
        chosen = classifier.predict_proba(X)[np.arange(len(y)), np.searchsorted(classifier.classes_, y)]
        weights = [told.get(label, 1.0) for label in y]
        wanted = sum(-np.log(p) * w for p, w in zip(chosen, weights, strict=True)) / sum(weights)
        assert np.isclose(classifier.losses_[0], wanted, rtol=1e-9)
        held = made("classifier", class_weight=counts, validation=0.5, **settings).fit(X, y)
        assert not np.isclose(
            held.validation_losses_[0], made("classifier", validation=0.5, **settings).fit(X, y).validation_losses_[0]
        )


@pytest.mark.parametrize("weights", [{"up": 3.0, "down": 0.5}, {"up": 0.2}, {"down": 0}])
def test_a_weight_of_a_label_is_one_of_its_sequences(weights):
    """To the bit, with others beside it too; where it is 0 they are not there."""
    X, y = data("classifier")
    own = np.random.default_rng(2).uniform(0.1, 3.0, len(X))
    by_label, plain = np.array([weights.get(label, 1.0) for label in y]), made("classifier").fit(X, y)
    one, other = made("classifier", class_weight=weights).fit(X, y), made("classifier").fit(X, y, by_label)
    assert one.losses_ == other.losses_ != plain.losses_
    both, product = made("classifier", class_weight=weights).fit(X, y, own), made("classifier").fit(X, y, own * by_label)
    np.testing.assert_allclose(both.losses_, product.losses_, rtol=1e-6)
    assert not np.allclose(both.losses_, one.losses_, rtol=1e-4)


@pytest.mark.parametrize("kind", ["classifier", "tagger"])
def test_weights_of_labels_count_beside_each_other(kind):
    """Tenfold they learn no faster, and those that are all the same change no bit."""
    X, y = data(kind)
    plain, same = (made(kind, class_weight=weight).fit(X, y) for weight in (None, {"up": 7.0, "down": 7.0}))
    assert plain.losses_ == same.losses_
    one, tenfold, least = (
        made(kind, class_weight={"up": 0.3 * w, "down": 2.0 * w}, dtype="float64").fit(X, y) for w in (1, 10, 1e-300)
    )
    assert not np.allclose(one.losses_, plain.losses_, rtol=1e-3)
    for name, value in one.model_.parameters.items():
        np.testing.assert_allclose(tenfold.model_.parameters[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(least.model_.parameters[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_first_loss_of_a_tagger_is_weighted_by_label_and_sequence():
    X, y = data("tagger")
    own, settings = np.random.default_rng(3).uniform(0.1, 3.0, len(X)), ONE_BATCH | {"epochs": 1, "rate": 1e-12}
    tagger = made("tagger", class_weight={"up": 5}, **settings).fit(X, y, own)
    total = count = 0.0
    for chances, labels, count_of_all in zip(tagger.predict_proba(X), y, own, strict=True):
        for chance, label in zip(chances, labels, strict=True):
            each = count_of_all * (5 if label == "up" else 1)
            total, count = total - each * np.log(chance[list(tagger.classes_).index(label)]), count + each
    assert np.isclose(tagger.losses_[0], total / count, rtol=1e-9)


@elman.cell
def taking_away(x, h, *, w=weight("hidden", "input")):
    """NaN where w x is large: infinity less infinity"""
    return tanh(w @ x + elman.exp(x[0]) - elman.exp(x[0]))


@pytest.mark.parametrize("target", ["numpy", "auto"])
def test_a_validation_that_is_no_number_ends_the_fit(target):
    """Else no epoch would be the best, and the fitted be what it was at first; in training it is told as before."""
    X, y = data("classifier")
    X[4] = X[4] + 1000.0
    told = set()
    for seed in range(8):
        found = made("classifier", cell=taking_away, validation=0.5, random_state=seed, target=target)
        told.add(said(lambda found=found: found.fit(X, y), DataError))
        assert not hasattr(found, "model_")
    held = "the loss of what is held back is nan after epoch 1"
    assert f"fit: the numbers leave all bounds ({held}); scale the data, or lower the rate" in told
    assert len(told) > 1
    assert all(text.startswith("fit: the numbers leave all bounds (") for text in told)


@pytest.mark.parametrize(("dtype", "number"), [("float32", -1e37), ("float32", 1e300), ("float64", 1e151)])
def test_numbers_that_are_too_large_are_told(dtype, number):
    X, y = data("regressor")
    y[7] = number
    told = f"y holds {number:g} for sequence 7, too much to learn in {dtype}; learn it divided by a number"
    assert said(lambda: made("regressor", dtype=dtype).fit(X, y), DataError) == f"SequenceRegressor: {told}"
    both = made("regressor").fit(X, np.stack([y * 0 + 1, np.where(y == number, 1e36, 3e35)], 1)).predict(X)
    assert np.isfinite(both).all()


@every_estimator
def test_sequences_without_a_step_teach_nothing_more(kind):
    """Where it is fitted they are read as before; weights or none, it is told that there is no step."""
    X, y = data(kind)
    fitted = made(kind, warm_start=True).fit(X, y)
    none = [[] for _ in X] if kind == "tagger" else y
    for weights in (None, np.arange(40.0)):
        text = said(lambda weights=weights: fitted.fit([x[:0] for x in X], none, weights), DataError)
        assert text.endswith(": none of the 40 sequences has a step; there is nothing to learn from")


@pytest.mark.parametrize("kind", ["classifier", "tagger"])
def test_weights_that_leave_nothing_are_told(kind):
    X, y = data(kind)
    lone = [np.full(len(x), label) for x, label in zip(X, data("classifier")[1], strict=True)] if kind == "tagger" else y
    ups = np.array([each == "up" if kind == "classifier" else each[0] == "up" for each in lone], float)
    fit = made(kind, class_weight={"up": 0}).fit
    words = "class_weight, or the sample_weight with it, is zero for every target; one at least is to count"
    assert said(lambda: fit(X, lone, ups), DataError) == f"{type(made(kind)).__name__}: {words}"


ONE_BATCH = {"cell": "gru", "epochs": 4, "batch": 500, "dtype": "float64", "rate": 0.05}


@every_estimator
@pytest.mark.parametrize("class_weight", [None, "balanced", {"up": 3.0}])
def test_a_weight_is_what_repetition_is(kind, class_weight):
    """Where all stand in one batch; weight 0 is not to be there, and weights ten times as large are the same."""
    settings = ONE_BATCH | ({} if class_weight is None else {"class_weight": class_weight})
    if class_weight is not None and kind == "regressor":
        pytest.skip("it has no labels")
    (X, y), counts = data(kind), np.random.default_rng(1).integers(0, 4, 40)
    X[3], counts[3] = np.zeros((0, 2)), 2  # which has no loss
    y = [np.zeros(0, "U4") if at == 3 else each for at, each in enumerate(y)] if kind == "tagger" else y
    often = np.repeat(np.arange(40), counts)
    repeated = made(kind, **settings).fit([X[at] for at in often], [y[at] for at in often])
    weighed, plain = made(kind, **settings).fit(X, y, counts), made(kind, **settings).fit(X, y)
    tenfold = made(kind, **settings).fit(X, y, sample_weight=[10 * float(count) for count in counts])
    np.testing.assert_allclose(weighed.losses_, repeated.losses_, rtol=1e-10)
    assert not np.allclose(weighed.losses_, plain.losses_, rtol=1e-4)
    for name, value in repeated.model_.parameters.items():
        np.testing.assert_allclose(weighed.model_.parameters[name], value, rtol=1e-6, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(tenfold.model_.parameters[name], value, rtol=1e-6, atol=1e-9, err_msg=name)
        assert not np.allclose(plain.model_.parameters[name], value, rtol=1e-3), name


@every_estimator
def test_weights_of_one_change_no_bit(kind):
    X, y = data(kind)
    plain, ones = made(kind).fit(X, y), made(kind).fit(X, y, np.ones(len(X)))
    assert plain.losses_ == ones.losses_
    for name, value in plain.model_.parameters.items():
        np.testing.assert_array_equal(ones.model_.parameters[name], value, err_msg=name)


def test_what_is_held_back_is_weighted_too():
    """Against its loss, written out, where nothing is learnt; the sequences held back are those of the same draw."""
    X, y = data("classifier")
    weights = np.random.default_rng(2).uniform(0.1, 3.0, len(X))
    settings = ONE_BATCH | {"epochs": 1, "rate": 1e-12, "validation": 0.5}
    tell, told = made("classifier", **settings), []
    for at in range(len(X)):  # with one sequence that counts for much, those held back are known by their loss
        heavy = np.ones(len(X))
        heavy[at] = 1e9
        told.append(tell.fit(X, y, heavy).validation_losses_[0] > 1)
    fitted = tell.fit(X, y, weights)
    chosen = fitted.predict_proba(X)[np.arange(len(y)), np.searchsorted(fitted.classes_, y)]
    wanted = -np.log(chosen) * weights / weights.mean()
    assert sum(told) == len(X) // 2
    assert np.isclose(fitted.validation_losses_[0], wanted[told].mean(), rtol=1e-9)
    assert np.isclose(fitted.losses_[0], wanted[~np.array(told)].mean(), rtol=1e-9)


def test_a_score_counts_sequences_as_much_as_it_is_told():
    X, y = data("tagger")
    tagger, weights = made("tagger").fit(X, y), np.arange(40.0)
    right = [labels == wanted for labels, wanted in zip(tagger.predict(X), y, strict=True)]
    wanted = sum(w * r.sum() for w, r in zip(weights, right, strict=True)) / sum(
        w * len(r) for w, r in zip(weights, right, strict=True)
    )
    assert np.isclose(tagger.score(X, y, weights), wanted, rtol=1e-12)
    assert tagger.score(X, y) == np.concatenate(right).mean() != wanted
    X, y = data("classifier")
    pipe = make_pipeline(FunctionTransformer(lambda X: X), made("classifier"))
    found = pipe.fit(X, y, sequenceclassifier__sample_weight=weights)[-1].losses_
    assert found == made("classifier").fit(X, y, weights).losses_
    scores = cross_val_score(made("classifier"), X, y, cv=2, params={"sample_weight": weights})
    assert scores.shape == (2,)


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([1.0, 2.0], ShapeError, "X has 4 sequences, sample_weight is (2); one number for each is wanted"),
        (np.ones((4, 1)), ShapeError, "X has 4 sequences, sample_weight is (4, 1); one number for each is wanted"),
        (2.0, ShapeError, "X has 4 sequences, sample_weight is (); one number for each is wanted"),
        (["a"] * 4, DataError, "sample_weight holds no numbers; one for each sequence is wanted"),
        ([1, 1, -1, 1], DataError, "sample_weight[2] is -1; weights are finite, and 0 or more"),
        ([1, np.nan, 1, 1], DataError, "sample_weight[1] is nan; weights are finite, and 0 or more"),
        ([1, 1, 1, np.inf], DataError, "sample_weight[3] is inf; weights are finite, and 0 or more"),
        ([0] * 4, DataError, "sample_weight is zero for every sequence that has a step; one at least is to count"),
    ],
)
@every_estimator
def test_a_wrong_sample_weight_is_said(kind, weights, error, words):
    X, y = data(kind, count=4)
    fitted = made(kind).fit(X, y)
    before = fitted.model_
    told = said(lambda: fitted.fit(X, y, weights), error)
    assert told == f"{type(fitted).__name__}: {words}"
    assert fitted.model_ is before


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("even", "class_weight='even'; 'balanced', weights by label, or None is wanted"),
        ({"c": 1.0}, "class_weight has 'c', labels are 'a', 'b'"),
        ({"a": -1}, "class_weight['a']=-1 must be a number, 0 or more"),
        ({"a": 0, "b": 0}, "class_weight is 0 for every label; one above 0 is wanted, at least"),
    ],
)
def test_a_wrong_class_weight_is_said(weight, words):
    assert words in said(lambda: made("classifier", class_weight=weight).fit(*GOOD), SettingError)


def test_losses_are_told(capsys):
    X, y = data("classifier")
    classifier = made("classifier", verbose=True, validation=0.2).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"epoch 2: loss {classifier.losses_[1]:.4f}, in validation {classifier.validation_losses_[1]:.4f}"
    assert len(lines) == 2
    made("classifier").fit(X, y)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- scikit-learn's tools


@every_estimator
def test_a_clone_has_the_settings_and_nothing_else(kind):
    estimator = made(kind, cell=cells.gru, optimiser=SGD(momentum=0.5)).fit(*data(kind))
    copied = clone(estimator)
    assert copied.get_params() == estimator.get_params()
    assert copied.cell is cells.gru
    assert not hasattr(copied, "model_")
    with pytest.raises(NotFittedError):
        copied.predict(data(kind)[0])


@every_estimator
def test_cross_validation(kind):
    X, y = data(kind, 90)
    scores = cross_val_score(made(kind, epochs=30, rate=0.03, hidden=8), X, y, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > (0.4 if kind == "regressor" else 0.65)
    if kind != "tagger":
        assert cross_val_predict(made(kind), X, y, cv=3).shape == (90,)


@every_estimator
def test_a_grid_search_finds_what_learns(kind):
    X, y = data(kind, 60)
    search = GridSearchCV(
        made(kind, epochs=15, hidden=8), {"rate": [1e-9, 0.05], "cell": ["gru"]}, cv=2, error_score="raise"
    )
    search.fit(X, y)
    assert search.best_params_ == {"cell": "gru", "rate": 0.05}
    assert np.isclose(search.score(X, y), search.best_estimator_.score(X, y))
    assert search.best_score_ > search.cv_results_["mean_test_score"].min()


def differences(X):
    return [np.diff(x, axis=0, prepend=0) for x in X]


def test_a_pipeline_with_a_transformer_over_lists():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(length, 1)).cumsum(0) for length in rng.integers(3, 10, 80)]
    y = np.array([np.abs(np.diff(x, axis=0, prepend=0)).max() > 1.6 for x in X])
    pipe = make_pipeline(
        FunctionTransformer(differences),
        SequenceClassifier(cell="gru", hidden=8, epochs=30, rate=0.03, pool="max", random_state=0),
    )
    train, test, y_train, _ = train_test_split(X, y, random_state=0)
    assert isinstance(train, list)
    pipe.fit(train, y_train)
    assert pipe.score(train, y_train) > 0.9
    inner = pipe[-1]
    assert np.array_equal(pipe.predict_proba(test), inner.predict_proba(differences(test)))
    assert not np.array_equal(pipe.predict_proba(test), inner.predict_proba(test))
    search = GridSearchCV(pipe, {"sequenceclassifier__hidden": [2, 3]}, cv=2).set_params(
        estimator__sequenceclassifier__epochs=1
    )
    assert search.fit(train, y_train).best_params_["sequenceclassifier__hidden"] in (2, 3)


@every_estimator
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_fitted_estimator_is_pickled_to_the_bit(kind, tokens, through):
    X, y = data(kind, tokens=tokens)
    settings = {"layers": 2, "bidirectional": True, "dropout": 0.1, "recurrent_dropout": 0.1, "cell": cells.gru}
    estimator = made(kind, **settings).fit(X, y)
    opened = through(estimator)
    assert opened.get_params() == estimator.get_params()
    assert opened.model_ is not estimator.model_
    assert np.array_equal(flat(opened.predict(X)), flat(estimator.predict(X)))
    if kind != "regressor":
        assert np.array_equal(flat(list(opened.predict_proba(X))), flat(list(estimator.predict_proba(X))))
    estimator.set_params(warm_start=True).fit(X, y)
    assert np.array_equal(flat(opened.set_params(warm_start=True).fit(X, y).predict(X)), flat(estimator.predict(X)))


def test_a_pickle_keeps_the_target():
    X, y = data("classifier")
    for target in ("numpy", "interpreter"):
        opened = pickle.loads(pickle.dumps(made("classifier", target=target, epochs=1).fit(X, y)))
        assert {leaf.target for leaf in (*opened.model_.rnn._leaves().values(), opened.model_.readout)} == {target}


@elman.cell
def own(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), b=bias("hidden")):
    return tanh(w @ x + u @ h + b)


def test_a_cell_is_pickled_as_a_function_is():
    X, y = data("classifier")
    assert pickle.loads(pickle.dumps(own)) is own
    assert copy.deepcopy(cells.lstm) is cells.lstm is pickle.loads(pickle.dumps(cells.lstm))
    classifier = made("classifier", cell=own).fit(X, y)
    assert np.array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(X), classifier.predict_proba(X))
    cloudpickle = pytest.importorskip("cloudpickle")
    inside = cells.elman_with(elman.relu)
    opened = cloudpickle.loads(cloudpickle.dumps(inside))  # what searches with several processes use
    assert opened is not inside
    assert opened.name == inside.name
    assert str(opened.graph(input=2, hidden=3)) == str(inside.graph(input=2, hidden=3))
    with pytest.raises((pickle.PicklingError, AttributeError), match="elman_with"):
        pickle.dumps(inside)


def test_the_model_inside_is_an_elman_model(tmp_path):
    X, y = data("classifier")
    classifier = made("classifier").fit(X, y)
    classifier.model_.save(tmp_path / "model.safetensors")
    opened = elman.load(tmp_path / "model.safetensors")
    assert np.array_equal(opened.forward_propagation(X[3]).output, classifier.model_.forward_propagation(X[3]).output)
    assert np.allclose(classifier.model_.stream().push(X[3])[-1], classifier.predict_proba(X)[3], atol=1e-6)


def test_predictions_of_the_compiled_target_have_the_same_bits_alone_and_together():
    X, y = data("classifier")
    classifier = made("classifier", target="llvm").fit(X, y)
    together = classifier.predict_proba(X)
    assert all(np.array_equal(classifier.predict_proba([x])[0], row) for x, row in zip(X, together, strict=True))


# ---------------------------------------------------------------- what is said


A = np.ones((4, 2))
GOOD = [A, A[:2]], ["a", "b"]
WRONG_X = {
    "a table of one row": (np.ones(4), ShapeError, "X is (4); a list of sequences is wanted"),
    "numbers": ([1.0, 2.0], ShapeError, "X holds float; a list of sequences is wanted"),
    "text": ("abc", DataError, "X is str; a list of sequences is wanted"),
    "texts": (["abc", "de"], DataError, "sequence 0 holds <U3; numbers are wanted; elman.Vocabulary makes tokens of text"),
    "nothing": (None, DataError, "X is NoneType; a list of sequences is wanted"),
    "a generator": ((x for x in [A]), DataError, "X is generator; a list of sequences is wanted"),
    "no sequence": ([], DataError, "there is no sequence; one or more are wanted"),
    "no step": ([[], []], DataError, "none of the 2 sequences has a step, 0 feature(s) (shape=(2, 0)) while"),
    "no feature": ([np.zeros((3, 0))] * 2, DataError, "none of the 2 sequences has a feature, 0 feature(s) (shape=(2, 0))"),
    "other features": ([A, np.ones((3, 5))], ShapeError, "sequence 0 has 2 values a step, sequence 1 has 5"),
    "uneven steps": ([A, [[1.0], [2.0, 3.0]]], ShapeError, "sequence 1 has steps of different sizes"),
    "too deep": ([A, A[None]], ShapeError, "sequence 1 is (1, 4, 2); features [T, I] or tokens [T] are wanted"),
    "NaN": (
        [A, np.array([[1, 2], [np.nan, 1]])],
        DataError,
        "sequence 1 holds NaN or infinity (first at step 1, as float32)",
    ),
    "too large": ([A, 1e300 * A], DataError, "sequence 1 holds NaN or infinity (first at step 0, as float32)"),
    "complex": ([A, 1j * A], DataError, "sequence 1: Complex data not supported"),
    "objects": ([A, [{}, {}]], DataError, "sequence 1 holds object; numbers are wanted"),
    "negative tokens": ([[1, 2], [0, -3]], TokenError, "sequence 1 holds the token -3 at step 1; tokens are 0 to 2"),
}


@pytest.mark.parametrize("case", WRONG_X)
@every_estimator
def test_a_wrong_input_is_said(kind, case):
    X, error, words = WRONG_X[case]
    y = {"classifier": ["a", "b"], "regressor": [1.0, 2.0], "tagger": [list("aaaa"), list("bb")]}[kind]
    text = said(lambda: made(kind).fit(X, y), error)
    assert text.startswith(f"{CLASSES[kind].__name__}: ")
    assert words in text


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (
            [A, np.ones((3, 5))],
            ShapeError,
            "sequence 1: X has 5 features, but SequenceClassifier is expecting 2 features as input",
        ),
        ([[0, 1]], ShapeError, "sequence 0: X has 1 features, but SequenceClassifier is expecting 2 features as input"),
        ([A, np.full((1, 2), np.inf)], DataError, "sequence 1 holds NaN or infinity (first at step 0, as float32)"),
        ([], DataError, "there is no sequence"),
    ],
)
def test_a_wrong_input_to_predict_is_said(X, error, words):
    classifier = made("classifier").fit(*GOOD)
    assert words in said(lambda: classifier.predict(X), error)


def test_tokens_that_were_not_fitted_are_said():
    classifier = made("classifier").fit([[0, 1, 2], [1, 1]], [0, 1])
    text = said(lambda: classifier.predict([[0], [2, 3]]), TokenError)
    assert (
        text
        == "SequenceClassifier: sequence 1 holds the token 3 at step 1; tokens are 0 to 2; symbols= sets how many there are"
    )
    text = said(lambda: classifier.predict([[0.5]]), DataError)
    assert text == "SequenceClassifier: sequence 0 is float64 (1); tokens [T], integers, were fitted"
    made("classifier", symbols=4).fit([[0, 1, 2], [1, 1]], [0, 1]).predict([[3]])


WRONG_Y = [
    ("classifier", None, DataError, "requires y to be passed, but the target y is None"),
    ("classifier", ["a"], ShapeError, "X has 2 sequences, y has 1 labels; one for each is wanted"),
    ("classifier", [0.5, 1.5], DataError, "Unknown label type: continuous"),
    ("classifier", [0.0, np.nan], DataError, "y holds NaN or infinity (first at 1)"),
    ("classifier", [["a", "b"], ["b", "a"]], DataError, "y should be a 1d array"),
    ("regressor", ["a", "b"], DataError, "y holds no numbers"),
    ("regressor", [1.0, 2.0, 3.0], ShapeError, "X has 2 sequences, y is (3); numbers [n] or [n, k] are wanted"),
    ("regressor", [1.0, np.inf], DataError, "y holds NaN or infinity (first for sequence 1)"),
    ("tagger", [list("ab")], ShapeError, "X has 2 sequences, y has 1; labels for each are wanted"),
    (
        "tagger",
        [list("abab"), list("abc")],
        ShapeError,
        "sequence 1 has 2 steps, its labels are (3); one label a step is wanted",
    ),
    ("tagger", ["abab", "ab"], ShapeError, "sequence 0 has 4 steps, its labels are (); one label a step is wanted"),
    ("tagger", [list("abab"), [1, 2]], DataError, "some labels are text and others numbers"),
    ("tagger", 3, DataError, "y is no list of sequences of labels"),
]


@pytest.mark.parametrize(("kind", "y", "error", "words"), WRONG_Y)
def test_a_wrong_target_is_said(kind, y, error, words):
    assert words in said(lambda: made(kind).fit(GOOD[0], y), error)


WRONG_SETTINGS = [
    ({"cell": "ltsm"}, "there is no cell 'ltsm'; near it: lstm"),
    ({"cell": 3}, "cell=3 is no cell; take a name such as 'lstm', or make one with @elman.cell"),
    ({"hidden": 0}, "size hidden=0 must be an integer, 1 or more"),
    ({"layers": 0}, "layers=0 must be a number of layers, 1 or more"),
    ({"dropout": 0.2}, "dropout=0.2 drops between layers, and there is one; take layers=2 or more, or recurrent_dropout"),
    ({"dropout": 1.0}, "dropout=1.0 must be a share, at least 0 and below 1"),
    ({"sizes": {"depth": 3}}, "depth is not one of them"),
    ({"pool": None}, "pool=None is unknown; it is last, mean, max"),
    ({"epochs": 0}, "epochs=0 must be an integer, 1 or more"),
    ({"batch": 2.5}, "batch=2.5 must be an integer, 1 or more"),
    ({"patience": 0}, "patience=0 must be an integer, 1 or more (or None)"),
    ({"rate": -1.0}, "rate=-1.0 must be a number above 0, and finite"),
    ({"clip": 0}, "clip=0 must be a number above 0, and finite (or None)"),
    ({"optimiser": "adman"}, "there is no optimiser 'adman'; optimisers are sgd"),
    ({"optimiser": 3}, "optimiser=3 is no optimiser; it is one of elman.optim, or sgd"),
    ({"schedule": "slow"}, "there is no schedule 'slow'"),
    ({"schedule": 1}, "schedule=1 is no text; it is one such as 'constant'"),
    ({"validation": 1.0}, "validation=1.0 must be a share, at least 0 and below 1"),
    ({"random_state": "x"}, "random_state='x'; an integer, a numpy.random.RandomState or None is wanted"),
    ({"dtype": "int8"}, "dtype int8 is not supported; it is float32 or float64"),
    ({"target": "gpu"}, "gpu"),
]


@pytest.mark.parametrize(
    ("settings", "words"), WRONG_SETTINGS, ids=lambda value: next(iter(value)) if isinstance(value, dict) else ""
)
def test_a_wrong_setting_is_said_by_fit(settings, words):
    estimator = made("classifier", **settings)  # which says nothing yet, as scikit-learn wants it
    assert words in said(lambda: estimator.fit(*GOOD), SettingError)


def test_more_that_is_said():
    assert "validation=0.1 leaves 0 of 2 sequences to validate" in said(
        lambda: made("classifier", validation=0.1).fit(*GOOD), DataError
    )
    assert "symbols=0 must be" in said(lambda: made("classifier", symbols=0).fit([[0], [1]], [0, 1]), SettingError)
    tagger = made("tagger").fit([[0, 1]], [["a", "b"]])
    assert "nothing to score" in said(lambda: tagger.score([[]], [[]]), DataError)
    wild = made("regressor", cell=cells.elman_with(elman.relu), rate=1e30, epochs=9, clip=None, optimiser="sgd")
    assert "the numbers leave all bounds" in said(lambda: wild.fit(*data("regressor")), DataError)


@every_estimator
def test_a_fit_that_raises_changes_nothing(kind):
    X, y = data(kind)
    estimator = made(kind, warm_start=True, optimiser="sgd").fit(X, y)
    before, names = flat(estimator.predict(X)), set(vars(estimator))
    losses, scored = estimator.losses_, estimator.score(X, y)
    settings = {"clip": None, "rate": 1e39, "epochs": 50}
    assert "leave all bounds" in said(lambda: estimator.set_params(**settings).fit(X, y), DataError)
    assert set(vars(estimator)) == names
    assert estimator.losses_ == losses
    assert estimator.score(X, y) == scored
    assert np.array_equal(flat(estimator.predict(X)), before)


def test_labels_that_are_new_to_a_warm_start_are_said():
    classifier = made("classifier", warm_start=True).fit(*GOOD)
    assert "the label 'c' is new; fitted were a, b" in said(lambda: classifier.fit(GOOD[0], ["a", "c"]), DataError)
    assert list(classifier.fit(GOOD[0], ["b", "b"]).classes_) == ["a", "b"]
    regressor = made("regressor", warm_start=True).fit(GOOD[0], [1.0, 2.0])
    assert "y is (2, 1); fitted was (2)" in said(lambda: regressor.fit(GOOD[0], [[1.0], [2.0]]), ShapeError)


def test_without_scikit_learn_it_is_said_what_is_missing(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("elman.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    text = said(lambda: importlib.import_module("elman.estimators"), MissingLibraryError)
    assert text == 'elman.estimators needs the library scikit-learn: pip install "elman[sklearn]"'


@cell
def doubling(x, h, *, w=weight("hidden", "input")):
    """A state without a bound."""
    h_next = h + h + w @ x
    return h_next


@every_estimator
def test_outputs_that_leave_all_bounds_are_no_predictions(kind):
    X, y = data(kind)
    fitted = made(kind, cell=doubling).fit(X, y)
    fitted.predict(X)
    large = [*X[:2], np.full((40, 2), 1e33), X[3]]
    told = said(lambda: fitted.predict(large), DataError)
    name = type(fitted).__name__
    assert told == (
        f"what {name} tells of sequence 2 is not finite; numbers of it, or parameters, are too large for float32"
    )
