"""CTC: the loss of labels of which nobody knows at which steps they were said.

A model gives at every step a distribution over labels and a blank. What the steps say becomes labels by merging repeats,
then dropping blanks; the loss is -ln of the probability of all that becomes the targets. Graves et al., Connectionist
temporal classification: labelling unsegmented sequence data with recurrent neural networks, 2006.

Time comes first here, `[T, B, ...]`, and `S` counts places: blank, label, blank, label ... blank, 2 U + 1 of them.
"""

from typing import Any

import numpy as np

from elman.checks import check_tokens, checked_lengths, checked_token
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written

BEGIN = 2
"""Columns before the first place: one that nothing reaches, and one where every example begins."""

NOTHING = -1e300
"""The logarithm of no probability at all; of an infinite one the differences would not be numbers."""


def ctc(
    logits: Any,
    targets: Any,
    lengths: Any = None,
    target_lengths: Any = None,
    blank: int = 0,
    *,
    zero_infinity: bool = False,
) -> tuple[Array, Array]:
    """The loss of each example `[B]` in nats, and the gradient of their sum for the logits `[B, T, V]`, both in float64.

    `logits` stand before the softmax; `targets` `[B, U]` are labels other than `blank`; `lengths` and `target_lengths` `[B]`
    say how much of each counts (all), and what stands past them may be anything. Where the steps are too few for the
    targets (repeated labels need a blank between them) the loss is infinite, with `zero_infinity` 0, and the gradient 0.

    Raises `ShapeError`, `DataError`, `TokenError` or `SettingError` for what does not fit.

    >>> losses, d_logits = ctc(np.zeros((1, 2, 3)), [[1]])
    >>> np.exp(-losses).round(3)  # of nine ways three say 1: "1 1", "1 blank", "blank 1"
    array([0.333])
    >>> d_logits[0, 0].round(3)
    array([-0.   , -0.333,  0.333])
    """
    z, labels, steps, counts, blank = _checked(logits, targets, lengths, target_lengths, blank)
    places = np.full((len(labels), 2 * labels.shape[1] + 1), blank)
    places[:, 1::2] = labels
    with np.errstate(over="ignore"):
        p = np.maximum(z - np.max(z, -1, keepdims=True, initial=NOTHING), NOTHING)
    p -= np.log(np.sum(_exp(p), -1, keepdims=True))
    total, shares = _aligned(p, places, steps, 2 * counts + 1)
    d_logits, possible = _exp(p) - _by_label(shares, places, z.shape), total > NOTHING / 2
    d_logits[(np.arange(len(z))[:, None] >= steps) | ~possible] = 0
    return np.where(possible, -total, 0.0 if zero_infinity else np.inf), d_logits.swapaxes(0, 1)


def mean_ctc(
    logits: Any, targets: Any, lengths: Any, target_lengths: Any, blank: int, *, zero_infinity: bool
) -> tuple[float, Array]:
    """The mean of the losses of the examples, and its gradient."""
    losses, d_logits = ctc(logits, targets, lengths, target_lengths, blank, zero_infinity=zero_infinity)
    return float(np.mean(losses)), d_logits / len(losses)


def _exp(x: Array) -> Array:
    """e^x, or e^-700 where that is more: of -inf it takes ten times as long, where it is denormal three hundred times."""
    return np.exp(np.maximum(x, -700.0))


def _aligned(p: Array, places: Array, steps: Array, ends: Array) -> tuple[Array, Array]:
    """ln of the probability of the targets `[B]`, and the share of it that is at each place at each step `[T, B, S]`.

    From the last step to the first, the places taken backwards, is the same problem again: both run side by side.
    """
    rows = np.arange(p.shape[1])
    said = p[:, rows[:, None], places]  # [T, B, S]
    said[:, np.arange(places.shape[1]) >= ends[:, None]] = NOTHING  # past the last place
    turn = _turn(len(p), steps).T[..., None], rows[:, None], _turn(places.shape[1], ends)
    turned = places[turn[1:]]
    reached = _reached(np.concatenate((said, said[turn]), axis=1), np.concatenate((places, turned)))
    before, after = reached[:, : len(rows)], reached[1:, len(rows) :, BEGIN:][turn]
    total = np.logaddexp(before[steps, rows, BEGIN + ends - 1], before[steps, rows, BEGIN + ends - 2])
    shares = before[1:, :, BEGIN:] + after - said
    shares = _exp(shares - np.max(shares, -1, keepdims=True))
    return total, shares / np.sum(shares, -1, keepdims=True)  # not by the total, whose rounding grows with it


def _turn(size: int, ends: Array) -> Array:
    """Positions `[B, size]` in which the first `ends` of each row stand backwards and the rest where it was."""
    at = np.arange(size)
    return np.where(at < ends[:, None], ends[:, None] - 1 - at, at)


def _reached(said: Array, places: Array) -> Array:
    """ln of the probability of being at each place after each number of steps, `[T + 1, B, BEGIN + S]`.

    A place is reached from itself, from the one before it, and, if it is a label other than the last one, from the one
    before that: a blank may be left out between labels that differ. What stands past an example's steps is not read.
    """
    skips = np.zeros(places.shape)
    skips[:, 2:][places[:, 2:] == places[:, :-2]] = NOTHING  # from a blank to the next one, or between equal labels
    reached = np.full((len(said) + 1, *places.shape[:1], BEGIN + places.shape[1]), NOTHING)
    reached[0, :, BEGIN - 1] = 0
    for t, here in enumerate(said):
        stay, step, skip = reached[t, :, 2:], reached[t, :, 1:-1], reached[t, :, :-2] + skips
        top = np.maximum(np.maximum(stay, step), skip)
        summed = _exp(stay - top) + _exp(step - top) + _exp(skip - top)
        reached[t + 1, :, BEGIN:] = np.maximum(np.log(summed) + top + here, NOTHING)
    return reached


def _by_label(shares: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """Shares of places `[T, B, S]` added up by label, `[T, B, V]`."""
    steps, rows, size = shape
    at = (np.arange(steps * rows) * size).reshape(steps, rows, 1) + places
    found: Array = np.bincount(at.ravel(), shares.ravel(), minlength=steps * rows * size).reshape(shape)
    return found


def _checked(
    logits: Any, targets: Any, lengths: Any, target_lengths: Any, blank: Any
) -> tuple[Array, Array, Array, Array, int]:
    """Logits `[T, B, V]` in float64, targets, lengths, lengths of the targets, blank; in the padding zeros and blanks."""
    z: Array = np.asarray(logits)
    if z.ndim != 3 or z.dtype.kind != "f" or not z.shape[2]:
        raise ShapeError(f"ctc: logits are {z.dtype} {written(z.shape)}; floats [B, T, V] are wanted")
    batch, time, size = z.shape
    chosen = checked_token("ctc: blank", blank, size)
    assert chosen is not None, "a blank is no option"
    try:
        labels: Array = np.asarray(targets)
    except ValueError:
        raise ShapeError(
            "ctc: targets of different lengths; pad them and give target_lengths (elman.pad_sequences)"
        ) from None
    if not labels.size:
        labels = labels.reshape(labels.shape if labels.ndim == 2 else (len(labels), 0)).astype(np.int64)
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or len(labels) != batch:
        given = f"{labels.dtype} {written(labels.shape)}"
        raise ShapeError(f"ctc: targets are {given}, logits {written(z.shape)}; labels [B, U] are wanted, as many sequences")
    steps = checked_lengths("ctc", np.full(batch, time) if lengths is None else lengths, batch, time)
    counts = np.full(batch, labels.shape[1]) if target_lengths is None else target_lengths
    counts = checked_lengths("ctc, targets", counts, batch, labels.shape[1])
    check_tokens("ctc, targets", labels, size, counts)
    told = np.arange(labels.shape[1]) < counts[:, None]
    if (blanks := told & (labels == chosen)).any():
        row, at = np.argwhere(blanks)[0].tolist()
        raise DataError(f"ctc: target {at} of sequence {row} is {chosen}, the blank, which stands for no label")
    z = np.where(np.arange(time)[:, None, None] < steps[:, None], z.swapaxes(0, 1).astype(np.float64), 0.0)
    if not np.isfinite(z).all():
        raise DataError("ctc: logits hold NaN or infinity within the lengths")
    return z, np.where(told, labels, chosen), steps, counts, chosen
