"""Choosing the next token from logits: temperature, top-k, top-p (nucleus sampling: Holtzman et al., 2020)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, SettingError
from elman.gates import Array, Softmax


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    `temperature` divides the logits (0: always the likeliest); `top_k` keeps the k likeliest; `top_p` keeps the fewest
    likeliest whose probabilities sum to p or more; given both, a token must be kept by both. Raises `SettingError` for a
    value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (_is_number(self.temperature) and math.isfinite(self.temperature) and self.temperature >= 0):
            raise SettingError(f"temperature={self.temperature!r} must be a number, 0 or more, and finite")
        if self.top_k is not None and not (_is_number(self.top_k, int | np.integer) and self.top_k >= 1):
            raise SettingError(f"top_k={self.top_k!r} must be an integer, 1 or more")
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise SettingError(f"top_p={self.top_p!r} must be a number above 0, at most 1")

    def probabilities(self, logits: Array, *, banned: int | None = None) -> Array:
        """Probabilities `[V]` in float64 from which the next token is drawn, given logits `[V]`.

        Raises `DataError` for logits that are NaN or infinite.
        """
        logits = np.array(logits, np.float64)
        if not np.isfinite(logits).all():
            raise DataError("sampling: the logits hold NaN or infinity; are the weights of the model too large?")
        if banned is not None and len(logits) > 1:
            logits[banned] = -np.inf
        if self.temperature == 0:
            certain: Array = np.eye(1, len(logits), int(np.argmax(logits)))[0]
            return certain
        # The largest is subtracted before the division: a tiny temperature would overflow.
        p: Array = Softmax().forward((logits - logits.max()) / max(self.temperature, 1e-12))
        order = np.argsort(-p, kind="stable")
        kept = len(p) if self.top_k is None else min(self.top_k, len(p))
        if self.top_p is not None:
            kept = min(kept, int(np.searchsorted(np.cumsum(p[order]), self.top_p - 1e-12) + 1))
        p[order[kept:]] = 0.0
        p /= p.sum()
        return p

    def draw(self, logits: Array, rng: np.random.Generator, *, banned: int | None = None) -> int:
        """One token, drawn from logits `[V]`."""
        p = self.probabilities(logits, banned=banned)
        return int(np.searchsorted(np.cumsum(p), rng.random() * p.sum(), side="right").clip(0, np.flatnonzero(p)[-1]))


def _is_number(value: Any, kind: Any = int | float | np.integer | np.floating) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
