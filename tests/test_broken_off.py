"""Trainings that are broken off amid an update, and runs whose text, folder or settings are no longer the same."""

import errno
import json
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from elman import checkpoints, locks, optim
from elman.checkpoints import Shelf
from elman.errors import CheckpointError, DataError, ModelFileError, SettingError
from elman.journal import Journal, entries
from elman.losses import network_of
from elman.runs import LOG, Run, facts_of
from elman.schedules import Averaging, EarlyStopping
from elman.viz import curves
from test_command import command
from test_pairs import drawing, labelling, reversing
from test_runs import SMALL, TEXT, assert_same, told, waves, words

__all__ = ["command"]  # a fixture


# ---------------------------------------------------------------- amid an update

MOMENTS = {
    "a batch is taken": ("source", "take"),
    "the rate is asked for": (None, "schedule"),
    "parameters are made": ("optimiser", "update"),
    "they are averaged": ("averaging", "update"),
    "the model gets them": ("_parameters", "take"),
    "the last of the layers gets its own": ("readout", "_hold"),
}


class Breaking:
    """Stands for an object, and breaks a call off once it is done."""

    def __init__(self, whole, name):
        self._whole, self._name, self.left = whole, name, 1

    def __getattr__(self, name):
        found = getattr(self._whole, name)
        return self._broken(found) if name == self._name else found

    def __call__(self, *arguments):
        return self._broken(self._whole)(*arguments)

    def _broken(self, action):
        def run(*arguments, **settings):
            done = action(*arguments, **settings)
            if self.left:
                self.left = 0
                raise KeyboardInterrupt
            return done

        return run


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("make", [words, waves, reversing, drawing, labelling])
def test_an_update_that_is_broken_off_has_not_been(make, moment, monkeypatch):
    """Ctrl-C in a loop of one's own: what is saved then, or goes on, has the bits of a training that never stopped."""
    owner, name = MOMENTS[moment]
    whole, trainer, rest = (make(averaging=Averaging(0.9)) for _ in range(3))
    updates = [told(now) for now in whole]
    for _ in range(5):
        next(trainer)
    before = trainer.checkpoint()
    with monkeypatch.context() as patch:
        if owner == "readout":
            layer = network_of(trainer.model).readout
            patch.setattr(layer, name, Breaking(layer, name)._broken(layer._hold))
        else:
            attribute = owner or name
            patch.setattr(trainer, attribute, Breaking(getattr(trainer, attribute), name))
        with pytest.raises(KeyboardInterrupt):
            next(trainer)
    assert_same(trainer.checkpoint(), before)
    rest.restore(trainer.checkpoint())
    for again in (trainer, rest):
        assert [told(now) for now in again] == updates[5:]
        assert_same(again.checkpoint(), whole.checkpoint())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such clock")
def test_a_training_that_is_broken_off_many_times_ends_with_the_same_bits():
    """By a signal at any moment, wherever Python looks for one."""
    whole, trainer = (words(steps=300, averaging=Averaging()) for _ in range(2))
    made = [*whole]
    updates = [told(now) for now in made]
    each = min(then.seconds - now.seconds for now, then in pairwise(made))  # whatever else kept the machine busy
    rng, inside, hits, stuck = Random(3), [], 0, 0

    def interrupt(*_):
        if inside:
            inside.clear()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while trainer.step < trainer.steps:
            step = trainer.step
            try:
                inside.append(True)
                updates_long = (0.3 + 2 * rng.random()) * (1 + stuck)  # so that a slow machine comes to an end
                signal.setitimer(signal.ITIMER_REAL, updates_long * each)
                for now in trainer:
                    assert told(now) == updates[now.step - 1]
                inside.clear()
            except KeyboardInterrupt:
                hits += 1
            stuck = 0 if trainer.step > step else stuck + 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits > 30
    assert_same(trainer.checkpoint(), whole.checkpoint())


def test_an_update_that_diverges_has_not_been():
    trainer = words(optimiser=optim.SGD(), schedule=lambda step: 1e300 if step == 4 else 0.01)
    for _ in range(4):
        next(trainer)
    before = trainer.checkpoint()
    for _ in range(2):
        with pytest.raises(DataError, match=r"at update 5 the numbers leave all bounds"):
            next(trainer)
        assert_same(trainer.checkpoint(), before)


def test_a_look_that_was_broken_off_is_taken_before_a_checkpoint(tmp_path):
    """Ctrl-C amid a long validation: a run that is saved then, and goes on, has looked as often as one that went through."""

    def run_in(name, broken=None):
        looks = []

        def measure():
            looks.append(trainer.step)
            if trainer.step == broken and looks.count(broken) == 1:
                raise KeyboardInterrupt
            return {4: 2.0, 8: 1.0}.get(trainer.step, 3.0)

        trainer = words()
        return Run(tmp_path / name, trainer, save_every=4, measure=measure, stopping=EarlyStopping(3))

    with run_in("whole") as whole:
        assert [now.step for now in whole][-1] == 20
    with run_in("broken", 8) as run:
        with pytest.raises(KeyboardInterrupt):
            for _ in run:
                pass
        run.save()
    with run_in("broken") as again:
        assert (again.resumed, [now.step for now in again][-1]) == (8, 20)
    assert (again.best, again.stopping) == (whole.best, whole.stopping)
    assert_same(again.trainer.checkpoint(), whole.trainer.checkpoint())
    logs = [[entry for entry in entries(tmp_path / name / LOG) if "validation" in entry] for name in ("whole", "broken")]
    assert logs[0] == logs[1]


# ---------------------------------------------------------------- what callers give


def test_rates_and_measures_of_any_number_go_into_the_log(tmp_path):
    """NumPy's means are numbers of NumPy, which JSON does not know."""
    rates, numbers = (lambda step: np.float32(0.01)), iter(np.arange(9, dtype=np.float32))
    with Run(tmp_path, words(schedule=rates), save_every=8, measure=lambda: next(numbers)) as run:
        assert {now.rate for now in run} == {float(np.float32(0.01))}
    assert [entry["validation"] for entry in entries(tmp_path / LOG) if "validation" in entry] == [0.0, 1.0, 2.0]
    assert run.best == (8, 0.0)
    with (
        Run(tmp_path / "other", words(), save_every=1, measure=lambda: None) as run,
        pytest.raises(SettingError, match="measure gave None; it gives a loss, one number, the lower the better"),
    ):
        next(iter(run))


def test_a_line_of_the_log_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """Where room is made on a full disk, and the same process goes on."""
    with Journal(tmp_path / LOG) as journal:
        journal.add({"step": 1})
        file, full = journal._file, [True]

        class Full:
            def write(self, line):
                if not full[0]:
                    return file.write(line)
                if len(line) < 10:  # the rest of it
                    raise OSError(errno.ENOSPC, "No space left on device")
                return file.write(line[:7])

            def __getattr__(self, name):
                return getattr(file, name)

        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(ModelFileError, match="No space left on device"):
            journal.add({"step": 2})
        full[0] = False
        journal.add({"step": 3})
    assert list(entries(tmp_path / LOG)) == [{"step": 1}, {"step": 3}]


def test_facts_that_are_no_plain_data_are_refused(tmp_path):
    with pytest.raises(SettingError, match=r"facts are no plain data for JSON: Object of type int64 is not JSON"):
        Run(tmp_path / "run", words(), facts={"size": np.int64(3)})
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(("asked", "ours"), [(EarlyStopping(4), "of patience 4, least 0"), (None, "none")])
def test_a_run_goes_on_with_the_stopping_that_it_was_begun_with(tmp_path, asked, ours):
    with Run(tmp_path, words(), save_every=4, measure=lambda: 1.0, stopping=EarlyStopping(2, 0.5)) as run:
        for _ in run:
            pass
    other = words()
    kept = other.checkpoint()
    message = f"the checkpoint is of a training with stopping of patience 2, least 0.5, this one has {ours}"
    with pytest.raises(CheckpointError, match=message):
        Run(tmp_path, other, save_every=4, measure=lambda: 1.0, stopping=asked)
    assert_same(other.checkpoint(), kept)


# ---------------------------------------------------------------- alone in a folder


@pytest.mark.skipif(locks.fcntl is None, reason="Windows has no such locks")
def test_a_folder_has_one_training_at_a_time_in_a_process_too(tmp_path):
    message = "another training goes on in this folder; wait for its end"
    with Run(tmp_path, words()):
        for _ in range(2):
            with pytest.raises(CheckpointError, match=message):
                Run(tmp_path, words())
    with Run(tmp_path, words()) as run:
        assert run.resumed == 0


@pytest.mark.skipif(locks.fcntl is None, reason="Windows has no such locks")
def test_a_folder_stays_locked_when_its_facts_are_read(tmp_path):
    """A lock on a file ends as soon as its process has read that file once more."""
    other = f"from pathlib import Path; from elman import locks\nwith locks.alone_in(Path({str(tmp_path)!r})): print('in')"
    with Run(tmp_path, words(), facts={"of": 1}):
        assert facts_of(tmp_path) == {"of": 1}
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("", 1)
        assert "another training goes on in this folder" in done.stderr
    assert subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=True).stdout == "in\n"


def test_a_run_that_may_not_be_written_is_told_in_words(tmp_path, monkeypatch):
    with Run(tmp_path, words()):
        pass
    opened = Path.open

    def refused(path, mode="r", *given, **more):
        if path.name == "run.json" and "+" in mode:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, mode, *given, **more)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ModelFileError, match=r"run\.json cannot be written: Permission denied"):
        Run(tmp_path, words())


def test_what_was_left_half_written_goes(tmp_path):
    with Run(tmp_path, words()):
        pass
    left = [".step-00000003.safetensors.a.part", ".model.safetensors.b.part", ".log.jsonl.c.part", ".run.json.d.part"]
    others = [".notes.part", "model.part"]
    for name in left + others:
        (tmp_path / name).write_bytes(b"half")
    with Run(tmp_path, words()):
        assert {path.name for path in tmp_path.iterdir()} == {"run.json", LOG, *others}


def test_a_checksum_knows_names_types_shapes_numbers_and_facts():
    numbers = np.arange(6, dtype=np.int32)
    held = [
        ({"w": numbers}, "{}"),
        ({"v": numbers}, "{}"),
        ({"w": numbers.reshape(2, 3)}, "{}"),
        ({"w": numbers.reshape(3, 2)}, "{}"),
        ({"w": numbers.view(np.uint32)}, "{}"),
        ({"w": numbers.view(np.int16)}, "{}"),
        ({"w": numbers[::-1]}, "{}"),
        ({"w": numbers, "v": numbers[:0]}, "{}"),
        ({"w": numbers}, "[]"),
    ]
    assert len({checkpoints.checksum(arrays, text) for arrays, text in held}) == len(held)


# ---------------------------------------------------------------- the command


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    return tmp_path / "text"


def test_a_run_does_not_go_on_with_a_text_that_has_changed(command, text, tmp_path):
    """By one symbol, which no sample of the tokens need show."""
    folder = tmp_path / "run"
    assert command("train", text, "--run", folder, *SMALL, "--steps", 4).code == 0
    at = 7
    text.write_text(f"{TEXT[:at]}{TEXT[at + 1]}{TEXT[at + 1 :]}")
    model = (folder / "model.safetensors").read_bytes()
    done = command("train", "--resume", folder)
    assert done.code == 2
    [line] = done.err.splitlines()
    assert line.startswith(f"elman: --resume {folder}: the run was begun with another text of 1,080 bytes (sha256 ")
    assert line.endswith("; give the files as they were, or begin another run")
    assert (folder / "model.safetensors").read_bytes() == model
    text.write_text(TEXT)
    assert command("train", "--resume", folder).code == 0
    assert (folder / "model.safetensors").read_bytes() == model


def test_a_run_that_was_copied_writes_its_own_model(command, text, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    assert command("train", text, "--run", one, *SMALL, "--steps", 4).code == 0
    model = (one / "model.safetensors").read_bytes()
    shutil.copytree(one, other)
    for folder in (one, other):
        (folder / "model.safetensors").unlink()
    done = command("train", "--resume", other)
    assert (done.code, (other / "model.safetensors").read_bytes()) == (0, model)
    assert not (one / "model.safetensors").exists()
    assert command("train", text, "--run", tmp_path / "third", "-o", tmp_path / "model", *SMALL, "--steps", 4).code == 0
    (tmp_path / "model").unlink()
    assert command("train", "--resume", tmp_path / "third").code == 0
    assert (tmp_path / "model").read_bytes() == model


def test_a_run_that_goes_on_on_another_target_tells_so(command, text, tmp_path, monkeypatch):
    """As where the compiler is missing on the machine that it was moved to: the bits are others from then on."""
    pytest.importorskip("llvmlite")
    folder = tmp_path / "run"
    monkeypatch.setenv("ELMAN_TARGET", "llvm")
    assert command("train", text, "--run", folder, *SMALL, "--steps", 8, "--save-every", 4).code == 0
    Shelf(folder).path(8).unlink()
    told = "it was on the target llvm, and goes on on numpy: its bits are not those of a run that never stopped"
    done = command("train", "--resume", folder)
    assert (done.code, told in done.lines) == (0, False)
    Shelf(folder).path(8).unlink()
    monkeypatch.setenv("ELMAN_TARGET", "numpy")
    done = command("train", "--resume", folder)
    assert (done.code, told in done.lines) == (0, True)
    assert checkpoints.read(Shelf(folder).path(8)).facts["target"] == "numpy"


def test_facts_that_are_no_paths_are_damage(command, text, tmp_path):
    assert command("train", text, "--run", tmp_path / "run", *SMALL, "--steps", 2).code == 0
    held = json.loads((tmp_path / "run" / "run.json").read_text())
    for name, value, shown in (("files", 3, "3"), ("files", [None], "[None]"), ("output", {"a": 1}, "{'a': 1}")):
        facts = held["facts"] | {name: value}
        (tmp_path / "run" / "run.json").write_text(json.dumps(held | {"facts": facts}))
        done = command("train", "--resume", tmp_path / "run")
        assert done.err == f"elman: {tmp_path}/run/run.json is damaged: {name} is {shown}, a path is wanted\n"


# ---------------------------------------------------------------- curves


def test_runs_of_one_name_are_told_apart():
    given = [Path("/a/slow/1/run"), Path("/a/fast/1/run"), Path("/a/fast/2/run"), Path("/a/fast/2/run")]
    assert curves.names(given) == ["slow/1/run", "fast/1/run", "fast/2/run", "fast/2/run"]
    assert curves.names([Path("/a/b")] * 2) == ["b", "b"]
    assert curves.names([Path("/run"), Path("/a/run")]) == ["//run", "a/run"]


def test_a_single_update_is_seen(tmp_path):
    plotted = pytest.importorskip("matplotlib.image")
    with Journal(tmp_path / LOG) as journal:
        journal.add({"step": 1, "loss": 1.0, "bits": 1.5, "norm": 0.5})
    curves.save(tmp_path / "one.png", [curves.read(tmp_path / LOG, "one")])
    picture = plotted.imread(tmp_path / "one.png")[..., :3]
    red = np.array([0xC1, 0x27, 0x2D]) / 255
    rows = np.flatnonzero((np.abs(picture - red).max(-1) < 0.02).sum(1) > 3)
    assert rows.min() < 60 < len(picture) / 3 < rows.max()  # the legend, and a point in each half
    assert len(np.flatnonzero(np.diff(rows) > 9)) >= 2
