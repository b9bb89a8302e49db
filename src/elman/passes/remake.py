"""Forward values that the backward direction makes again: light work on others that it is brought anyway.

1 - f costs an instruction where f is at hand; brought, it is written and read, and a long run leaves every cache meanwhile.
"""

from collections.abc import Mapping
from dataclasses import replace

from elman.graph import Builder, Graph
from elman.nodes import LEAVES, Result
from elman.passes.schedule import LIGHT


def remake(backward: Graph, forward: Graph, brought: Mapping[str, int]) -> Graph:
    """Light gates in the place of inputs of the backward graph; `brought` tells which forward value each of them is."""
    leaves, values = backward.leaves("input"), frozenset(brought.values())
    again = {leaves[name]: index for name, index in brought.items() if name in leaves and _is_light(forward, index, values)}
    if not again:
        return backward
    builder, new = Builder(backward.name, notes=backward.notes), dict[int, int]()
    for index, node in enumerate(backward.nodes):
        if node.gate in LEAVES and index not in again:
            new[index] = builder.copy(node, ())
    made = {index: new[leaves[name]] for name, index in brought.items() if name in leaves and leaves[name] not in again}

    def made_again(index: int) -> int:
        """A value, its inputs being there; an expansion, a parameter or a constant with what it is made of."""
        if index not in made:
            node = forward.nodes[index]
            made[index] = builder.copy(
                replace(node, name=node.name if node.gate in LEAVES else ""), map(made_again, node.inputs)
            )
        return made[index]

    for leaf, index in sorted(again.items(), key=lambda item: item[1]):
        new[leaf] = made_again(index)
    for index, node in enumerate(backward.nodes):
        if node.gate not in LEAVES:
            new[index] = builder.copy(node, (new[i] for i in node.inputs))
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in backward.results)


def _is_light(graph: Graph, index: int, brought: frozenset[int]) -> bool:
    """Whether a value is made of values that are brought, parameters and constants by a gate of an instruction or two."""
    node = graph.nodes[index]
    inner = [graph.nodes[i].inputs[0] if graph.nodes[i].gate == "expand" else i for i in node.inputs]
    return node.gate in LIGHT and all(i in brought or graph.nodes[i].gate in ("parameter", "constant") for i in inner)
