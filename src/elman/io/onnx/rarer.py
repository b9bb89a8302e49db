"""Operators that files of recurrent nets have now and then: operator -> NumPy, as the table of the others."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _selu(x: Any, *, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Any:
    return (gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))).astype(x.dtype)


def _celu(x: Any, *, alpha: float = 1.0) -> Any:
    return (np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))).astype(x.dtype)


def _hard_swish(x: Any) -> Any:
    return (x * np.clip(x / 6 + 0.5, 0, 1)).astype(x.dtype)


def _hardmax(x: Any, *, axis: int = -1) -> Any:
    places = np.expand_dims(x.argmax(axis), axis)
    found = np.zeros_like(x)
    np.put_along_axis(found, places, 1, axis)
    return found


def _hardmax_of_the_rest(x: Any, *, axis: int = 1) -> Any:
    """Before version 13 all axes from one on were taken together."""
    lead = int(np.prod(x.shape[: axis % x.ndim]))
    return _hardmax(x.reshape(lead, -1)).reshape(x.shape)


def _top(x: Any, count: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """TopK: of equal values the first comes first."""
    order = np.argsort(-x if largest else x, axis, kind="stable")
    places = np.take(order, range(int(np.reshape(count, ()))), axis)
    return np.take_along_axis(x, places, axis), places.astype(np.int64)


def _gathered(x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    if batch_dims:
        found = [_gathered(row, at, batch_dims=batch_dims - 1) for row, at in zip(x, indices, strict=True)]
        return np.stack(found)
    return x[tuple(np.moveaxis(indices, -1, 0))]


ADDING = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
"""How what is scattered meets what is there."""


def _put(found: Any, key: Any, updates: Any, reduction: str) -> Any:
    if reduction == "none":
        found[key] = updates
    else:
        ADDING[reduction].at(found, key, updates)
    return found


def _scattered(x: Any, indices: Any, updates: Any, *, reduction: str = "none") -> Any:
    return _put(x.copy(), tuple(np.moveaxis(indices, -1, 0)), updates, reduction)


def _scattered_along(x: Any, indices: Any, updates: Any, *, axis: int = 0, reduction: str = "none") -> Any:
    key = list(np.indices(indices.shape))
    key[axis] = indices
    return _put(x.copy(), tuple(key), updates, reduction)


def _triangle(x: Any, k: Any = 0, *, upper: int = 1) -> Any:
    return (np.triu if upper else np.tril)(x, int(np.reshape(k, ())))


def _instance_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    along = tuple(range(2, x.ndim))
    centred = x - x.mean(along, keepdims=True)
    scale, bias = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in (scale, bias))
    return centred / np.sqrt(np.square(centred).mean(along, keepdims=True) + x.dtype.type(epsilon)) * scale + bias


RARER: dict[str, Callable[..., Any]] = {
    "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh,
    "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh, "IsNaN": np.isnan,
    "Selu": _selu,
    "Celu": _celu,
    "HardSwish": _hard_swish,
    "Mish": lambda x: (x * np.tanh(np.logaddexp(0, x))).astype(x.dtype),
    "Hardmax": _hardmax,
    "TopK": _top,
    "GatherND": _gathered,
    "ScatterND": _scattered,
    "ScatterElements": _scattered_along,
    "Einsum": lambda *xs, equation: np.einsum(equation.replace(" ", ""), *xs),
    "Trilu": _triangle,
    "InstanceNormalization": _instance_norm,
    "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.ndim)), keepdims=True, dtype=x.dtype),
    "GlobalMaxPool": lambda x: x.max(tuple(range(2, x.ndim)), keepdims=True),
}  # fmt: skip

RARER_BEFORE_13 = {"Hardmax": _hardmax_of_the_rest}
