"""Operators that cut, join, turn and fill arrays, as functions of NumPy: their attributes may come as inputs."""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np


def integers(given: Any) -> tuple[int, ...] | None:
    """Axes, sizes or places, however a file gives them."""
    if given is None or type(given) is tuple:
        return given
    return tuple(map(int, np.asarray(given).reshape(-1).tolist()))


def squeeze(x: Any, axes: Any = None) -> Any:
    """Operator Squeeze."""
    return x.squeeze(integers(axes))


def unsqueeze(x: Any, axes: Any) -> Any:
    """Operator Unsqueeze."""
    return x.reshape(_with_axes(x.shape, integers(axes) or ()))


@lru_cache
def _with_axes(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return np.expand_dims(np.broadcast_to(0, shape), axes).shape


def reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    """Operator Reshape: a 0 stands for the size that is there."""
    sizes = [int(size) for size in shape]
    return x.reshape([x.shape[at] if size == 0 and not allowzero else size for at, size in enumerate(sizes)])


def cut(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    """Operator Slice."""
    return x[_cut_at(x.shape, integers(starts) or (), integers(ends) or (), integers(axes), integers(steps))]


@lru_cache
def _cut_at(
    shape: tuple[int, ...], starts: tuple[int, ...], ends: tuple[int, ...], axes: Any, steps: Any
) -> tuple[slice, ...]:
    along, by = axes or tuple(range(len(starts))), steps or (1,) * len(starts)
    key = [slice(None)] * len(shape)
    for axis, start, end, step in zip(along, starts, ends, by, strict=True):
        key[axis] = _stretch(start, end, step, shape[axis])
    return tuple(key)


def _stretch(start: int, end: int, step: int, size: int) -> slice:
    """Where the operator goes from and to: backwards it begins at an element, however far before the first it is told to."""
    start, end = (place + size if place < 0 else place for place in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step) if size else slice(0)


def split(x: Any, split: Any = None, *, axis: int = 0, num_outputs: int = 0, outputs: int = 0) -> Any:
    """Operator Split, in equal parts where no sizes are given, the last one smaller."""
    if split is None:
        if num_outputs not in (0, outputs):
            raise ValueError(f"num_outputs is {num_outputs}, and there are {outputs} outputs")
        part = -(-x.shape[axis] // outputs)
        places = [part * k for k in range(1, outputs)]
    else:
        places = np.cumsum(np.asarray(split))[:-1].tolist()
    return tuple(np.split(x, places, axis))


def expand(x: Any, shape: Any) -> Any:
    """Operator Expand: the sizes meet as those of two operands do."""
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(size) for size in shape)))


def filled(shape: Any, *, value: Any = None) -> Any:
    """Operator ConstantOfShape."""
    fill = np.zeros(1, np.float32) if value is None else value
    return np.full(tuple(int(size) for size in shape), fill.reshape(-1)[0], fill.dtype)


def pad(x: Any, pads: Any, value: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    """Operator Pad: the widths before all axes come first."""
    width = widths(x.ndim, integers(pads) or (), integers(axes))
    if mode == "constant":
        return np.pad(x, width, constant_values=0 if value is None else np.asarray(value).reshape(-1)[0])
    for axis, (before, after) in enumerate(width):
        if before or after:
            x = x.take(_padded(x.shape[axis], before, after, mode), axis)
    return x


@lru_cache
def widths(rank: int, pads: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[tuple[int, int], ...]:
    """How much Pad adds before and after each axis."""
    along, width = axes or tuple(range(rank)), [(0, 0)] * rank
    for at, axis in enumerate(along):
        width[axis] = (pads[at], pads[at + len(along)])
    return tuple(width)


@lru_cache(maxsize=16)
def _padded(size: int, before: int, after: int, mode: str) -> Any:
    """Where along an axis the numbers of a padded one come from; `np.pad` takes ten times as long as to take them."""
    return np.pad(np.arange(size), (before, after), mode=mode)  # type: ignore[call-overload]


def one_hot(indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    """Operator OneHot."""
    size = int(np.asarray(depth).reshape(-1)[0])
    chosen = np.arange(size) == (indices.astype(np.int64) % size)[..., None]
    return np.moveaxis(np.where(chosen, values[1], values[0]), -1, axis)


def gather(x: Any, indices: Any, *, axis: int = 0) -> Any:
    """Operator Gather."""
    return np.asarray(x.take(indices, axis))


def shape_of(x: Any, *, start: int = 0, end: int | None = None) -> Any:
    """Operator Shape."""
    return np.array(x.shape[start:end], np.int64)


def flatten(x: Any, *, axis: int = 1) -> Any:
    """Operator Flatten."""
    return x.reshape(prod(x.shape[:axis]), -1)


def reverse_sequence(x: Any, lengths: Any, *, batch_axis: int = 1, time_axis: int = 0) -> Any:
    """Operator ReverseSequence."""
    moved = np.moveaxis(x, (batch_axis, time_axis), (0, 1)).copy()
    for row, length in enumerate(lengths):
        moved[row, :length] = moved[row, :length][::-1]
    return np.moveaxis(moved, (0, 1), (batch_axis, time_axis))
