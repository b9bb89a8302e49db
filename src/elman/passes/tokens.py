"""A token input: the one-hot vector is never made, a product with it is a look-up of one column."""

from elman.errors import CellError
from elman.graph import Builder, Graph
from elman.nodes import Result


def tokenise(graph: Graph) -> Graph:
    """Make the first input a token. Raises `CellError` where the input is no vector."""
    name, leaf = next(iter(graph.leaves("input").items()))
    if len(graph.nodes[leaf].shape) != 1:
        raise CellError(f"{graph.name}: the input {name} is no vector, so tokens cannot stand for it")
    builder, new = Builder(graph.name, notes=graph.notes), {}
    size = int(graph.nodes[leaf].shape[0])
    for index, node in enumerate(graph.nodes):
        if index == leaf:
            new[index] = builder.leaf("token", name, (), (("size", size),))
        elif node.gate == "product" and node.inputs[1] == leaf and node.inputs[0] != leaf:
            new[index] = builder.add("lookup", (new[node.inputs[0]], new[leaf]), name=node.name)
        else:
            sources = [builder.add("one_hot", (new[i],), (("size", size),)) if i == leaf else new[i] for i in node.inputs]
            new[index] = builder.copy(node, sources)
    if any(result.node == leaf for result in graph.results):
        new[leaf] = builder.add("one_hot", (new[leaf],), (("size", size),))
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results)
