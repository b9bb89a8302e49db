"""Operators of sequences of arrays, which loops of exporters fill: a sequence is a list of Python."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _place(position: Any, size: int) -> int:
    at = int(np.asarray(position).reshape(-1)[0])
    return at + size if at < 0 else at


def inserted(xs: list[Any], x: Any, position: Any = None) -> tuple[list[Any]]:
    """Operator SequenceInsert."""
    at = len(xs) if position is None else _place(position, len(xs))
    return ([*xs[:at], x, *xs[at:]],)


def erased(xs: list[Any], position: Any = -1) -> tuple[list[Any]]:
    """Operator SequenceErase."""
    at = _place(position, len(xs))
    return ([*xs[:at], *xs[at + 1 :]],)


def at(xs: list[Any], position: Any) -> Any:
    """Operator SequenceAt."""
    return xs[_place(position, len(xs))]


def joined(xs: list[Any], *, axis: int, new_axis: int = 0) -> Any:
    """Operator ConcatFromSequence."""
    return np.stack(xs, axis) if new_axis else np.concatenate(xs, axis)


def parted(x: Any, split: Any = None, *, axis: int = 0, keepdims: int = 1) -> tuple[list[Any]]:
    """Operator SplitToSequence: parts of one element, of so many, or of these sizes."""
    size = x.shape[axis]
    if split is None:
        parts = np.split(x, size, axis)
        return (parts if keepdims else [part.squeeze(axis) for part in parts],)
    places = np.arange(int(split), size, int(split)) if np.ndim(split) == 0 else np.cumsum(split)[:-1]
    return (np.split(x, places.tolist(), axis),)


SEQUENCES: dict[str, Callable[..., Any]] = {
    "SequenceConstruct": lambda *xs: (list(xs),),
    "SequenceEmpty": lambda *, dtype=1: ([],),
    "SequenceInsert": inserted,
    "SequenceErase": erased,
    "SequenceAt": at,
    "SequenceLength": lambda xs: np.array(len(xs), np.int64),
    "ConcatFromSequence": joined,
    "SplitToSequence": parted,
}
