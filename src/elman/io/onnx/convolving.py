"""The operator Conv over any number of axes: every window of the input is a column, and the weights are one product."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from elman.errors import ModelFileError
from elman.shapes import written

AUTOMATIC = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
"""What `auto_pad` may be; what SAME adds goes to both ends, and an odd rest to the upper or the lower one."""


KEPT = 32
"""Sizes of inputs that a node keeps plans for."""


class Plan(NamedTuple):
    """How a convolution of certain sizes is computed: shapes on the way from the input to the output."""

    padded: tuple[int, ...] | None
    inside: tuple[Any, ...]
    windows: tuple[int, ...]
    steps: tuple[int, ...]
    columns: tuple[int, ...]
    weights: tuple[int, ...]
    bias: tuple[int, ...]
    output: tuple[int, ...]


class Convolution:
    """The operator Conv with its attributes: x `[B, C, ...]`, w `[M, C/group, ...]`, b `[M]`."""

    def __init__(
        self,
        *,
        auto_pad: str = "NOTSET",
        dilations: Sequence[int] | None = None,
        group: int = 1,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> None:
        self._settings = (auto_pad, dilations, group, kernel_shape, pads, strides)
        self._plans: dict[Any, Plan] = {}

    def __call__(self, x: Any, w: Any, b: Any = None) -> Any:
        """What it gives. Raises `ModelFileError` for sizes that do not fit."""
        plan = self._plans.get((x.shape, w.shape, x.itemsize)) or self._plan(x, w)
        if plan.padded is None:
            x = np.ascontiguousarray(x)
        else:
            inner, x = x, np.zeros(plan.padded, x.dtype)
            x[plan.inside] = inner
        # as_strided takes five times as long where there is little to copy
        windows = np.ndarray(plan.windows, x.dtype, x, 0, plan.steps) if x.size else np.zeros(plan.windows, x.dtype)
        y = np.matmul(w.reshape(plan.weights), windows.reshape(plan.columns)).reshape(plan.output)
        return y if b is None else y + b.reshape(plan.bias)

    def _plan(self, x: Any, w: Any) -> Plan:
        if len(self._plans) >= KEPT:
            self._plans.clear()
        plan = self._plans[x.shape, w.shape, x.itemsize] = _planned(x.shape, w.shape, x.itemsize, *self._settings)
        return plan


def convolved(x: Any, w: Any, b: Any = None, **attributes: Any) -> Any:
    """Operator Conv, once."""
    return Convolution(**attributes)(x, w, b)


def _planned(
    shape: tuple[int, ...], weights: tuple[int, ...], itemsize: int, auto_pad: str, dilations: Any, group: int,
    kernel_shape: Any, pads: Any, strides: Any,
) -> Plan:  # fmt: skip
    """The plan for sizes that come again. Raises `ModelFileError` for those that do not fit."""
    kernel, rank = weights[2:], len(weights) - 2
    dilations, strides = dilations or (1,) * rank, strides or (1,) * rank
    fits = len(weights) == len(shape) and shape[1] == weights[1] * group and not weights[0] % group
    if not fits or tuple(kernel_shape or kernel) != kernel:
        told = "" if kernel_shape is None else f", kernel_shape={written(tuple(kernel_shape))}"
        raise ModelFileError(f"weights {written(weights)} do not fit an input {written(shape)} with group={group}{told}")
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    width = _width(auto_pad, pads, shape[2:], spans, strides)
    sizes = tuple(before + size + after for size, (before, after) in zip(shape[2:], width, strict=True))
    places = tuple((size - span) // step + 1 for size, span, step in zip(sizes, spans, strides, strict=True))
    if min(places) < 1:
        padded = written((*shape[:2], *sizes))
        raise ModelFileError(f"an input {padded}, padded, is smaller than a window of {written(tuple(spans))}")
    whole = (*shape[:2], *sizes)
    strides_of = [itemsize * prod(whole[at + 1 :]) for at in range(len(whole))]
    apart = [stride * step for steps in (dilations, strides) for stride, step in zip(strides_of[2:], steps, strict=True)]
    return Plan(
        padded=whole if any(map(any, width)) else None,
        inside=(..., *(slice(before, before + size) for size, (before, _) in zip(shape[2:], width, strict=True))),
        windows=(*shape[:2], *kernel, *places),
        steps=(*strides_of[:2], *apart),
        columns=(shape[0], group, weights[1] * prod(kernel), prod(places)),
        weights=(group, weights[0] // group, weights[1] * prod(kernel)),
        bias=(-1, *[1] * rank),
        output=(shape[0], weights[0], *places),
    )


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
