"""Factors that are the same in every element are made once, of the number: x / k is x times 1 / k, and a sign leaves a sum.

A division takes ten times as long as a product, and a layer that is normalised would divide each of its elements. What comes
of it is rounded twice; where k is more than a quarter of the largest number, 1 / k is denormal, and 0 in compiled programs.
"""

from elman.graph import Builder, Graph
from elman.nodes import Result

SUMS = ("sum", "mean")


def factor(graph: Graph) -> Graph:
    """Divide a number by k, not every element; negate what was summed, not each summand."""
    builder = Builder(graph.name, notes=graph.notes)
    new: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        inputs = [new[i] for i in node.inputs]
        operand = graph.nodes[node.inputs[-1]] if node.inputs else node
        if node.gate == "divide" and operand.gate == "expand":
            inverse = builder.add("divide", (builder.constant(1.0), new[operand.inputs[0]]))
            new[index] = builder.add("multiply", (inputs[0], inverse), name=node.name)
        elif node.gate in SUMS and operand.gate == "negate":
            new[index] = builder.add("negate", (builder.add(node.gate, (new[operand.inputs[0]],)),), name=node.name)
        else:
            new[index] = builder.copy(node, inputs)
    return builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results)
