"""Equations of numbers over every element of arrays, and sums of squares, on NumPy: what compiled ones give to the bit.

An optimiser's rule is such a graph: its inputs are numbers `()`, and so are its parameters, the same everywhere. As nothing
meets anything else, no bit depends on how the elements are cut, laid out or shared out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elman.gates import Array
from elman.graph import Graph
from elman.packs import BLOCK, blocks, packed
from elman.rooms import rooms
from elman.targets.interface import Many
from elman.targets.interpreter import interpret

LANES = 64
"""Lanes of a sum of squares: 8 of the widest vectors."""

PART = 64 * LANES
"""Numbers of which squares are summed before these sums meet."""


class NumpyElementwise:
    """The oracle of the graph, run on blocks that stay in the cache; small arrays go together."""

    def __init__(self, graph: Graph, dtype: Any) -> None:
        self.graph, self.dtype = graph, np.dtype(dtype)

    def __call__(self, inputs: Mapping[str, Many], numbers: Mapping[str, float]) -> tuple[list[Array], bool]:
        """Gate by gate, block by block; what comes one by one is put together first."""
        flat = {name: many if isinstance(many, np.ndarray) else packed(many) for name, many in inputs.items()}
        outputs, [size, *_] = self.graph.named("output").values(), [array.size for array in flat.values()]
        found = [rooms.take((size,), self.dtype) for _ in outputs]
        same = {name: self.dtype.type(value) for name, value in numbers.items()}
        for part in blocks(size):
            values = interpret(self.graph, same | {name: value[part] for name, value in flat.items()}, self.dtype)
            for into, node in zip(found, outputs, strict=True):
                into[part] = values[node]
        return found, bool(np.isfinite(found[0]).all())


def sums_of_squares(arrays: Sequence[Array]) -> list[float]:
    """Sums of the squares of `PART` numbers at a time, in float64, array by array.

    Number j of a part goes to lane j mod `LANES`, in their order, and lanes meet in halves: the compiled sums are these.
    """
    found: list[float] = []
    for array in arrays:
        flat = array.reshape(-1)
        for part in blocks(flat.size):
            square = flat[part].astype(np.float64)  # where no square of a float32 overflows
            np.multiply(square, square, out=square)
            found += _summed(square)
    return found


def _summed(square: Array) -> list[float]:
    lines, rest = divmod(square.size, LANES)
    whole = lines * LANES // PART * PART
    lanes = np.add.reduce(square[:whole].reshape(-1, PART // LANES, LANES), 1)
    if whole < square.size:
        last = np.add.reduce(square[whole : lines * LANES].reshape(-1, LANES), 0)
        last[:rest] += square[lines * LANES :]
        lanes = np.concatenate((lanes, last[None]))
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    sums: list[float] = lanes[:, 0].tolist()
    return sums


assert BLOCK % PART == 0, "parts begin anew with every block"
