"""Optimisers as pure functions: parameters and gradients in, new parameters out, their memory passed along."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from elman.gates import Array

Arrays = Mapping[str, Array]


def clip_by_norm(gradients: Arrays, limit: float) -> tuple[dict[str, Array], float]:
    """Scale all gradients together so that their common norm is at most `limit`; returns them and the norm before.

    g <- g min(1, limit / |g|)    Pascanu et al., On the difficulty of training recurrent neural networks, 2013.

    >>> clipped, norm = clip_by_norm({"w": np.array([3.0, 4.0])}, 1.0)
    >>> clipped["w"].round(6), norm
    (array([0.6, 0.8]), 5.0)
    """
    norm = float(np.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values())))
    scale = limit / norm if norm > limit else 1.0
    return {name: g * g.dtype.type(scale) for name, g in gradients.items()}, norm


@dataclass(frozen=True)
class AdamMemory:
    """What Adam carries from update to update: how many there were, and the running means of g and g^2."""

    count: int = 0
    first: Arrays = field(default_factory=dict)
    second: Arrays = field(default_factory=dict)


def adam(
    parameters: Arrays,
    gradients: Arrays,
    memory: AdamMemory,
    rate: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[dict[str, Array], AdamMemory]:
    """One update: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= rate m' / (sqrt(v') + epsilon).

    m' and v' are m and v over 1 - b^count. Returns new parameters and new memory; nothing is changed in place.
    Kingma and Ba, Adam: a method for stochastic optimization, 2015.
    """
    count = memory.count + 1
    new: dict[str, Array] = {}
    first: dict[str, Array] = {}
    second: dict[str, Array] = {}
    for name, p in parameters.items():
        g = gradients[name]
        m, v = memory.first.get(name, np.zeros_like(p)), memory.second.get(name, np.zeros_like(p))
        first[name] = m = beta1 * m + (1 - beta1) * g
        second[name] = v = beta2 * v + (1 - beta2) * (g * g)
        step = (rate / (1 - beta1**count)) * m / (np.sqrt(v / (1 - beta2**count)) + epsilon)
        new[name] = (p - step).astype(p.dtype, copy=False)
    return new, AdamMemory(count, first, second)
