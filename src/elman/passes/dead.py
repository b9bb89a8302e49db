"""Leave out what no result needs."""

from elman.graph import Builder, Graph
from elman.nodes import LEAVES, Result


def without_dead(graph: Graph) -> Graph:
    """The graph without the nodes that no result needs; parameters, inputs and states stay."""
    needed = {result.node for result in graph.results}
    for index in reversed(range(len(graph.nodes))):
        if index in needed:
            needed.update(graph.nodes[index].inputs)
    needed |= {i for i, node in enumerate(graph.nodes) if node.gate in LEAVES and node.gate != "constant"}
    if len(needed) == len(graph.nodes):
        return graph
    builder = Builder(graph.name, notes=graph.notes, merge=False)
    new: dict[int, int] = {}
    for index in sorted(needed):
        node = graph.nodes[index]
        new[index] = builder.copy(node, (new[i] for i in node.inputs))
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results)
