"""What surrounds recurrent nodes in exported files: operator -> NumPy, one line each where that says it all.

A function takes the inputs of the operator by position, None for one that is left out, and its attributes by name; what the
operator had as an attribute in one version and as an input in another it takes as either.
"""

import math
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from elman.errors import ModelFileError
from elman.gates import GATES
from elman.io.onnx import shaping
from elman.io.onnx.activations import ACTIVATIONS
from elman.io.onnx.convolving import Convolution, convolved
from elman.io.onnx.preparing import DOMAIN, PREPARING
from elman.io.onnx.rarer import RARER, RARER_BEFORE_13
from elman.io.onnx.sequences import SEQUENCES

TYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64, 16: np.float32,
}  # fmt: skip
"""Types by the numbers that stand for them; bfloat16 is computed in float32."""


def _cast(x: Any, *, to: int, saturate: int = 1) -> Any:
    if to not in TYPES:
        raise ModelFileError(f"type {to} is not supported; it is one of {', '.join(map(str, TYPES))}")
    if x.dtype == TYPES[to]:
        return x
    with np.errstate(invalid="ignore", over="ignore"):
        return x.astype(TYPES[to])


def _constant(*, value: Any = None, **others: Any) -> Any:
    if value is not None:
        return value
    (name, given), *_ = others.items()
    return np.asarray(given, {"f": np.float32, "i": np.int64, "s": np.str_}[name.removeprefix("value_")[0]])


def _product(a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, **turned: int) -> Any:
    y = np.matmul(a.T if turned.get("transA") else a, b.T if turned.get("transB") else b)
    y = y if alpha == 1.0 else y * y.dtype.type(alpha)
    return y if c is None else y + (c if beta == 1.0 else c * c.dtype.type(beta))


def _divide(a: Any, b: Any) -> Any:
    if np.result_type(a, b).kind in "iu":  # towards zero, as C
        return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(np.result_type(a, b))
    return a / b


def _power(a: Any, b: Any) -> Any:
    return np.power(a, b).astype(a.dtype, copy=False)


def _modulus(a: Any, b: Any, *, fmod: int = 0) -> Any:
    return np.fmod(a, b) if fmod else np.mod(a, b)


def _activation(name: str) -> Callable[..., Any]:
    """An activation of the recurrent operators as an operator of its own."""
    row = ACTIVATIONS[name]
    if name.lower() in GATES:  # one gate says it all
        return GATES[name.lower()].forward

    def applied(x: Any, *, alpha: float | None = row.alpha, beta: float | None = row.beta) -> Any:
        return np.asarray(row.equation(x, alpha, beta), x.dtype)

    return applied


def _over(gate: str) -> Callable[..., Any]:
    def applied(x: Any, *, axis: int = -1) -> Any:
        return np.moveaxis(GATES[gate].forward(np.moveaxis(x, axis, -1)), -1, axis)

    return applied


def _over_the_rest(gate: str) -> Callable[..., Any]:
    """Before version 13 all axes from one on were taken together."""

    def applied(x: Any, *, axis: int = 1) -> Any:
        lead = prod(x.shape[: axis % x.ndim])
        return GATES[gate].forward(x.reshape(lead, -1)).reshape(x.shape)

    return applied


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    def applied(x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        along = shaping.integers(axes) or None
        if along is None and noop_with_empty_axes:
            return x
        return np.asarray(function(x, axis=along, keepdims=bool(keepdims)), x.dtype)

    return applied


def _mean(x: Any, **options: Any) -> Any:
    if x.dtype.kind != "f" or x.itemsize < 4 or not x.size:  # which NumPy adds up in another type, or warns of
        return np.mean(x, **options)
    total = np.add.reduce(x, **options)
    return total / x.dtype.type(x.size // total.size)


def _norm(x: Any, **options: Any) -> Any:
    return np.sqrt(np.square(x).sum(**options))


def _log_sum_exp(x: Any, **options: Any) -> Any:
    return np.logaddexp.reduce(x, **options)


def _best(function: Callable[..., Any]) -> Callable[..., Any]:
    def applied(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        if select_last_index:
            found = x.shape[axis] - 1 - function(np.flip(x, axis), axis, keepdims=bool(keepdims))
        else:
            found = function(x, axis, keepdims=bool(keepdims))
        return np.asarray(found, np.int64)

    return applied


def _batch_norm(x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float = 1e-5, **_: Any) -> Any:
    scale, bias, mean, variance = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in (scale, bias, mean, variance))
    return ((x - mean) / np.sqrt(variance + variance.dtype.type(epsilon)) * scale + bias).astype(x.dtype)


def _layer_norm(x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    along = tuple(range(axis % x.ndim, x.ndim))
    mean = x.mean(along, keepdims=True)
    deviation = np.sqrt(np.square(x - mean).mean(along, keepdims=True) + x.dtype.type(epsilon))
    y = (x - mean) / deviation * scale
    return (y if bias is None else y + bias), mean, 1 / deviation


def _clip(x: Any, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (min if low is None else low), (max if high is None else high)
    x = x if low is None else np.maximum(x, np.asarray(low, x.dtype))
    return x if high is None else np.minimum(x, np.asarray(high, x.dtype))


def _cumsum(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    axis = int(np.asarray(axis).reshape(-1)[0])
    x = np.flip(x, axis) if reverse else x
    y = np.cumsum(x, axis, dtype=x.dtype)
    y = y - x if exclusive else y
    return np.flip(y, axis) if reverse else y


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gelu(x: Any, *, approximate: str = "none") -> Any:
    if approximate == "none":
        return (0.5 * x * (1 + _erf(x / np.sqrt(2)))).astype(x.dtype)
    return (0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))).astype(x.dtype)


OPERATORS: dict[str, Callable[..., Any]] = {
    # numbers
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _divide,
    "Pow": _power,
    "Mod": _modulus,
    "Sum": lambda *xs: sum(xs[1:], xs[0]),
    "Mean": lambda *xs: sum(xs[1:], xs[0]) / xs[0].dtype.type(len(xs)),
    "Max": lambda *xs: np.maximum.reduce(np.broadcast_arrays(*xs)),
    "Min": lambda *xs: np.minimum.reduce(np.broadcast_arrays(*xs)),
    "Neg": np.negative,
    "Abs": np.absolute,
    "Sign": np.sign,
    "Sqrt": np.sqrt,
    "Reciprocal": lambda x: (1 / x).astype(x.dtype),
    "Erf": lambda x: _erf(x).astype(x.dtype),
    "Exp": np.exp,
    "Log": np.log,
    "Sin": np.sin,
    "Cos": np.cos,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Clip": _clip,
    "MatMul": np.matmul,
    "Gemm": _product,
    "Conv": convolved,
    # activations
    **{name: _activation(name) for name in ACTIVATIONS if name not in ("Affine", "ScaledTanh", "ThresholdedRelu")},
    "ThresholdedRelu": lambda x, *, alpha=1.0: np.where(x > alpha, x, 0).astype(x.dtype),
    "PRelu": lambda x, slope: np.where(x < 0, x * slope, x),
    "Gelu": _gelu,
    "Softmax": _over("softmax"),
    "LogSoftmax": _over("log_softmax"),
    # truth
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Not": np.logical_not,
    "Where": np.where,
    # shapes
    "Identity": lambda x: x,
    "Dropout": lambda x, *_, **__: (x, np.ones(x.shape, bool)),
    "Cast": _cast,
    "CastLike": lambda x, like, *, saturate=1: x.astype(like.dtype),
    "Constant": _constant,
    "ConstantOfShape": shaping.filled,
    "Shape": shaping.shape_of,
    "Size": lambda x: np.array(x.size, np.int64),
    "Reshape": shaping.reshape,
    "Flatten": shaping.flatten,
    "Transpose": lambda x, *, perm=None: np.transpose(x, perm),
    "Squeeze": shaping.squeeze,
    "Unsqueeze": shaping.unsqueeze,
    "Expand": shaping.expand,
    "Tile": lambda x, repeats: np.tile(x, tuple(int(r) for r in repeats)),
    "Concat": lambda *xs, axis: np.concatenate(xs, axis),
    "Split": shaping.split,
    "Slice": shaping.cut,
    "Pad": shaping.pad,
    "Gather": shaping.gather,
    "GatherElements": lambda x, indices, *, axis=0: np.take_along_axis(x, indices, axis),
    "OneHot": shaping.one_hot,
    "Range": lambda start, limit, delta: np.arange(start, limit, delta, dtype=start.dtype),
    "ReverseSequence": shaping.reverse_sequence,
    "CumSum": _cumsum,
    # sums
    "ReduceSum": _reduced(np.add.reduce),
    "ReduceMean": _reduced(_mean),
    "ReduceMax": _reduced(np.maximum.reduce),
    "ReduceMin": _reduced(np.minimum.reduce),
    "ReduceProd": _reduced(np.multiply.reduce),
    "ReduceL2": _reduced(_norm),
    "ReduceL1": _reduced(lambda x, **options: np.abs(x).sum(**options)),
    "ReduceSumSquare": _reduced(lambda x, **options: np.square(x).sum(**options)),
    "ReduceLogSum": _reduced(lambda x, **options: np.log(x.sum(**options))),
    "ReduceLogSumExp": _reduced(_log_sum_exp),
    "ArgMax": _best(np.argmax),
    "ArgMin": _best(np.argmin),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    **RARER,
    **SEQUENCES,
}

WITH_PLANS: dict[str, Callable[..., Callable[..., Any]]] = {"Conv": Convolution}
"""Operators that a node keeps something for: what its attributes make of them."""

INTEGERS: dict[str, tuple[int, ...]] = {
    "Reshape": (1,), "Squeeze": (1,), "Unsqueeze": (1,), "Expand": (1,), "Tile": (1,), "ConstantOfShape": (0,),
    "Slice": (1, 2, 3, 4), "Pad": (1, 3), **{name: (1,) for name in OPERATORS if name.startswith("Reduce")},
}  # fmt: skip
"""Which inputs of an operator are axes, sizes or places; constant ones are read once."""

BEFORE_13 = {"Softmax": _over_the_rest("softmax"), "LogSoftmax": _over_the_rest("log_softmax"), **RARER_BEFORE_13}
"""What these operators were before version 13."""


def operator(op: str, opset: int, domain: str = "") -> Callable[..., Any] | None:
    """The function of an operator in a version of the operators, or None."""
    if domain:
        return PREPARING.get(op) if domain == DOMAIN else None
    return BEFORE_13.get(op, OPERATORS.get(op)) if opset < 13 else OPERATORS.get(op)


def as_arrays(found: Any) -> tuple[Any, ...]:
    """What an operator gave, as a tuple of arrays; sequences stay lists."""
    several = found if isinstance(found, tuple) else (found,)
    return tuple(value if isinstance(value, list) else np.asarray(value) for value in several)
