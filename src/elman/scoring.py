"""A read-out's graph turned into what a model asks of it: logits beside the output, or the loss of a target."""

from dataclasses import replace
from functools import lru_cache

from elman.graph import Builder, Graph
from elman.nodes import Result
from elman.passes import in_one_pass

TARGET = "target_of_step"


def output_node(graph: Graph) -> int:
    """The node that is the output of a map."""
    return next(iter(graph.named("output").values()))


def logits_node(graph: Graph) -> int:
    """What stands before the read-out's activation: the input of softmax or sigmoid, else the value `logits`, else all."""
    output = output_node(graph)
    if graph.nodes[output].gate in ("softmax", "sigmoid"):
        return graph.nodes[output].inputs[0]
    return graph.values.get("logits", output)


def reads_tokens(graph: Graph) -> bool:
    """Whether the targets of a read-out are tokens: it ends in softmax, so its output is a distribution over them."""
    return graph.nodes[output_node(graph)].gate == "softmax"


@lru_cache(maxsize=64)
def with_logits(graph: Graph) -> Graph:
    """The read-out with two outputs, `logits` and `output`."""
    results = Result("logits", "output", logits_node(graph)), Result("output", "output", output_node(graph))
    return replace(graph, results=results)


@lru_cache(maxsize=64)
def only_logits(graph: Graph) -> Graph:
    """The read-out with `logits` as its output."""
    return replace(graph, results=(Result("logits", "output", logits_node(graph)),))


@lru_cache(maxsize=64)
def with_loss(graph: Graph, smoothing: float = 0.0) -> Graph:
    """The read-out with a target as a second input and the loss of a step as its output, in nats where it is a likelihood.

    The last gate says which loss fits. Softmax: the cross entropy of a target token, -ln y[token]. Sigmoid: the binary
    cross entropy -(s ln y + (1 - s) ln(1 - y)) of a target vector s of numbers from 0 to 1, mean over its elements, from the
    logits z as softplus(z) - s z, which no z overflows. Any other: the squared error (y - s)^2, mean over the elements.

    With `smoothing` e a softmax is told (1 - e) one_hot(token) + e / V in place of the token, a sigmoid (1 - e) s + e / 2.
    Szegedy et al., Rethinking the Inception architecture for computer vision, 2016.
    """
    builder = Builder(f"{graph.name}_loss", notes=graph.notes)
    for node in graph.nodes:
        builder.copy(node, node.inputs)
    output = output_node(graph)
    gate, shape = graph.nodes[output].gate, graph.nodes[output].shape
    if gate == "softmax":
        target = builder.leaf("token", TARGET, (), (("size", int(shape[0])),))
        loss = builder.add("cross_entropy", (logits_node(graph), target))
        if smoothing:
            uniform = builder.add("negate", (builder.add("mean", (builder.add("log_softmax", (logits_node(graph),)),)),))
            loss = builder.add("add", (_times(builder, 1 - smoothing, loss), _times(builder, smoothing, uniform)))
    elif gate == "sigmoid":
        target, z = builder.leaf("input", TARGET, shape), logits_node(graph)
        if smoothing:
            target = builder.add("add", (_times(builder, 1 - smoothing, target), builder.constant(smoothing / 2)))
        missed = builder.add("multiply", (target, z))
        loss = builder.add("mean", (builder.add("subtract", (builder.add("softplus", (z,)), missed)),))
    else:
        difference = builder.add("subtract", (output, builder.leaf("input", TARGET, shape)))
        loss = builder.add("mean", (builder.add("multiply", (difference, difference)),))
    return builder.finish([Result("loss", "output", loss)])


@lru_cache(maxsize=64)
def with_gradients(graph: Graph, smoothing: float = 0.0) -> Graph:
    """The loss of a step and its gradients in one pass: what stands between them, such as logits, is held by no one."""
    return in_one_pass(with_loss(graph, smoothing))


def _times(builder: Builder, factor: float, node: int) -> int:
    return builder.add("multiply", (builder.constant(factor), node))
