"""The operator Conv over any number of axes: every window of the input is a column, and the weights are one product."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from elman.errors import ModelFileError
from elman.shapes import written

AUTOMATIC = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
"""What `auto_pad` may be; what SAME adds goes to both ends, and an odd rest to the upper or the lower one."""


def convolved(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Any:
    """Operator Conv: x `[B, C, ...]`, w `[M, C/group, ...]`, b `[M]`."""
    kernel = w.shape[2:]
    dilations, strides = dilations or (1,) * len(kernel), strides or (1,) * len(kernel)
    if w.ndim != x.ndim or x.shape[1] != w.shape[1] * group or len(w) % group or tuple(kernel_shape or kernel) != kernel:
        told = "" if kernel_shape is None else f", kernel_shape={written(tuple(kernel_shape))}"
        raise ModelFileError(f"weights {written(w.shape)} do not fit an input {written(x.shape)} with group={group}{told}")
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    width = _width(auto_pad, pads, x.shape[2:], spans, strides)
    x = _padded(x, width) if any(map(any, width)) else x
    places = tuple((size - span) // step + 1 for size, span, step in zip(x.shape[2:], spans, strides, strict=True))
    if min(places) < 1:
        raise ModelFileError(f"an input {written(x.shape)}, padded, is smaller than a window of {written(tuple(spans))}")
    apart = tuple(stride * step for steps in (dilations, strides) for stride, step in zip(x.strides[2:], steps, strict=True))
    windows = as_strided(x, (*x.shape[:2], *kernel, *places), (*x.strides[:2], *apart), writeable=False)
    columns = windows.reshape(len(x), group, w.shape[1] * prod(kernel), prod(places))
    y = np.matmul(w.reshape(group, len(w) // group, -1), columns).reshape(len(x), len(w), *places)
    return y if b is None else y + b.reshape(-1, *[1] * len(kernel))


def _padded(x: Any, width: Sequence[tuple[int, int]]) -> Any:
    """Zeros around an input; `np.pad` takes ten times as long where there is little to copy."""
    sizes = [before + size + after for size, (before, after) in zip(x.shape[2:], width, strict=True)]
    y = np.zeros((*x.shape[:2], *sizes), x.dtype)
    inside: Any = (..., *(slice(before, before + size) for size, (before, _) in zip(x.shape[2:], width, strict=True)))
    y[inside] = x
    return y


def _width(auto_pad: str, pads: Any, sizes: Any, spans: Any, strides: Any) -> list[tuple[int, int]]:
    """How many zeros stand before and after each axis."""
    if auto_pad not in AUTOMATIC:
        raise ModelFileError(f"auto_pad {auto_pad!r} is unknown; it is one of {', '.join(AUTOMATIC)}")
    if auto_pad in ("NOTSET", "VALID"):
        pads = pads if pads and auto_pad == "NOTSET" else (0,) * (2 * len(sizes))
        return list(zip(pads[: len(sizes)], pads[len(sizes) :], strict=True))
    # as many places as there are strides in the axis
    wanted = [max(0, (-(-n // s) - 1) * s + span - n) for n, s, span in zip(sizes, strides, spans, strict=True)]
    halves = [(n // 2, n - n // 2) for n in wanted]
    return halves if auto_pad == "SAME_UPPER" else [(after, before) for before, after in halves]
