"""How much each target counts, from what is said of sequences and what is said of labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.arrays import first_place
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written


def sequence_weights(owner: str, sample_weight: Any, sequences: Sequence[Array], *, once: bool) -> Array | None:
    """How much each sequence counts `[n]`: `sample_weight`, scaled so that the losses have weights of mean 1.

    So batches in which a sequence counts twice learn as fast as batches in which it stands twice. `once` says that a
    sequence has one loss, and not one a step. Raises `ShapeError` or `DataError`.
    """
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
    losses = np.array([min(len(sequence), 1) if once else len(sequence) for sequence in sequences])
    if not losses[found > 0].sum():
        raise DataError(f"{owner}: sample_weight is zero for every sequence that has a step; one at least is to count")
    shares = found / found.max()  # whose sum is finite
    scaled: Array = shares * (losses[shares > 0].sum() / (shares @ losses))
    return scaled


def target_weights(
    targets: Sequence[Array] | Array, of_sequences: Array | None, of_labels: Array | None
) -> Sequence[Array] | Array | None:
    """How much each target counts, as its sequence and its label do; None where all count the same."""
    if of_sequences is None and of_labels is None:
        return None
    counts = np.ones(len(targets)) if of_sequences is None else of_sequences
    if isinstance(targets, np.ndarray):
        return counts if of_labels is None else counts * of_labels[targets]
    labels = [np.ones(len(y)) if of_labels is None else of_labels[y] for y in targets]
    return [count * each for count, each in zip(counts, labels, strict=True)]
