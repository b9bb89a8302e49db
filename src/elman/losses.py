"""Losses: what a trainer makes smaller, with its gradients: of the steps of a network, of all logits of a batch, or of the
targets that a decoder is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from elman.checks import checked_token, checked_truth
from elman.ctc import mean_ctc
from elman.data import Batch
from elman.encoder_decoder import EncoderDecoder
from elman.errors import DataError, SettingError
from elman.gates import Array
from elman.network import Network
from elman.states import State
from elman.transcription import Transcribes

Loss = Callable[[Array, Batch], tuple[Any, Any]]
"""From logits `[B, T, V]` (read once: `[B, V]`) and their batch to a loss, a number, and its gradient for the logits."""


@dataclass(frozen=True)
class CTC:
    """The loss of labels without their times, in nats a sequence, as `Model.ctc_gradients`; targets never hold `blank`.

    A sequence that is too short for its labels ends the training, or with `zero_infinity` counts 0. Raises `DataError`
    that tells which it is.

    >>> from elman import data
    >>> batch = data.Pairs([np.ones((2, 3))], [[1]]).take()
    >>> loss, d_logits = CTC()(np.zeros((1, 2, 3)), batch)
    >>> round(float(np.exp(-loss)), 3)
    0.333
    """

    blank: int = 0
    zero_infinity: bool = False

    def __call__(self, logits: Array, batch: Batch) -> tuple[float, Array]:
        """The mean loss of a batch, and its gradient."""
        lengths, counts = batch.lengths, batch.target_lengths
        found = mean_ctc(logits, batch.targets, lengths, counts, self.blank, zero_infinity=self.zero_infinity)
        if np.isinf(found[0]):
            self._check_room(batch, logits.shape[1])
        return found

    def _check_room(self, batch: Batch, time: int) -> None:
        """Raises `DataError` where the steps of a sequence are too few for its labels."""
        rows, most = batch.targets.shape
        steps = np.full(rows, time) if batch.lengths is None else batch.lengths
        counts = np.full(rows, most) if batch.target_lengths is None else batch.target_lengths
        between = (batch.targets[:, 1:] == batch.targets[:, :-1]) & (np.arange(1, most) < counts[:, None])
        wanted = counts + between.sum(1)
        short = np.flatnonzero(steps < wanted)
        if short.size:
            at = int(short[0])
            told = f"sequence {at} of the batch has {steps[at]} steps, its {counts[at]} labels take {wanted[at]}"
            fix = "leave such out, or let them count 0 with loss=elman.losses.CTC(zero_infinity=True)"
            raise DataError(f"CTC: {told} (between equal ones stands a blank); {fix}")


LOSSES: dict[str, type[CTC]] = {"ctc": CTC}


def checked_loss(model: Network | EncoderDecoder, loss: Any, label_smoothing: float) -> Loss | None:
    """A loss of all logits that a model can have; None for that of its steps. Raises `SettingError`."""
    if loss is None:
        return None
    if isinstance(loss, str) and loss in LOSSES:
        return checked_loss(model, LOSSES[loss](), label_smoothing)
    if not callable(loss) or isinstance(loss, type):
        names = ", ".join(map(repr, LOSSES))
        raise SettingError(f"Trainer: loss={loss!r} is none; take {names}, elman.losses.CTC(...), a function, or None")
    if not isinstance(model, Transcribes):
        kind = type(model).__name__
        raise SettingError(f"Trainer: a loss of all logits is for a Model; this {kind} has its own, so leave loss out")
    if label_smoothing:
        raise SettingError(f"Trainer: label_smoothing={label_smoothing:g} goes with the loss of steps, not of all logits")
    if isinstance(loss, CTC):
        model._check_transcribes()
        checked_token("CTC: blank", loss.blank, int(model.head.output_shape[0]))
        checked_truth("CTC: zero_infinity", loss.zero_infinity)
    found: Loss = loss
    return found


def network_of(model: Network | EncoderDecoder) -> Network:
    """The network whose read-out has the loss."""
    return model if isinstance(model, Network) else model.decoder


def of_pairs(batch: Batch) -> tuple[Array, Array, Array | None, Array | None]:
    """What an encoder-decoder is given of a batch."""
    return batch.x, batch.targets, batch.lengths, batch.target_lengths


def gradients(
    model: Network | EncoderDecoder,
    loss: Loss | None,
    batch: Batch,
    state: State | None,
    *,
    label_smoothing: float = 0.0,
    dropout_seed: int | None = None,
    recompute: bool = False,
) -> tuple[float, dict[str, Array], State | None]:
    """The loss of a batch, its gradients by parameter, and the last state, where one goes on.

    Numbers that are not finite are given back as they are, so that a trainer can tell where they began.
    """
    how: dict[str, Any] = {"dropout_seed": dropout_seed, "recompute": recompute}
    if batch.weights is not None and isinstance(loss if isinstance(model, Network) else model, CTC | EncoderDecoder):
        raise DataError("Trainer: the batch has weights, which only the steps of a Model have; make the source without them")
    is_open = batch.lengths is not None and batch.target_lengths is None and batch.targets.ndim > 1
    if is_open and isinstance(loss or model, CTC | EncoderDecoder):
        fix = "elman.data.Pairs gives them; in a Batch of your own, target_lengths"
        raise DataError(f"Trainer: the sequences of a batch have lengths, their targets have none of their own; {fix}")
    if isinstance(model, EncoderDecoder):
        return _told(model, batch, label_smoothing=label_smoothing, **how)
    if loss is not None:
        assert isinstance(model, Transcribes), "checked_loss looks"
        return model.gradients_of(partial(_of_numbers, loss, batch), batch.x, state, batch.lengths, **how)
    if batch.target_lengths is not None:
        fix = "loss='ctc' learns labels without their times, an EncoderDecoder another sequence"
        raise DataError(f"Trainer: targets have lengths of their own, a loss of steps wants one for each step; {fix}")
    how |= {"lengths": batch.lengths, "label_smoothing": label_smoothing}
    how |= {} if batch.weights is None else {"weights": batch.weights}
    return model.gradients(batch.x, batch.targets, state, **how)


def slopes_of(loss: Loss, model: Network, batch: Batch, state: State | None, seed: int | None) -> Array | None:
    """What a loss of all logits gives for them, `[B, T, V]` (read once: `[B, V]`), 0 past the lengths; None where it is
    not asked, since the logits are not finite.
    """
    seen: list[Array] = []

    def kept(logits: Array, asked: Batch) -> tuple[Any, Any]:
        found = loss(logits, asked)
        seen.append(np.asarray(found[1]).astype(logits.dtype))
        return found

    gradients(model, kept, batch, state, dropout_seed=seed)
    if not seen:
        return None
    [d_logits], ends = seen, batch.lengths
    if ends is None:
        return d_logits
    live = np.asarray(ends) > 0 if d_logits.ndim == 2 else np.arange(d_logits.shape[1]) < np.asarray(ends)[:, None]
    found: Array = np.where(live[..., None], d_logits, 0)
    return found


def _told(model: EncoderDecoder, batch: Batch, **how: Any) -> tuple[float, dict[str, Array], None]:
    """The loss of a decoder that is told its targets; NaN where what it is to begin from is not finite."""
    try:
        return *model.gradients(*of_pairs(batch), **how), None
    except DataError:  # a decoder refuses such a state, as it refuses targets that are none
        if _begins(model, batch, how["dropout_seed"]):
            raise
    return np.nan, {name: np.full_like(value, np.nan) for name, value in model.parameters.items()}, None


def _begins(model: EncoderDecoder, batch: Batch, seed: int | None) -> bool:
    """Whether the decoder can begin: all that comes of the encoder is finite."""
    record = model.encoder.record(batch.x, None, batch.lengths, dropout_seed=seed)
    try:
        model._first_state(record.y, record.state, batch.lengths)
    except DataError:
        return False
    return True


def _of_numbers(loss: Loss, batch: Batch, logits: Array) -> tuple[Any, Any]:
    """A loss of logits: NaN where these are not finite, whatever it would make of them."""
    if not np.isfinite(logits).all():
        return np.nan, np.full_like(logits, np.nan)
    return loss(logits, batch)
