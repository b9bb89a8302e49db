"""A net in which all that needs no input is computed once, and branches that are known are taken."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from elman.gates import Array
from elman.io.onnx.equations import GATES
from elman.io.onnx.evaluate import branch_of, evaluated, once
from elman.io.onnx.reading import LAYER, Net, Node


def folded(net: Net, around: Mapping[str, Array] | None = None) -> Net:
    """The net with all that needs no input computed once, in the graphs of its nodes too; `around` is what they see.

    An If on something that is known becomes the nodes of its branch. Recurrent nodes remain.
    """
    known = {**(around or {}), **net.constants}
    rest: list[Node] = []
    waiting = list(reversed(net.nodes))
    while waiting:
        node = waiting.pop()
        constant = all(name in known for name in node.inputs if name)
        if node.op == "If" and constant:
            branch = branch_of(node, known[node.inputs[0]])
            known |= branch.constants
            waiting += reversed([*branch.nodes, *_renamed(branch, node)])
        elif constant and node.op not in GATES and node.op != LAYER:
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


def _renamed(branch: Net, node: Node) -> list[Node]:
    """What a branch gives, under the names that the If around it has for it."""
    pairs = zip(branch.outputs, node.outputs, strict=False)
    return [Node("Identity", ours, (theirs,), (ours,)) for theirs, ours in pairs if ours]


def _used(nodes: Iterable[Node]) -> set[str]:
    """Names that nodes read, or the graphs in them, or give."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.inputs)
        for part in graphs(node):
            found |= _used(part.nodes) | set(part.outputs)
    return found
