"""Activations that other frameworks have, written with gates: for cells and read-outs whose weights are from there."""

# mypy: disable-error-code="no-untyped-def,no-any-return"

from typing import Any

from elman.gates import absolute, exp, maximum, minimum, sigmoid, softplus, tanh


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


def linear(x) -> Any:
    """x."""
    return x
