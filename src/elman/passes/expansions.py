"""Expansions made where a gate reads them whole: for targets that hold a number once, in every lane of a register."""

from elman.gates import GATES
from elman.graph import Builder, Graph
from elman.nodes import LEAVES, Result


def with_expansions(graph: Graph) -> Graph:
    """Make an expansion a value of its own, x times 1, before gates that need it in memory: sums, products, parts."""
    if not any(node.gate == "expand" for node in graph.nodes):
        return graph
    builder = Builder(graph.name, notes=graph.notes)
    new: dict[int, int] = {}
    made: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        whole = node.gate not in LEAVES and node.gate != "expand" and not GATES[node.gate].elementwise
        for i in node.inputs:
            if whole and graph.nodes[i].gate == "expand" and i not in made:
                made[i] = builder.add("multiply", (new[i], builder.constant(1.0)))
        new[index] = builder.copy(node, (made.get(i, new[i]) if whole else new[i] for i in node.inputs))
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results)
