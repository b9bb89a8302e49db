"""The public door of gradients: what is asked of them, checked once, as `checks` does for the rest."""

from typing import Any

import numpy as np

from elman.arrays import as_array, first_place
from elman.checks import as_type, checked_share
from elman.errors import DataError, SettingError, ShapeError
from elman.gates import Array
from elman.shapes import Shape, written


def checked_truncate(truncate: Any, name: str = "truncate") -> int:
    """A number of steps. Raises `SettingError`."""
    if isinstance(truncate, bool) or not isinstance(truncate, int | np.integer) or truncate < 1:
        raise SettingError(f"{name}={truncate!r} must be a number of steps, 1 or more, or None")
    return int(truncate)


def checked_gradient(name: str, dy: Any, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """The gradient for an output of a shape, as numbers of a type. Raises `ShapeError` or `DataError`."""
    found: Array = as_array(dy, f"{name}: dy", f"{name}: dy has rows of different lengths, the output is {written(shape)}")
    if found.shape != shape:
        raise ShapeError(f"{name}: dy is {written(found.shape)}, the output is {written(shape)}")
    if found.dtype.kind not in "fiubO":
        raise DataError(f"{name}: dy holds {found.dtype}, numbers are wanted")
    try:
        return as_type(found, dtype)
    except (TypeError, ValueError):
        raise DataError(f"{name}: dy holds objects that are no numbers") from None


def checked_truncation(truncate: Any, name: str = "truncate") -> int | tuple[int, int] | None:
    """A number of steps, a pair (k1, k2) of them, or none. Raises `SettingError`."""
    if truncate is None:
        return None
    return checked_overlap(truncate, name) if isinstance(truncate, tuple | list) else checked_truncate(truncate, name)


def checked_overlap(pair: Any, name: str = "truncate") -> tuple[int, int]:
    """Two numbers of steps (k1, k2), the second not below the first. Raises `SettingError`."""
    if len(pair) != 2:
        raise SettingError(f"{name}={pair!r} must be a number of steps, a pair (k1, k2) of them, or None")
    k1, k2 = (checked_truncate(k, f"{name} ({'k1' if not at else 'k2'})") for at, k in enumerate(pair))
    if k2 < k1:
        raise SettingError(
            f"{name}=({k1}, {k2}): the losses of {k1} steps cannot flow back through {k2}; give k2 of {k1} or more"
        )
    return k1, k2


def checked_smoothing(owner: str, smoothing: Any, gate: str) -> float:
    """A share of label smoothing, for a read-out that ends in a gate. Raises `SettingError`."""
    found = checked_share(f"{owner}: label_smoothing", smoothing)
    if found and gate not in ("softmax", "sigmoid"):
        raise SettingError(f"{owner}: label_smoothing={smoothing:g}, but this read-out's targets are numbers, not labels")
    return found


def checked_weights(owner: str, weights: Any, live: Array) -> Array:
    """How much each loss counts: numbers from 0 on, one for each place; those that are not `live` become 0.

    Raises `ShapeError` or `DataError`.
    """
    try:
        found: Array = np.asarray(weights, np.float64)
    except (ValueError, TypeError):
        raise DataError(
            f"{owner}: weights hold no numbers, or rows of several lengths; {written(live.shape)} is wanted"
        ) from None
    if found.shape != live.shape:
        raise ShapeError(
            f"{owner}: weights are {written(found.shape)}; {written(live.shape)} is wanted, one for each target"
        )
    found = np.where(live, found, 0.0)
    if found.size and not (found.min() >= 0 and found.max() < np.inf):
        at = first_place(~((found >= 0) & (found < np.inf)))
        raise DataError(f"{owner}: weight {found[at]:g} at {at}; weights are finite, and 0 or more")
    return found
