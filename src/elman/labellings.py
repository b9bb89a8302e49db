"""Labellings: what a model with a CTC loss says, by the likeliest label of each step, or by beams over labellings.

Graves et al., Connectionist temporal classification, 2006; the beams are those of Hannun et al., First-pass large vocabulary
continuous speech recognition using bi-directional recurrent DNNs, 2014, without a language model.
"""

from typing import Any

import numpy as np

from elman.checks import checked_lengths, checked_token
from elman.decoding import Beams, Hypothesis
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written

LEAST = -np.inf


def ctc_decode(logits: Any, lengths: Any = None, blank: int = 0, *, width: int | None = None) -> Any:
    """The labels that logits `[T, V]` say; for a batch `[B, T, V]`, with `lengths` `[B]`, a list of them.

    Without `width` the likeliest label of each step, repeats merged and blanks dropped: the likeliest way, which need not be
    the likeliest labels. With `width` the best that so many beams find. Raises as `ctc` does.

    >>> ctc_decode(np.log([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1], [0.4, 0.5, 0.1]]))
    array([1, 1])
    """
    z, steps, chosen = _checked(logits, lengths, blank)
    if width is None:
        said = [_merged(np.argmax(row[:count], -1), chosen) for row, count in zip(z, steps, strict=True)]
    else:
        said = [_beams(row[:count], Beams(width).width, chosen)[0].tokens for row, count in zip(z, steps, strict=True)]
    return said[0] if np.ndim(logits) == 2 else said


def ctc_beams(logits: Any, width: int = 8, blank: int = 0) -> list[Hypothesis]:
    """The `width` likeliest labellings of logits `[T, V]` that a beam search finds, best first.

    A beam is a labelling with all the ways that become it, and its probability is theirs together. Raises as `ctc` does.

    >>> for found in ctc_beams(np.log([[0.6, 0.4], [0.6, 0.4]])):
    ...     print(found.tokens, np.exp(found.log_probability).round(2))
    [1] 0.64
    [] 0.36
    """
    z, _, chosen = _checked(logits, None, blank)
    if np.ndim(logits) != 2:
        raise ShapeError(f"ctc: logits are {written(np.shape(logits))}; beams search in one sequence [T, V]")
    return _beams(z[0], Beams(width).width, chosen)


def _merged(way: Array, blank: int) -> Array:
    """Labels of a way: repeats merged, then blanks dropped."""
    begins = np.append(True, way[1:] != way[:-1])[: len(way)]
    found: Array = way[begins & (way != blank)]
    return found


def _beams(z: Array, width: int, blank: int) -> list[Hypothesis]:
    """Beams over logits `[T, V]`: of each labelling the ways that end in a blank and those that end in its last label."""
    labellings: list[tuple[int, ...]] = [()]
    in_blank, in_label = np.zeros(1), np.full(1, LEAST)
    for p in _log_softmax(z):
        rows, both = np.arange(len(labellings)), np.logaddexp(in_blank, in_label)
        last = np.array([labelling[-1] if labelling else blank for labelling in labellings])
        longer = both[:, None] + p
        longer[rows, last] = in_blank + p[last]  # the same label again needs a blank between
        longer[:, blank] = LEAST
        stay_blank, stay_label = both + p[blank], np.where(last == blank, LEAST, in_label + p[last])
        place = {labelling: row for row, labelling in enumerate(labellings)}
        for row, labelling in enumerate(labellings):
            parent = place.get(labelling[:-1]) if labelling else None
            if parent is not None:  # made longer, the parent is this labelling
                stay_label[row] = np.logaddexp(stay_label[row], longer[parent, last[row]])
                longer[parent, last[row]] = LEAST
        scores = np.concatenate((np.logaddexp(stay_blank, stay_label), longer.ravel()))
        best = [at for at in np.argsort(-scores, kind="stable")[:width].tolist() if scores[at] > LEAST]
        in_blank = np.concatenate((stay_blank, np.full(longer.size, LEAST)))[best]
        in_label = np.concatenate((stay_label, longer.ravel()))[best]
        labellings = [_labelling(labellings, at, len(p)) for at in best]
    scores = np.logaddexp(in_blank, in_label)
    return [
        Hypothesis(np.array(labellings[at], np.int64), float(scores[at]), True) for at in np.argsort(-scores, kind="stable")
    ]


def _labelling(labellings: list[tuple[int, ...]], at: int, size: int) -> tuple[int, ...]:
    """The labelling of a place among the scores: first those that stay, then each made longer by each label."""
    if at < len(labellings):
        return labellings[at]
    row, label = divmod(at - len(labellings), size)
    return (*labellings[row], label)


def _log_softmax(z: Array) -> Array:
    z = z - np.max(z, -1, keepdims=True)
    found: Array = z - np.log(np.sum(np.exp(z), -1, keepdims=True))
    return found


def _checked(logits: Any, lengths: Any, blank: Any) -> tuple[Array, Array, int]:
    """Logits `[B, T, V]` in float64, lengths, blank."""
    z: Array = np.asarray(logits)
    if z.ndim not in (2, 3) or z.dtype.kind != "f" or not z.shape[-1]:
        raise ShapeError(f"ctc: logits are {z.dtype} {written(z.shape)}; floats [T, V] or [B, T, V] are wanted")
    z = (z[None] if z.ndim == 2 else z).astype(np.float64)
    steps = checked_lengths("ctc", np.full(len(z), z.shape[1]) if lengths is None else lengths, *z.shape[:2])
    chosen = checked_token("ctc: blank", blank, z.shape[2])
    assert chosen is not None, "a blank is no option"
    if not np.isfinite(z[np.arange(z.shape[1]) < steps[:, None]]).all():
        raise DataError("ctc: logits hold NaN or infinity within the lengths")
    return z, steps, chosen
