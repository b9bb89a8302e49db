"""What the scripts beside it share: a file of an installed package, and two ways of computing the same timed in turn."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import elman


def file_of(package: str, ending: str) -> Path:
    """A file that an installed package brings, found without importing the package."""
    return next(Path(entry.locate()) for entry in files(package) or () if str(entry).endswith(ending))


@dataclass(frozen=True)
class Compared:
    """What a net gives here and in its own runtime: how far apart at most, of numbers how large, and seconds a call."""

    net: str
    difference: float
    largest: float
    ours: float
    theirs: float
    told: str = ""

    def __str__(self) -> str:
        times = f"elman {self.ours * 1e3:.3g} ms, its own runtime {self.theirs * 1e3:.3g} ms"
        return f"{self.net}: differs by {self.difference:.1e} at most, of {self.largest:.3g}; {times}\n  {self.told}"


def difference(ours: Any, theirs: Any) -> tuple[float, float]:
    """The largest difference of two arrays, and the largest number among theirs."""
    return float(np.abs(np.asarray(ours) - theirs).max()), float(np.abs(theirs).max())


def in_turn(ours: Callable[[], Any], theirs: Callable[[], Any], samples: int = 200) -> tuple[float, float]:
    """Seconds a call on one thread, the median of samples taken in turn, so that a busy machine slows both."""
    elman.threads(1)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(samples):
        for call, kept in zip((ours, theirs), taken, strict=True):
            start = perf_counter()
            call()
            kept.append(perf_counter() - start)
    elman.threads(None)
    return median(taken[0]), median(taken[1])
