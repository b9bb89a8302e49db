"""What every value depends on: the parameters alone, the input, the state; and whether it reaches the next state."""

from dataclasses import dataclass

from elman.graph import Graph


@dataclass(frozen=True)
class Dependence:
    """For every node of a graph, four facts."""

    shared: tuple[bool, ...]
    """The same for all examples and steps: made of parameters, constants and totals only."""
    reached: tuple[bool, ...]
    """The state reaches it."""
    feeds: tuple[bool, ...]
    """It reaches the next state."""
    totalled: tuple[bool, ...]
    """A total over steps and examples reaches it."""


def dependence(graph: Graph) -> Dependence:
    """Walk the graph once forward and once backward."""
    shared: list[bool] = []
    reached: list[bool] = []
    totalled: list[bool] = []
    for node in graph.nodes:
        inputs = node.inputs
        shared.append(node.gate in ("parameter", "constant", "total") or (bool(inputs) and all(shared[i] for i in inputs)))
        reached.append(node.gate == "state" or (node.gate != "total" and any(reached[i] for i in inputs)))
        totalled.append(node.gate == "total" or any(totalled[i] for i in inputs))
    feeds = [False] * len(graph.nodes)
    for index in graph.named("state").values():
        feeds[index] = True
    for index in reversed(range(len(graph.nodes))):
        if feeds[index]:
            for source in graph.nodes[index].inputs:
                feeds[source] = True
    return Dependence(tuple(shared), tuple(reached), tuple(feeds), tuple(totalled))
