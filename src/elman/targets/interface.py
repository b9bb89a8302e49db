"""What every target gives: a plan made runnable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from elman.gates import Array
from elman.passes import Plan


@dataclass
class Prepared:
    """What is computed once for a set of parameters: by node, and for token inputs a table by vocabulary entry."""

    shared: dict[int, Array]
    table: dict[int, Array] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a run gives: outputs `[T, B, ...]`, last states `[B, ...]`, sums over all steps and examples."""

    outputs: dict[str, Array]
    states: dict[str, Array]
    sums: dict[str, Array]


class Executable(Protocol):
    """A plan made runnable. It never changes: all that a run needs besides is in its arguments."""

    source: str

    def prepare(self, parameters: Mapping[str, Array], *, lasting: bool = False) -> Prepared:
        """Compute what needs only the parameters; `lasting` says that it will serve many runs."""
        ...

    def run(
        self, prepared: Prepared, inputs: Mapping[str, Array], states: Mapping[str, Array], *, backwards: bool = False
    ) -> Outcome:
        """Run over inputs `[T, B, ...]` from states `[B, ...]`, from the last step to the first if `backwards`."""
        ...


class Target(Protocol):
    """Makes a plan runnable."""

    def __call__(self, plan: Plan, dtype: Any) -> Executable:
        """Compile a plan for a floating type."""
        ...
