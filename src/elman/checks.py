"""The public door: what callers give is checked here, once, and an error says what was asked, the sizes, and the fix."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.errors import DataError, SettingError, ShapeError, TokenError
from elman.gates import Array
from elman.shapes import Shape, written
from elman.targets import target

DTYPES = ("float32", "float64")


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """A floating type by name. Raises `SettingError`."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in DTYPES:
        raise SettingError(f"dtype {name} is not supported; it is {' or '.join(DTYPES)}")
    return np.dtype(str(name))


def checked_target(name: str) -> str:
    """A target's name. Raises `SettingError` that lists the names."""
    target(name)
    return name


def checked_seed(seed: Any) -> int:
    """A seed: an integer from 0. Raises `SettingError`."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"seed={seed!r} must be an integer, 0 or more")
    return int(seed)


def checked_truncate(truncate: Any, name: str = "truncate") -> int:
    """A number of steps. Raises `SettingError`."""
    if isinstance(truncate, bool) or not isinstance(truncate, int | np.integer) or truncate < 1:
        raise SettingError(f"{name}={truncate!r} must be a number of steps, 1 or more, or None")
    return int(truncate)


def checked_share(name: str, share: Any) -> float:
    """A share: at least 0 and below 1. Raises `SettingError`."""
    if isinstance(share, bool) or not isinstance(share, int | float | np.floating) or not 0 <= share < 1:
        raise SettingError(f"{name}={share!r} must be a share, at least 0 and below 1")
    return float(share)


def checked_parameters(
    cell: str, shapes: Mapping[str, Shape], values: Mapping[str, Any], dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Parameters by name as arrays of the right shape and type. Raises `SettingError`, `ShapeError`, `DataError`."""
    if not isinstance(values, Mapping):
        raise SettingError(f"{cell}: parameters are given as a mapping from name to array, not as {type(values).__name__}")
    checked = {}
    for name, value in values.items():
        if name not in shapes:
            raise SettingError(f"{cell}: there is no parameter {name!r}; parameters are {', '.join(shapes)}")
        try:
            array, shape = np.asarray(value), shapes[name]
        except ValueError:
            raise ShapeError(f"{cell}: {name} has rows of different lengths, {written(shapes[name])} is wanted") from None
        if array.shape != shape:
            raise ShapeError(f"{cell}: {name} is {written(array.shape)}, {written(shape)} is wanted")
        if array.dtype.kind not in "fiu":
            raise DataError(f"{cell}: {name} holds {array.dtype}, numbers are wanted")
        with np.errstate(over="ignore"):
            array = np.array(array, dtype)
        if not np.isfinite(array).all():
            raise DataError(f"{cell}: {name} holds NaN or infinity (first at {_first_bad(array)}, as {dtype})")
        checked[name] = array
    return checked


def checked_sequence(cell: str, x: Any, shape: Shape, dtype: np.dtype[Any]) -> tuple[Array, bool, int | None]:
    """An input as `[B, T, ...]`, whether it is tokens, and its batch (None for one sequence)."""
    try:
        x, size = np.asarray(x), int(shape[0]) if shape else 1
    except ValueError:
        raise ShapeError(f"{cell}: the input has rows of different lengths; pad them, and give lengths") from None
    if x.dtype.kind in "iu":
        if x.ndim not in (1, 2):
            raise ShapeError(f"{cell}: tokens are {written(x.shape)}; [T] or [B, T] is wanted (features must be floats)")
        _check_batch(cell, x, x.ndim == 2)
        check_tokens(cell, x, size)
        return (x[None] if x.ndim == 1 else x), True, None if x.ndim == 1 else x.shape[0]
    if x.dtype.kind != "f":
        raise DataError(f"{cell}: the input holds {x.dtype}; floats are features, integers are tokens")
    if x.ndim not in (2, 3) or x.shape[-1] != size:
        wanted = f"[T, {size}] or [B, T, {size}]"
        raise ShapeError(f"{cell}: the input is {written(x.shape)}; {wanted} is wanted, input={size}")
    _check_batch(cell, x, x.ndim == 3)
    with np.errstate(over="ignore"):
        cast = x.astype(dtype, copy=False)
    if not np.isfinite(cast).all():
        raise DataError(f"{cell}: the input holds NaN or infinity (first at {_first_bad(cast)}, as {dtype})")
    return (cast[None] if x.ndim == 2 else cast), False, None if x.ndim == 2 else x.shape[0]


def _check_batch(cell: str, x: Array, batched: bool) -> None:
    if batched and not len(x):
        raise ShapeError(f"{cell}: the batch is empty, {written(x.shape)}; at least one sequence is wanted")


def check_tokens(owner: str, tokens: Array, size: int) -> None:
    """Raises `TokenError` that says which token, where, and the range."""
    if tokens.size and (int(tokens.min()) < 0 or int(tokens.max()) >= size):
        where = tuple(int(i) for i in np.argwhere((tokens < 0) | (tokens >= size))[0])
        place = f"position {where[-1]}" + (f" of sequence {where[0]}" if len(where) > 1 else "")
        raise TokenError(
            f"{owner}: token {int(tokens[where])} at {place} is outside the vocabulary of {size}, 0 to {size - 1}"
        )


def checked_lengths(cell: str, lengths: Any, batch: int, steps: int) -> Array:
    """Lengths `[B]`, each 0 to T. Raises `ShapeError` or `DataError`."""
    found: Array = np.asarray(lengths)
    if found.shape != (batch,) or found.dtype.kind not in "iu":
        given = f"{found.dtype} {written(found.shape)}"
        raise ShapeError(f"{cell}: lengths are {given}; integers ({batch}) are wanted, one a sequence")
    if batch and not (found.min() >= 0 and found.max() <= steps):
        row = int(np.argmax((found < 0) | (found > steps)))
        raise DataError(f"{cell}: length {int(found[row])} of sequence {row} is outside 0 to {steps}, the number of steps")
    return found.astype(np.int64)  # a copy: a gradient reads them again


def checked_reset(cell: str, reset: Any, batch: int, steps: int) -> Array:
    """Resets as `[T, B]` truth values. Raises `ShapeError`."""
    reset = np.asarray(reset)
    if reset.shape not in ((steps,), (batch, steps)) or reset.dtype.kind != "b":
        raise ShapeError(
            f"{cell}: reset is {reset.dtype} {written(reset.shape)}; truth values ({steps}) or ({batch}, {steps}) are wanted"
        )
    return np.array(np.broadcast_to(reset, (batch, steps)).T)  # a copy: a gradient reads it again


def _first_bad(array: Array) -> str:
    return str(tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0]))
