"""A recorded pair of input and output, kept with a model: what it must give, wherever it is opened."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from elman.errors import ShapeError
from elman.gates import Array
from elman.shapes import written

BEFORE = "proof."
"""What the names of its arrays in a file begin with; no parameter's do."""

RECORDED = "recorded"
"""The source of a pair of which nobody said where it is from."""

ALLOWED = {4: 1e-4, 8: 1e-9}
"""By the bytes of a number, how far an output may be off, as a share of the largest output (or of 1)."""


@dataclass(frozen=True)
class Proof:
    """An input `x`, the output `y` that was recorded for it, who recorded it, and a digest of the parameters then."""

    x: Array
    y: Array
    source: str
    parameters: str

    @classmethod
    def of(cls, parameters: Mapping[str, Array], x: Any, y: Any, source: str = RECORDED) -> Self:
        """A proof for these parameters. Raises `ShapeError` for outputs that are not floating-point numbers."""
        x, y = np.asarray(x), np.asarray(y)
        if y.dtype.kind != "f" or not y.size:
            raise ShapeError(
                f"proof: the recorded output is {written(y.shape)} of {y.dtype}; floating-point numbers are wanted"
            )
        return cls(x, y, source, digest(parameters))

    @property
    def told(self) -> str:
        """What a message calls the pair."""
        return "what was recorded" if self.source == RECORDED else f"what was recorded ({self.source})"

    def arrays(self) -> dict[str, Array]:
        """Its arrays by the names that they have in a file."""
        return {f"{BEFORE}x": self.x, f"{BEFORE}y": self.y}

    def allowed(self, dtype: Any) -> float:
        """How far an output of a type may be off."""
        share = ALLOWED[max(4, min(np.dtype(dtype).itemsize, self.y.itemsize))]
        return share * max(1.0, float(np.abs(self.y).max()))

    def difference(self, output: Array) -> float:
        """The largest difference of an output; infinite for one of another shape or without an end."""
        if output.shape != self.y.shape:
            return float("inf")
        found = float(np.abs(output.astype(np.float64) - self.y).max())
        return found if np.isfinite(found) else float("inf")

    def holds_for(self, output: Array) -> bool:
        """Whether an output is the recorded one, but for rounding."""
        return self.difference(output) <= self.allowed(output.dtype)


def digest(parameters: Mapping[str, Array]) -> str:
    """A checksum of parameters: a proof is of these, and no more once they have been trained.

    >>> digest({"w": np.ones((2, 2))}) == digest({"w": np.ones((2, 2))}), digest({}) == digest({"w": np.ones(1)})
    (True, False)
    """
    found = hashlib.sha256()
    for name, value in sorted(parameters.items()):
        found.update(f"{name} {value.dtype} {value.shape};".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()
