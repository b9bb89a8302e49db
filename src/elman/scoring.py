"""A read-out's graph turned into what a model asks of it: logits beside probabilities, or the loss of a target."""

from dataclasses import replace
from functools import lru_cache

from elman.errors import SettingError
from elman.graph import Builder, Graph
from elman.nodes import Result

TARGET = "target_token"


def logits_node(graph: Graph) -> int:
    """What stands before the read-out's activation: the softmax's input, else the value of that name, else the output."""
    output = next(iter(graph.named("output").values()))
    if graph.nodes[output].gate == "softmax":
        return graph.nodes[output].inputs[0]
    return graph.values.get("logits", output)


@lru_cache(maxsize=64)
def with_logits(graph: Graph) -> Graph:
    """The read-out with two outputs, `logits` and `probabilities`."""
    output = next(iter(graph.named("output").values()))
    return replace(
        graph, results=(Result("logits", "output", logits_node(graph)), Result("probabilities", "output", output))
    )


@lru_cache(maxsize=64)
def with_loss(graph: Graph) -> Graph:
    """The read-out with a target token as a second input and the cross entropy as its output."""
    output = next(iter(graph.named("output").values()))
    if graph.nodes[output].gate != "softmax":
        last = graph.nodes[output].gate
        raise SettingError(f"{graph.name}: cross entropy needs a read-out that ends in softmax; this one ends in {last}")
    builder = Builder(f"{graph.name}_loss", notes=graph.notes)
    for node in graph.nodes:
        builder.copy(node, node.inputs)
    target = builder.leaf("token", TARGET, (), (("size", int(graph.nodes[output].shape[0])),))
    return builder.finish([Result("loss", "output", builder.add("cross_entropy", (logits_node(graph), target)))])
