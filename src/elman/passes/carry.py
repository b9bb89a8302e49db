"""How the state is carried between steps, written into the equations: resets, truncation, recurrent dropout.

Because these are gates like any other, every target runs them and every gradient knows them.
"""

from collections.abc import Callable
from functools import lru_cache

from elman.graph import Builder, Graph
from elman.nodes import LEAVES, Result
from elman.passes.dead import without_dead
from elman.passes.dependence import dependence

RESET, CUT = "step_is_reset", "step_is_cut"
"""Names of the inputs that these passes add: one truth value for every step and example."""

MASK = "recurrent_mask_"
"""Beginning of the names of the masks of recurrent dropout."""

Change = Callable[[Builder, int, int], int]


def with_reset(graph: Graph) -> Graph:
    """Let a reset put a state back to its initial value before the step: h<t-1> becomes where(reset, 0, h<t-1>)."""
    return _before_step(graph, RESET, lambda b, flag, h: b.add("where", (flag, b.constant(0.0), h)))


def with_learnt_reset(graph: Graph) -> Graph:
    """Let a reset put a state back to a parameter before the step: h<t-1> becomes where(reset, h0, h<t-1>)."""

    def change(builder: Builder, flag: int, state: int) -> int:
        node = builder.nodes[state]
        return builder.add("where", (flag, builder.leaf("parameter", initial_name(node.name), node.shape), state))

    return _before_step(graph, RESET, change)


def initial_name(state: str) -> str:
    """What the parameter is called that holds the initial value of a state."""
    return f"{state}0"


def with_recurrent_dropout(graph: Graph) -> Graph:
    """Multiply the states by masks wherever products read them: dropout on the recurrence, the same at every step.

    What stands between a state and a product, element by element, is read with the masked state (r * h in a product of a
    GRU); what another product has made of the state is not masked again, nor what carries it on element by element.
    Gal and Ghahramani, A theoretically grounded application of dropout in recurrent neural networks, 2016.
    """
    builder = Builder(graph.name, notes=graph.notes)
    new: dict[int, int] = {}
    masked: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        inputs = [new[i] for i in node.inputs]
        if _reads_states(graph, index):
            inputs[1] = masked[node.inputs[1]]
        new[index] = masked[index] = builder.copy(node, inputs)
        if node.gate == "state":
            mask = builder.leaf("input", f"{MASK}{node.name}", node.shape)
            masked[index] = builder.add("multiply", (new[index], mask))
        elif node.gate != "product" and any(masked[i] != new[i] for i in node.inputs):
            masked[index] = builder.add(node.gate, (masked[i] for i in node.inputs), node.attributes)
    return without_dead(builder.finish(Result(r.name, r.role, new[r.node]) for r in graph.results))


def brings_states(graph: Graph) -> bool:
    """Whether a product reads a state, directly or through gates that are no products."""
    return any(_reads_states(graph, index) for index in range(len(graph.nodes)))


def _reads_states(graph: Graph, index: int) -> bool:
    node = graph.nodes[index]
    return node.gate == "product" and dependence(graph).shared[node.inputs[0]] and _states_in(graph)[node.inputs[1]]


@lru_cache(maxsize=256)
def _states_in(graph: Graph) -> tuple[bool, ...]:
    """For every value whether a state is in it that no product has made into something else."""
    found: list[bool] = []
    for node in graph.nodes:
        found.append(node.gate == "state" or (node.gate != "product" and any(found[i] for i in node.inputs)))
    return tuple(found)


def with_truncation(graph: Graph) -> Graph:
    """Let no gradient flow back through the state where a step is cut; values stay as they are."""
    return _before_step(graph, CUT, lambda b, flag, h: b.add("detach", (h, flag)))


def _before_step(graph: Graph, flag_name: str, change: Change) -> Graph:
    """Put a change between each state and all that reads it."""
    builder = Builder(graph.name, notes=graph.notes)
    new = {i: builder.copy(node, ()) for i, node in enumerate(graph.nodes) if node.gate in LEAVES}
    flag = builder.leaf("input", flag_name, ())
    read = {i: change(builder, flag, new[i]) if graph.nodes[i].gate == "state" else new[i] for i in new}
    for index, node in enumerate(graph.nodes):
        if node.gate not in LEAVES:
            read[index] = builder.copy(node, (read[i] for i in node.inputs))
    return builder.finish(Result(r.name, r.role, read[r.node]) for r in graph.results)
