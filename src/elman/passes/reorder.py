"""Regroup sums so that what needs only the parameters, or only the input, stands together and can leave the loop.

`wax @ x + waa @ a + ba` becomes `(ba + wax @ x) + waa @ a`: one addition a step instead of two.
"""

from elman.graph import Builder, Graph
from elman.nodes import Result
from elman.passes.dependence import dependence


def reorder(graph: Graph) -> Graph:
    """Rebuild every sum from its terms: shared ones first, then those of the input, then those of the state."""
    facts, results = dependence(graph), {result.node for result in graph.results}
    rank = [0 if s else 2 if r else 1 for s, r in zip(facts.shared, facts.reached, strict=True)]

    def is_inner(index: int) -> bool:
        """Whether a sum goes into another. That it is also a result does not count: it would change the other's bits."""
        uses = graph.uses[index]
        return graph.nodes[index].gate == "add" and len(uses) == 1 and graph.nodes[uses[0]].gate == "add"

    def terms(index: int) -> list[int]:
        found, waiting = [], [*reversed(graph.nodes[index].inputs)]
        while waiting:  # no recursion: a sum may have thousands of terms
            source = waiting.pop()
            if is_inner(source):
                waiting += reversed(graph.nodes[source].inputs)
            else:
                found.append(source)
        return found

    builder = Builder(graph.name, notes=graph.notes)
    new: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if is_inner(index) and index not in results:
            continue
        if node.gate != "add":
            new[index] = builder.copy(node, (new[i] for i in node.inputs))
            continue
        ordered = sorted(terms(index), key=lambda i: rank[i])
        total = new[ordered[0]]
        for position, term in enumerate(ordered[1:], 2):
            total = builder.add("add", (total, new[term]), name=node.name if position == len(ordered) else "")
        new[index] = total
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results)
