"""The steps of a sequence as sources take them: arrays that stay where they are, and the types that batches have."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from elman.arrays import as_array, first_place
from elman.errors import DataError, ShapeError
from elman.gates import Array
from elman.shapes import written

RAGGED = "{} has rows of different lengths; every step has as many numbers"


def checked_steps(owner: str, x: Any) -> Array:
    """Tokens `[T]` (integers) or features `[T, I]`, as an array that is not copied: a memory map stays one.

    Raises `DataError` for no steps, `ShapeError` for another rank or type.
    """
    array: Array = as_array(x, owner, RAGGED.format(owner))
    if not array.size:
        raise DataError(f"{owner} has no step, {written(array.shape)}; at least one is wanted")
    if not ((array.ndim == 1 and array.dtype.kind in "iu") or (array.ndim == 2 and array.dtype.kind in "fiu")):
        hint = "; a single feature is [T, 1]" if array.ndim == 1 and array.dtype.kind == "f" else ""
        wanted = f"tokens (integers [T]) or features (numbers [T, I]) are wanted{hint}"
        raise ShapeError(f"{owner} is {array.dtype} {written(array.shape)}; {wanted}")
    return array


def checked_numbers(owner: str, values: Any) -> Array:
    """Numbers or truth values, not copied. Raises `ShapeError` or `DataError`."""
    array: Array = as_array(values, owner, RAGGED.format(owner))
    if array.dtype.kind not in "fiub":
        raise DataError(f"{owner}: numbers are wanted, this is {array.dtype}")
    return array


def as_input(rows: Array) -> Array:
    """A batch in the type that layers read: int64 for tokens `[B, T]`, floats for features `[B, T, I]`."""
    if rows.ndim == 2:
        return rows.astype(np.int64, copy=False)
    return rows if rows.dtype.kind == "f" else rows.astype(np.result_type(rows.dtype, np.float32))


def as_targets(rows: Array) -> Array:
    """Targets of a batch: integers as int64, other numbers as they are."""
    return rows.astype(np.int64, copy=False) if rows.dtype.kind in "iu" else rows


def checked_list(name: str, what: str, given: Any) -> Sequence[Any]:
    """What holds one thing for each sequence, in an order. Raises `DataError`."""
    try:
        if not isinstance(given, str | bytes | Mapping):
            found: Sequence[Any] = given if len(given) >= 0 else ()
            return found
    except TypeError:
        if isinstance(given, Iterator):
            return list(given)
    raise DataError(f"{name}: {what} are a {type(given).__name__}; a list with one for each sequence is wanted")


def checked_counting(what: str, weights: Array) -> Array:
    """Weights that are finite, and 0 or more. Raises `DataError`."""
    wrong = ~((weights >= 0) & (weights < np.inf))
    if wrong.any():
        at = first_place(wrong)
        place = f" at {', '.join(map(str, at))}" if at else ""
        raise DataError(f"{what}: {weights[at]:g}{place}; weights are finite, and 0 or more")
    return weights
