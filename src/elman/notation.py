"""How a graph is written: each gate as in an equation, with names and brackets where they are needed."""

from collections.abc import Sequence
from typing import Protocol

from elman.gates import GATES
from elman.nodes import LEAVES, ROLES, Node
from elman.shapes import written

LONG = 300
"""Characters from which an expression is only called by its number: used twice, again and again, it would double."""


class GraphLike(Protocol):
    """What printing reads of a graph."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def nodes(self) -> Sequence[Node]: ...  # noqa: D102
    @property
    def uses(self) -> Sequence[Sequence[int]]: ...  # noqa: D102
    def leaves(self, gate: str) -> dict[str, int]: ...  # noqa: D102
    def named(self, role: str) -> dict[str, int]: ...  # noqa: D102


def expressions(nodes: Sequence[Node]) -> list[str]:
    """Text of every node where it is used: its name, or its expression in brackets if it has none."""
    texts: list[str] = []
    for node in nodes:
        if node.gate == "state":
            texts.append(f"{node.name}<t-1>")
        elif node.gate == "constant":
            value = node.settings["value"]
            texts.append(f"{value:g}" if isinstance(value, float) else f"constant{written(node.shape)}")
        else:
            text = node.name or notation(nodes, node, texts)
            texts.append(text if len(text) <= LONG else f"v{len(texts)}")
    return texts


def notation(nodes: Sequence[Node], node: Node, texts: Sequence[str]) -> str:
    """A gate as it is written, with the texts of its inputs, bracketed where they bind less tightly."""
    row, operands = GATES[node.gate], []
    for position, source in enumerate(node.inputs):
        inner = nodes[source]
        while inner.gate == "expand":  # printed as nothing, so what it expands decides the brackets
            inner = nodes[inner.inputs[0]]
        named = bool(inner.name) or texts[source].isidentifier()
        loose = not named and inner.gate in GATES and GATES[inner.gate].binds < row.binds + (position > 0)
        operands.append(f"({texts[source]})" if loose and row.binds < 9 else texts[source])
    if node.gate == "expand":
        return operands[0]
    return row.notation.format(*operands, all=", ".join(operands), **node.settings)


def as_asked(nodes: Sequence[Node], asked: Node) -> tuple[str, list[str]]:
    """A gate and its operands for a message: by what stands in the equations, or in plain words.

    What is too long to write is told by what it is made of: of `gelu(x)` nobody has seen the polynomial.
    """
    texts, long, told = expressions(nodes), set[int](), dict[int, str]()
    for index, node in enumerate(nodes):
        if not node.name and (texts[index] == f"v{index}" or not long.isdisjoint(node.inputs)):
            long.add(index)
    for source in asked.inputs:
        node = nodes[source]
        if node.gate == "constant" and node.shape:
            is_short, numbers = len(node.shape) == 1 and node.shape[0] <= 4, node.settings["value"]
            texts[source] = f"[{', '.join(f'{x:g}' for x in numbers)}]" if is_short else f"array{written(node.shape)}"
        elif source in long and source not in told:
            texts[source] = f"value{len(told) + 1}" if told else "value"
            told[source] = f"{texts[source]} (made of {', '.join(_made_of(nodes, source))})"
    return notation(nodes, asked, texts), [told.get(source, texts[source]) for source in asked.inputs]


def _made_of(nodes: Sequence[Node], index: int) -> list[str]:
    """The leaves that a node is made of, as they are written."""
    reached = {index}
    for later in range(index, -1, -1):
        reached |= set(nodes[later].inputs) if later in reached else set()
    return [expressions([nodes[leaf]])[0] for leaf in sorted(reached) if nodes[leaf].gate in LEAVES and nodes[leaf].name]


def printed(graph: GraphLike) -> str:
    """The short printed form of a graph: leaves by kind, one line for each named value, what is returned."""
    lines = [graph.name]
    for gate in LEAVES[:-1]:
        by_shape: dict[str, list[str]] = {}
        for name, index in graph.leaves(gate).items():
            by_shape.setdefault(written(graph.nodes[index].shape), []).append(name)
        lines += [f"  {gate:9} {', '.join(names)} {shape}" for shape, names in by_shape.items()]
    texts, body = expressions(graph.nodes), []
    taken = {node.name for node in graph.nodes if node.name}
    for index, node in enumerate(graph.nodes):
        if node.gate not in GATES:
            continue
        texts[index] = text = notation(graph.nodes, node, texts)
        # What is used twice, or long, gets a line and a number of its own; a number in a vector is written as it is.
        if node.name or (node.gate != "expand" and (len(graph.uses[index]) > 1 or len(text) > LONG)):
            texts[index] = node.name or next(n for k in range(index, index + len(taken) + 1) if (n := f"v{k}") not in taken)
            body.append((texts[index], text, written(node.shape)))
    return "\n".join(lines + _columns(body) + _returned(graph, texts))


def _columns(body: Sequence[tuple[str, str, str]]) -> list[str]:
    left = max((len(name) for name, _, _ in body), default=0)
    middle = min(max((len(text) for _, text, _ in body), default=0), 60)
    return [f"  {name:{left}} = {text:{middle}}  {shape}" for name, text, shape in body]


def _returned(graph: GraphLike, texts: Sequence[str]) -> list[str]:
    groups = []
    for role in ROLES:
        named = graph.named(role)
        if named:
            entries = [name if texts[i] == name else f"{name} = {texts[i]}" for name, i in named.items()]
            groups.append(f"  -> {role} {', '.join(entries)}")
    return groups
