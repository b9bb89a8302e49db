"""What callers of an estimator give as sequences, checked: lists of arrays, one array, or an array of objects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.checks import as_type
from elman.errors import DataError, SettingError, ShapeError, TokenError
from elman.gates import Array
from elman.shapes import written

WANTED = "a list of sequences is wanted, features [T, I] or tokens [T] each"


@dataclass(frozen=True)
class Reads:
    """What a model reads at a step: `size` features, or one of `size` tokens."""

    tokens: bool
    size: int


def sequences_of(owner: str, X: Any) -> list[Array]:
    """The sequences of an input, `[T]` or `[T, I]` each: integers or floats.

    Raises `ShapeError` for what is no list of sequences, `DataError` for what holds no numbers.
    """
    sequences = [_sequence(f"{owner}: sequence {place}", given) for place, given in enumerate(_listed(owner, X))]
    if not sequences:
        raise DataError(f"{owner}: there is no sequence; one or more are wanted")
    return sequences


def reads_of(owner: str, sequences: Sequence[Array], symbols: int | None) -> Reads:
    """What sequences are to be read as: integers `[T]` are tokens, everything else is features.

    Raises `DataError` where no sequence has a step, `ShapeError` for steps of several sizes.
    """
    full = [(place, sequence) for place, sequence in enumerate(sequences) if sequence.size]
    if not full:
        none = f"0 feature(s) (shape=({len(sequences)}, 0)) while a minimum of 1 is required."  # as scikit-learn says it
        lacks = "a step" if not any(map(len, sequences)) else "a feature"
        raise DataError(f"{owner}: none of the {len(sequences)} sequences has {lacks}, {none}")
    if all(sequence.ndim == 1 and sequence.dtype.kind in "iu" for _, sequence in full):
        return Reads(True, checked_symbols(owner, symbols) or max(1, *(1 + int(sequence.max()) for _, sequence in full)))
    (first, one), *_ = full
    for place, sequence in full:
        if _width(sequence) != _width(one):
            both = f"sequence {first} has {_width(one)} values a step, sequence {place} has {_width(sequence)}"
            raise ShapeError(f"{owner}: {both}; one number of features is wanted")
    return Reads(tokens=False, size=_width(one))


def checked_symbols(owner: str, symbols: Any) -> int | None:
    """A number of symbols, or none. Raises `SettingError`."""
    if symbols is None:
        return None
    if isinstance(symbols, bool) or not isinstance(symbols, int | np.integer) or symbols < 1:
        raise SettingError(f"{owner}: symbols={symbols!r} must be a number of symbols, 1 or more, or None")
    return int(symbols)


def as_read(owner: str, sequences: Sequence[Array], reads: Reads, dtype: str) -> list[Array]:
    """Sequences as what a model reads: tokens `[T]`, or features `[T, I]` of its type.

    Raises `ShapeError` for another number of features, `TokenError` for another token, `DataError` for NaN or infinity.
    """
    as_one: Callable[[str, Array, Reads, np.dtype[Any]], Array] = _as_tokens if reads.tokens else _as_features
    number = np.dtype(dtype)
    return [as_one(f"{owner}: sequence {place}", sequence, reads, number) for place, sequence in enumerate(sequences)]


# --- inside -----------------------------------------------------------------------------------------------------------


def _listed(owner: str, X: Any) -> list[Any]:
    """The sequences of whatever holds them. An array of objects, as made by slicing a list, may hold arrays or numbers."""
    if hasattr(X, "toarray"):
        raise DataError(f"{owner}: sparse data are not supported; {WANTED}")
    if isinstance(X, str | bytes) or not (hasattr(X, "__len__") or hasattr(X, "__array__")):
        raise DataError(f"{owner}: X is {type(X).__name__}; {WANTED}")
    if hasattr(X, "__array__"):
        X = np.asarray(X)
        if X.dtype.kind == "c":
            raise DataError(f"{owner}: Complex data not supported; {WANTED}")
        if X.ndim == 0 or (X.ndim == 1 and X.dtype != object):
            raise ShapeError(f"{owner}: X is {written(X.shape)}; {WANTED}. Reshape your data: [X] is one sequence")
        X = X.tolist() if X.dtype == object else X
    held = list(X)
    if held and not hasattr(held[0], "__len__"):
        raise ShapeError(f"{owner}: X holds {type(held[0]).__name__}; {WANTED}. Reshape your data: [X] is one sequence")
    return held


def _sequence(which: str, given: Any) -> Array:
    """One sequence as integers or floats. The type of an empty one says nothing."""
    try:
        array: Array = np.asarray(given)
    except (ValueError, TypeError):
        raise ShapeError(f"{which} has steps of different sizes; features [T, I] or tokens [T] are wanted") from None
    if array.dtype.kind == "b":
        array = array.astype(np.float64)
    if array.dtype.kind == "c":
        raise DataError(f"{which}: Complex data not supported")
    if array.dtype.kind not in "fiu":
        hint = "; elman.Vocabulary makes tokens of text" if array.dtype.kind in "US" else ""
        raise DataError(f"{which} holds {array.dtype}; numbers are wanted{hint}")
    if array.ndim not in (1, 2):
        raise ShapeError(f"{which} is {written(array.shape)}; features [T, I] or tokens [T] are wanted")
    return array


def _width(sequence: Array) -> int:
    """Values a step; numbers `[T]` are one feature."""
    return 1 if sequence.ndim == 1 else sequence.shape[1]


def _as_tokens(which: str, sequence: Array, reads: Reads, dtype: np.dtype[Any]) -> Array:
    if not sequence.size:
        return np.zeros(0, np.int64)
    if sequence.ndim != 1 or sequence.dtype.kind not in "iu":
        raise DataError(f"{which} is {sequence.dtype} {written(sequence.shape)}; tokens [T], integers, were fitted")
    if sequence.min() < 0 or sequence.max() >= reads.size:
        at = int(np.argmax((sequence < 0) | (sequence >= reads.size)))
        known = f"tokens are 0 to {reads.size - 1}; symbols= sets how many there are"
        raise TokenError(f"{which} holds the token {int(sequence[at])} at step {at}; {known}")
    return sequence.astype(np.int64, copy=False)


def _as_features(which: str, sequence: Array, reads: Reads, dtype: np.dtype[Any]) -> Array:
    if not sequence.size and (sequence.ndim == 1 or not len(sequence)):
        return np.zeros((0, reads.size), dtype)
    if _width(sequence) != reads.size:
        owner = which.partition(":")[0]
        known = f"X has {_width(sequence)} features, but {owner} is expecting {reads.size} features as input"
        raise ShapeError(f"{which}: {known}")  # as scikit-learn says it
    features = as_type(sequence.reshape(len(sequence), reads.size), dtype)
    if not np.isfinite(features).all():
        at = int(np.argmin(np.isfinite(features).all(1)))
        raise DataError(f"{which} holds NaN or infinity (first at step {at}, as {dtype})")
    return features
