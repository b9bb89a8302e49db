"""Learning from sequences and their targets: epochs, early stopping, the best parameters kept."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elman.data import Padded
from elman.errors import DataError, SettingError
from elman.gates import Array
from elman.model import Model
from elman.optim import OPTIMISERS, clip_by_norm, optimiser
from elman.padding import pad_sequences
from elman.schedules import SCHEDULES, EarlyStopping, schedule
from elman.updates import Arrays, Optimiser


@dataclass(frozen=True)
class Examples:
    """Sequences and their targets: one for each sequence (an array), or a sequence of them for each (a list).

    `weights` say how much each target counts, and stand as these do.
    """

    sequences: Sequence[Array]
    targets: Sequence[Array] | Array
    weights: Sequence[Array] | Array | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def taken(self, places: Sequence[int] | Array) -> "Examples":
        """Those at some places."""
        weights = None if self.weights is None else _at(self.weights, places)
        return Examples([self.sequences[place] for place in places], _at(self.targets, places), weights)

    def padded(self) -> tuple[dict[str, Array], Array | float]:
        """All of them as one batch, as a model takes it; and how much each of its losses counts."""
        x, lengths = pad_sequences(self.sequences)
        weights = 1.0 if self.weights is None else _together(self.weights)
        return {"x": x, "targets": _together(self.targets), "lengths": lengths}, weights

    @property
    def once(self) -> bool:
        """Whether there is one target for each sequence."""
        return isinstance(self.targets, np.ndarray)


def _at(each: Sequence[Array] | Array, places: Sequence[int] | Array) -> Sequence[Array] | Array:
    return each[places] if isinstance(each, np.ndarray) else [each[place] for place in places]


def _together(each: Sequence[Array] | Array) -> Array:
    return each if isinstance(each, np.ndarray) else pad_sequences(each)[0]


@dataclass(frozen=True)
class Course:
    """How to learn. Raises `SettingError` for a value out of range."""

    epochs: int
    batch: int
    optimiser: str | Optimiser
    rate: float
    schedule: str
    clip: float | None
    patience: int | None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience"):
            value = getattr(self, name)
            if (name, value) != ("patience", None) and not _is_count(value):
                raise SettingError(f"{name}={value!r} must be an integer, 1 or more{' (or None)' * (name == 'patience')}")
        for name in ("rate", "clip"):
            value = getattr(self, name)
            if (name, value) != ("clip", None) and not _is_above_zero(value):
                raise SettingError(f"{name}={value!r} must be a number above 0, and finite{' (or None)' * (name == 'clip')}")
        if not isinstance(self.schedule, str):
            raise SettingError(f"schedule={self.schedule!r} is no text; it is one such as {', '.join(map(repr, SCHEDULES))}")
        if not isinstance(self.optimiser, str | Optimiser):
            names = ", ".join(OPTIMISERS)
            raise SettingError(f"optimiser={self.optimiser!r} is no optimiser; it is one of elman.optim, or {names}")


@dataclass
class History:
    """The losses of each epoch while it ran, those of validation after it, and the epoch whose parameters are kept."""

    losses: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    best: int = 0


def fit(
    model: Model, examples: Examples, held: Examples | None, course: Course, seed: int, tell: Callable[[str], Any]
) -> History:
    """Let a model learn; with `held` examples it ends with the parameters that were best on them.

    The same seed gives the same bits. Raises `DataError` where the numbers leave all bounds.
    """
    how: dict[str, Any] = {"once": examples.once, "weights": examples.weights}
    source = Padded(examples.sequences, examples.targets, course.batch, seed, **how)
    updates, history, best = _Updates(model, source, course, seed), History(), model.parameters
    stopping = EarlyStopping(course.patience or course.epochs)
    for epoch in range(course.epochs):
        history.losses.append(updates.epoch())
        if held is not None:
            history.held.append(_checked(loss_of(model, held, course.batch), epoch))
            stopping = stopping.seen(history.held[-1])
        if held is None or stopping.improved:
            history.best, best = epoch, model.parameters
        tell(_told(epoch, history))
        if stopping.stop:
            break
    model.update(best)
    return history


class _Updates:
    """A model on its way through a source of batches."""

    def __init__(self, model: Model, source: Padded, course: Course, seed: int) -> None:
        self.model, self.source, self.course = model, source, course
        self.rule = optimiser(course.optimiser) if isinstance(course.optimiser, str) else course.optimiser
        self.rate = schedule(course.schedule, course.rate, course.epochs * source.steps_per_epoch)
        self.memory: Arrays = self.rule.memory(model.parameters)
        self.count, self.noise = 0, np.random.default_rng(seed)

    def epoch(self) -> float:
        """All batches of an epoch, an update for each; returns the mean loss."""
        total, counted = 0.0, 0
        for _ in range(self.source.steps_per_epoch):
            batch = self.source.take()
            share = len(batch.x) if self.model.head.once else batch.symbols
            names = ("x", "targets", "lengths", "weights")
            total += share * self._update({name: getattr(batch, name) for name in names})
            counted += share
        return total / counted

    def _update(self, batch: dict[str, Any]) -> float:
        with np.errstate(all="ignore"):  # what is not finite is told below, in words
            noise = int(self.noise.integers(2**31))
            loss, gradients, _ = self.model.gradients(**batch, dropout_seed=noise)
            gradients, norm = clip_by_norm(gradients, math.inf if self.course.clip is None else self.course.clip)
            rate = self.rate(self.count)
            updated, self.memory = self.rule.update(self.model.parameters, gradients, self.memory, rate)
        if not (math.isfinite(loss) and math.isfinite(norm) and all(np.isfinite(p).all() for p in updated.values())):
            found = f"loss {loss:.3g}, norm of the gradients {norm:.3g}"
            raise DataError(f"fit: the numbers leave all bounds ({found}); scale the data, or lower rate={rate:.3g}")
        self.model.update(updated)
        self.count += 1
        return loss


def loss_of(model: Model, examples: Examples, batch: int) -> float:
    """The mean loss of examples that have steps, each as much as it counts."""
    total = 0.0
    for places in by_length(examples.sequences, batch):
        given, weights = examples.taken(places).padded()
        with np.errstate(all="ignore"):  # what is no number is told by whoever asks
            losses, _ = model.losses(**given)
        total += float((losses * weights).sum(dtype=np.float64))
    return total / (len(examples) if examples.once else sum(map(len, examples.sequences)))


def _checked(loss: float, epoch: int) -> float:
    """A loss in validation. Raises `DataError` where it is NaN, by which no parameters are the best."""
    if math.isnan(loss):
        found = f"the loss of what is held back is nan after epoch {epoch + 1}"
        raise DataError(f"fit: the numbers leave all bounds ({found}); scale the data, or lower the rate")
    return loss


def by_length(sequences: Sequence[Array], batch: int) -> Iterator[Array]:
    """Places of the sequences of each batch, shortest first: little is padded."""
    order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
    yield from (order[start : start + batch] for start in range(0, len(order), batch))


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)


def _is_above_zero(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 < float(value) < math.inf


def _told(epoch: int, history: History) -> str:
    held = f", in validation {history.held[-1]:.4f}" if history.held else ""
    return f"epoch {epoch + 1}: loss {history.losses[-1]:.4f}{held}"
