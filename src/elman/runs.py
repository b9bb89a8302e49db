"""Run: a training in a folder, with checkpoints, a log and what it was started with; killed at any moment, it goes on.

In the folder: `run.json`, what the training was made of; `log.jsonl`, what it told; `step-*.safetensors`, the last
checkpoints and the best; where `elman train` made it `tokens.npy`, the text, and `model.safetensors`, what it learnt.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from elman import locks
from elman.checkpoints import Shelf, part, read
from elman.errors import CheckpointError, ModelFileError, SettingError
from elman.io.atomic import replacing
from elman.journal import Journal
from elman.schedules import EarlyStopping
from elman.trainer import Progress, Trainer

FORMAT, VERSION = "elman run", 1
FACTS, LOG, TOKENS, MODEL = "run.json", "log.jsonl", "tokens.npy", "model.safetensors"


class Writer(Protocol):
    """Where entries of the log go besides, such as `elman.io.tensorboard.Events`."""

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take an entry."""

    def close(self) -> None:
        """Write what waits."""


class Run:
    """A training whose progress is kept in a folder: iterate it, and it makes updates, a log and checkpoints.

    After every `save_every` updates, and after the last, it measures the model (`measure` gives a loss, the lower the
    better) and writes a checkpoint; the last `keep` and the best are kept. Every `log_every` updates go into the log.
    `stopping` ends the training where the measure gets no better. `facts` are told again by `facts_of`. `writer` makes
    another place for what the log is told, of steps after that it is given.

    Where the folder holds such a run already, it goes on from the last checkpoint that is whole: to the same bits, and the
    same log save for times. `resumed` is the step that it goes on from, `damaged` what was passed over, `target_before` the
    target of the checkpoint where that is another, and the bits with it. Raises `CheckpointError` where no checkpoint is
    whole, or the folder holds another training.

    >>> import tempfile, numpy as np, elman
    >>> from elman import data, journal, optim, schedules
    >>> def trainer():
    ...     source = data.Streams(np.arange(90) % 7, batch=2, length=8, seed=0)
    ...     return elman.Trainer(elman.Model(7, 5, None), source, optim.Adam(), schedules.Constant(0.01), steps=9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Run(folder, trainer(), save_every=2) as run:
    ...         for now in run:
    ...             if now.step == 5:
    ...                 break  # or the process is killed
    ...     with Run(folder, trainer(), save_every=2) as run:
    ...         run.resumed, [now.step for now in run]
    (4, [5, 6, 7, 8, 9])
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        trainer: Trainer,
        *,
        save_every: int = 500,
        log_every: int = 10,
        keep: int = 3,
        measure: Callable[[], float] | None = None,
        stopping: EarlyStopping | None = None,
        facts: Mapping[str, Any] | None = None,
        writer: Callable[[int], Writer] | None = None,
    ) -> None:
        check(folder, save_every, keep, log_every)
        self.folder, self.trainer, self.measure, self.stopping = Path(folder), trainer, measure, stopping
        self.save_every, self.log_every = save_every, log_every
        self.best: Best | None = None
        self._measured = 0
        self.shelf = Shelf(self.folder, keep)
        self.damaged: list[CheckpointError] = []
        self.target_before: str | None = None
        with contextlib.ExitStack() as opened:
            opened.enter_context(locks.alone_in(self.folder))
            _begin(self.folder, {} if facts is None else facts)
            opened.enter_context(locks.locked(self.folder / FACTS))
            self.shelf.tidy()
            self.resumed = self._resume()
            self.journal = opened.enter_context(Journal(self.folder / LOG, after=self.resumed))
            self._writer = None if writer is None else opened.enter_context(contextlib.closing(writer(self.resumed)))
            self._opened = opened.pop_all()
        trainer.count_on(self.journal.seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log, and leave the folder to others."""
        self._opened.close()

    def __iter__(self) -> Iterator[Progress]:
        """Updates to the end, or to where nothing gets better. Raises `DataError` as the trainer, `ModelFileError` where
        the folder cannot be written; the checkpoints that are there stay.
        """
        while not self.ended:
            now = next(self.trainer)
            last = now.step == self.trainer.steps
            if last or now.step == 1 or now.step % self.log_every == 0:
                self._tell(_entry(now))
            if last or now.step % self.save_every == 0:
                self.save()
            yield now

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self.trainer.step >= self.trainer.steps or bool(self.stopping and self.stopping.stop)

    def save(self) -> None:
        """Write a checkpoint of where the training stands, if there is none; the log is on the disk before it is.

        Where it is time to measure, that comes first: a run that goes on from here has not lost a look.
        """
        step = self.trainer.step
        if step == max(self.shelf.steps, default=0):
            return
        if step != self._measured and (step == self.trainer.steps or step % self.save_every == 0):
            self._measure()
        self.journal.settle()
        arrays, facts = self.trainer.checkpoint()
        stopping = None if self.stopping is None else asdict(self.stopping)
        best = None if self.best is None else self.best._asdict()
        facts |= {"best": best, "stopping": stopping}
        self.shelf.put(step, arrays, facts, best=self.best.step if self.best else None)

    def take_best(self) -> int | None:
        """Give the model the weights that measured best, and tell of which step they are; None where nothing was measured.

        Raises `CheckpointError` where their file is damaged.
        """
        if self.best is None:
            return None
        arrays = read(self.shelf.path(self.best.step)).arrays
        self.trainer.model.update(part(arrays, "average.average/") or part(arrays, "model."))
        return self.best.step

    def _measure(self) -> None:
        if self.measure is None:
            return
        with self.trainer.averaged():
            step, loss = self.trainer.step, _as_number(self.measure())
        self._tell({"step": step, "validation": loss if math.isfinite(loss) else None})
        if loss < (math.inf if self.best is None else self.best.loss):  # which NaN is not
            self.best = Best(step, loss)
        if self.stopping is not None:
            self.stopping = self.stopping.seen(loss)
        self._measured = step

    def _tell(self, entry: Mapping[str, Any]) -> None:
        self.journal.add(entry)
        if self._writer is not None:
            self._writer.add(entry)

    def _resume(self) -> int:
        """Stand at the last checkpoint that is whole, if there is any; returns its step."""
        for step, found in self.shelf.newest():
            if isinstance(found, CheckpointError):
                self.damaged.append(found)
                continue
            best, stopping = found.facts["best"], _goes_on(self.stopping, found.facts["stopping"])
            self.trainer.restore(found)
            self.best, self.stopping = None if best is None else Best(**best), stopping
            before = found.facts.get("target")
            self.target_before = before if before != self.trainer.target else None
            self.shelf.drop_after(step)
            return step
        if self.damaged:
            raise CheckpointError(f"{self.folder}: none of {len(self.damaged)} checkpoints is whole; {self.damaged[0]}")
        return 0


class Best(NamedTuple):
    """The step after which the model measured best, and the loss that it had."""

    step: int
    loss: float


def last_step(folder: str | os.PathLike[str]) -> int:
    """The step of the last checkpoint in a folder, or 0."""
    return max(Shelf(Path(folder)).steps, default=0)


def is_in(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run."""
    return (Path(folder) / FACTS).exists()


def check(folder: str | os.PathLike[str], save_every: int = 1, keep: int = 1, log_every: int = 1) -> None:
    """Find out before the work whether there can be such a run; makes the folder where there is none.

    Raises `SettingError` for a number below 1, `ModelFileError` for a folder that cannot be made.
    """
    for name, value in (("save_every", save_every), ("log_every", log_every)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingError(f"{name}={value!r} must be a number of updates, 1 or more")
    Shelf(Path(folder), keep)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelFileError(f"{folder} cannot be made: {error.strerror or error}") from error


def facts_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The facts that a run was begun with. Raises `CheckpointError` where the folder holds no run."""
    path = Path(folder) / FACTS
    try:
        held = json.loads(path.read_bytes())
        known = (held["format"], held["version"]) == (FORMAT, VERSION)
    except OSError:
        raise CheckpointError(f"{folder}: there is no run, since it has no {FACTS}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        known = False
    if not (known and isinstance(held.get("facts"), dict)):
        raise CheckpointError(f"{path} is damaged, or not of {FORMAT!r} version {VERSION}")
    facts: dict[str, Any] = held["facts"]
    return facts


def _goes_on(asked: EarlyStopping | None, before: Mapping[str, Any] | None) -> EarlyStopping | None:
    """The stopping that a checkpoint tells of. Raises `CheckpointError` unless it is the one that is asked for."""
    found = None if before is None else EarlyStopping(**before)
    told = ["none" if each is None else f"of patience {each.patience}, least {each.least:g}" for each in (found, asked)]
    if told[0] != told[1]:
        raise CheckpointError(f"the checkpoint is of a training with stopping {told[0]}, this one has {told[1]}")
    return found


def _as_number(loss: Any) -> float:
    """What was measured as a number of Python, which JSON knows. Raises `SettingError` for what is none."""
    try:
        return float(loss)
    except (TypeError, ValueError):
        raise SettingError(f"measure gave {loss!r}; it gives a loss, one number, the lower the better") from None


def _begin(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of a new run; where there is one, it must have been begun with the same."""
    try:
        text = json.dumps({"format": FORMAT, "version": VERSION, "facts": facts}, indent=1, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{folder}: facts are no plain data for JSON: {error}") from None
    if is_in(folder):
        before, now = facts_of(folder), json.loads(text)["facts"]
        for name in [*now, *before]:
            if before.get(name) != now.get(name):
                told = f"{name} {before.get(name)!r}, not {now.get(name)!r}"
                raise CheckpointError(f"{folder} holds a run that was begun with {told}; take another folder")
        return
    if Shelf(folder).steps:
        raise CheckpointError(f"{folder} holds checkpoints and no {FACTS}; take another folder")
    with replacing(folder / FACTS) as file:
        file.write(text.encode())


def _entry(now: Progress) -> dict[str, Any]:
    """What the log tells of an update."""
    return {
        "step": now.step,
        "loss": now.loss,
        "bits": now.bits,
        "norm": now.norm,
        "rate": now.rate,
        "symbols": now.symbols,
        "seconds": round(now.seconds, 3),
    }
