"""Choosing the next token from logits: temperature, top-k, top-p (nucleus sampling: Holtzman et al., 2020)."""

from dataclasses import dataclass

import numpy as np

from elman.errors import SettingError
from elman.gates import Array, Softmax


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    `temperature` divides the logits (0: always the likeliest); `top_k` keeps the k likeliest; `top_p` keeps the fewest
    likeliest whose probabilities sum to p or more. Raises `SettingError` for a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature >= 0):
            raise SettingError(f"temperature={self.temperature} must be 0 or more, and finite")
        if self.top_k is not None and self.top_k < 1:
            raise SettingError(f"top_k={self.top_k} must be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SettingError(f"top_p={self.top_p} must be above 0 and at most 1")

    def probabilities(self, logits: Array, *, banned: int | None = None) -> Array:
        """Probabilities `[V]` in float64 from which the next token is drawn, given logits `[V]`."""
        logits = np.array(logits, np.float64)
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
