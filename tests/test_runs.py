"""Trainings that go on: resumed or not, killed or not, the same bits; signals, full disks and bad files lose nothing."""

import dataclasses
import errno
import gc
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import time

import numpy as np
import pytest

import elman
from elman import RNN, Bidirectional, Model, Stack, Trainer, bias, cell, cells, checkpoints, exp, optim, sqrt, weight
from elman.checkpoints import Shelf
from elman.data import Padded, Streams
from elman.errors import CheckpointError, DataError, MissingLibraryError, SettingError
from elman.io.tensorboard import Events
from elman.journal import Journal, entries
from elman.runs import LOG, Run, facts_of
from elman.schedules import Averaging, Constant, Cosine, EarlyStopping, WarmUp
from elman.train import Settings, evaluate, train
from elman.viz import curves
from test_command import ESCAPE, RHYME, as_seen, command, finish, on_terminal, start

__all__ = ["command"]  # a fixture

SOAK = os.environ.get("ELMAN_SOAK")
KILLS = 50 if SOAK else 12
STEPS = 23


# ---------------------------------------------------------------- trainings


def words(**settings):
    """Streams of tokens through two layers with both kinds of dropout; an epoch has 7 batches."""
    tokens = np.random.default_rng(5).integers(0, 11, 3 * 7 * 6 + 6)
    layers = [RNN(cells.gru, input=11, hidden=6, seed=1, recurrent_dropout=0.2), RNN(cells.lstm, input=6, hidden=5, seed=2)]
    model = Model.from_layers(Stack(layers, dropout=0.3), 11, tokens=True, bptt_truncate=4, seed=3)
    return Trainer(model, Streams(tokens, batch=3, length=6, seed=4), **asked(settings))


def waves(**settings):
    """Padded sequences of features, read once a sequence and in both directions."""
    rng = np.random.default_rng(6)
    x = [rng.normal(size=(int(steps), 3)).astype(np.float32) for steps in rng.integers(1, 9, 17)]
    both = Bidirectional(*(RNN(cells.gru, input=3, hidden=4, seed=seed) for seed in (1, 2)))
    model = Model.from_layers(both, 2, pool="max", seed=3)
    return Trainer(model, Padded(x, rng.integers(0, 2, 17), batch=4, seed=7), **asked(settings))


def asked(settings):
    chosen = {"optimiser": optim.Adam(), "schedule": WarmUp(Cosine(0.05, STEPS), 4), "steps": STEPS, "clip": 0.5, "seed": 8}
    return chosen | settings


RULES = {
    "sgd": optim.SGD(momentum=0.9, nesterov=True),
    "adagrad": optim.Adagrad(),
    "rmsprop": optim.RMSProp(momentum=0.5),
    "adam": optim.Adam(),
    "adamw": optim.AdamW(),
}


def assert_same(found, wanted):
    """Two checkpoints, to the bit."""
    assert found.facts == wanted.facts
    assert found.arrays.keys() == wanted.arrays.keys()
    for name, array in wanted.arrays.items():
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape), name
        assert found.arrays[name].tobytes() == array.tobytes(), name


def told(now):
    """An update without its time."""
    return dataclasses.astuple(dataclasses.replace(now, seconds=0.0))


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("make", [words, waves])
def test_resumed_anywhere_it_ends_with_the_same_bits(make, rule, tmp_path):
    """After the first update, in an epoch, at its end, before the last; each in a trainer that has gone elsewhere."""
    settings = {"optimiser": RULES[rule], "averaging": Averaging(0.9), "clip_value": 0.05 if rule == "sgd" else None}
    whole = make(**settings)
    updates = [told(now) for now in whole]
    whole.save(tmp_path / "whole")
    assert [update[0] for update in updates] == list(range(1, STEPS + 1))
    for stop in (1, 5, 7, 15, STEPS - 1):
        half = make(**settings)
        for _ in range(stop):
            next(half)
        half.save(tmp_path / "half")
        rest = make(**settings)
        for _ in range(3):
            next(rest)
        assert [told(now) for now in rest.resume(tmp_path / "half")] == updates[stop:]
        assert_same(rest.checkpoint(), whole.checkpoint())
        rest.save(tmp_path / "rest")
        assert (tmp_path / "rest").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_file_is_what_was_in_memory(tmp_path):
    trainer = words(averaging=Averaging())
    for _ in range(9):
        next(trainer)
    trainer.save(tmp_path / "file")
    held = trainer.checkpoint()
    assert_same(checkpoints.read(tmp_path / "file"), checkpoints.Checkpoint(held.arrays, json.loads(json.dumps(held.facts))))


@pytest.mark.parametrize("part", ["model", "optimiser", "state", "average", "step", "source", "seed"])
def test_every_part_of_a_checkpoint_is_needed(part):
    """So that the tests above can fail: with one part as at the start, the end is another."""
    averaging = Averaging(0.9)
    whole, half, rest = (words(averaging=averaging) for _ in range(3))
    for _ in whole:
        pass
    for _ in range(9):
        next(half)
    arrays, facts = half.checkpoint()
    first, first_facts = rest.checkpoint()
    if part == "seed":
        rest.seed, facts["settings"]["seed"] = 9, 9
    elif part == "state":
        facts["state"] = None
    elif part in facts and part != "model":
        facts[part] = first_facts[part]
    else:
        arrays |= {name: value for name, value in first.items() if name.startswith(f"{part}.")}
    rest.restore(checkpoints.Checkpoint(arrays, facts))
    rest.steps = rest.step + STEPS - 9
    for _ in rest:
        pass
    ends = rest.checkpoint().arrays, whole.checkpoint().arrays
    assert any(not np.array_equal(ends[0][name], ends[1][name]) for name in ends[1])


def test_threads_change_no_bit():
    pytest.importorskip("llvmlite")
    ends = []
    for count in (1, 2, 3):
        before = elman.threads()
        elman.threads(count)
        try:
            model = Model(40, 70, 8, cells.lstm, seed=1, layers=2, dropout=0.2, target="llvm")
            trainer = train(model, np.random.default_rng(0).integers(0, 40, 4000), Settings(batch=9, length=8, steps=12))
            updates = [told(now) for now in trainer]
            ends.append((updates, {name: p.tobytes() for name, p in model.parameters.items()}))
        finally:
            elman.threads(before)
    assert ends[0] == ends[1] == ends[2]


def test_averages_are_what_is_measured_and_opened(tmp_path):
    trainer = words(averaging=Averaging(1.0))
    seen = []
    for _ in trainer:
        seen.append(dict(trainer.model.parameters))
    own = dict(trainer.model.parameters)
    with trainer.averaged():
        for name, value in trainer.model.parameters.items():
            mean = np.mean([parameters[name].astype(np.float64) for parameters in seen], 0)
            np.testing.assert_allclose(value, mean, rtol=1e-4, atol=1e-6)
            assert not np.array_equal(value, own[name])
        averages = dict(trainer.model.parameters)
    assert all(np.array_equal(value, own[name]) for name, value in trainer.model.parameters.items())
    trainer.save(tmp_path / "file")
    opened = elman.load(tmp_path / "file")
    assert all(np.array_equal(value, averages[name]) for name, value in opened.parameters.items())


def test_a_checkpoint_opens_as_its_model(tmp_path):
    for make, x in ((words, np.arange(11)), (waves, np.ones((5, 3)))):
        trainer = make()
        for _ in range(3):
            next(trainer)
        trainer.save(tmp_path / "file")
        np.testing.assert_array_equal(
            elman.load(tmp_path / "file").loss(x[:-1], *targets_of(trainer, x)), wanted_of(trainer, x)
        )


def targets_of(trainer, x):
    return (x[1:],) if trainer.model.reads_tokens else (1,)


def wanted_of(trainer, x):
    return trainer.model.loss(x[:-1], *targets_of(trainer, x))


# ---------------------------------------------------------------- what does not fit


OTHERS = {
    "steps": (lambda: words(steps=9), "the checkpoint is of a training with steps 23, this one has 9"),
    "clip": (lambda: words(clip=0.25), "the checkpoint is of a training with clip 0.5, this one has 0.25"),
    "seed": (lambda: words(seed=1), "the checkpoint is of a training with seed 8, this one has 1"),
    "optimiser": (lambda: words(optimiser=optim.SGD()), "the checkpoint is of a training with optimiser Adam(...)"),
    "schedule": (lambda: words(schedule=Constant(0.1)), "the checkpoint is of a training with schedule WarmUp(...)"),
    "label smoothing": (
        lambda: words(label_smoothing=0.1),
        "the checkpoint is of a training with label_smoothing None, this one has 0.1",
    ),
    "a rule of one's own": (
        lambda: words(schedule=lambda step: 0.01),
        "the checkpoint is of a training with schedule WarmUp(schedule=Cosine(rate=0.05, steps=23, floor=0.0), steps=4), "
        "this one has another",
    ),
    "clipping by value": (
        lambda: words(clip_value=0.1),
        "the checkpoint is of a training with clip_value None, this one has 0.1",
    ),
    "averaging": (
        lambda: words(averaging=Averaging()),
        "the checkpoint is of a training with averaging None, this one has Averaging(decay=0.999)",
    ),
    "model": (waves, "the checkpoint is of a model with other equations, sizes or vocabulary"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_checkpoint_of_another_training_is_refused(what):
    before = words()
    next(before)
    other, message = OTHERS[what][0](), OTHERS[what][1]
    kept = other.checkpoint()
    with pytest.raises(CheckpointError) as caught:
        other.restore(before.checkpoint())
    start_of, _, _ = message.partition("(...)")
    assert str(caught.value).startswith(start_of)
    assert_same(other.checkpoint(), kept)


def test_the_checkpoint_of_other_data_is_refused():
    before, other = words(), words()
    next(before)
    other.source = Streams(np.arange(300) % 11, batch=3, length=6, seed=4)
    kept = other.checkpoint()
    with pytest.raises(
        CheckpointError, match=r"does not fit this training: Streams: the position is one of .*; go on with the"
    ):
        other.restore(before.checkpoint())
    assert_same(other.checkpoint(), kept)


def test_settings_out_of_range():
    for settings, message in (
        ({"steps": 0}, "steps=0 must be an integer, 1 or more"),
        ({"clip": 0.0}, "clip=0.0 must be a number above 0"),
        ({"clip": None}, "clip=None must be a number above 0"),
        ({"clip_value": 0.0}, "clip_value=0.0 must be a number above 0"),
        ({"clip_value": math.nan}, "clip_value=nan must be a number above 0"),
        ({"clip_value": "1"}, "clip_value='1' must be a number above 0"),
        ({"seed": -1}, "seed=-1 must be an integer, 0 or more"),
        ({"label_smoothing": 1}, "Trainer: label_smoothing=1 must be a share, at least 0 and below 1"),
    ):
        with pytest.raises(SettingError) as caught:
            words(**settings)
        assert str(caught.value) == message


def test_parts_that_are_none_are_refused():
    good = words()
    parts = {"model": good.model, "source": good.source, "optimiser": optim.Adam(), "schedule": Constant(0.1)}
    for given, message in (
        ({"model": RNN(cells.gru, input=1, hidden=1)}, "RNN is no network that is trained so; a Model or an "
         "EncoderDecoder is wanted"),
        ({"source": [1, 2, 3]}, "the source is a list, which gives no batches; elman.data.Streams(...) makes one of a "
         "sequence, Padded(...) of many, Pairs(...) of pairs"),
        ({"optimiser": "adam"}, "optimiser='adam' is none; take one such as elman.optim.Adam()"),
        ({"schedule": 0.1}, "schedule=0.1 is none; take one such as elman.schedules.Constant(0.01)"),
        ({"averaging": 0.9}, "averaging=0.9 is none; take elman.schedules.Averaging(0.999), or None"),
    ):  # fmt: skip
        with pytest.raises(SettingError) as caught:
            Trainer(**parts | given, steps=1)
        assert str(caught.value) == f"Trainer: {message}"


# ---------------------------------------------------------------- damaged files


@pytest.fixture
def saved(tmp_path):
    trainer = words()
    for _ in range(3):
        next(trainer)
    trainer.save(tmp_path / "good")
    return tmp_path / "good"


def test_a_flipped_bit_is_seen_wherever_it_is(saved, tmp_path):
    good, rng = saved.read_bytes(), random.Random(1)
    size = struct.unpack("<Q", good[:8])[0] + 8
    places = {*range(8), *rng.sample(range(8, size), 250), *rng.sample(range(size, len(good)), 150), size - 1, len(good) - 1}
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(CheckpointError):
            checkpoints.read(tmp_path / "bad")


def test_a_file_that_is_cut_off_is_refused(saved, tmp_path):
    good = saved.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(good) // 2, len(good) - 1):
        (tmp_path / "bad").write_bytes(good[:length])
        with pytest.raises(CheckpointError, match="is truncated, damaged or no safetensors file"):
            checkpoints.read(tmp_path / "bad")


def test_files_that_are_no_checkpoint(saved, tmp_path):
    words().model.save(tmp_path / "model")
    (tmp_path / "text").write_text("a checkpoint")
    for name, message in (
        ("nowhere", "there is no such file; a checkpoint is wanted"),
        ("model", "format 'elman model' version 1; 'elman checkpoint' version 1 is wanted"),
        ("text", "is truncated, damaged or no safetensors file"),
        (".", "is a folder"),
    ):
        with pytest.raises(CheckpointError, match=message):
            words().resume(tmp_path / name)
    arrays, facts = checkpoints.read(saved)
    for broken in ({}, {"settings": 3}, facts | {"settings": None}, {n: f for n, f in facts.items() if n != "source"}):
        checkpoints.write(tmp_path / "broken", arrays, broken)
        with pytest.raises(CheckpointError, match=r"the checkpoint holds no training; one that Trainer.save wrote is"):
            words().resume(tmp_path / "broken")
    del arrays["model.wya"]
    checkpoints.write(tmp_path / "lacking", arrays, facts)
    with pytest.raises(CheckpointError, match=r"does not fit this model: wya is missing, wanted: float32 \(11, 5\)"):
        words().resume(tmp_path / "lacking")


# ---------------------------------------------------------------- a run in a folder


def losses(seed=0):
    """What is measured after each look: falls, and then does not."""
    return iter([3.0, 2.0, 2.5, 1.5, 1.75, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2])


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_times(log):
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries(log)]


def test_a_run_keeps_the_last_and_the_best(tmp_path):
    measured = losses()
    with Run(tmp_path, words(), save_every=2, keep=3, measure=lambda: next(measured)) as run:
        kept = [run.shelf.steps for now in run if now.step % 2 == 0 or now.step == STEPS]
    assert kept[:6] == [(2,), (2, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10), (8, 10, 12)]
    assert kept[-1] == (8, 20, 22, 23)
    assert run.best == (8, 1.5)
    assert facts_of(tmp_path) == {}


def test_the_log_is_what_the_updates_told(tmp_path):
    measured = losses()
    with Run(tmp_path, words(), save_every=8, log_every=5, measure=lambda: next(measured)) as run:
        updates = {now.step: now for now in run}
    found = list(entries(tmp_path / LOG))
    assert [entry["step"] for entry in found if "loss" in entry] == [1, 5, 10, 15, 20, 23]
    for entry in found:
        if "loss" in entry:
            now = updates[entry["step"]]
            assert entry == {
                "step": now.step, "loss": now.loss, "bits": now.loss / math.log(2), "norm": now.norm, "rate": now.rate,
                "symbols": now.symbols, "seconds": entry["seconds"],
            }  # fmt: skip
            assert now.rate == WarmUp(Cosine(0.05, STEPS), 4)(now.step - 1)
            assert now.symbols == 18 * now.step
    assert [entry for entry in found if "validation" in entry] == [
        {"step": 8, "validation": 3.0}, {"step": 16, "validation": 2.0}, {"step": 23, "validation": 2.5},
    ]  # fmt: skip
    seconds = [entry["seconds"] for entry in found if "loss" in entry]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("stop", [2, 4, 5, 11, 12, 22])
@pytest.mark.parametrize("damaged", [0, 1])
def test_a_run_goes_on_to_the_same_bits_and_the_same_log(tmp_path, stop, damaged):
    """Stopped without a word; with the last checkpoint damaged, it goes on from the one before."""
    table = [3.0, 2.0, 2.5, 1.5, 1.75, 1.6, 1.7]

    def run_in(name):
        trainer = words()
        measure = lambda: table[(trainer.step - 1) // 4]  # noqa: E731
        settings = {"save_every": 4, "log_every": 3, "keep": 2, "stopping": EarlyStopping(9)}
        return Run(tmp_path / name, trainer, measure=measure, facts={"of": [1, "two"]}, **settings)

    with run_in("whole") as whole:
        for _ in whole:
            pass
    with run_in("killed") as killed:
        for now in killed:
            if now.step == stop:
                break
    with (tmp_path / "killed" / LOG).open("ab") as log:
        log.write(b'{"step": 99, "lo')  # cut off
    (tmp_path / "killed" / ".step-00000004.safetensors.x1y2.part").write_bytes(b"half")
    steps = Shelf(tmp_path / "killed").steps
    good = 0 if stop < 4 else stop // 4 * 4
    assert max(steps, default=0) == good
    if damaged and len(steps) > 1:
        spoil(Shelf(tmp_path / "killed").path(steps[-1]))
        good = steps[-2]
    with run_in("killed") as again:
        assert (again.resumed, len(again.damaged)) == (good, int(damaged and len(steps) > 1))
        assert [now.step for now in again] == list(range(good + 1, STEPS + 1))
    assert_same(again.trainer.checkpoint(), whole.trainer.checkpoint())
    assert (again.best, again.stopping) == (whole.best, whole.stopping)
    ours, theirs = (files_of(tmp_path / name) for name in ("killed", "whole"))
    assert ours.keys() == theirs.keys()
    assert {n: f for n, f in ours.items() if n != LOG} == {n: f for n, f in theirs.items() if n != LOG}
    assert without_times(tmp_path / "killed" / LOG) == without_times(tmp_path / "whole" / LOG)
    with run_in("killed") as ended:
        assert (ended.resumed, ended.ended, list(ended)) == (STEPS, True, [])


def spoil(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 16
    path.write_bytes(data)


def test_without_a_whole_checkpoint_nothing_is_begun_anew(tmp_path):
    """All that was learnt would be lost in silence."""
    with Run(tmp_path, words(), save_every=4) as run:
        for _ in run:
            pass
    before = files_of(tmp_path)
    for step in run.shelf.steps:
        spoil(run.shelf.path(step))
    with pytest.raises(CheckpointError, match=r"none of 3 checkpoints is whole; .*step-00000023.safetensors is damaged"):
        Run(tmp_path, words(), save_every=4)
    assert files_of(tmp_path).keys() == before.keys()
    assert (tmp_path / LOG).read_bytes() == before[LOG]


def test_patience_ends_a_run_and_the_best_is_taken(tmp_path):
    measured, seen = losses(), {}
    trainer = words()
    with Run(tmp_path, trainer, save_every=2, keep=1, measure=lambda: next(measured), stopping=EarlyStopping(3)) as run:
        for now in run:
            seen[now.step] = dict(trainer.model.parameters)
    assert (max(seen), run.ended, run.best) == (14, True, (8, 1.5))
    assert run.take_best() == 8
    for name, value in trainer.model.parameters.items():
        np.testing.assert_array_equal(value, seen[8][name])
        assert not np.array_equal(value, seen[14][name])
    trainer = words()
    with Run(tmp_path, trainer, save_every=2, keep=1, measure=lambda: next(measured), stopping=EarlyStopping(3)) as run:
        assert (run.resumed, run.ended, list(run), run.take_best()) == (14, True, [], 8)


def test_a_measure_that_is_not_finite_is_never_the_best(tmp_path):
    measured = iter([math.nan, math.inf, 2.0, math.nan])
    with Run(tmp_path, words(), save_every=6, measure=lambda: next(measured)) as run:
        for _ in run:
            pass
    assert run.best == (18, 2.0)
    assert [entry["validation"] for entry in entries(tmp_path / LOG) if "validation" in entry] == [None, None, 2.0, None]


def test_a_folder_of_another_run_is_refused(tmp_path):
    with Run(tmp_path / "run", words(), save_every=4, facts={"rate": 0.1}) as run:
        next(iter(run))
        run.save()
    with pytest.raises(CheckpointError, match=r"holds a run that was begun with rate 0.1, not 0.2; take another folder"):
        Run(tmp_path / "run", words(), facts={"rate": 0.2})
    with pytest.raises(CheckpointError, match=r"is of a training with clip 0\.5, this one has 0.1"):
        Run(tmp_path / "run", words(clip=0.1), facts={"rate": 0.1})
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"run\.json is damaged, or not of 'elman run' version 1"):
        Run(tmp_path / "run", words(), facts={"rate": 0.1})
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds checkpoints and no run\.json; take another folder"):
        Run(tmp_path / "run", words(), facts={"rate": 0.1})
    with pytest.raises(SettingError, match="save_every=0 must be a number of updates, 1 or more"):
        Run(tmp_path / "new", words(), save_every=0)
    with pytest.raises(SettingError, match="keep=0 must be a number of checkpoints, 1 or more"):
        Run(tmp_path / "new", words(), keep=0)
    assert not (tmp_path / "new").exists()


def test_a_log_drops_what_comes_after(tmp_path):
    path = tmp_path / "log"
    with Journal(path) as journal:
        for step in (1, 2, 3):
            journal.add({"step": step, "seconds": step / 2})
    with path.open("ab") as file:
        file.write(b"\x00\xff nothing\n" + b'{"step": 2}\n' + b'{"step": 4, "l')
    with pytest.raises(CheckpointError, match="line 4 is none of a log; each is a JSON object with a step"):
        list(entries(path))
    with Journal(path, after=2) as journal:
        assert journal.seconds == 1.0
        journal.add({"step": 5})
    assert [entry["step"] for entry in entries(path)] == [1, 2, 5]


# ---------------------------------------------------------------- the command


TEXT = RHYME * 12
SMALL = ("--hidden", "8", "--batch", "3", "--length", "8", "--layers", "2", "--dropout", "0.2", "--sample-every", "0")


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    return str(tmp_path / "text")


def ends(folder):
    """What a run leaves that tells whether it is the same: its checkpoints, its model, its log."""
    held = {name: data for name, data in files_of(folder).items() if name not in (LOG, "run.json")}
    return held, without_times(folder / LOG)


def test_a_run_is_a_training_whose_progress_is_kept(command, text, tmp_path):
    options = (*SMALL, "--steps", 40, "--save-every", 15)
    done = command("train", text, "--run", tmp_path / "run", *options)
    assert (done.code, done.err) == (0, "")
    plain = command("train", text, "-o", tmp_path / "model", *options)
    assert plain.code == 0
    folder = tmp_path / "run"
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "model").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        "log.jsonl", "model.safetensors", "run.json", "step-00000015.safetensors", "step-00000030.safetensors",
        "step-00000040.safetensors", "tokens.npy",
    ]  # fmt: skip
    model = elman.load(folder / "model.safetensors")
    held = model.vocabulary.encode(TEXT)[-round(len(TEXT) * 0.1) :]
    for step in (15, 30, 40):
        wanted = evaluate(elman.load(Shelf(folder).path(step)), held)
        assert {"step": step, "validation": wanted} in list(entries(folder / LOG))
        assert f"{step:>6}: validation {wanted:.3f} bits per character" in done.lines
    again = command("train", "--resume", folder)
    assert (again.code, again.err) == (0, "")
    assert "going on after update 40" in again.lines
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "model").read_bytes()
    assert command("generate", "-m", Shelf(folder).path(15), "--length", 5, "--prompt", "the").code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(command, text, tmp_path, monkeypatch, number):
    """In the midst of an update that no checkpoint would come after; the update is finished, and kept."""
    options = (*SMALL, "--steps", 30, "--save-every", 11)
    assert command("train", text, "--run", tmp_path / "whole", *options).code == 0
    update = Trainer.__next__

    def stopped(self):
        if self.step == 16:
            signal.raise_signal(number)
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "__next__", stopped)
        done = command("train", text, "--run", tmp_path / "my run", *options)
    assert (done.code, done.err) == (128 + number, "")
    assert done.lines[-1] == f"stopped after 17 of 30 updates; to go on: elman train --resume '{tmp_path}/my run'"
    assert Shelf(tmp_path / "my run").steps == (11, 17)
    assert not (tmp_path / "my run" / "model.safetensors").exists()
    done = command("train", "--resume", tmp_path / "my run")
    assert (done.code, done.err) == (0, "")
    ours, theirs = ends(tmp_path / "my run"), ends(tmp_path / "whole")
    assert ours[1] == theirs[1]
    assert {name: ours[0][name] for name in ours[0] if "17" not in name} == {
        name: data for name, data in theirs[0].items() if name in ours[0]
    }
    assert "model.safetensors" in ours[0]


def test_patience_saves_the_best(command, text, tmp_path):
    """At a rate that is far too high the first look is the best."""
    options = (*SMALL, "--steps", 400, "--save-every", 5, "--keep", 1, "--patience", 3, "--rate", 3, "--clip", 100)
    done = command("train", text, "--run", tmp_path / "run", *options)
    assert (done.code, done.err) == (0, "")
    measured = {entry["step"]: entry["validation"] for entry in entries(tmp_path / "run" / LOG) if "validation" in entry}
    best = min(measured, key=measured.get)
    assert max(measured) == best + 15 < 400
    assert f"{max(measured)} updates; the weights that validated best are of update {best}" in done.lines
    kept = elman.load(tmp_path / "run" / "model.safetensors").parameters
    for name, value in elman.load(Shelf(tmp_path / "run").path(best)).parameters.items():
        np.testing.assert_array_equal(kept[name], value)


KEPT = {
    "--average": 0.9, "--weight-decay": 0.1, "--clip-value": 0.02, "--label-smoothing": 0.1, "--recurrent-dropout": 0.2,
    "--warm-up": 3, "--optimiser": "rmsprop", "--momentum": 0.5, "--truncate": 4, "--recompute": None,
}  # fmt: skip


def test_a_run_with_all_that_keeps_from_overfitting_goes_on_to_the_same_bits(command, text, tmp_path, monkeypatch):
    """And what is validated, best and saved is the average; the options are those of the folder, and no others."""
    given = [str(part) for pair in KEPT.items() for part in pair if part is not None]
    options = (*SMALL, "--steps", 30, "--save-every", 10, *given)
    assert command("train", text, "--run", tmp_path / "whole", *options).code == 0
    update = Trainer.__next__

    def stopped(self):
        if self.step == 16:
            signal.raise_signal(signal.SIGINT)
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "__next__", stopped)
        assert command("train", text, "--run", tmp_path / "half", *options).code == 130
    for option, value in KEPT.items():
        done = command("train", "--resume", tmp_path / "half", option, *([] if value is None else [value]))
        wrong = f"{option} is as the run was begun with; leave it out, or begin another run"
        assert (done.code, done.err) == (2, f"elman: --resume {tmp_path}/half: {wrong}\n")
    assert command("train", "--resume", tmp_path / "half").code == 0
    (ours, log), (theirs, wanted) = ends(tmp_path / "half"), ends(tmp_path / "whole")
    assert log == wanted
    assert ours["model.safetensors"] == theirs["model.safetensors"]
    assert ours["step-00000030.safetensors"] == theirs["step-00000030.safetensors"]
    model = elman.load(tmp_path / "whole" / "model.safetensors")
    arrays = checkpoints.read(Shelf(tmp_path / "whole").path(30)).arrays
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, arrays[f"average.average/{name}"])
        assert not np.array_equal(value, arrays[f"model.{name}"]), name
    held = model.vocabulary.encode(TEXT)[-round(len(TEXT) * 0.1) :]
    told = [entry for entry in entries(tmp_path / "whole" / LOG) if "validation" in entry]
    assert told[-1] == {"step": 30, "validation": evaluate(model, held)}


def test_a_run_that_was_begun_before_there_were_these_options_goes_on(command, text, tmp_path):
    """Its folder tells of none of them, and of --truncate as a number."""
    folder = tmp_path / "run"
    assert command("train", text, "--run", folder, *SMALL, "--steps", 4, "--truncate", 5).code == 0
    held = json.loads((folder / "run.json").read_text())
    for option in KEPT:
        if option != "--optimiser":
            del held["facts"][option.removeprefix("--").replace("-", "_")]
    held["facts"]["truncate"] = 5
    (folder / "run.json").write_text(json.dumps(held))
    before = (folder / "model.safetensors").read_bytes()
    done = command("train", "--resume", folder)
    assert (done.code, done.err) == (0, "")
    assert (folder / "model.safetensors").read_bytes() == before


def test_patience_with_an_average_saves_the_best_of_the_averages(command, text, tmp_path):
    options = (*SMALL, "--steps", 400, "--save-every", 5, "--keep", 1, "--patience", 3, "--rate", 3, "--clip", 100)
    done = command("train", text, "--run", tmp_path / "run", *options, "--average", 0.5)
    assert (done.code, done.err) == (0, "")
    measured = {entry["step"]: entry["validation"] for entry in entries(tmp_path / "run" / LOG) if "validation" in entry}
    best = min(measured, key=measured.get)
    assert best < max(measured) < 400
    model = elman.load(tmp_path / "run" / "model.safetensors")
    arrays = checkpoints.read(Shelf(tmp_path / "run").path(best)).arrays
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, arrays[f"average.average/{name}"])
    held = model.vocabulary.encode(TEXT)[-round(len(TEXT) * 0.1) :]
    assert evaluate(model, held) == measured[best]


def test_a_run_in_a_folder_of_the_text_is_refused_where_it_would_be_read(command, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text(200 * "a run of its own. ")
    for run in (folder, folder / "deep" / "run"):
        told = command("train", folder, "--run", run, *SMALL, "--steps", 2)
        assert told.code == 2
        why = "which is read as text, as what it writes would be when it goes on"
        assert told.err == f"elman: --run {run} is in {folder}, {why}; name a folder elsewhere\n"
        assert [path.name for path in folder.iterdir()] == ["a.txt"]
    for run, more in ((folder / ".run", ()), (folder / "run", ("--suffix", ".txt")), (tmp_path / "beside", ())):
        assert command("train", folder, "--run", run, *SMALL, "--steps", 2, *more).code == 0
        [last] = run.glob("step-*2.safetensors")
        last.unlink()
        assert command("train", "--resume", run).code == 0


def test_a_run_that_goes_on_takes_its_options_from_its_folder(command, text, tmp_path):
    folder = tmp_path / "run"
    assert command("train", text, "--run", folder, *SMALL, "--steps", 4).code == 0
    done = command("train", text, "--run", folder, *SMALL, "--steps", 4)
    assert (
        done.err
        == f"elman: --run {folder}: there is a run in it; --resume {folder} goes on with it, another folder begins anew\n"
    )
    for option, value in (("--rate", 0.1), ("--steps", 9), ("--patience", 2), ("--save-every", 3)):
        done = command("train", "--resume", folder, option, value)
        assert done.err == (
            f"elman: --resume {folder}: {option} is as the run was begun with; leave it out, or begin another run\n"
        )
    (tmp_path / "text").rename(tmp_path / "moved")
    assert command("train", "--resume", folder).err == f"elman: {text}: no such file\n"
    assert command("train", tmp_path / "moved", "--resume", folder, "-o", tmp_path / "model", "--keep", 1).code == 0
    assert (tmp_path / "model").read_bytes() == (folder / "model.safetensors").read_bytes()
    (tmp_path / "moved").write_text(TEXT[::-1])
    done = command("train", tmp_path / "moved", "--resume", folder)
    assert done.code == 2
    assert f"elman: --resume {folder}: the run was begun with another text of 1,080 bytes (sha256 " in done.err


def test_two_at_a_time_in_one_folder_are_refused(command, text, tmp_path):
    process = start("train", text, "--run", str(tmp_path / "run"), *SMALL, "--steps", "100000000")
    try:
        while b"1/100000000" not in process.stdout.readline():
            assert process.poll() is None
        done = command("train", "--resume", tmp_path / "run")
        assert done.err == f"elman: {tmp_path}/run: another training goes on in this folder; wait for its end\n"
        process.send_signal(signal.SIGTERM)
        stopped = finish(process)
        assert (stopped.code, stopped.err) == (143, "")
    finally:
        process.kill()


# ---------------------------------------------------------------- killed


def run_until(moment, *arguments):
    """Run the command until a moment, and kill it then; whether it ended by itself before."""
    process = start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    moment(process)
    process.kill()
    done = finish(process)
    assert (done.code, done.err) in ((0, ""), (-signal.SIGKILL, ""))
    return done.code == 0


def to_the_end(process):
    process.wait(timeout=120)


def some_time_after(step, folder, seconds):
    """A moment so long after there is a checkpoint beyond a step; or so long after the start, where `step` is None."""

    def moment(process):
        while step is not None and process.poll() is None and max(Shelf(folder).steps, default=0) <= step:
            time.sleep(0.005)
        time.sleep(seconds)

    return moment


def test_killed_at_random_moments_it_ends_with_the_same_bits(text, tmp_path):
    """SIGKILL, `KILLS` times: as it starts, in updates, and while it writes, which it does after every fifth update."""
    rng, folder, kills = random.Random(7), tmp_path / "run", 0
    options = (*SMALL, "--steps", str(50 * KILLS), "--save-every", "5", "--keep", "2")
    assert run_until(to_the_end, "train", text, "--run", str(tmp_path / "whole"), *options)
    while kills < KILLS:
        begun = ("--resume", str(folder)) if (folder / "run.json").exists() else (text, "--run", str(folder), *options)
        last = max(Shelf(folder).steps, default=0)
        at_start = kills % 4 == 3
        moment = some_time_after(None if at_start else last, folder, rng.random() * (0.8 if at_start else 0.2))
        if run_until(moment, "train", *begun):
            assert ends(folder) == ends(tmp_path / "whole")
            shutil.rmtree(folder)
        else:
            kills += 1
            assert at_start or max(Shelf(folder).steps) > last
    assert run_until(to_the_end, "train", "--resume", str(folder))
    assert ends(folder) == ends(tmp_path / "whole")


# ---------------------------------------------------------------- no room


def goes_on_after(done, command, folder, whole, message):
    """A command that has no room told it in one line, and what it left goes on to the same bits."""
    last = max(Shelf(folder).steps)
    assert done.code == 2
    stays = f"; the checkpoint of update {last:,} in {folder} stays"
    assert (done.err.count("\n"), done.err.startswith(f"elman: {folder}/"), message in done.err, stays in done.err) == (
        1,
        *[True] * 3,
    )
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    checkpoints.read(Shelf(folder).path(last))
    again = command("train", "--resume", folder)
    assert (again.code, again.err) == (0, "")
    assert f"going on after update {last:,}" in again.lines
    ours, theirs = ends(folder), ends(whole)
    assert ours[1] == theirs[1]
    assert ours[0]["model.safetensors"] == theirs[0]["model.safetensors"]


@pytest.mark.parametrize("where", ["checkpoint", "log", "rename"])
def test_a_full_disk_loses_nothing(command, text, tmp_path, monkeypatch, where):
    """The system says that there is no room, at any place where it can."""
    options = (*SMALL, "--steps", 40, "--save-every", 10)
    assert command("train", text, "--run", tmp_path / "whole", *options).code == 0
    count = itertools.count()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def later(call, at):
        return lambda *given: full() if next(count) >= at else call(*given)

    with monkeypatch.context() as patch:
        if where == "log":
            add = Journal.add
            patch.setattr(Journal, "add", lambda log, entry: log._asked(full) if next(count) >= 5 else add(log, entry))
        else:
            patch.setattr(
                os, *{"checkpoint": ("fsync", later(os.fsync, 13)), "rename": ("replace", later(os.replace, 6))}[where]
            )
        done = command("train", text, "--run", tmp_path / "run", *options)
    goes_on_after(done, command, tmp_path / "run", tmp_path / "whole", "cannot be written: No space left on device")


@pytest.mark.parametrize("where", ["checkpoint", "log"])
def test_a_write_that_ends_in_the_midst_loses_nothing(command, text, tmp_path, monkeypatch, where):
    """A real one: files may be no larger than so much, while a checkpoint is written, or a line of the log."""
    resource = pytest.importorskip("resource")
    options = (*SMALL, "--steps", 40, "--save-every", 10)
    assert command("train", text, "--run", tmp_path / "whole", *options).code == 0
    put, add, (soft, hard) = Shelf.put, Journal.add, resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(size, call):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            return call()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def put_limited(self, step, *given, **more):
        size = 9000 if step == 30 else soft
        return limited(size, lambda: put(self, step, *given, **more))

    def add_limited(self, entry):
        size = self.path.stat().st_size + 40 if entry["step"] == 30 else soft
        return limited(size, lambda: add(self, entry))

    assert Shelf(tmp_path / "whole").path(30).stat().st_size > 18000
    with monkeypatch.context() as patch:
        patch.setattr(*((Shelf, "put", put_limited) if where == "checkpoint" else (Journal, "add", add_limited)))
        done = command("train", text, "--run", tmp_path / "run", *options)
    log = (tmp_path / "run" / LOG).read_bytes()
    assert log.endswith(b"}\n")  # the line that did not fit is gone, all of it
    assert json.loads(log.splitlines()[-1])["step"] == (30 if where == "checkpoint" else 20)
    goes_on_after(done, command, tmp_path / "run", tmp_path / "whole", "cannot be written: File too large")


@pytest.fixture
def tiny(tmp_path):
    """A disk of 600 kB; a file system in memory, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    try:
        able = subprocess.run(mounted, capture_output=True, check=False).returncode == 0
    except OSError:
        able = False
    if not able:
        pytest.skip("no file system may be mounted")
    yield disk
    gc.collect()  # what a command raised here goes round with its frame, which holds the map of the tokens
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_loses_nothing(command, text, tmp_path, tiny):
    """Something else fills it, until there is no room for one more checkpoint; then there is room again."""
    options = (*SMALL, "--steps", 60, "--save-every", 10)
    assert command("train", text, "--run", tmp_path / "whole", *options).code == 0
    size = Shelf(tmp_path / "whole").path(60).stat().st_size
    other, put = tiny / "other", Shelf.put

    def filling(self, step, *given, **more):
        if step == 30:
            other.write_bytes(bytes(os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_bsize - size // 2))
        return put(self, step, *given, **more)

    Shelf.put = filling
    try:
        done = command("train", text, "--run", tiny / "run", *options)
    finally:
        Shelf.put = put
    assert Shelf(tiny / "run").steps == (10, 20)
    other.unlink()
    goes_on_after(done, command, tiny / "run", tmp_path / "whole", "cannot be written: No space left on device")


# ---------------------------------------------------------------- numbers that are not finite


@cell
def exploding(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden"), b=bias("hidden")):
    """A cell with values that can leave all bounds, each by itself."""
    z = w @ x + u @ h + b
    wide = exp(z)
    narrow = wide / (wide + 1.0)
    return narrow


@cell
def rooted(x, h, *, w=weight("hidden", "input"), u=weight("hidden", "hidden")):
    """Its slope at zero is infinite, its value is not."""
    s = w @ x + u @ h
    return sqrt(s * s)


def batch_of_one_kind(tokens, targets, lengths=None):
    """A source that always gives the same."""

    class Same:
        epoch, steps_per_epoch = 0, 1

        def take(self):
            from elman.data import Batch

            return Batch(tokens, targets, lengths, True, tokens.shape[0] * tokens.shape[1])

        def position(self):
            return {}

        def seek(self, position):
            pass

    return Same()


def failing_update(model, tokens, targets, lengths=None, rate=0.01, clip=1e30):
    source = batch_of_one_kind(tokens, targets, lengths)
    trainer = Trainer(model, source, optim.SGD(), Constant(rate), steps=9, clip=clip, seed=3)
    before = {name: p.tobytes() for name, p in model.parameters.items()}
    with pytest.raises(DataError) as caught:
        next(trainer)
    assert {name: p.tobytes() for name, p in model.parameters.items()} == before
    assert trainer.step == 0
    found = str(caught.value)
    assert found.startswith("train: at update 1 the numbers leave all bounds (loss ")
    return found.partition("; ")[2].partition(");")[0]


def stacked(dropout=0.0):
    """Layer 1 is the cell that can leave all bounds; token 6 of 7 leads it there where all of it is let through."""
    below = RNN(cells.elman, input=7, hidden=4, seed=1)
    above = RNN(exploding, input=4, hidden=3, seed=2)
    w, waa = np.zeros((4, 7)), np.zeros((4, 4))
    w[:, 6] = 20.0  # tanh of which is 1
    below.update({"wax": w, "waa": waa})
    above.update({"w": np.array([[1, 1, 1, 1], [30, 30, 30, 30], [0, 0, 0, 1]]), "u": np.zeros((3, 3))})
    return Model.from_layers(Stack([below, above], dropout=dropout), 7, tokens=True, bptt_truncate=None, seed=4)


@pytest.mark.parametrize(("example", "step"), [(0, 0), (2, 4), (1, 8)])
def test_the_first_value_that_is_not_finite_is_named(example, step):
    tokens = np.random.default_rng(0).integers(0, 6, (3, 9))
    tokens[example, step] = 6
    tokens[:, step + 1 :] = 6  # there it is infinite too
    others = [e for e in range(3) if e != example and step < 8]
    found = failing_update(stacked(), tokens, np.zeros((3, 9), int))
    assert found == f"first in 1.wide, which is inf at step {step} of example {example}, counted from 0", others


def test_it_is_named_where_dropout_lets_it_through():
    """The update is run again with the same noise: with all of four let through at half, z is 2 * 4 * 30."""
    tokens = np.full((1, 40), 6)
    found = failing_update(stacked(0.5), tokens, np.zeros((1, 40), int))
    noise = int(np.random.SeedSequence((3, 0)).generate_state(1)[0])
    kept = (np.random.default_rng(noise).random((40, 1, 4)) < 0.5).sum((1, 2))  # [T, B, H]
    first = int(np.flatnonzero(2.0 * 30.0 * kept > 88.7)[0])
    assert found == f"first in 1.wide, which is inf at step {first} of example 0, counted from 0"
    assert kept[0] < 2 or first == 0


def test_backwards_the_last_step_is_the_first():
    ahead, behind = (RNN(exploding, input=2, hidden=2, seed=seed) for seed in (1, 2))
    ahead.update({"w": np.zeros((2, 2))})
    behind.update({"w": np.full((2, 2), 50.0), "u": np.zeros((2, 2))})
    model = Model.from_layers(Bidirectional(ahead, behind), 2, pool="last")
    x = np.full((2, 7, 2), -1.0, np.float32)
    x[1, [2, 5]] = 1.0
    assert failing_update(model, x, np.array([0, 1])) == (
        "first in backward.wide, which is inf at step 5 of example 1, counted from 0"
    )


def test_a_layer_alone_is_told_by_its_steps():
    """Also where the model reads once a sequence; and of two values of a step that which comes first in the equations."""
    layer = RNN(exploding, input=2, hidden=2, seed=1)
    layer.update({"w": np.full((2, 2), 50.0), "u": np.zeros((2, 2))})
    x = np.full((2, 7, 2), -1.0, np.float32)
    x[1, [2, 5]] = 1.0
    model = Model.from_layers(layer, 2, pool="last")
    assert failing_update(model, x, np.array([0, 1])) == "first in wide, which is inf at step 2 of example 1, counted from 0"


def test_padding_is_not_blamed():
    tokens = np.zeros((2, 5), int)
    tokens[0, 2:], tokens[1, 4] = 6, 6
    found = failing_update(stacked(), tokens, np.zeros((2, 5), int), lengths=np.array([2, 5]))
    assert found == "first in 1.wide, which is inf at step 4 of example 1, counted from 0"


def test_a_read_out_is_named_last():
    model = Model(5, 3, None, seed=1)
    model.update({"by": np.array([0, 0, 3e38, 0, 0]), "wya": np.full((5, 3), 3e38), "ba": [9.0, 9.0, 9.0]})
    found = failing_update(model, np.ones((2, 4), int), np.zeros((2, 4), int))
    assert found.startswith("first in ")
    assert found.endswith("is inf at step 0 of example 0, counted from 0")
    assert found.split()[2].rstrip(",") in ("mulya", "logits")
    reads_once = Model.from_layers(RNN(cells.gru, input=2, hidden=2), 2, pool="last")
    reads_once.update({"wya": np.full((2, 2), 3e38), "by": [3e38, 0]})
    x = np.full((3, 4, 2), 9.0, np.float32)
    reads_once.update({name: np.full_like(p, 9.0) for name, p in reads_once.parameters.items() if name not in ("wya", "by")})
    reads_once.update({"wr": np.zeros((2, 2)), "wz": np.full((2, 2), -9.0), "bz": [-9.0, -9.0], "uz": np.zeros((2, 2))})
    assert failing_update(reads_once, x, np.array([0, 1, 1])).endswith("is inf at example 0, counted from 0")


def test_a_gradient_is_named_where_all_values_are_finite():
    model = Model.from_layers(RNN(rooted, input=7, hidden=3, seed=1), 7, tokens=True)
    w = np.array(model.parameters["w"])
    w[1, 4] = 0.0
    model.update({"w": w, "u": np.zeros((3, 3))})
    assert failing_update(model, np.full((2, 3), 4), np.ones((2, 3), int)) == "first in the gradient of w"


def test_a_new_parameter_is_named_where_all_gradients_are_finite():
    model = Model(5, 3, None, seed=1)
    assert failing_update(model, np.ones((2, 3), int), np.ones((2, 3), int), rate=1e300) == "first in the new wax"


def test_a_run_that_diverges_leaves_its_last_good_weights(command, text, tmp_path):
    """A rate that grows a hundredfold with each update."""
    growing = ("--rate", 1e-20, "--schedule", "steps,every=1,factor=100", "--clip", 1e30, "--optimiser", "sgd")
    done = command("train", text, "--run", tmp_path / "run", *SMALL, "--steps", 90, "--save-every", 4, *growing)
    last = max(Shelf(tmp_path / "run").steps)
    assert (done.code, done.err.count("\n")) == (2, 1)
    step = int(re.match(r"elman: train: at update (\d+) the numbers leave all bounds \(loss ", done.err)[1])
    assert 8 <= last < step <= last + 4
    assert done.err.endswith(f"; the checkpoint of update {last} in {tmp_path}/run stays\n")
    assert all(np.isfinite(p).all() for p in elman.load(Shelf(tmp_path / "run").path(last)).parameters.values())
    assert not (tmp_path / "run" / "model.safetensors").exists()


# ---------------------------------------------------------------- watching


def test_a_bar_of_eighty_columns(text, tmp_path):
    """A live one: the loss, the norm, the speed, the time left; each validation in a line of its own."""
    options = (*SMALL, "--steps", "400", "--save-every", "150", "--run", str(tmp_path / "run"))
    done = on_terminal("train", text, *options)
    assert done.code == 0
    lines = as_seen(done.out)
    bars = [line for line in lines if "━" in line]
    assert re.fullmatch(r"━+ 400/400 \d\.\d{3} bits/char  norm \d\S*  [\d,]+ symbols/s  0:00:00 left *", bars[-1])
    assert len({line.partition(" ")[2] for line in bars}) > 1
    looks = [line.strip() for line in lines if re.match(r" +\d+: validation", line)]
    assert [look.partition(":")[0] for look in looks] == ["150", "300", "400"]
    assert max(map(len, lines)) <= 80
    assert max(len(line) for line in bars) <= 79
    assert "\x1b" not in ESCAPE.sub("", done.out)


def test_ctrl_c_on_a_terminal_says_how_to_go_on(text, tmp_path):
    options = (*SMALL, "--steps", "100000000", "--run", str(tmp_path / "run"))
    done = on_terminal("train", text, *options, until=b"symbols/s")
    assert done.code == 130
    flowing = " ".join(" ".join(as_seen(done.out)).split())
    [(updates, folder)] = re.findall(
        r"stopped after (\S+) of 100,000,000 updates; to go on: elman train --resume (\S+)", flowing
    )
    assert Shelf(tmp_path / "run").steps == (int(updates.replace(",", "")),)
    assert folder in (str(tmp_path / "run"), str(tmp_path / "run")[: len(folder)])
    assert "Traceback" not in done.out


def log_of(folder, seed, count=60):
    """A log whose curves are known."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    steps = np.arange(1, count + 1) * 10
    bits = 4.0 * np.exp(-steps / 200.0) + 1.5 + seed / 5 + rng.normal(size=count) * 0.1
    norms = np.exp(rng.normal(size=count))
    with Journal(folder / LOG) as journal:
        for step, bit, norm in zip(steps.tolist(), bits.tolist(), norms.tolist(), strict=True):
            journal.add({"step": step, "loss": bit * math.log(2), "bits": bit, "norm": norm, "seconds": 1.0})
            if step % 100 == 0:
                journal.add({"step": step, "validation": bit + 0.2 if step != 300 else None})
    return steps, bits, norms


def test_curves_are_those_of_the_log(tmp_path):
    steps, bits, norms = log_of(tmp_path / "a", 1)
    found = curves.read(tmp_path / "a" / LOG, "a")
    np.testing.assert_array_equal(found.steps, steps)
    np.testing.assert_array_equal(found.bits, bits)
    np.testing.assert_array_equal(found.norms, norms)
    np.testing.assert_array_equal(found.measured, [100, 200, 400, 500, 600])
    np.testing.assert_array_equal(found.validation, bits[[9, 19, 39, 49, 59]] + 0.2)


def literally_smoothed(values, reach):
    found = []
    for place in range(len(values)):
        each = min(reach, place, len(values) - 1 - place)
        found.append(sum(values[place - each : place + each + 1]) / (2 * each + 1))
    return found


def test_plot_draws_one_run_or_several(command, tmp_path):
    figures = pytest.importorskip("matplotlib.figure")
    drawn = []
    save = figures.Figure.savefig

    def kept(figure, *given, **more):
        drawn.append(figure)
        return save(figure, *given, **more)

    data = {name: log_of(tmp_path / name, seed) for seed, name in enumerate(("one", "two"))}
    figures.Figure.savefig = kept
    try:
        for output, head in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
            done = command("plot", tmp_path / "one", tmp_path / "two" / LOG, "-o", tmp_path / output)
            assert (done.code, done.err) == (0, "")
            assert done.out == f"saved {tmp_path}/{output}: 2 runs, 600 updates\n"
            assert (tmp_path / output).read_bytes().startswith(head)
    finally:
        figures.Figure.savefig = save
    above, below = drawn[0].axes
    assert [text.get_text() for text in above.get_legend().get_texts()] == [
        "one: training", "one: validation", "two: training", "two: validation"
    ]  # fmt: skip
    for place, (steps, bits, norms) in enumerate(data.values()):
        raw, smooth, looks = above.lines[3 * place : 3 * place + 3]
        np.testing.assert_array_equal(raw.get_xydata(), np.stack([steps, bits], 1))
        np.testing.assert_allclose(smooth.get_ydata(), literally_smoothed(bits, 2), rtol=1e-12)
        assert len(looks.get_xdata()) == 5
        np.testing.assert_array_equal(below.lines[place].get_xydata(), np.stack([steps, norms], 1))


def test_plot_without_matplotlib(command, tmp_path, monkeypatch):
    import sys

    log_of(tmp_path / "a", 0)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = command("plot", tmp_path / "a", "-o", tmp_path / "a.png")
    assert done.err == 'elman: elman plot needs the library matplotlib: pip install "elman[plot]"\n'
    assert not (tmp_path / "a.png").exists()


def scalars(folder):
    """What event files tell, in the order of time: (name, step, value); read as TensorBoard's format has it."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            [size] = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + size :]
    return found


def test_event_files_tell_what_the_log_does(command, text, tmp_path):
    pytest.importorskip("tensorboardX")
    options = (*SMALL, "--steps", 40, "--save-every", 15, "--tensorboard", tmp_path / "events")
    assert command("train", text, "--run", tmp_path / "run", *options).code == 0
    told = {(name, step): value for name, step, value in scalars(tmp_path / "events")}
    wanted = {
        (name, entry["step"]): value
        for entry in entries(tmp_path / "run" / LOG)
        for name, value in entry.items()
        if name not in ("step", "seconds")
    }
    assert told.keys() == wanted.keys()
    for key, value in wanted.items():
        assert told[key] == pytest.approx(value, rel=1e-6), key


def test_event_files_without_their_library(command, text, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    done = command("train", text, "--run", tmp_path / "run", *SMALL, "--tensorboard", tmp_path / "events")
    assert done.err == 'elman: --tensorboard needs the library tensorboardX: pip install "elman[tensorboard]"\n'
    with pytest.raises(MissingLibraryError):
        Events(tmp_path)
