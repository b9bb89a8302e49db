"""Sequences from NumPy's files: arrays only, never pickles, which run code when they are opened."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np

from elman.checks import checked_lengths
from elman.corpus import shown
from elman.data.sequences import Sequences
from elman.errors import DataError, ElmanError, ShapeError, one_line
from elman.gates import Array
from elman.io import npz
from elman.shapes import written

TARGETS = ".targets"
"""What the name of a sequence's targets has behind that of the sequence."""

MAGIC = {b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz"}
SHAPES = "tokens (integers) [N] or [N, T], or features (floats) [T, I] or [N, T, I]"

MOST_EMPTY = 2**20
"""So many sequences without a step may be in a file: of these it could claim any number."""


def load_arrays(path: str | os.PathLike[str]) -> Sequences:
    """Sequences from a .npy, mapped into memory, or from a .npz, read into it.

    An array of integers `[T]` or of floats `[T, I]` is one sequence; with one axis more before, as many as it is long. A
    .npz with `x` holds such an array, and may hold `lengths` `[N]` and `targets` of every step, `[N, T]` or `[N, T, O]`, or
    once a sequence, `[N]` or `[N, O]`. Any other holds a sequence under each name; targets of `walk` are `walk.targets`.

    Raises `DataError` for a file that is missing, damaged, or holds Python objects; `ShapeError` where arrays do not fit.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "walks.npz")
    ...     np.savez(path, x=np.zeros((2, 5, 3)), lengths=[5, 2], targets=[0, 1])
    ...     found = load_arrays(path)
    >>> found, [x.shape for x in found.sequences]
    (Sequences(2 of 2 to 5 steps, features, targets a sequence), [(5, 3), (2, 3)])
    """
    name = shown(path)
    try:
        if _format(name, Path(path)) == "npy":
            return Sequences(_split(f"{name}: the array", npz.mapped(path)))
        with Path(path).open("rb") as file:
            arrays = npz.read(file)
    except ElmanError:
        raise
    except npz.DAMAGED as error:
        _refuse(name, error)
    return _padded(name, arrays) if "x" in arrays else _named(name, arrays)


def _format(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            begin = file.read(6)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from None
    found = MAGIC.get(begin) or MAGIC.get(begin[:4])
    if found is None:
        raise DataError(f"{name} is neither a .npy nor a .npz; a pickle is not opened, since that runs what it holds")
    return found


def _refuse(name: str, error: Exception) -> NoReturn:
    """Say why NumPy did not open a file: Python objects, which are pickled, or damage."""
    if "Python objects" in str(error) or "Object arrays" in str(error):
        fix = "save numbers of one shape, or a .npz with an array for each sequence"
        raise DataError(f"{name} holds Python objects, which are pickled; opening these runs code: {fix}") from None
    raise DataError(f"{name} is damaged ({one_line(str(error))})") from None


def _split(owner: str, array: Array) -> tuple[Array, ...]:
    """An array as one sequence, or as many. Raises `ShapeError`."""
    tokens = array.dtype.kind in "iu"
    if array.dtype.kind not in "iuf" or array.ndim - (not tokens) not in (1, 2):
        raise ShapeError(f"{owner} is {array.dtype} {written(array.shape)}; {SHAPES} are wanted")
    if array.ndim == 2 - tokens:
        return (array,)
    if len(array) > array.size + MOST_EMPTY:
        raise ShapeError(f"{owner} is {array.dtype} {written(array.shape)}: {len(array)} sequences without a number")
    return tuple(array)


def _padded(name: str, arrays: Mapping[str, Array]) -> Sequences:
    """Sequences of `x`, cut at their lengths, with their targets."""
    more = sorted(set(arrays) - {"x", "targets", "lengths"})
    if more:
        raise DataError(f"{name} has x, and {', '.join(more)}; beside x stand targets and lengths, and nothing else")
    x = _split(f"{name}: x", arrays["x"])
    single = len(x) == 1 and x[0].ndim == arrays["x"].ndim
    steps = len(arrays["x"]) if single else arrays["x"].shape[1]
    lengths = np.full(len(x), steps)
    if "lengths" in arrays:
        lengths = checked_lengths(name, np.atleast_1d(arrays["lengths"]), len(x), steps)
    return Sequences(_cut(x, lengths), _targets(name, arrays.get("targets"), single, lengths, steps))


def _targets(name: str, targets: Array | None, single: bool, lengths: Array, steps: int) -> tuple[Array, ...] | Array | None:
    """Targets of every step, cut at the lengths, or once a sequence. Raises `ShapeError`."""
    if targets is None:
        return None
    rows = targets[None] if single else targets
    if not rows.ndim or len(rows) != len(lengths):
        raise ShapeError(f"{name}: targets are {written(targets.shape)}, x has {len(lengths)} sequences; as many are wanted")
    return _cut(tuple(rows), lengths) if rows.ndim > 1 and rows.shape[1] == steps else rows


def _cut(arrays: tuple[Array, ...], lengths: Array) -> tuple[Array, ...]:
    return tuple(array[:length] for array, length in zip(arrays, lengths, strict=True))


def _named(name: str, arrays: Mapping[str, Array]) -> Sequences:
    """A sequence under each name, with its targets. Raises `DataError` or `ShapeError`."""
    names = [key for key in arrays if not key.endswith(TARGETS)]
    if not names:
        raise DataError(f"{name} holds no sequence: {', '.join(arrays) or 'it is empty'}")
    sequences: list[Array] = []
    for key in names:
        found = _split(f"{name}: {key!r}", arrays[key])
        if len(found) > 1 or found[0].ndim != arrays[key].ndim:
            raise ShapeError(f"{name}: {key!r} is {written(arrays[key].shape)}; one sequence is wanted, or call it x")
        sequences.extend(found)
    if len(names) == len(arrays):
        return Sequences(tuple(sequences), None, tuple(names))
    alone = sorted({key.removesuffix(TARGETS) for key in arrays if key.endswith(TARGETS)} ^ set(names))
    if alone:
        raise DataError(f"{name}: {alone[0]!r} and {alone[0] + TARGETS!r} go together; only one of them is there")
    targets = [arrays[key + TARGETS] for key in names]
    once = any(not y.ndim or len(y) != len(x) for x, y in zip(sequences, targets, strict=True))
    if once and len({y.shape for y in targets}) > 1:
        raise ShapeError(f"{name}: targets have neither as many steps as their sequences, nor all the same shape")
    return Sequences(tuple(sequences), np.stack(targets) if once else tuple(targets), tuple(names))
