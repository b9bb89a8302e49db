"""What a peer gives: whether it is there, and every way in which it can run a net."""

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from elman.bench.problems import Net
from elman.bench.timing import Way
from elman.gates import Array

GATES = {"elman": ("a",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
"""The cells that peers have ready, and the gates of each."""


class Peer(ABC):
    """Another library. `name`: what the table calls it; `packages`: those that it needs, the first tells its version."""

    name: str
    packages: tuple[str, ...]

    @classmethod
    def available(cls) -> bool:
        """Whether all that it needs is installed."""
        return all(importlib.util.find_spec(package) is not None for package in cls.packages)

    @property
    def version(self) -> str:
        """Its version."""
        return importlib.metadata.version(self.packages[0])

    @abstractmethod
    def ways(self, net: Net, counts: Sequence[int]) -> Iterator[Way]:
        """Ways to run a net on these numbers of threads, with labels that tell them apart; none if it cannot."""


def stacked(parameters: Mapping[str, Array], kind: str, gates: Sequence[str]) -> Array:
    """Matrices of the input ("w"), of the state ("u") or biases ("b") of these gates, one upon another."""
    of_elman = {"w": "wax", "u": "waa", "b": "ba"}
    names = [of_elman[kind] if gate == "a" else kind + gate for gate in gates]
    return np.concatenate([parameters[name] for name in names])


def inner_bias(net: Net, gates: Sequence[str]) -> Array:
    """The bias of the product with the state, beside that of the input: zeros, but for `dn` inside the reset of a gru."""
    zeros = np.zeros(net.hidden, np.float32)
    return np.concatenate([net.narrow["dn"] if net.cell == "gru" and gate == "n" else zeros for gate in gates])


def time_first(x: Array) -> Array:
    """From `[B, T, ...]` to `[T, B, ...]` or back."""
    return np.ascontiguousarray(x.swapaxes(0, 1))


def threads(count: int) -> str:
    """A label."""
    return f"{count} thread{'s' * (count != 1)}"
