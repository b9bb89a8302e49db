"""What of a file's inputs and outputs is state: inputs that only start recurrent nodes, outputs that only end them.

Both may be cut, joined and turned on the way, as exporters do for several layers, and nothing else.
"""

from collections.abc import Iterable

from elman.io.onnx.equations import GATES
from elman.io.onnx.reading import LAYER, Net, Node

SHAPING = {"Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that move numbers about; the first input is what they move, of Concat every input."""


def places(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where a node has its initial states among its inputs, and its last ones among its outputs; none where it has none."""
    if node.op == LAYER:
        states = tuple(range(len(node.inputs) - int(node.attributes["num_scan_inputs"])))
        return states, states
    return ((5, 6), (1, 2)) if node.op in GATES else ((), ())


def _moved(node: Node) -> tuple[str, ...]:
    return node.inputs if node.op == "Concat" else node.inputs[:1]


def state_inputs(net: Net) -> tuple[str, ...]:
    """Inputs that nothing reads but the initial states of recurrent nodes."""
    readers: dict[str, list[Node]] = {}
    for node in net.nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)

    def starts(name: str) -> bool:
        if name in net.outputs or name not in readers:
            return False
        return all(_is_initial(node, name) or _passed_on(node, name) for node in readers[name])

    def _passed_on(node: Node, name: str) -> bool:
        outputs = [output for output in node.outputs if output]
        return node.op in SHAPING and name not in set(node.inputs) - set(_moved(node)) and all(map(starts, outputs))

    return tuple(name for name in net.inputs if starts(name))


def _is_initial(node: Node, name: str) -> bool:
    return {at for at, given in enumerate(node.inputs) if given == name} <= set(places(node)[0])


def state_outputs(net: Net) -> tuple[str, ...]:
    """Outputs that are the last states of recurrent nodes; none where a file has no other outputs."""
    makers = {name: node for node in net.nodes for name in node.outputs if name}

    def ends(name: str) -> bool:
        node = makers.get(name)
        if node is None:
            return False
        if node.op in GATES or node.op == LAYER:
            return node.outputs.index(name) in places(node)[1]
        return node.op in SHAPING and _all(ends(moved) for moved in _moved(node))

    found = tuple(name for name in net.outputs if ends(name))
    return found if len(found) < len(net.outputs) else ()


def _all(truths: Iterable[bool]) -> bool:
    listed = list(truths)
    return bool(listed) and all(listed)
