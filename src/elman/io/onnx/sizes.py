"""How many numbers an operator would give, before it gives them: a file of a few bytes can ask for terabytes."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from elman.errors import ModelFileError
from elman.io.onnx.shaping import integers, widths
from elman.shapes import written

LARGEST = 2**28
"""So many numbers one value may have that is larger than all that it is made of."""

FOLDED = 2**22
"""So many more numbers than the file has may be computed when it is opened."""


def check_size(op: str, inputs: Sequence[Any], attributes: Mapping[str, Any], largest: int = LARGEST) -> None:
    """Raises `ModelFileError` for an operator whose result would be larger than its inputs and than `largest`."""
    if op in BOUNDED and 0 < prod(value.size for value in inputs if isinstance(value, np.ndarray)) <= largest:
        return
    shapes = [value.shape for value in inputs if isinstance(value, np.ndarray)]
    wanted = prod(np.broadcast_shapes(*shapes)) if op in BROADCAST else RULES[op](inputs, attributes) if op in RULES else 0
    if wanted > max(largest, sum(map(prod, shapes))):
        told = ", ".join(map(written, shapes))
        raise ModelFileError(f"it would give {wanted:,} numbers from inputs {told}; {largest:,} are the most")


def may_grow(op: str) -> bool:
    """Whether what an operator gives can be larger than its inputs."""
    return op in BROADCAST or op in RULES


def _product(shape: Any) -> int:
    return prod(integers(shape) or ())


def _tile(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    x, repeats = inputs[:2]
    return int(x.size) * _product(repeats)


def _expand(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    return prod(np.broadcast_shapes(inputs[0].shape, integers(inputs[1]) or ()))


def _pad(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    x, pads = inputs[0], integers(inputs[1] if len(inputs) > 1 else attributes.get("pads")) or ()
    width = widths(x.ndim, pads, integers(inputs[3]) if len(inputs) > 3 else None)
    return prod(n + max(0, before) + max(0, after) for n, (before, after) in zip(x.shape, width, strict=True))


def _one_hot(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    return int(inputs[0].size) * _product(inputs[1])


def _range(inputs: Sequence[Any], _: Mapping[str, Any]) -> int:
    start, limit, delta = (float(np.asarray(value).reshape(-1)[0]) for value in inputs[:3])
    return int(max(0.0, (limit - start) / delta)) + 1


def _gather(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    x, indices = inputs[:2]
    rest = int(x.size) // max(1, int(x.shape[attributes.get("axis", 0)]))
    return rest * int(indices.size)


def _matmul(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> int:
    a, b = (np.shape(x.T if attributes.get(f"trans{name}") else x) for name, x in zip("AB", inputs, strict=False))
    return prod((*np.broadcast_shapes(a[:-2], b[:-2]), *a[-2:-1], *b[1:][-1:]))


RULES: dict[str, Callable[[Sequence[Any], Mapping[str, Any]], int]] = {
    "ConstantOfShape": lambda inputs, _: _product(inputs[0]),
    "Tile": _tile,
    "Expand": _expand,
    "Pad": _pad,
    "OneHot": _one_hot,
    "Range": _range,
    "Gather": _gather,
    "MatMul": _matmul,
    "Gemm": _matmul,
}
"""Operators whose result is larger than their inputs as these say."""

BROADCAST = frozenset(
    ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Sum", "Mean", "Max", "Min", "PRelu", "Equal", "Greater", "GreaterOrEqual",
     "Less", "LessOrEqual", "And", "Or", "Xor", "Where")
)  # fmt: skip
"""Operators whose inputs meet as NumPy's do; of all others the result is no larger than the inputs."""

BOUNDED = BROADCAST | {"Gather", "MatMul", "Gemm"}
"""Operators whose result has no more numbers than the product of those of its inputs, if none of them is empty."""
