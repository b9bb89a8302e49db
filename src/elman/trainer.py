"""Trainer: what learns, where its batches come from, and how it is updated; all that it is goes into a checkpoint."""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Self

import numpy as np

from elman import checkpoints, losses, origin
from elman.adopted import Adopted
from elman.checkpoints import Checkpoint
from elman.checks import checked_seed, checked_truth
from elman.data import Batch, Source
from elman.encoder_decoder import EncoderDecoder
from elman.errors import CheckpointError, DataError, ElmanError, SettingError
from elman.gates import Array
from elman.gradient_checks import checked_smoothing
from elman.model import Model
from elman.network import Network
from elman.optim import are_finite, bounded, global_norm
from elman.program import chosen
from elman.rounds import Rounds, Scored
from elman.schedules import Averaging, Schedule
from elman.states import State, from_tree
from elman.training_checks import check_alike, check_equations, check_parts, checked_batch, checked_rate, equations
from elman.updates import Optimiser

NATS_PER_BIT = math.log(2.0)

OWN = "a function"
"""What a checkpoint knows of a loss of one's own."""


@dataclass(frozen=True)
class Progress:
    """Where training stands after an update: `loss` in nats a symbol, the norm of the gradients, symbols seen, seconds.

    Where labels have no times the loss is in nats a sequence.
    """

    step: int
    loss: float
    norm: float
    symbols: int
    seconds: float
    rate: float = math.nan

    @property
    def bits(self) -> float:
        """The loss in bits a symbol."""
        return self.loss / NATS_PER_BIT


class Trainer:
    """Training of a network or an encoder-decoder: an iterator, which makes one of `steps` updates each time it is asked.

    `source` gives the batches, such as `elman.data.Streams`, or `Pairs` for an encoder-decoder; `optimiser` turns gradients
    into new parameters, at the rate that `schedule` gives for an update (counted from 0). `clip` bounds the norm of the
    gradients, and `clip_value` before that each of their numbers. `seed` draws what dropout drops. With `averaging`
    parameters are averaged over the updates besides (`averaged`). `label_smoothing` and `recompute` are as for `gradients`
    of the model; the latter, for long sequences, changes no bit of what is compiled. The loss is that of each step, or with
    `loss` one of all logits: "ctc" (`elman.losses.CTC`) for labels without their times, or any function of the logits and
    their batch (`elman.losses.Loss`). The state goes on from batch to batch, unless a batch begins anew. Stop asking, and
    the model stands as it is.

    `save` writes all of it to one file, and `resume`, in a trainer that is made alike, goes on from there to the same bits.
    Raises `SettingError` for settings out of range.

    >>> import numpy as np, elman
    >>> from elman import data, optim, schedules
    >>> def trainer():
    ...     source = data.Streams(np.arange(90) % 7, batch=2, length=8, seed=0)
    ...     return Trainer(elman.Model(7, 5, None), source, optim.Adam(), schedules.Constant(0.01), steps=9)
    >>> whole, half, rest = trainer(), trainer(), trainer()
    >>> losses = [now.loss for now in whole]
    >>> _ = [next(half) for _ in range(4)]
    >>> rest.restore(half.checkpoint())  # `save` and `resume` do this through a file
    >>> [now.loss for now in rest] == losses[4:]
    True
    """

    def __init__(
        self,
        model: Network | EncoderDecoder,
        source: Source,
        optimiser: Optimiser,
        schedule: Schedule,
        *,
        steps: int,
        clip: float = 1.0,
        clip_value: float | None = None,
        seed: int = 0,
        averaging: Averaging | None = None,
        label_smoothing: float = 0.0,
        recompute: bool = False,
        loss: losses.Loss | str | None = None,
    ) -> None:
        check_parts(model, source, optimiser, schedule, averaging)
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise SettingError(f"steps={steps!r} must be an integer, 1 or more")
        for name, limit in ({"clip": clip} | ({} if clip_value is None else {"clip_value": clip_value})).items():
            if isinstance(limit, bool) or not isinstance(limit, int | float | np.number) or not limit > 0:
                raise SettingError(f"{name}={limit!r} must be a number above 0")
        self.model, self.source, self.optimiser, self.schedule = model, source, optimiser, schedule
        self.averaging, self.average = averaging, {} if averaging is None else averaging.memory(model.parameters)
        self.steps, self.clip, self.seed = int(steps), float(clip), checked_seed(seed)
        self.clip_value = None if clip_value is None else float(clip_value)
        self.label_smoothing = checked_smoothing("Trainer", label_smoothing, losses.network_of(model).head.gate)
        self.loss = losses.checked_loss(model, loss, self.label_smoothing)
        self.recompute = checked_truth("Trainer: recompute", recompute)
        self.step = self.symbols = 0
        self.memory: Mapping[str, Array] = optimiser.memory(model.parameters)
        self.state: State | None = None
        self._rounds = Rounds(model) if isinstance(model, Network) and self.loss is None else None
        self._parameters = Adopted(model)
        self._before, self._began = 0.0, time.perf_counter()

    # --- updates ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Progress]:
        return self

    def __next__(self) -> Progress:
        """One update, or none: what breaks it off, Ctrl-C too, leaves everything as it was before.

        Raises `DataError` where its numbers are not finite.
        """
        if self.step >= self.steps:
            raise StopIteration
        place, parameters = self.source.position(), self._parameters.latest
        carried = self.memory, self.average, self.state, self.step, self.symbols
        try:
            return self._update(parameters)
        except BaseException:
            self.source.seek(place)
            self.memory, self.average, self.state, self.step, self.symbols = carried
            self._parameters.restore(parameters)
            raise

    def _update(self, parameters: Mapping[str, Array]) -> Progress:
        batch, rate = checked_batch(self.source.take()), checked_rate(self.schedule(self.step), self.step)
        state = None if batch.anew else self.state
        noise = self._noise() if self.model._drops else None
        with np.errstate(all="ignore"):  # what is not finite is told below, in words
            loss, gradients, last, norm = self._scored(parameters, batch, state, noise)
            clipped, scale = self._clipped(gradients, norm)
            updated, memory = self.optimiser.update(parameters, clipped, self.memory, rate, scale=scale)
            if not (math.isfinite(loss) and math.isfinite(norm) and are_finite(updated)):
                given = self.model, self.loss, batch, state, self._noise()
                where = origin.first_not_finite(*given, loss, gradients, updated)
                raise DataError(self._unbounded(loss, norm, rate, where))
        average = self.average if self.averaging is None else self.averaging.update(updated, self.average)
        self._parameters.take(updated)
        self.memory, self.average, self.state = memory, average, last
        self.step, self.symbols = self.step + 1, self.symbols + batch.symbols
        return Progress(self.step, loss, norm, self.symbols, self.seconds, rate)

    @property
    def target(self) -> str:
        """The target on which it runs: each has bits of its own."""
        return ", ".join(sorted({chosen(layer.target).name for layer, _ in self.model._owners()}))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has the averaged parameters meanwhile, where there are such: to be measured, or saved."""
        own = self.model.parameters
        if self.averaging is not None:
            self.model.update(self.averaging.parameters(self.average))
        try:
            yield
        finally:
            if self.averaging is not None:
                self.model.update(own)

    @property
    def seconds(self) -> float:
        """How long it has been training, from its making or what was given as `seconds`."""
        return self._before + time.perf_counter() - self._began

    def count_on(self, seconds: float) -> None:
        """Count seconds on from those that a training has taken before."""
        self._before, self._began = seconds, time.perf_counter()

    def _scored(self, parameters: Mapping[str, Array], batch: Batch, state: State | None, noise: int | None) -> Scored:
        """Loss, gradients, last state and norm: in a round, or the long way, as where values are made again."""
        if self._rounds is not None and batch.target_lengths is None and not self.recompute:
            given = parameters, batch.x, batch.targets, state, batch.lengths, noise
            found = self._rounds.scored(*given, weights=batch.weights, smoothing=self.label_smoothing)
            if found is not None:
                return found
        how: dict[str, Any] = {"label_smoothing": self.label_smoothing, "recompute": self.recompute, "dropout_seed": noise}
        loss, gradients, last = losses.gradients(self.model, self.loss, batch, state, **how)
        return loss, gradients, last, global_norm(gradients)

    def _clipped(self, gradients: Mapping[str, Array], norm: float) -> tuple[Mapping[str, Array], float]:
        """Gradients bounded by value, and what they are scaled by so that the norm that they have then is bounded, too."""
        if self.clip_value is not None:
            gradients = bounded(gradients, self.clip_value)
            norm = global_norm(gradients)
        return gradients, self.clip / norm if norm > self.clip else 1.0

    def _noise(self) -> int:
        """The seed of what this update drops."""
        return int(np.random.SeedSequence((self.seed, self.step)).generate_state(1)[0])

    def _unbounded(self, loss: float, norm: float, rate: float, where: str) -> str:
        return (
            f"train: at update {self.step + 1} the numbers leave all bounds (loss {loss:.3g}, norm of the gradients "
            f"{norm:.3g}; {where}); the model keeps the parameters from before it. A lower rate (now {rate:.3g}) or clip "
            f"(now {self.clip:g}) may help"
        )

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """All that the training is: weights, optimiser, place in the data, state, step."""
        state = () if self.state is None else self.state._leaves()
        parts = self._parts() | {"state": {".".join(names): array for names, array in state}}
        arrays = {f"{part}.{name}": array for part, held in parts.items() for name, array in held.items()}
        facts = {
            "step": self.step,
            "symbols": self.symbols,
            "source": self.source.position(),
            "state": None if self.state is None else self.state._tree(),
            "settings": self._settings(),
            "target": self.target,
            "model": self.model._facts() if isinstance(self.model, Model | EncoderDecoder) else None,
        }
        return Checkpoint(arrays, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stand where the training stood that the checkpoint is of.

        Raises `CheckpointError` where that was another training: other settings, other equations or sizes, other data. Then
        nothing has changed.
        """
        arrays, facts = checkpoint
        self._check_settings(facts)
        parts = {part: checkpoints.part(arrays, f"{part}.") for part in (*self._parts(), "state")}
        for part, ours in self._parts().items():
            check_alike(part, parts[part], ours)
        before = self.source.position()
        try:
            self.source.seek(facts["source"])
            state = None if facts["state"] is None else from_tree(facts["state"], parts["state"])
            self.model.update(parts["model"])
        except (ElmanError, KeyError, TypeError, ValueError, AttributeError) as error:
            self.source.seek(before)
            raise CheckpointError(f"the checkpoint does not fit this training: {error}") from error
        self.memory, self.average, self.state = parts["optimiser"], parts["average"], state
        self.step, self.symbols = facts["step"], facts["symbols"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the training is to one file, in one step. Raises `ModelFileError` where it cannot be written."""
        checkpoints.write(path, *self.checkpoint())

    def resume(self, path: str | os.PathLike[str]) -> Self:
        """Go on from a file that `save` wrote: on one target what follows has the bits of a training that never stopped.

        Raises `CheckpointError` for a file that is damaged, or of another training.
        """
        self.restore(checkpoints.read(path))
        return self

    def _parts(self) -> dict[str, Mapping[str, Array]]:
        """What is carried from update to update, the state of the network aside."""
        return {"model": self.model.parameters, "optimiser": self.memory, "average": self.average}

    def _settings(self) -> dict[str, Any]:
        """What must be the same where a training goes on."""
        told = {name: getattr(self, name) for name in ("optimiser", "schedule", "averaging", "loss")}
        named = {name: repr(value) for name, value in told.items() if is_dataclass(value)}  # others may print an address
        if self.loss is not None:
            named.setdefault("loss", OWN)
        if self.label_smoothing:
            named["label_smoothing"] = repr(self.label_smoothing)
        if self.clip_value is not None:
            named["clip_value"] = repr(self.clip_value)
        dtype = losses.network_of(self.model).rnn.dtype.name
        return named | {"steps": self.steps, "clip": self.clip, "seed": self.seed, "dtype": dtype}

    def _check_settings(self, facts: Mapping[str, Any]) -> None:
        try:
            known, wanted = dict(facts["settings"]), self._settings()
            whole = facts["step"] >= 0 and facts["symbols"] >= 0 and {"source", "state"} <= facts.keys()
        except (KeyError, TypeError, ValueError, AttributeError):
            whole = False
        if not whole:
            raise CheckpointError("the checkpoint holds no training; one that Trainer.save wrote is wanted")
        for name in {**wanted, **known}:
            theirs, ours = (held.get(name) for held in (known, wanted))
            if theirs != ours:
                ours = wanted.get(name, "another, or none")
                raise CheckpointError(f"the checkpoint is of a training with {name} {theirs}, this one has {ours}")
        if isinstance(self.model, Model | EncoderDecoder) and facts.get("model") is not None:
            check_equations(*(equations(described) for described in (facts["model"], self.model._facts())))
