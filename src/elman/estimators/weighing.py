"""How much each target counts, from what is said of sequences and what is said of labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.arrays import first_place
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written


def sequence_weights(owner: str, sample_weight: Any, sequences: Sequence[Array]) -> Array | None:
    """How much each sequence counts `[n]`, as shares of the heaviest. Raises `ShapeError` or `DataError`."""
    if sample_weight is None:
        return None
    try:
        found: Array = np.asarray(sample_weight, np.float64)
    except (ValueError, TypeError):
        raise DataError(f"{owner}: sample_weight holds no numbers; one for each sequence is wanted") from None
    if found.shape != (len(sequences),):
        sizes = f"X has {len(sequences)} sequences, sample_weight is {written(found.shape)}"
        raise ShapeError(f"{owner}: {sizes}; one number for each is wanted")
    good = (found >= 0) & (found < np.inf)
    if not good.all():
        [at] = first_place(~good)
        raise DataError(f"{owner}: sample_weight[{at}] is {found[at]:g}; weights are finite, and 0 or more")
    if not found[_lengths(sequences) > 0].any():
        raise DataError(f"{owner}: sample_weight is zero for every sequence that has a step; one at least is to count")
    shares: Array = found / found.max()  # whose sum is finite
    return shares


def target_weights(
    owner: str,
    sequences: Sequence[Array],
    targets: Sequence[Array] | Array,
    of_sequences: Array | None,
    of_labels: Array | None,
) -> Sequence[Array] | Array | None:
    """How much each target counts: as its sequence does, times as its label does; None where all count the same.

    They are scaled so that the losses of sequences that count have weights of mean 1: batches in which a sequence counts
    twice learn as fast as batches in which it stands twice. Raises `DataError` where nothing counts.
    """
    if of_sequences is None and of_labels is None:
        return None
    counts, lengths = np.ones(len(targets)) if of_sequences is None else of_sequences, _lengths(sequences)
    shares = None if of_labels is None else of_labels / of_labels.max()  # whose sum is finite
    if isinstance(targets, np.ndarray):  # a sequence has one loss, and none without a step
        each, losses = counts if shares is None else counts * shares[targets], np.minimum(lengths, 1)
        return each * _scale(owner, each * losses, losses)
    parts = [count * (np.ones(len(y)) if shares is None else shares[y]) for count, y in zip(counts, targets, strict=True)]
    scale = _scale(owner, np.array([part.sum() for part in parts]), lengths)
    return [part * scale for part in parts]


def _scale(owner: str, totals: Array, losses: Array) -> float:
    """What makes weights a mean of 1, from what those of each sequence come to and how many losses it has `[n]`."""
    if not totals.any():
        words = "class_weight, or the sample_weight with it, is zero for every target"
        raise DataError(f"{owner}: {words}; one at least is to count")
    return float(losses[totals > 0].sum() / totals.sum())


def _lengths(sequences: Sequence[Array]) -> Array:
    found: Array = np.array([len(sequence) for sequence in sequences], np.int64)
    return found
