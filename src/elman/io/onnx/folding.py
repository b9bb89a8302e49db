"""A net in which all that needs no input is computed once, and branches that are known are taken."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from elman.gates import Array
from elman.io.onnx.equations import GATES
from elman.io.onnx.evaluate import evaluated, once
from elman.io.onnx.reading import LAYER, Net, Node


def folded(net: Net, around: Mapping[str, Array] | None = None) -> Net:
    """The net with all that needs no input computed once, in the graphs of its nodes too; `around` is what they see.

    An If on something that is known becomes the nodes of its branch. Recurrent nodes remain, and so do loops.
    """
    known = {**(around or {}), **net.constants}
    rest: list[Node] = []
    waiting = list(reversed(net.nodes))
    while waiting:
        node = waiting.pop()
        constant = all(name in known for name in node.inputs if name)
        if constant and node.op == "If":
            branch = _taken(node, known[node.inputs[0]])
            known |= branch.constants
            waiting += reversed(branch.nodes)
        elif constant and node.op not in GATES and node.op != LAYER and not any(graphs(node)):
            known |= evaluated(replace(net, nodes=(node,), constants=known), {}, once)
        else:
            rest.append(replace(node, attributes={name: _inner(part, known) for name, part in node.attributes.items()}))
    used = _used(rest) | set(net.outputs)
    made = {name: value for name, value in known.items() if name in used and name not in (around or {})}
    return replace(net, nodes=tuple(rest), constants={**net.constants, **made})


def graphs(node: Node) -> Iterator[Net]:
    """The graphs that a node runs."""
    return (part for part in node.attributes.values() if isinstance(part, Net))


def _inner(part: object, known: Mapping[str, Array]) -> object:
    return folded(part, {n: v for n, v in known.items() if n not in part.inputs}) if isinstance(part, Net) else part


def _taken(node: Node, condition: Array) -> Net:
    """The branch of an If, by names that no other part of the net has: two branches side by side may share theirs."""
    branch: Net = node.attributes["then_branch" if condition.reshape(-1)[0] else "else_branch"]
    before = next(filter(None, node.outputs), node.name)
    names = {name: f"{before}/{name}" for name in (*branch.constants, *(n for made in branch.nodes for n in made.outputs))}
    inner = _called(branch, names)
    ends = [Node("Identity", ours, (theirs,), (ours,)) for theirs, ours in zip(inner.outputs, node.outputs, strict=False)]
    return replace(inner, nodes=(*inner.nodes, *(end for end in ends if end.name)))


def _called(net: Net, names: Mapping[str, str]) -> Net:
    """A graph with names in the place of others, in the graphs of its nodes too."""

    def new(old: Iterable[str]) -> tuple[str, ...]:
        return tuple(names.get(name, name) if name else "" for name in old)

    def renamed(node: Node) -> Node:
        parts = {key: _called(p, names) if isinstance(p, Net) else p for key, p in node.attributes.items()}
        return replace(node, inputs=new(node.inputs), outputs=new(node.outputs), attributes=parts)

    return replace(
        net,
        nodes=tuple(map(renamed, net.nodes)),
        constants=dict(zip(new(net.constants), net.constants.values(), strict=True)),
        outputs=dict(zip(new(net.outputs), net.outputs.values(), strict=True)),
    )


def _used(nodes: Iterable[Node]) -> set[str]:
    """Names that nodes read, or the graphs in them, or give."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.inputs)
        for part in graphs(node):
            found |= _used(part.nodes) | set(part.outputs)
    return found
