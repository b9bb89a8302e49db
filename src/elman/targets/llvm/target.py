"""The LLVM target: which plans it takes, and for which machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from elman.gates import Array
from elman.graph import Graph
from elman.nodes import LEAVES
from elman.passes import Plan
from elman.passes.dependence import dependence
from elman.passes.expansions import with_expansions
from elman.passes.schedule import SUMMED, fused
from elman.targets.elementwise import NumpyElementwise
from elman.targets.elementwise import sums_of_squares as summed_on_numpy
from elman.targets.interface import Elementwise, Executable
from elman.targets.llvm.elementwise import LlvmElementwise, Squares
from elman.targets.llvm.groups import LANEWISE, VIEWS
from elman.targets.llvm.machine import Machine, current
from elman.targets.llvm.program import LlvmProgram
from elman.targets.llvm.vectors import FLOATS
from elman.targets.llvm.whole import WHOLE
from elman.targets.llvm.words import WORDS
from elman.targets.numpy import NumpyProgram

GATES = frozenset((*LEAVES, *WORDS, *LANEWISE, *VIEWS, *WHOLE, "total"))
"""What can be compiled."""

TYPES = frozenset(map(np.dtype, FLOATS))
"""Types that it has."""


@dataclass(frozen=True)
class LlvmTarget:
    """Machine code for this machine; what it cannot compile runs on NumPy."""

    name: ClassVar[str] = "llvm"
    machine: Machine | None = field(default_factory=current)

    def merges(self, graph: Graph) -> bool:
        """Its tiles compute products side by side, so merging would only hide from them which lanes belong together."""
        return not compiles(with_expansions(graph))

    def __call__(self, plan: Plan, dtype: Any) -> Executable:
        """Compile a plan when it first runs."""
        if not compiles(plan.graph):
            return NumpyProgram(plan, dtype)
        return LlvmProgram(plan, dtype, self.machine)

    def elementwise(self, graph: Graph, dtype: Any) -> Elementwise:
        """Machine code for types that it has; NumPy runs others."""
        known = np.dtype(dtype) in TYPES
        return LlvmElementwise(graph, dtype, self.machine) if known and self.machine else NumpyElementwise(graph, dtype)

    def squares_of(self, arrays: Sequence[Array]) -> Callable[[], list[float]]:
        """Compiled, for types that it has."""
        known = bool(arrays) and arrays[0].dtype in TYPES
        return Squares(arrays, self.machine) if known and self.machine else partial(summed_on_numpy, arrays)


def compiles(graph: Graph) -> bool:
    """Whether every gate can be compiled, and everything that stands whole in memory is made there."""
    nodes, facts = graph.nodes, dependence(graph)
    for index, node in enumerate(nodes):
        if node.gate not in GATES and not (node.gate in SUMMED and fused(graph, facts, index)):
            return False
        if node.gate in (*LANEWISE, *WHOLE, *SUMMED, "total") and any(nodes[i].gate == "expand" for i in node.inputs):
            return False
        if node.gate == "total" and facts.shared[node.inputs[0]]:
            return False
    return True
