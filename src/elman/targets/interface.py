"""What every target gives: a plan made runnable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from elman.gates import Array
from elman.graph import Graph
from elman.passes import Plan


@dataclass
class Prepared:
    """What is computed once for a set of parameters.

    `shared`: values by node. `table`: for token inputs, values by vocabulary entry. `panels`: large matrices laid out for
    few rows (None: not yet).
    """

    shared: dict[int, Array]
    table: dict[int, Array] = field(default_factory=dict)
    panels: list[Array] | None = None


@dataclass
class Outcome:
    """What a run gives: outputs `[T, B, ...]`, last states `[B, ...]`, sums over all steps and examples.

    `totals`, of the target's own making, are what a run over the steps that follow can add to.
    """

    outputs: dict[str, Array]
    states: dict[str, Array]
    sums: dict[str, Array]
    totals: dict[int, Array] = field(default_factory=dict)


class Executable(Protocol):
    """A plan made runnable. It never changes: all that a run needs besides is in its arguments."""

    @property
    def source(self) -> str:
        """What was made of the plan, for people."""
        ...

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Prepared:
        """Compute what needs only the parameters; `lasting` says that it will serve many runs."""
        ...

    def run(
        self,
        prepared: Prepared,
        inputs: Mapping[str, Array],
        states: Mapping[str, Array],
        *,
        lengths: Array | None = None,
        backwards: bool = False,
        inward: bool = False,
        totals: Mapping[int, Array] | None = None,
    ) -> Outcome:
        """Run over inputs `[T, B, ...]` from states `[B, ...]`, from the last step to the first if `backwards`.

        With `lengths` `[B]` an example takes part in the steps before its length only: past it outputs are 0, sums get
        nothing, and its state is the one at the length (or, `backwards`, first meets the last of its steps). `inward` says
        that other programs read the outputs: they lie as these read them, step by step; callers want example by example.
        With `totals` sums go on from those of another run (which may change), as if the steps of both were one sequence.
        """
        ...


Many = Array | Sequence[Array]
"""Arrays, or the elements of all of them in one flat array."""


class Elementwise(Protocol):
    """A graph of numbers over every element of arrays."""

    def __call__(self, inputs: Mapping[str, Many], numbers: Mapping[str, float]) -> tuple[list[Array], bool]:
        """Run over as many arrays of each input, of equal sizes, in the floating type that it was made for.

        In place of its arrays an input may be one flat array of the elements of all. `numbers` are the parameters of the
        graph, the same for all elements. Returns one flat array, new, for each of the outputs in their order; and whether
        all numbers of the first are finite.
        """
        ...


class Target(Protocol):
    """Makes a plan runnable."""

    name: ClassVar[str]

    def __hash__(self) -> int:
        """Programs are kept by their target."""
        ...

    def merges(self, graph: Graph) -> bool:
        """Whether products of this graph that share an operand should be merged into one before it is scheduled."""
        ...

    def __call__(self, plan: Plan, dtype: Any) -> Executable:
        """Compile a plan for a floating type."""
        ...

    def elementwise(self, graph: Graph, dtype: Any) -> Elementwise:
        """Compile a graph of numbers, for every element of arrays of a floating type."""
        ...

    def squares_of(self, arrays: Sequence[Array]) -> Callable[[], list[float]]:
        """What sums the squares of parts of arrays of one floating type, which stay; the order is that of NumPy's."""
        ...
