"""Activations that other frameworks have, written with gates: for cells and read-outs whose weights are from there."""

# mypy: disable-error-code="no-untyped-def,no-any-return"

from typing import Any

from elman.gates import absolute, exp, greater, maximum, minimum, sigmoid, softplus, sqrt, tanh, where


def hard_sigmoid(x) -> Any:
    """min(max(x / 6 + 1/2, 0), 1)    as Keras 3 and PyTorch have it."""
    return minimum(maximum(x / 6.0 + 0.5, 0.0), 1.0)


def hard_sigmoid_of_keras_2(x) -> Any:
    """min(max(x / 5 + 1/2, 0), 1)    as Keras had it before version 3."""
    return minimum(maximum(0.2 * x + 0.5, 0.0), 1.0)


def softsign(x) -> Any:
    """x / (1 + |x|)."""
    return x / (1.0 + absolute(x))


def elu(x) -> Any:
    """x, or exp(x) - 1 below 0    Clevert, Unterthiner and Hochreiter, 2016."""
    return maximum(x, 0.0) + (exp(minimum(x, 0.0)) - 1.0)


def selu(x) -> Any:
    """s x, or s a (exp(x) - 1) below 0    Klambauer, Unterthiner, Mayr and Hochreiter, 2017."""
    return 1.0507009873554805 * (maximum(x, 0.0) + 1.6732632423543772 * (exp(minimum(x, 0.0)) - 1.0))


def silu(x) -> Any:
    """x sigmoid(x)    Elfwing, Uchibe and Doya, 2018."""
    return x * sigmoid(x)


def hard_silu(x) -> Any:
    """x hard_sigmoid(x)    Howard et al., Searching for MobileNetV3, 2019."""
    return x * hard_sigmoid(x)


def mish(x) -> Any:
    """x tanh(softplus(x))    Misra, 2020."""
    return x * tanh(softplus(x))


def relu6(x) -> Any:
    """min(max(x, 0), 6)."""
    return minimum(maximum(x, 0.0), 6.0)


def leaky_relu(x) -> Any:
    """x, or x / 5 below 0    as Keras has it."""
    return maximum(x, 0.2 * x)


def squareplus(x) -> Any:
    """(x + sqrt(x^2 + 4)) / 2    Barron, 2021."""
    return (x + sqrt(x * x + 4.0)) * 0.5


def log_sigmoid(x) -> Any:
    """log sigmoid(x)."""
    return -softplus(-x)


def hard_tanh(x) -> Any:
    """min(max(x, -1), 1)."""
    return minimum(maximum(x, -1.0), 1.0)


def tanh_shrink(x) -> Any:
    """x - tanh(x)."""
    return x - tanh(x)


def soft_shrink(x) -> Any:
    """x, closer to 0 by 1/2 at most."""
    return x - minimum(maximum(x, -0.5), 0.5)


def hard_shrink(x) -> Any:
    """x, or 0 where it is within 1/2 of 0."""
    return where(greater(absolute(x), 0.5), x, 0.0)


def sparse_sigmoid(x) -> Any:
    """min(max((x + 1) / 2, 0), 1)."""
    return hard_tanh(x) * 0.5 + 0.5


def sparse_plus(x) -> Any:
    """0 below -1, x above 1, (x + 1)^2 / 4 between."""
    bent = hard_tanh(x) + 1.0
    return bent * bent * 0.25 + (maximum(x, 1.0) - 1.0)


TAIL = (
    -0.6717940840570014, 0.6726432239779253, 0.047343306903682686, -0.04689561028495426, -0.009872691399983586,
    0.008824940341347962, 0.0017589594588386377, -0.0023458355709185066, -0.00014641377010252206, 0.0006738311251595745,
    -9.312118179982372e-05, -0.0001748848606473775, 7.004355358492473e-05, 3.311238656241869e-05, -2.8381513302660645e-05,
    -1.8816885219200246e-06, 7.222878573984357e-06, -1.0977136142966821e-06, -9.026151240721401e-07,
    2.6403019518228354e-07,
)  # fmt: skip
"""log(erfc(v) exp(v^2) / t) in powers of 2 t - 1, where t = 2 / (2 + v): through its values at 20 Chebyshev points."""


def gelu(x) -> Any:
    """x P(X < x) for a normal X, to 1e-13    Hendrycks and Gimpel, 2016."""
    v = absolute(x) * 0.7071067811865476
    t = 2.0 / (2.0 + v)
    u, total = 2.0 * t - 1.0, TAIL[-1]
    for coefficient in TAIL[-2::-1]:
        total = total * u + coefficient
    tail = 0.5 * t * exp(total - v * v)
    return x * where(greater(x, 0.0), 1.0 - tail, tail)


def linear(x) -> Any:
    """x."""
    return x
