"""Products that share their vector become one: four products with x are one product with four times the rows.

The stacked weights are shared, so they are put together once for all steps, and slices of the result are views.
"""

from elman.graph import Builder, Graph
from elman.nodes import Result
from elman.passes.dependence import dependence


def merge(graph: Graph) -> Graph:
    """Replace each group of products of shared matrices with one vector by a product and slices."""
    facts = dependence(graph)
    shared = [s and not t for s, t in zip(facts.shared, facts.totalled, strict=True)]
    groups: dict[tuple[int, bool], list[int]] = {}
    for index, node in enumerate(graph.nodes):
        if node.gate == "product" and shared[node.inputs[0]] and not shared[node.inputs[1]]:
            # A product that feeds no state will leave the loop; it must not be held there by one that does.
            groups.setdefault((node.inputs[1], facts.feeds[index]), []).append(index)
    member = {index: group for group in groups.values() if len(group) > 1 for index in group}
    builder = Builder(graph.name, notes=graph.notes)
    new: dict[int, int] = {}
    # Shared nodes first: the stack of weights must stand before the first product that uses it.
    for index in sorted(range(len(graph.nodes)), key=lambda i: not shared[i]):
        node = graph.nodes[index]
        if index in member:
            new[index] = _part(graph, builder, new, member[index], index)
        else:
            new[index] = builder.copy(node, (new[i] for i in node.inputs))
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results)


def _part(graph: Graph, builder: Builder, new: dict[int, int], group: list[int], index: int) -> int:
    weights = builder.add("concatenate", (new[graph.nodes[i].inputs[0]] for i in group))
    product = builder.add("product", (weights, new[graph.nodes[index].inputs[1]]))
    start = 0
    for i in group:
        rows = int(graph.nodes[i].shape[0])
        if i == index:
            break
        start += rows
    return builder.add("slice", (product,), (("start", start), ("stop", start + rows)), graph.nodes[index].name)
