"""Optimisers as pure functions: parameters, gradients and memory in, new parameters and new memory out."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from elman.errors import DataError, SettingError
from elman.gates import Array, sqrt
from elman.packs import Flats
from elman.program import chosen
from elman.rooms import rooms
from elman.updates import Arrays, Numbers, Optimiser, checked_array


def global_norm(arrays: Arrays) -> float:
    """The root of the sum of the squares of all numbers, |g|.

    The squares are summed in float64, 4096 of an array at a time in one order, and these sums exactly: no bit depends on
    threads or targets.

    >>> global_norm({"w": np.array([[1.0, 2.0], [2.0, 4.0]]), "b": np.array([12.0])})
    13.0
    """
    return root_of([x for sums in squares_of(arrays) for x in sums()])


def squares_of(arrays: Arrays) -> list[Callable[[], list[float]]]:
    """What tells the sums of the squares of arrays that stay where they are, while their numbers change; by their type."""
    types, make = dict.fromkeys(array.dtype for array in arrays.values()), chosen("auto").squares_of
    return [make([array for array in arrays.values() if array.dtype == dtype]) for dtype in types]


def root_of(squares: list[float]) -> float:
    """The root of an exact sum."""
    try:
        return math.sqrt(math.fsum(squares))
    except (OverflowError, ValueError):  # some are infinite, or their sum is
        return math.sqrt(sum(squares))


def are_finite(arrays: Arrays) -> bool:
    """Whether no number is NaN or infinite; an update looks at its own numbers while it has them at hand."""
    if isinstance(arrays, Flats) and arrays.are_finite:
        return True
    return all(np.isfinite(array).all() for array in arrays.values())


def clip_by_norm(gradients: Arrays, limit: float) -> tuple[dict[str, Array], float]:
    """Scale all gradients together so that their common norm is at most `limit`; returns them and the norm before.

    g <- g min(1, limit / |g|)    Pascanu et al., On the difficulty of training recurrent neural networks, 2013.

    >>> clipped, norm = clip_by_norm({"w": np.array([3.0, 4.0])}, 1.0)
    >>> clipped["w"].round(6), norm
    (array([0.6, 0.8]), 5.0)
    """
    _check_limit("clip_by_norm", limit)
    _check_floats("clip_by_norm", gradients)
    norm = global_norm(gradients)
    if not norm > limit:
        return dict(gradients), norm
    scaled = {name: rooms.take(g.shape, g.dtype) for name, g in gradients.items()}
    for name, g in gradients.items():
        np.multiply(g, g.dtype.type(limit / norm), out=scaled[name])
    return scaled, norm


def clip_by_value(gradients: Arrays, limit: float) -> dict[str, Array]:
    """Bound every number by itself: g <- min(max(g, -limit), limit).

    >>> clip_by_value({"w": np.array([3.0, -0.5])}, 1.0)["w"]
    array([ 1. , -0.5])
    """
    _check_limit("clip_by_value", limit)
    _check_floats("clip_by_value", gradients)
    return dict(bounded(gradients, limit))


def bounded(gradients: Arrays, limit: float) -> Arrays:
    """The same, unchecked: gradients that stand in one flat array stand in one again, as the next update likes it."""
    flat = gradients.only if isinstance(gradients, Flats) else None
    if flat is not None:
        return Flats({}, [(np.clip(flat.whole, -limit, limit), flat.layout)])
    return {name: np.clip(g, -limit, limit) for name, g in gradients.items()}


def _check_limit(asked: str, limit: Any) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int | float | np.number) or not limit > 0:
        raise SettingError(f"{asked}: limit={limit!r} must be a number above 0")


def _check_floats(asked: str, gradients: Arrays) -> None:
    for name, g in gradients.items():
        if checked_array(f"{asked}: the gradient of {name}", g).dtype.kind != "f":
            raise DataError(f"{asked}: the gradient of {name} holds {g.dtype}; floats are wanted")


# --- the rules --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SGD(Optimiser):
    """p <- p - rate g; with momentum m <- momentum m + g, p <- p - rate m.

    `nesterov` looks ahead: p <- p - rate (g + momentum m). Robbins and Monro, A stochastic approximation method, 1951;
    Polyak, Some methods of speeding up the convergence of iteration methods, 1964; Sutskever et al., On the importance of
    initialization and momentum in deep learning, 2013.

    >>> p, g = {"w": np.array([1.0, -2.0])}, {"w": np.array([0.5, 0.25])}
    >>> p, memory = SGD().update(p, g, SGD().memory(p), 0.1)
    >>> p["w"], int(memory["count"])
    (array([ 0.95 , -2.025]), 1)
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise SettingError("SGD: nesterov=True without a momentum changes nothing; give a momentum such as 0.9")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The momentum, where there is one."""
        return ("first",) if self.momentum else ()

    def rule(self, at: Numbers) -> tuple[Any, dict[str, Any]]:
        """m <- momentum m + g, and a step along m."""
        if not self.momentum:
            return at.p - at.now["rate"] * at.g, {}
        m = self.momentum * at.old["first"] + at.g
        along = self.momentum * m + at.g if self.nesterov else m
        return at.p - at.now["rate"] * along, {"first": m}


@dataclass(frozen=True)
class Adagrad(Optimiser):
    """v <- v + g^2, p <- p - rate g / (sqrt(v) + epsilon).

    Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization, 2011.

    >>> p = {"w": np.array([1.0, -2.0])}
    >>> new, memory = Adagrad().update(p, {"w": np.array([5.0, 2.0])}, Adagrad().memory(p), 0.1)
    >>> new["w"].round(6), memory["second/w"]
    (array([ 0.9, -2.1]), array([25.,  4.]))
    """

    epsilon: float = 1e-10
    weight_decay: float = 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The sum of squares."""
        return ("second",)

    def rule(self, at: Numbers) -> tuple[Any, dict[str, Any]]:
        """A step by the root of all squares so far."""
        v = at.old["second"] + at.g * at.g
        return at.p - at.now["rate"] * (at.g / (sqrt(v) + self.epsilon)), {"second": v}


@dataclass(frozen=True)
class RMSProp(Optimiser):
    """v <- decay v + (1 - decay) g^2, p <- p - rate g / (sqrt(v) + epsilon).

    With momentum m <- momentum m + g / (sqrt(v) + epsilon), p <- p - rate m. Tieleman and Hinton, Neural networks for
    machine learning, lecture 6.5, 2012.

    >>> p = {"w": np.array([1.0, -2.0])}
    >>> new, _ = RMSProp(decay=0.75).update(p, {"w": np.array([5.0, 0.1])}, RMSProp().memory(p), 0.1)
    >>> new["w"].round(6)
    array([ 0.8, -2.2])
    """

    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The mean of squares, and the momentum where there is one."""
        return ("first", "second") if self.momentum else ("second",)

    def rule(self, at: Numbers) -> tuple[Any, dict[str, Any]]:
        """A step by the root of the mean square."""
        v = self.decay * at.old["second"] + (1 - self.decay) * (at.g * at.g)
        along = at.g / (sqrt(v) + self.epsilon)
        if not self.momentum:
            return at.p - at.now["rate"] * along, {"second": v}
        m = self.momentum * at.old["first"] + along
        return at.p - at.now["rate"] * m, {"first": m, "second": v}


@dataclass(frozen=True)
class Adam(Optimiser):
    """m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, p <- p - rate m' / (sqrt(v') + epsilon).

    m' = m / (1 - beta1^count) and v' = v / (1 - beta2^count). Kingma and Ba, Adam: a method for stochastic optimization,
    2015.

    >>> p = {"w": np.array([1.0, -2.0])}
    >>> new, memory = Adam().update(p, {"w": np.array([5.0, 0.1])}, Adam().memory(p), 0.1)
    >>> new["w"].round(6), sorted(memory)
    (array([ 0.9, -2.1]), ['count', 'first/w', 'second/w'])
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The mean of gradients and the mean of squares."""
        return ("first", "second")

    def numbers(self, rate: float, count: int) -> dict[str, float]:
        """m' / (sqrt(v') + epsilon) = root m' / (sqrt(v) + root epsilon), so that few elements are corrected."""
        root = math.sqrt(1 - self.beta2**count)
        return {"rate": rate * root / (1 - self.beta1**count), "least": root * self.epsilon}

    def rule(self, at: Numbers) -> tuple[Any, dict[str, Any]]:
        """A step along the mean gradient by the root of the mean square, both corrected for their start at zero."""
        m = self.beta1 * at.old["first"] + (1 - self.beta1) * at.g
        v = self.beta2 * at.old["second"] + (1 - self.beta2) * (at.g * at.g)
        return at.p - at.now["rate"] * (m / (sqrt(v) + at.now["least"])), {"first": m, "second": v}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam whose weight decay stands beside the rule: p <- (1 - rate weight_decay) p, then the step of Adam.

    Loshchilov and Hutter, Decoupled weight decay regularization, 2019.

    >>> p = {"w": np.array([1.0, -2.0])}
    >>> new, _ = AdamW(weight_decay=0.5).update(p, {"w": np.array([5.0, 0.1])}, AdamW().memory(p), 0.1)
    >>> new["w"].round(6)
    array([ 0.85, -2.  ])
    """

    weight_decay: float = 0.01
    decays_gradient: ClassVar[bool] = False

    def numbers(self, rate: float, count: int) -> dict[str, float]:
        """Those of Adam, and what the parameters are multiplied by."""
        return super().numbers(rate, count) | {"kept": 1 - rate * self.weight_decay}

    def rule(self, at: Numbers) -> tuple[Any, dict[str, Any]]:
        """Less of the parameters, and a step of Adam."""
        return super().rule(at._replace(p=at.now["kept"] * at.p))


# --- by name ----------------------------------------------------------------------------------------------------------

OPTIMISERS: dict[str, type[Optimiser]] = {"sgd": SGD, "adagrad": Adagrad, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW}


def optimiser(name: str, **settings: Any) -> Optimiser:
    """The optimiser of a name, with settings of its own. Raises `SettingError` that lists the names.

    >>> optimiser("sgd", momentum=0.9)
    SGD(momentum=0.9, nesterov=False, weight_decay=0.0)
    """
    if name not in OPTIMISERS:
        raise SettingError(f"there is no optimiser {name!r}; optimisers are {', '.join(OPTIMISERS)}")
    known = [field.name for field in fields(OPTIMISERS[name])]  # type: ignore[arg-type]  # each is a dataclass
    unknown = next((given for given in settings if given not in known), None)
    if unknown is not None:
        raise SettingError(f"{name} has no setting {unknown!r}; settings are {', '.join(known)}")
    return OPTIMISERS[name](**settings)
