"""A net in which all that needs no input is computed once, and branches that are known are taken."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from elman.errors import ModelFileError
from elman.gates import Array
from elman.io.onnx.binding import Bound
from elman.io.onnx.equations import GATES
from elman.io.onnx.evaluate import once
from elman.io.onnx.reading import LAYER, Net, Node
from elman.io.onnx.sizes import FOLDED


class Room:
    """How many numbers more may be computed while a file is opened."""

    def __init__(self, net: Net) -> None:
        self.left = FOLDED + sum(array.size for array in net.constants.values())

    def take(self, net: Net, node: Node, known: Mapping[str, Array]) -> dict[str, Array]:
        """What a node gives. Raises `ModelFileError` where there is no room for it."""
        read = {name: known[name] for name in node.inputs if name}
        found = Bound(replace(net, nodes=(node,), constants=read), largest=self.left)({}, once)
        given = {name: found[name] for name in node.outputs if name in found}
        self.left -= sum(array.size for array in given.values())
        if self.left < 0:
            raise ModelFileError(f"{net.name}: {node}: what needs no input comes to far more than the file holds")
        return given


def folded(net: Net, around: Mapping[str, Array] | None = None, room: Room | None = None) -> Net:
    """The net with all that needs no input computed once, in the graphs of its nodes too; `around` is what they see.

    An If on something that is known becomes the nodes of its branch. Recurrent nodes remain, and so do loops. Raises
    `ModelFileError` where what needs no input has no room.
    """
    room = room or Room(net)
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
            known |= room.take(net, node, known)
        else:
            inner = {name: _inner(part, known, room) for name, part in node.attributes.items()}
            rest.append(replace(node, attributes=inner))
    used = _used(rest) | set(net.outputs)
    made = {name: value for name, value in known.items() if name in used and name not in (around or {})}
    return replace(net, nodes=tuple(rest), constants={**net.constants, **made})


def graphs(node: Node) -> Iterator[Net]:
    """The graphs that a node runs."""
    return (part for part in node.attributes.values() if isinstance(part, Net))


def _inner(part: object, known: Mapping[str, Array], room: Room) -> object:
    if not isinstance(part, Net):
        return part
    return folded(part, {name: value for name, value in known.items() if name not in part.inputs}, room)


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
