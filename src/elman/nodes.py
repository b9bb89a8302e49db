"""What a graph is made of: nodes, each one gate in use, and results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elman.shapes import Shape

LEAVES = ("input", "token", "state", "parameter", "constant")
ROLES = ("output", "state", "sum")

Attributes = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Node:
    """One gate in use: `name = gate(inputs)`, with the shape that it gives."""

    gate: str
    inputs: tuple[int, ...]
    shape: Shape
    attributes: Attributes = ()
    name: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The attributes as keyword arguments of the gate's rules."""
        return dict(self.attributes)


@dataclass(frozen=True)
class Result:
    """What a graph gives back: an output of every step, a new state, or a sum over all steps and examples."""

    name: str
    role: str
    node: int


def is_parameter(nodes: Sequence[Node], index: int) -> bool:
    """Whether a node is a parameter, transposed or not."""
    node = nodes[index]
    return node.gate == "parameter" or (node.gate == "transpose" and is_parameter(nodes, node.inputs[0]))
