"""The activations of the recurrent operators as equations, and what their alpha and beta are where a node gives none."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from elman.errors import ModelFileError
from elman.gates import absolute, exp, greater, maximum, minimum, relu, sigmoid, softplus, tanh, where

Equation = Callable[[Any], Any]


class Activation(NamedTuple):
    """An equation of x, alpha and beta; a number that it does not speak of is None."""

    equation: Callable[[Any, Any, Any], Any]
    alpha: float | None = None
    beta: float | None = None


ACTIVATIONS = {
    "Relu": Activation(lambda x, alpha, beta: relu(x)),
    "Tanh": Activation(lambda x, alpha, beta: tanh(x)),
    "Sigmoid": Activation(lambda x, alpha, beta: sigmoid(x)),
    "Affine": Activation(lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "LeakyRelu": Activation(lambda x, alpha, beta: where(greater(0.0, x), alpha * x, x), 0.01),
    "ThresholdedRelu": Activation(lambda x, alpha, beta: where(greater(alpha, x), 0.0, x), 1.0),
    "ScaledTanh": Activation(lambda x, alpha, beta: alpha * tanh(beta * x), 1.0, 1.0),
    "HardSigmoid": Activation(lambda x, alpha, beta: minimum(maximum(alpha * x + beta, 0.0), 1.0), 0.2, 0.5),
    # what is not chosen must not overflow
    "Elu": Activation(lambda x, alpha, beta: where(greater(0.0, x), alpha * (exp(minimum(x, 0.0)) - 1.0), x), 1.0),
    "Softsign": Activation(lambda x, alpha, beta: x / (1.0 + absolute(x))),
    "Softplus": Activation(lambda x, alpha, beta: softplus(x)),
}
"""As the specification of the operators writes them. An Affine or ScaledTanh that is no operator today has no default there:
they leave x as it is, or are tanh."""

_NAMES = {name.lower(): name for name in ACTIVATIONS}


def chosen(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], clip: float | None) -> list[Equation]:
    """The activations of a node, in order, each clipping its input first; their names may be in any case.

    Alphas and betas go in that order to the activations that have one. Raises `ModelFileError` for an unknown name.
    """
    alpha_of, beta_of = iter(alphas), iter(betas)
    return [_equation(name, alpha_of, beta_of, clip) for name in names]


def _equation(name: str, alphas: Iterator[float], betas: Iterator[float], clip: float | None) -> Equation:
    if name.lower() not in _NAMES:
        raise ModelFileError(f"activation {name!r} is unknown; activations are {', '.join(ACTIVATIONS)}")
    activation = ACTIVATIONS[_NAMES[name.lower()]]
    alpha = None if activation.alpha is None else next(alphas, activation.alpha)
    beta = None if activation.beta is None else next(betas, activation.beta)

    def applied(x: Any) -> Any:
        clipped = x if clip is None else minimum(maximum(x, -clip), clip)
        return activation.equation(clipped, alpha, beta)

    return applied
