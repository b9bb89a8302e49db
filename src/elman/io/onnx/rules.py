"""What operators that compute do to what flows: operator -> rule, which takes a node and gives what flows on.

Only what has a counterpart in a model has a rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from elman import gates
from elman.io.onnx.activations import ACTIVATIONS
from elman.io.onnx.axis_rules import AXIS_RULES, merged
from elman.io.onnx.flows import Asked, Flow, NoCounterpartError, Rule, combined, whole, with_features
from elman.io.onnx.terms import applied, product

ONE: dict[str, Callable[[Any], Any]] = {
    "Neg": lambda x: -x, "Reciprocal": lambda x: 1.0 / x, "Abs": gates.absolute, "Sqrt": gates.sqrt,
    "Exp": gates.exp, "Log": gates.log, "Sin": gates.sin, "Cos": gates.cos, "Relu": gates.relu, "Tanh": gates.tanh,
    "Sigmoid": gates.sigmoid, "Softplus": gates.softplus,
}  # fmt: skip

TWO: dict[str, Callable[..., Any]] = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b, "Div": lambda a, b: a / b,
    "Max": gates.maximum, "Min": gates.minimum,
}  # fmt: skip

MERGES = {"Add": "sum", "Sum": "sum", "Mean": "mean", "Mul": "product"}
"""How an operator joins two directions."""


def _one(asked: Asked) -> list[Any]:
    flow = asked.inputs[0]
    return [replace(flow, term=applied(ONE[asked.op], flow.term))]


def _activated(asked: Asked) -> list[Any]:
    flow, row = asked.inputs[0], ACTIVATIONS[asked.op]
    alpha, beta = asked.attributes.get("alpha", row.alpha), asked.attributes.get("beta", row.beta)
    return [replace(flow, term=applied(lambda x: row.equation(x, alpha, beta), flow.term))]


def _two(asked: Asked) -> list[Any]:
    if len(asked.inputs) != 2:
        raise NoCounterpartError(f"it joins {len(asked.inputs)} values")
    joined = merged(asked, MERGES.get(asked.op, ""))
    inputs = list(asked.inputs)
    if asked.op in ("Add", "Sum", "Mul"):
        inputs.sort(key=lambda given: not isinstance(given, Flow))  # as the cells that come along have a bias: behind
    return [joined or combined(TWO["Add" if asked.op == "Sum" else asked.op], inputs)]


def _mean_of(asked: Asked) -> list[Any]:
    joined = merged(asked, "mean") if len(asked.inputs) == 2 else None
    return [joined or combined(lambda *xs: _added(xs) / float(len(xs)), list(asked.inputs))]


def _added(xs: Sequence[Any]) -> Any:
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


def _power(asked: Asked) -> list[Any]:
    flow, exponent = asked.inputs
    known = {
        2.0: lambda x: x * x,
        0.5: gates.sqrt,
        -1.0: lambda x: 1.0 / x,
        -0.5: lambda x: 1.0 / gates.sqrt(x),
        1.0: lambda x: x,
    }
    if isinstance(exponent, Flow) or np.size(exponent) != 1 or float(np.reshape(exponent, ())) not in known:
        raise NoCounterpartError("of powers 2, 1, 0.5, -0.5 and -1 have a counterpart")
    return [replace(flow, term=applied(known[float(np.reshape(exponent, ()))], flow.term))]


def _clipped(asked: Asked) -> list[Any]:
    flow, low, high = asked.inputs[0], asked.given("min", 1), asked.given("max", 2)

    def clip(x: Any) -> Any:
        x = x if low is None else gates.maximum(x, float(low))
        return x if high is None else gates.minimum(x, float(high))

    return [replace(flow, term=applied(clip, flow.term))]


def _over_values(asked: Asked) -> list[Any]:
    """Softmax and LogSoftmax: before version 13 over all axes from one on."""
    flow, gate = asked.inputs[0], {"Softmax": gates.softmax, "LogSoftmax": gates.log_softmax}[asked.op]
    rank = len(flow.groups)
    axis = asked.attributes.get("axis", 1 if asked.opset < 13 else -1) % rank
    behind = [prod(a.size for a in group) for group in flow.groups[axis + 1 :]]
    if axis != whole(flow) or (asked.opset < 13 and prod(behind) != 1):
        raise NoCounterpartError("it is not over the values of a step")
    return [replace(flow, term=applied(gate, flow.term))]


def _affine(asked: Asked) -> list[Any]:
    """MatMul and Gemm by constant weights."""
    flow, w, c = asked.inputs[0], asked.input(1), asked.input(2)
    if not isinstance(flow, Flow) or isinstance(w, Flow) or np.ndim(w) != 2 or asked.attributes.get("transA"):
        raise NoCounterpartError("it is not a product of the values of a step and constant weights")
    if whole(flow) != len(flow.groups) - 1:
        raise NoCounterpartError("it does not multiply the values of a step")
    w = (w if asked.attributes.get("transB") else w.T) * w.dtype.type(asked.attributes.get("alpha", 1.0))
    found = with_features(flow, product(np.ascontiguousarray(w), flow.term))
    if c is None:
        return [found]
    c = np.broadcast_to(c * c.dtype.type(asked.attributes.get("beta", 1.0)), (*np.shape(c)[:-1], len(w)))
    return [combined(TWO["Add"], [found, c])]


def _batch_norm(asked: Asked) -> list[Any]:
    flow, scale, shift, average, variance = asked.inputs
    if whole(flow) != 1:
        raise NoCounterpartError("it is not over the values of a step")
    factor = scale / np.sqrt(variance + variance.dtype.type(asked.attributes.get("epsilon", 1e-5)))
    shape = (-1, *[1] * (len(flow.groups) - 2))
    scaled = combined(TWO["Mul"], [flow, factor.reshape(shape)])
    return [combined(TWO["Add"], [scaled, (shift - average * factor).reshape(shape)])]


def _layer_norm(asked: Asked) -> list[Any]:
    flow, scale, shift, epsilon = *asked.inputs[:2], asked.input(2), float(asked.attributes.get("epsilon", 1e-5))
    rank = len(flow.groups)
    if asked.attributes.get("axis", -1) % rank != rank - 1 or whole(flow) != rank - 1:
        raise NoCounterpartError("it is not over the values of a step")

    def normalised(x: Any) -> Any:
        centred = x - gates.mean(x)
        return centred / gates.sqrt(gates.mean(centred * centred) + epsilon)

    found = combined(TWO["Mul"], [replace(flow, term=applied(normalised, flow.term)), scale])
    return [found if shift is None else combined(TWO["Add"], [found, shift])]


RULES: dict[str, Rule] = {
    **AXIS_RULES,
    **dict.fromkeys(ONE, _one),
    **dict.fromkeys((*TWO, "Sum"), _two),
    **dict.fromkeys(("Elu", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Softsign"), _activated),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _over_values),
    **dict.fromkeys(("MatMul", "Gemm"), _affine),
    "Mean": _mean_of,
    "Pow": _power,
    "Clip": _clipped,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
}
