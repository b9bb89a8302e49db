"""The public door: what callers give is checked here, once, and an error says what was asked, the sizes, and the fix."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.arrays import as_array, first_place, is_finite
from elman.errors import DataError, SettingError, ShapeError, TokenError
from elman.gates import Array
from elman.shapes import Shape, written
from elman.targets import target

DTYPES = ("float32", "float64")

WORTH = 1 << 14
"""Bytes of padding of an example, in the mean, that take longer to look at than to ask for each example by itself."""


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


def checked_token(name: str, token: Any, size: int, whose: str = "") -> int | None:
    """A token of a vocabulary, or none. Raises `SettingError`."""
    if token is None:
        return None
    if isinstance(token, bool) or not isinstance(token, int | np.integer) or not 0 <= token < size:
        raise SettingError(f"{name}={token!r} must be a token{whose}, 0 to {size - 1}")
    return int(token)


def checked_truth(name: str, value: Any) -> bool:
    """A truth value. Raises `SettingError`."""
    if not isinstance(value, bool | np.bool_):
        raise SettingError(f"{name}={value!r} must be True or False")
    return bool(value)


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
        ragged, shape = f"{cell}: {name} has rows of different lengths, {written(shapes[name])} is wanted", shapes[name]
        array: Array = as_array(value, f"{cell}: {name}", ragged)
        if array.shape != shape:
            raise ShapeError(f"{cell}: {name} is {written(array.shape)}, {written(shape)} is wanted")
        if array.dtype.kind not in "fiu":
            raise DataError(f"{cell}: {name} holds {array.dtype}, numbers are wanted")
        with np.errstate(over="ignore"):
            array = np.array(array, dtype)
        if not np.isfinite(array).all():
            raise DataError(
                f"{cell}: {name} holds NaN or infinity (first at {first_place(~np.isfinite(array))}, as {dtype})"
            )
        checked[name] = array
    return checked


def checked_sequence(
    cell: str, x: Any, shape: Shape, dtype: np.dtype[Any], lengths: Any = None
) -> tuple[Array, bool, int | None]:
    """An input as `[B, T, ...]`, whether it is tokens, and its batch (None for one sequence).

    What stands past a length may be anything: it is not read.
    """
    ragged = f"{cell}: the input has rows of different lengths; pad them, and give lengths"
    x, size = as_array(x, f"{cell}: the input", ragged), int(shape[0]) if shape else 1
    if x.dtype.kind in "iu":
        if x.ndim not in (1, 2):
            raise ShapeError(f"{cell}: tokens are {written(x.shape)}; [T] or [B, T] is wanted (features must be floats)")
        _check_batch(cell, x, x.ndim == 2)
        check_tokens(cell, x, size, lengths)
        return (x[None] if x.ndim == 1 else x), True, None if x.ndim == 1 else x.shape[0]
    if x.dtype.kind != "f":
        raise DataError(f"{cell}: the input holds {x.dtype}; floats are features, integers are tokens")
    if x.ndim not in (2, 3) or x.shape[-1] != size:
        wanted = f"[T, {size}] or [B, T, {size}]"
        raise ShapeError(f"{cell}: the input is {written(x.shape)}; {wanted} is wanted, input={size}")
    _check_batch(cell, x, x.ndim == 3)
    cast = as_type(x, dtype)
    if not _all_finite(cast, lengths) and (bad := ~np.isfinite(cast) & _read(cast.shape[:-1], lengths)[..., None]).any():
        raise DataError(f"{cell}: the input holds NaN or infinity (first at {first_place(bad)}, as {dtype})")
    return (cast[None] if x.ndim == 2 else cast), False, None if x.ndim == 2 else x.shape[0]


def checked_step(cell: str, x: Any, shape: Shape) -> tuple[Array, bool]:
    """One step `[I]` or `[B, I]`, or a token, or tokens `[B]`, and whether it is a batch. Raises `ShapeError`."""
    array: Array = as_array(x, f"{cell}: the input")
    size, tokens = int(shape[0]) if shape else 1, array.dtype.kind in "iu"
    axes = array.ndim - (not tokens)
    if tokens and axes > 1:
        raise ShapeError(f"{cell}: tokens of a step are {written(array.shape)}; one, or [B] is wanted")
    if array.dtype.kind == "f" and (axes not in (0, 1) or array.shape[-1] != size):
        fix = "; call the layer for a sequence" if axes == 2 else ""
        raise ShapeError(f"{cell}: a step is {written(array.shape)}; [{size}] or [B, {size}] is wanted, input={size}{fix}")
    return array, axes > 0


def as_type(x: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers of a type; what is too large for it becomes infinite."""
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def _check_batch(cell: str, x: Array, batched: bool) -> None:
    if batched and not len(x):
        raise ShapeError(f"{cell}: the batch is empty, {written(x.shape)}; at least one sequence is wanted")


def checked_tokens(owner: str, tokens: Any, size: int | None, lengths: Any = None) -> Array:
    """Tokens `[T]` or `[B, T]` of a model, below `size` (any) within the lengths.

    Raises `DataError` for none, `ShapeError`, `TokenError`.
    """
    ragged = f"{owner}: tokens of different lengths; pad them and give lengths (elman.pad_sequences)"
    array: Array = as_array(tokens, f"{owner}: the sequence of tokens", ragged)
    if array.size == 0 and array.dtype.kind not in "iu":  # such as []; integers [0] or [B, 0] are sequences without a step
        raise DataError(f"{owner}: the sequence is empty; at least one token is wanted")
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        raise ShapeError(f"{owner}: tokens are {array.dtype} {written(array.shape)}; integers [T] or [B, T] are wanted")
    if size is not None:
        check_tokens(owner, array, size, lengths)
    return array


def checked_features(owner: str, x: Any, size: int, dtype: np.dtype[Any]) -> Array:
    """Features `[T, I]` or `[B, T, I]` of a model, integers as numbers; their values the layers check.

    Raises `DataError` for text, `ShapeError`.
    """
    if isinstance(x, str):
        raise DataError(f"{owner}: this model reads features [T, {size}], not text")
    ragged = f"{owner}: sequences of different lengths; pad them, and give lengths"
    array: Array = as_array(x, f"{owner}: the input", ragged)
    if array.ndim not in (2, 3) or array.shape[-1] != size:
        wanted = f"[T, {size}] or [B, T, {size}]"
        hint = "; tokens=True makes a model of tokens" if array.dtype.kind in "iu" and array.ndim < 3 else ""
        raise ShapeError(f"{owner}: the input is {written(array.shape)}; features {wanted} are wanted{hint}")
    return array.astype(dtype) if array.dtype.kind in "iu" else array


def checked_token_targets(owner: str, targets: Any, x: Array, axes: Shape, size: int, live: Array | None) -> Array:
    """Target tokens, one for each place of `axes`; those that are not `live` become 0. Raises as for tokens."""
    found = checked_tokens(owner, targets if axes else [targets], size if live is None or live.all() else None)
    found = found if axes else found[0]
    if found.shape != axes and axes == x.shape:
        both = f"tokens are {written(x.shape)}, targets are {written(found.shape)}"
        raise ShapeError(f"{owner}: {both}; one target a token is wanted")
    if found.shape != axes:
        raise ShapeError(f"{owner}: targets are {written(found.shape)}; tokens {written(axes)} are wanted")
    if live is not None:
        found = np.where(live, found, 0)
        check_tokens(owner, found, size)
    return found


def checked_targets(
    owner: str, targets: Any, shape: Shape, live: Array | None, dtype: np.dtype[Any], *, share: bool
) -> Array:
    """Target numbers of a shape; those that are not `live` become 0. With `share` they must be from 0 to 1.

    Raises `ShapeError` or `DataError`.
    """
    ragged = f"{owner}: targets have rows of different lengths; {written(shape)} is wanted"
    found: Array = as_array(targets, f"{owner}: the array of targets", ragged)
    if found.shape != shape:
        raise ShapeError(f"{owner}: targets are {written(found.shape)}; {written(shape)} is wanted, as the output")
    if found.dtype.kind not in "fiub":
        raise DataError(f"{owner}: targets hold {found.dtype}, numbers are wanted")
    with np.errstate(over="ignore"):
        found = found.astype(dtype)
    if live is not None:
        found = np.where(live[..., None], found, dtype.type(0))
    if not np.isfinite(found).all():
        raise DataError(f"{owner}: targets hold NaN or infinity (first at {first_place(~np.isfinite(found))}, as {dtype})")
    if share and found.size and not (found.min() >= 0 and found.max() <= 1):
        at = first_place((found < 0) | (found > 1))
        raise DataError(f"{owner}: target {found[at]:g} at {at} is outside 0 to 1, which a sigmoid's targets are")
    return found


def _all_finite(x: Array, lengths: Any) -> bool:
    """Whether all that is read of `[T, I]` or `[B, T, I]` is finite; padding is passed by where that saves time."""
    if lengths is not None and x.ndim == 3 and x.flags.c_contiguous:
        found: Array = np.asarray(lengths)
        if found.dtype.kind in "iu" and found.shape == x.shape[:1] and x.nbytes > WORTH * len(x):
            ends = found.clip(0, x.shape[1])
            if x.nbytes * (1 - ends.mean() / x.shape[1]) > WORTH * len(x):
                return is_finite(*(one[:end] for one, end in zip(x, ends.tolist(), strict=True)))
    return is_finite(x)


def _read(axes: Shape, lengths: Any) -> Array:
    """Which steps `[T]` or `[B, T]` are read: those within the lengths, where these are lengths at all."""
    found: Array = np.asarray(lengths)
    if found.dtype.kind not in "iu" or found.shape != axes[:-1]:
        return np.ones(axes, bool)
    return np.arange(axes[-1]) < found[..., None]


def check_tokens(owner: str, tokens: Array, size: int, lengths: Any = None) -> None:
    """Raises `TokenError` that says which token within the lengths, where, and the range."""
    if tokens.size and (int(tokens.min()) < 0 or int(tokens.max()) >= size):
        wrong = ((tokens < 0) | (tokens >= size)) & _read(tokens.shape, lengths)
        if not wrong.any():
            return
        where = first_place(wrong)
        place = f"position {where[-1]}" + (f" of sequence {where[0]}" if len(where) > 1 else "")
        raise TokenError(
            f"{owner}: token {int(tokens[where])} at {place} is outside the vocabulary of {size}, 0 to {size - 1}"
        )


def checked_lengths(cell: str, lengths: Any, batch: int, steps: int) -> Array:
    """Lengths `[B]`, each 0 to T. Raises `ShapeError` or `DataError`."""
    found: Array = as_array(lengths, f"{cell}: the array of lengths")
    if found.shape != (batch,) or found.dtype.kind not in "iu":
        given = f"{found.dtype} {written(found.shape)}"
        raise ShapeError(f"{cell}: lengths are {given}; integers ({batch}) are wanted, one a sequence")
    if batch and not (found.min() >= 0 and found.max() <= steps):
        row = int(np.argmax((found < 0) | (found > steps)))
        raise DataError(f"{cell}: length {int(found[row])} of sequence {row} is outside 0 to {steps}, the number of steps")
    return found.astype(np.int64)  # a copy: a gradient reads them again


def checked_reset(cell: str, reset: Any, batch: int, steps: int) -> Array:
    """Resets as `[T, B]` truth values. Raises `ShapeError`."""
    reset = as_array(reset, f"{cell}: reset")
    if reset.shape not in ((steps,), (batch, steps)) or reset.dtype.kind != "b":
        raise ShapeError(
            f"{cell}: reset is {reset.dtype} {written(reset.shape)}; truth values ({steps}) or ({batch}, {steps}) are wanted"
        )
    return np.array(np.broadcast_to(reset, (batch, steps)).T)  # a copy: a gradient reads it again
