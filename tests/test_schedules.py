"""Schedules, early stopping and averaging: against their formulas written out."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest

from elman.errors import DataError, SettingError
from elman.schedules import Averaging, Constant, Cosine, EarlyStopping, Steps, WarmUp, schedule
from elman.train import Settings

# ---------------------------------------------------------------- schedules


def test_a_cosine_falls_as_a_cosine():
    rates = [Cosine(0.3, 7, 0.05)(step) for step in range(10)]
    expected = [0.05 + 0.25 * (1 + math.cos(math.pi * step / 7)) / 2 for step in range(7)]
    assert rates[:7] == pytest.approx(expected, rel=1e-14)
    assert rates[7:] == pytest.approx([0.05] * 3, rel=1e-14)
    assert Cosine(0.3, 7)(7) == 0.0


def test_steps_fall_at_once():
    rates = [Steps(0.8, 3, 0.25)(step) for step in range(8)]
    assert rates == [0.8] * 3 + [0.2] * 3 + [0.05] * 2


def test_a_warm_up_rises_to_another_schedule():
    inner = Steps(0.8, 3, 0.25)
    for step in range(9):
        expected = inner(step) * (step + 1) / 5 if step < 4 else inner(step)
        assert WarmUp(inner, 4)(step) == pytest.approx(expected, rel=1e-14)
        assert WarmUp(inner, 0)(step) == inner(step)


def test_schedules_make_the_rate_of_the_settings():
    settings = Settings(steps=200, rate=0.02, warm_up=15)
    found = schedule("cosine", rate=0.02, steps=200, warm_up=15)
    for step in range(200):
        rate = 0.02 * min(1, (step + 1) / 16) * (0.05 + 0.95 * (1 + math.cos(math.pi * step / 200)) / 2)
        assert settings.rates(step) == pytest.approx(rate, rel=1e-12)
        assert found(step) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", Constant(0.1)),
        ("cosine", Cosine(0.1, 500, 0.005)),
        ("cosine, floor=0", Cosine(0.1, 500, 0.0)),
        ("steps,every=20", Steps(0.1, 20, 0.5)),
        (" steps , factor = 0.25 , every = 1e2", Steps(0.1, 100, 0.25)),
    ],
)
def test_a_schedule_is_read_from_text(text, expected):
    assert schedule(text, 0.1, 500) == expected
    assert schedule(text, 0.1, 500, 30) == WarmUp(expected, 30)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: schedule("linear", 0.1, 5), "there is no schedule 'linear'; schedules are constant, cosine, steps"),
        (lambda: schedule("cosine,every=5", 0.1, 5), "schedule 'cosine,every=5': cosine has no 'every'; it has floor"),
        (lambda: schedule("constant,a=5", 0.1, 5), "schedule 'constant,a=5': constant has no 'a'; it has nothing to set"),
        (lambda: schedule("steps", 0.1, 5), "schedule 'steps': after how many updates? Write steps,every=500"),
        (lambda: schedule("steps,every", 0.1, 5), "schedule 'steps,every': 'every' is not name=number"),
        (lambda: schedule("cosine,floor=nan", 0.1, 5), "schedule 'cosine,floor=nan': 'floor=nan' is not name=number"),
        (lambda: schedule("steps,every=2.5", 0.1, 5), "Steps: every=2.5 must be an integer, 1 or more"),
        (lambda: Cosine(0.01, 10, 0.05), "Cosine: floor=0.05 is a rate too, the last; it must be at most rate=0.01"),
        (lambda: Cosine(0.01, 0), "Cosine: steps=0 must be an integer, 1 or more"),
        (lambda: Constant(0.0), "Constant: rate=0.0 must be a finite number, above 0"),
        (lambda: Steps(0.1, 5, -1), "Steps: factor=-1 must be a finite number, above 0"),
        (lambda: WarmUp(0.1, 5), "WarmUp: 0.1 is no schedule; take one such as Constant(0.01)"),
        (lambda: WarmUp(Constant(1), -1), "WarmUp: steps=-1 must be an integer, 0 or more"),
        (lambda: EarlyStopping(0), "EarlyStopping: patience=0 must be an integer, 1 or more"),
        (lambda: EarlyStopping(3, -0.5), "EarlyStopping: least=-0.5 must be a finite number, 0 or more"),
        (lambda: Averaging(1.5), "Averaging: decay (or 1, the plain mean)=1.5 must be a share, at least 0 and below 1"),
    ],
)
def test_what_is_out_of_range_is_told(make, text):
    with pytest.raises(SettingError) as caught:
        make()
    assert str(caught.value) == text


# ---------------------------------------------------------------- early stopping


def literal_stop(losses, patience, least):
    """After how many losses it stops, and the best; looking back over all of them each time."""
    best, at = None, 0
    for position, loss in enumerate(losses, 1):
        if not math.isnan(loss) and loss < math.inf and (best is None or loss < best - least):
            best, at = loss, position
        if position - at >= patience:
            return position, best
    return None, best


def test_stopping_looks_back_as_far_as_patience():
    rng = np.random.default_rng(0)
    stopped = 0
    for patience, least in itertools.product((1, 2, 4), (0.0, 0.3)):
        for _ in range(20):
            losses = (3 * rng.random(12) + np.linspace(1, 0, 12)).tolist()
            stopping, found = EarlyStopping(patience, least), None
            for position, loss in enumerate(losses, 1):
                before = stopping
                stopping = stopping.seen(loss)
                assert stopping.improved == (stopping.best != before.best)
                if stopping.stop:
                    found = position
                    break
            assert (found, stopping.best) == literal_stop(losses, patience, least)
            stopped += found is not None
    assert 40 < stopped < 120


def test_losses_that_are_none_are_no_better():
    stopping = EarlyStopping(3).seen(math.nan).seen(math.inf)
    assert (stopping.best, stopping.waited, stopping.improved, stopping.stop) == (None, 2, False, False)
    assert stopping.seen(math.nan).stop
    found = stopping.seen(2.0)
    assert (found.best, found.waited, found.improved) == (2.0, 0, True)
    assert found.seen(math.nan).best == 2.0


def test_stopping_goes_through_json():
    for stopping in (EarlyStopping(3, 0.5), EarlyStopping(3, 0.5).seen(np.float32(2.0)).seen(1.8)):
        data = json.loads(json.dumps(dataclasses.asdict(stopping), allow_nan=False))
        assert EarlyStopping(**data) == stopping


# ---------------------------------------------------------------- averaging


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 1.0])
def test_an_average_is_a_plain_mean_that_begins_to_forget(decay):
    rng = np.random.default_rng(1)
    shapes = {"w": (3, 2), "b": (2,), "one": ()}
    seen = [{name: np.asarray(rng.normal(size=shape)) for name, shape in shapes.items()} for _ in range(30)]
    averaging = Averaging(decay)
    memory = averaging.memory(seen[0])
    weights = np.zeros(0)
    for count, p in enumerate(seen):
        before = {name: array.copy() for name, array in memory.items()}
        updated = averaging.update(p, memory)
        assert all((memory[name] == before[name]).all() for name in memory)
        memory = updated
        w = min(decay, count / (count + 1))
        weights = np.append(weights * w, 1 - w)
        assert weights.sum() == pytest.approx(1.0)
        for name, value in averaging.parameters(memory).items():
            expected = sum(share * one[name] for share, one in zip(weights, seen, strict=False))
            np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)
    assert memory["count"] == 30
    if decay == 1:
        np.testing.assert_allclose(averaging.parameters(memory)["w"], np.mean([p["w"] for p in seen], 0), rtol=1e-12)


def test_an_average_keeps_the_type_and_begins_with_the_parameters():
    p = {"w": np.arange(3, dtype=np.float32)}
    memory = Averaging().memory(p)
    assert Averaging().parameters(memory)["w"].tolist() == [0, 1, 2]
    assert not np.shares_memory(memory["average/w"], p["w"])
    assert Averaging().update({"w": np.ones(3)}, memory)["average/w"].dtype == np.float32
    with pytest.raises(DataError) as caught:
        Averaging().update({"u": p["w"]}, memory)
    assert str(caught.value) == "Averaging: the parameters are u, the memory holds average/w"
