"""What of a file's inputs and outputs is state: inputs that only start recurrent nodes, outputs that only end them.

Both may be cut, joined and turned on the way, as exporters do for several layers, and nothing else.
"""

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
    starts: set[str] = set()

    def passed_on(node: Node, name: str) -> bool:
        outputs = {output for output in node.outputs if output}
        return node.op in SHAPING and name not in set(node.inputs) - set(_moved(node)) and outputs <= starts

    # From the last value back: nodes stand behind those that they read.
    for name in (*net.inputs, *(output for node in net.nodes for output in node.outputs))[::-1]:
        read = name in readers and name not in net.outputs
        if read and all(_is_initial(node, name) or passed_on(node, name) for node in readers[name]):
            starts.add(name)
    return tuple(name for name in net.inputs if name in starts)


def _is_initial(node: Node, name: str) -> bool:
    return {at for at, given in enumerate(node.inputs) if given == name} <= set(places(node)[0])


def state_outputs(net: Net) -> tuple[str, ...]:
    """Outputs that are the last states of recurrent nodes; none where a file has no other outputs."""
    ends: set[str] = set()
    for node in net.nodes:
        if node.op in GATES or node.op == LAYER:
            ends |= {name for at, name in enumerate(node.outputs) if name and at in places(node)[1]}
        elif node.op in SHAPING and _moved(node) and ends.issuperset(_moved(node)):
            ends |= {name for name in node.outputs if name}
    found = tuple(name for name in net.outputs if name in ends)
    return found if len(found) < len(net.outputs) else ()
