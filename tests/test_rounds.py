"""Training steps that come again: what they give has the bits of the long way, and what they cannot take goes there.

A twin of every training takes the long way always; both are asked the same, and must give the same, errors and all.
"""

import copy
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import elman
from elman import Bidirectional, DataError, Model, ShapeError, Stack, TokenError, Trainer, cells
from elman.data import Batch, Streams
from elman.optim import SGD, Adam
from elman.packs import Flats
from elman.rounds import KEPT, Round
from elman.schedules import Constant
from elman.targets.llvm import chain, sharing, stage, stretches
from elman.targets.llvm.calls import Calls
from elman.targets.llvm.crew import crew
from elman.targets.llvm.machine import machines

if not machines():
    pytest.skip("no fused multiply-add here", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("store", "small_sections")
V, H, B, T = 13, 11, 5, 9
"""No multiple of any vector's lanes."""


@pytest.fixture(autouse=True)
def compiled_norms(monkeypatch):
    """Norms and updates are compiled, too."""
    monkeypatch.setenv("ELMAN_TARGET", "llvm")


@pytest.fixture(autouse=True)
def one_thread():
    elman.threads(1)
    yield
    elman.threads(None)


class Told:
    """A source of batches that are told beforehand."""

    epoch, steps_per_epoch = 0, 1

    def __init__(self, batches: list[Batch]) -> None:
        self._batches, self._at = batches, 0

    def take(self) -> Batch:
        self._at += 1
        return self._batches[(self._at - 1) % len(self._batches)]

    def position(self) -> dict[str, Any]:
        return {"at": self._at}

    def seek(self, position: Any) -> None:
        self._at = position["at"]


def tokens(shape: tuple[int, ...] = (B, T), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, shape)


def batch(steps: int = T, size: int = B, seed: int = 0, lengths: Any = None, anew: bool = False) -> Batch:
    found = tokens((size, steps + 1), seed)
    return Batch(found[:, :-1], found[:, 1:], lengths, anew, size * steps)


def language(cell: elman.Cell = cells.lstm, cut: Any = None, **settings: Any) -> Model:
    named = {"hidden_dim": H, "bptt_truncate": cut, "target": "llvm", **settings}
    model = Model(V, cell=cell, **named)
    rng = np.random.default_rng(7)
    model.update({name: 0.4 * rng.normal(size=value.shape) for name, value in model.parameters.items()})
    return model


def trainer(model: Model, batches: list[Batch] | None = None, rate: float = 0.01, **settings: Any) -> Trainer:
    source = Streams(tokens((600,)), B, T, seed=1) if batches is None else Told(batches)
    return Trainer(model, source, Adam(), Constant(rate), **{"steps": 1000, **settings})


def long_way(training: Trainer) -> Trainer:
    training._rounds._layers = {}
    return training


def is_short(training: Trainer) -> bool:
    return any(isinstance(found, Round) for found in training._rounds._kept.values())


def told(training: Trainer) -> dict[str, np.ndarray]:
    """All numbers that a training has."""
    return {name: np.array(value) for name, value in training.checkpoint().arrays.items()}


def assert_twins(make: Callable[[], Trainer], steps: int = 6, *, short: bool = True) -> None:
    """The short way and the long one give the same, step for step."""
    ours, twin = make(), long_way(make())
    for step in range(steps):
        mine, other = next(ours), next(twin)
        assert (mine.loss, mine.norm, mine.symbols) == (other.loss, other.norm, other.symbols), f"step {step}"
        assert_same(told(ours), told(twin))
    assert is_short(ours) == short


def assert_same(ours: dict[str, np.ndarray], twin: dict[str, np.ndarray]) -> None:
    assert ours.keys() == twin.keys()
    for name, value in ours.items():
        assert value.tobytes() == twin[name].tobytes(), name


# --- the same bits ----------------------------------------------------------------------------------------------------

MODELS: dict[str, Callable[[], Model]] = {
    "lstm": language,
    "gru in double precision": lambda: language(cells.gru, dtype="float64"),
    "cut every 4 steps": lambda: language(cells.elman, 4),
    "two layers": lambda: language(cells.gru, layers=2),
    "three layers with dropout": lambda: language(layers=3, dropout=0.4),
    "what is made of parameters alone": lambda: language(cells.lru),
    "another output": lambda: language(cells.lstm_projected, projection=3),
    "recurrent dropout": lambda: Model.from_layers(
        elman.RNN(cells.gru, input=V, hidden=H, recurrent_dropout=0.3, target="llvm"), V, tokens=True
    ),
}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_that_comes_again_has_the_bits_of_the_long_way(name, threads):
    elman.threads(threads)
    assert_twins(lambda: trainer(MODELS[name](), clip=0.05))


def test_lengths_that_change_and_padding_that_holds_anything():
    def padded(seed: int) -> Batch:
        lengths = np.random.default_rng(seed).integers(0, T + 1, B)
        found = batch(seed=seed, lengths=lengths, anew=seed % 2 == 0)
        found.targets[np.arange(T) >= lengths[:, None]] = 0
        return found

    batches = [padded(seed) for seed in range(5)]
    batches += [
        batch(lengths=np.full(B, T)),
        batch(lengths=np.zeros(B, int)),
        batch(),
        batch(lengths=np.eye(B, dtype=int)[0]),
    ]
    for model in (language, lambda: language(cells.gru, 3, layers=2, dropout=0.4)):
        assert_twins(lambda model=model: trainer(model(), batches), 2 * len(batches))


def test_other_shapes_between():
    shapes = [(T, B), (T, B), (4, B), (T, B), (4, B), (4, 2), (T, B), (4, 2), (1, 1), (4, B), (T, B)]
    batches = [batch(steps, size, seed, anew=True) for seed, (steps, size) in enumerate(shapes)]
    assert_twins(lambda: trainer(language(), batches), 3 * len(shapes))


def test_no_more_rounds_are_kept_than_it_says():
    training = trainer(language(), [batch(steps, anew=True) for steps in range(1, 3 * KEPT) for _ in range(2)])
    for _ in range(6 * KEPT - 2):
        next(training)
    assert len(training._rounds._kept) == KEPT


@pytest.mark.parametrize("readout", ["readout_linear", "readout_sigmoid"])
def test_features_and_targets_that_are_numbers(readout):
    rng = np.random.default_rng(0)

    def numbers(seed: int) -> Batch:
        return Batch(rng.normal(size=(B, T, 3)), rng.random((B, T, 2)), None, seed % 3 == 0, B * T)

    batches = [numbers(seed) for seed in range(4)]

    def made() -> Trainer:
        layer = elman.RNN(cells.gru, input=3, hidden=H, target="llvm")
        return trainer(Model.from_layers(layer, 2, readout=getattr(cells, readout)), batches)

    assert_twins(made)


def test_a_long_way_where_there_is_no_other():
    def both_ways() -> Model:
        layers = Bidirectional(*(elman.RNN(cells.gru, input=V, hidden=H, seed=s, target="llvm") for s in (0, 1)))
        return Model.from_layers(layers, V, tokens=True)

    def learnt() -> Model:
        return Model.from_layers(elman.RNN(cells.gru, input=V, hidden=H, learn_initial=True), V, tokens=True)

    def residual() -> Model:
        stacked = [elman.RNN(cells.gru, input=size, hidden=H, target="llvm") for size in (V, H)]
        return Model.from_layers(Stack(stacked, residual=True), V, tokens=True)

    for model in (both_ways, learnt, residual, lambda: language(cut=(3, 5)), lambda: language(target="numpy")):
        assert_twins(lambda model=model: trainer(model(), [batch(anew=True)]), 4, short=False)


# --- what changes between steps ---------------------------------------------------------------------------------------


def test_parameters_set_by_hand_between_steps():
    ours, twin = trainer(language()), long_way(trainer(language()))
    for step in range(8):
        if step in (3, 6):
            rng = np.random.default_rng(step)
            value = np.asfortranarray(rng.normal(size=(H, H)).astype(np.float32))
            for training in (ours, twin):
                training.model.update({"uf": value, "by": np.arange(V) / V})
        assert next(ours).loss == next(twin).loss
        assert_same(told(ours), told(twin))
    assert is_short(ours)


def test_truncation_and_dropout_set_between_steps():
    def stepped(training: Trainer) -> list[float]:
        found = []
        for cut, dropout in ((None, 0.0), (3, 0.0), (3, 0.5), ((2, 4), 0.0), (None, 0.5), (5, 0.2)):
            training.model.bptt_truncate, training.model.rnn.dropout = cut, dropout
            found += [next(training).loss for _ in range(3)]
        return found

    def made() -> Trainer:
        return trainer(language(layers=2))

    ours, twin = made(), long_way(made())
    assert stepped(ours) == stepped(twin)
    assert_same(told(ours), told(twin))


def test_dropout_between_layers_beside_dropout_in_them():
    def stepped(training: Trainer) -> list[float]:
        found = []
        for dropout, recurrent in ((0.0, 0.3), (0.5, 0.3), (0.5, 0.0), (0.0, 0.2)):
            training.model.rnn.dropout = dropout
            training.model.rnn.layers[1].recurrent_dropout = recurrent
            found += [next(training).loss for _ in range(3)]
        return found

    ours, twin = trainer(language(layers=2)), long_way(trainer(language(layers=2)))
    assert stepped(ours) == stepped(twin)
    assert is_short(ours)


@pytest.mark.parametrize("cut", [0, -1, "often", (3, 2), [4]])
def test_a_truncation_that_is_none(cut):
    def refused(training: Trainer) -> list[str]:
        found, training.model.bptt_truncate = [], cut
        for _ in range(3):
            with pytest.raises(elman.SettingError) as caught:
                next(training)
            found.append(str(caught.value))
        return found

    assert refused(used(trainer(language()))) == refused(long_way(used(trainer(language()))))


def test_two_trainings_of_one_model():
    def losses(change: Callable[[Trainer], Trainer]) -> list[float]:
        model = language()
        both = [change(trainer(model)), change(trainer(model, [batch(4, 3, 2)], rate=0.1))]
        return [next(training).loss for _ in range(5) for training in both]

    assert losses(lambda training: training) == losses(long_way)


def test_what_a_step_gave_stays_as_it_was():
    training = trainer(language())
    kept = []
    for _ in range(5):
        next(training)
        kept.append((training.state, told(training)["state.h"], training.model.parameters, told(training)["model.ui"]))
    for state, h, parameters, ui in kept:
        assert np.array_equal(state.h, h)
        assert np.array_equal(parameters["ui"], ui)
        assert not state.h.flags.writeable


def test_threads_that_change_between_steps():
    ours, twin = trainer(language(layers=2)), long_way(trainer(language(layers=2)))
    for count in (1, 1, 1, 2, 3, None, 1, 2):
        elman.threads(count)
        assert next(ours).loss == next(twin).loss
        assert_same(told(ours), told(twin))


@pytest.mark.parametrize(("part", "short"), [(1.5, True), (0.5, False)])
def test_what_would_keep_a_signal_waiting(monkeypatch, part, short):
    """Calls that are too long together run one by one, and what is too long by itself goes the long way."""
    [kept] = used(trainer(language()))._rounds._kept.values()
    longest = max(bound.share for bound in (kept._layers[0].forward, kept._head.bound, kept._layers[0].back))
    monkeypatch.setattr("elman.targets.llvm.stretches.STRETCH", stretches.STRETCH * longest * part)
    assert_twins(lambda: trainer(language()), short=short)
    found = next(iter(used(trainer(language()))._rounds._kept.values()))
    assert getattr(found, "_chain", None) is None


def used(training: Trainer) -> Trainer:
    for _ in range(3):
        next(training)
    return training


def test_a_copy_of_a_training_goes_on_by_itself():
    ours = used(trainer(language()))
    other = copy.deepcopy(ours)
    losses = [next(ours).loss for _ in range(4)]
    assert [next(other).loss for _ in range(4)] == losses
    assert_same(told(ours), told(other))


def test_trainings_in_threads():
    def losses(training: Trainer) -> list[float]:
        return [next(training).loss for _ in range(20)]

    alone, found = losses(trainer(language())), list[Any]()
    together = [threading.Thread(target=lambda: found.append(losses(trainer(language())))) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert found == [alone] * 4


def test_a_checkpoint_goes_on_with_the_same_bits():
    whole, half, rest = (trainer(language(layers=2, dropout=0.3)) for _ in range(3))
    losses = [next(whole).loss for _ in range(8)]
    assert [next(half).loss for _ in range(4)] == losses[:4]
    rest.restore(half.checkpoint())
    assert [next(rest).loss for _ in range(4)] == losses[4:]


# --- what goes wrong --------------------------------------------------------------------------------------------------


def failing(training: Trainer, steps: int) -> str:
    for _ in range(steps):
        next(training)
    before = told(training)
    with pytest.raises(elman.ElmanError) as caught:
        next(training)
    assert_same(told(training), before)
    return f"{type(caught.value).__name__}: {caught.value}"


def wrong(part: str, value: Any) -> Batch:
    """A batch of which the last example has a token, or target, that there is none of."""
    found = batch(seed=3)
    getattr(found, part)[-1, -1] = value
    return found


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (wrong("x", V), TokenError),
        (wrong("x", -1), TokenError),
        (wrong("targets", V), TokenError),
        (wrong("targets", -1), TokenError),
        (batch(lengths=np.full(B, T + 1)), elman.ElmanError),
        (batch(lengths=np.ones(2, int)), elman.ElmanError),
    ],
)
def test_errors_are_those_of_the_long_way(bad, kind):
    batches = [batch(), batch(), batch(), bad]
    ours, twin = failing(trainer(language(), batches), 3), failing(long_way(trainer(language(), batches)), 3)
    assert ours == twin
    assert issubclass(getattr(elman, ours.partition(":")[0]), kind)


def test_numbers_that_are_not_finite_tell_where_they_began():
    def diverged(training: Trainer) -> str:
        for _ in range(4):
            next(training)
        wya = np.sign(training.model.parameters["wya"])
        training.model.update({"wya": 3e38 * wya})
        with pytest.raises(DataError) as caught:
            next(training)
        return str(caught.value)

    told = diverged(trainer(language()))
    assert told == diverged(long_way(trainer(language())))
    assert "first in" in told


def test_a_feature_that_is_not_finite_is_refused():
    rng = np.random.default_rng(0)
    good, bad = (Batch(rng.normal(size=(B, T, 3)), rng.random((B, T, 2)), None, True, B * T) for _ in range(2))
    bad.x[2, 3, 1] = np.nan

    def made() -> Trainer:
        layer = elman.RNN(cells.gru, input=3, hidden=H, target="llvm")
        return trainer(Model.from_layers(layer, 2, readout=cells.readout_linear), [good, good, good, bad])

    assert failing(made(), 3) == failing(long_way(made()), 3)


def test_an_interrupt_leaves_the_last_good_parameters(monkeypatch):
    ours, twin = trainer(language()), long_way(trainer(language()))
    for _ in range(4):
        assert next(ours).loss == next(twin).loss

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    before, place = told(ours), ours.source.position()
    with monkeypatch.context() as patch:
        patch.setattr("elman.bindings.HeadBinding.loss", stopped)
        with pytest.raises(KeyboardInterrupt):
            next(ours)
    assert_same(told(ours), before)
    ours.source.seek(place)
    for _ in range(3):
        assert next(ours).loss == next(twin).loss


def weighted(seed: int, weights: Any, lengths: Any = None) -> Batch:
    found = batch(seed=seed, lengths=lengths)
    return Batch(found.x, found.targets, lengths, False, found.symbols, weights=weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_that_come_and_go_and_smoothed_labels(smoothing, dtype):
    rng = np.random.default_rng(8)
    lengths = np.array([T, 3, 0, T - 1, 1])
    batches = [
        weighted(0, rng.random((B, T))),
        weighted(1, None),
        weighted(2, 1e30 * rng.random((B, T))),
        weighted(3, rng.integers(0, 3, (B, T)), lengths),
        weighted(4, None, lengths),
        weighted(5, np.zeros((B, T))),
        weighted(6, None),
        weighted(7, rng.random((B, T)), np.zeros(B, int)),
    ]
    for found in batches:
        if found.lengths is not None:
            found.targets[np.arange(T) >= found.lengths[:, None]] = 0
    made = {"label_smoothing": smoothing, "clip": 0.05}
    assert_twins(lambda: trainer(language(cells.gru, dtype=dtype, layers=2), batches, **made), 18)


def test_weights_of_vectors_that_shares_are_told_of():
    """A sigmoid's targets, smoothed."""
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(B, T, 3)), rng.random((B, T, 4)).round()
    batches = [Batch(x, y, None, False, B * T, weights=weights) for weights in (rng.random((B, T)), None)]

    def made() -> Trainer:
        layer = elman.RNN(cells.gru, input=3, hidden=H, target="llvm", seed=1)
        model = Model.from_layers(layer, 4, readout=cells.readout_sigmoid)
        return trainer(model, batches, label_smoothing=0.1)

    assert_twins(made, 5)


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.ones((B, T + 1)), ShapeError, "weights are"),
        (np.full((B, T), -1.0), DataError, "weight -1 at"),
        (np.full((B, T), np.nan), DataError, "weight nan at"),
        ([["a"]], DataError, "weights hold no numbers"),
    ],
)
def test_weights_that_are_none_are_told_as_the_long_way_does(weights, error, words):
    batches = [weighted(0, None), weighted(1, None), weighted(2, weights), weighted(3, None)]
    ours, twin = (way(trainer(language(), batches)) for way in (lambda given: given, long_way))
    for training in (ours, twin):
        next(training)
        next(training)
    before, said = told(ours), set()
    for training in (ours, twin):
        with pytest.raises(error, match=words) as caught:
            next(training)
        said.add(str(caught.value))
    assert len(said) == 1
    assert_same(told(ours), before)
    for training in (ours, twin):
        training.source.take()  # the one that is none
    for _ in range(3):
        assert next(ours).loss == next(twin).loss
    assert_same(told(ours), told(twin))


@pytest.mark.parametrize("clip_value", [None, 1e-4])
def test_another_optimiser_and_clipping_see_the_same_gradients(clip_value):
    def made() -> Trainer:
        source = Streams(tokens((600,)), B, T, seed=1)
        rule, clip = SGD(momentum=0.9), {"clip": 1e-3, "clip_value": clip_value}
        return Trainer(language(), source, rule, Constant(0.1), steps=100, **clip)

    assert_twins(made)


# --- threads that share a chain -----------------------------------------------------------------------------------------


def kernels(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each run of several programs in a chain how many threads there were, as they come."""
    found, run = list[int](), Calls.run

    def counted(self, order):
        done = run(self, order)
        if len(order) > 1:
            found.append(self.threads if done else -self.threads)
        return done

    monkeypatch.setattr(Calls, "run", counted)
    return found


@pytest.mark.parametrize("count", [2, 3, 4])
def test_threads_have_a_chain_of_their_own(monkeypatch, count):
    ran = kernels(monkeypatch)
    elman.threads(count)
    assert_twins(lambda: trainer(language(layers=2)))
    assert ran == [count] * 5  # all but the first


@pytest.mark.parametrize("rows", [1, 4, 17])
@pytest.mark.parametrize("near", [0, 1 << 22], ids=["lanes", "examples"])
def test_lengths_that_leave_threads_without_examples(monkeypatch, rows, near):
    """Forward by examples or by lanes, back by examples and totals or by lanes: some have none to do."""
    monkeypatch.setattr(sharing, "NEAR", near)
    elman.threads(3)
    batches = [batch(T, rows, seed, lengths=np.array([T] + [seed % 3] * (rows - 1))) for seed in range(4)]
    batches += [batch(T, rows, 9), batch(T, rows, 8, lengths=np.zeros(rows, int))]
    for found in batches:
        if found.lengths is not None:
            found.targets[np.arange(T) >= found.lengths[:, None]] = 0
    assert_twins(lambda: trainer(language(), batches), 18)


def test_a_chain_runs_alone_where_the_crew_is_taken(monkeypatch):
    ran = kernels(monkeypatch)
    elman.threads(2)
    ours, twin = used(trainer(language())), long_way(trainer(language()))
    for _ in range(3):
        next(twin)
    ran.clear()
    with monkeypatch.context() as patch:
        patch.setattr(crew, "run", lambda *_: False)
        assert next(ours).loss == next(twin).loss
    assert ran == [-2, 1]
    with monkeypatch.context() as patch:
        patch.setattr(type(crew), "is_free", False)
        assert next(ours).loss == next(twin).loss
    assert ran == [-2, 1, 1]
    assert next(ours).loss == next(twin).loss
    assert ran[-1] == 2
    assert_same(told(ours), told(twin))


def test_a_chain_leaves_squares_to_numpy_where_that_is_asked_for(monkeypatch):
    monkeypatch.setenv("ELMAN_TARGET", "numpy")
    elman.threads(2)
    ran = kernels(monkeypatch)
    assert_twins(lambda: trainer(language()), 4)
    assert ran == [2] * 3


def test_threads_prove_themselves_unless_they_are_asked_for(monkeypatch):
    """One thread shows how long it takes, then several; what is faster goes on."""
    ran = kernels(monkeypatch)
    monkeypatch.setattr(chain, "ENOUGH", 1)
    monkeypatch.setattr("elman.targets.threads.available", lambda: 2)
    elman.threads(None)
    training = trainer(language())
    for _ in range(8):
        next(training)
    assert ran[0] == 1
    assert 2 in ran


def test_each_thread_has_examples_of_its_own(monkeypatch):
    spans, run = list[Any](), Calls.run

    def noted(self, order):
        done = run(self, order)
        spans.extend(found.rows[:, 0, [stage.FIRST, stage.LAST]].tolist() for found in self._stages)
        return done

    monkeypatch.setattr(Calls, "run", noted)
    elman.threads(3)
    long = batch(T, 9, lengths=np.array([T, T, T, 0, 0, 0, 0, 0, 0]), anew=True)
    long.targets[3:] = 0
    used(trainer(language(), [long]))
    used(trainer(language(), [batch(T, 9)]))
    assert [[0, 1], [1, 2], [2, 9]] in spans
    assert [[0, 3], [3, 6], [6, 9]] in spans


def test_a_chain_that_is_broken_off_before_it_begins_has_not_begun():
    """A worker that has its part already waits for the others; it goes away, and nothing was computed."""
    folder = str(Path(__file__).parent)
    told = subprocess.run(
        [sys.executable, "-c", BROKEN_OFF, folder], check=False, capture_output=True, text=True, timeout=60
    )
    assert told.stdout == "the same bits\n", told.stderr


BROKEN_OFF = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
os.environ["ELMAN_TARGET"] = "llvm"
import elman
from elman.targets.llvm.crew import Worker, crew
from test_rounds import Streams, assert_same, language, long_way, told, tokens, trainer, used

def made():
    found = trainer(language(layers=2))
    found.source = Streams(tokens((6000,)), 16, 9, seed=1)
    return found

elman.threads(3)
ours, twin = used(made()), used(long_way(made()))
give, given = Worker.give, []

def interrupted(self, run, job):
    if given:
        time.sleep(0.01)  # it takes its part
        raise KeyboardInterrupt
    given.append(run)
    give(self, run, job)

before = told(ours)
for _ in range(20):
    given.clear()
    Worker.give = interrupted
    try:
        next(ours)
    except KeyboardInterrupt:
        Worker.give = give
    assert given and crew.is_free
    assert_same(told(ours), before)
ours.source.seek(twin.source.position())
for _ in range(3):
    assert next(ours).loss == next(twin).loss
assert_same(told(ours), told(twin))
print("the same bits")
"""


# --- parameters that layers look up -------------------------------------------------------------------------------------


def test_layers_look_up_what_the_last_update_gave():
    ours, twin = used(trainer(language(layers=2))), long_way(trainer(language(layers=2)))
    for _ in range(3):
        next(twin)
    assert_same(dict(ours.model.parameters), dict(twin.model.parameters))
    assert all(not value.flags.writeable for value in ours.model.parameters.values())
    held = ours._parameters.latest
    assert isinstance(held, Flats)
    with pytest.raises(ValueError, match="read-only"):
        held["0.ui"][0] = 1
    name, value = next(iter(ours.model.parameters.items()))
    ours.model.update({name: value + 1})
    twin.model.update({name: value + 1})
    assert not isinstance(ours._parameters.latest, Flats)
    for _ in range(2):
        assert next(ours).loss == next(twin).loss
    assert_same(told(ours), told(twin))
