"""Sequences of unequal length as one batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.arrays import as_array
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written


def pad_sequences(sequences: Sequence[Any]) -> tuple[Array, Array]:
    """Put sequences `[T, ...]` of unequal length into one batch `[B, T, ...]`, padded with 0, and its lengths `[B]`.

    Integers stay integers (tokens). Raises `ShapeError` where steps differ in shape, `DataError` where there is no sequence.

    >>> batch, lengths = pad_sequences([[1, 2, 3], [4]])
    >>> batch.tolist(), lengths.tolist()
    ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    arrays = [as_array(given, f"pad_sequences: sequence {k}") for k, given in enumerate(sequences)]
    if not arrays:
        raise DataError("pad_sequences: there is no sequence; one or more are wanted")
    longest = max(arrays, key=np.size)
    for position, array in enumerate(arrays):
        if not array.ndim or (array.shape[1:] != longest.shape[1:] and array.size):
            shapes = f"sequence {position} is {written(array.shape)}, another is {written(longest.shape)}"
            raise ShapeError(f"pad_sequences: {shapes}; steps of one shape are wanted")
    lengths = np.array([len(array) for array in arrays])
    kinds = [array.dtype for array in arrays if array.size] or [longest.dtype]
    batch = np.zeros((len(arrays), int(lengths.max()), *longest.shape[1:]), np.result_type(*kinds))
    for row, array in zip(batch, arrays, strict=True):
        if array.size:
            row[: len(array)] = array
    return batch, lengths
