"""The gates of a cell as ONNX nodes: one gate after another, over any number of axes that stand before an example's own.

Values that need parameters alone have no such axes, and meet the others by broadcasting; so axes are counted from the end.
"""

from collections.abc import Callable, Mapping
from typing import Any

from elman.errors import SettingError
from elman.graph import Graph
from elman.io.onnx.writer import Writer
from elman.nodes import LEAVES, Node

SAME = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "negate": "Neg", "maximum": "Max",
    "minimum": "Min", "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "exp": "Exp", "log": "Log",
    "softplus": "Softplus", "sqrt": "Sqrt", "absolute": "Abs", "sin": "Sin", "cos": "Cos", "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
}  # fmt: skip
"""Gates that are an operator; both softmax take the last axis unless told."""


class GateNodes:
    """Writes the gates of a graph. `leading` is the number of axes before an example's own, `like` a value that has them."""

    def __init__(self, writer: Writer, graph: Graph, leading: int, like: str) -> None:
        self.writer, self.graph, self.leading, self.like = writer, graph, leading, like
        self.names: list[str] = []
        self.wide: list[bool] = []
        """Whether a value has the leading axes."""

    def write(self, given: Mapping[str, str], parameters: Mapping[str, str]) -> list[str]:
        """Write all gates, from the names of inputs, states and parameters; returns the name of every value."""
        for node in self.graph.nodes:
            if node.gate == "constant":
                self._append(self.writer.floats(node.settings["value"]), False)
            elif node.gate in LEAVES:
                known = given if node.name in given else parameters
                self._append(known[node.name], known is given)
            else:
                wide = any(self.wide[at] for at in node.inputs)
                self._append(self._written(node, [self.names[at] for at in node.inputs]), wide)
        return self.names

    def widened(self, at: int) -> str:
        """A value with the leading axes, whether or not it needed them."""
        if self.wide[at]:
            return self.names[at]
        shape = self.writer.add("Shape", [self.like], end=self.leading)
        own = self.writer.integers(*(int(size) for size in self.graph.nodes[at].shape))
        return self.writer.add("Expand", [self.names[at], self.writer.add("Concat", [shape, own], axis=0)])

    def _append(self, name: str, wide: bool) -> None:
        self.names.append(name)
        self.wide.append(wide)

    def _written(self, node: Node, inputs: list[str]) -> str:
        if node.gate in SAME:
            return self.writer.add(SAME[node.gate], inputs, name=node.name or node.gate)
        if node.gate not in OTHERS:
            raise SettingError(f"onnx: the gate {node.gate} of {self.graph.name} cannot be written")
        return OTHERS[node.gate](self, node, inputs)

    # --- gates that are several operators, or take attributes ---------------------------------------------------------

    def _product(self, node: Node, inputs: list[str]) -> str:
        w, x = inputs
        w_wide, x_wide = (self.wide[at] for at in node.inputs)
        if not w_wide and x_wide:  # x w^T, for all examples at once
            return self.writer.add("MatMul", [x, self.writer.add("Transpose", [w])], name=node.name or "product")
        if not w_wide:
            return self.writer.add("MatMul", [w, x], name=node.name or "product")
        # a column, not a vector: ONNX Runtime 1.32 fuses a turned matrix and a vector into something else
        column = self.writer.add("Unsqueeze", [x, self.writer.integers(-1)])
        product = self.writer.add("MatMul", [w, column])
        return self.writer.add("Squeeze", [product, self.writer.integers(-1)], name=node.name or "product")

    def _outer(self, node: Node, inputs: list[str]) -> str:
        column = self.writer.add("Unsqueeze", [inputs[0], self.writer.integers(-1)])
        row = self.writer.add("Unsqueeze", [inputs[1], self.writer.integers(-2)])
        return self.writer.add("Mul", [column, row], name=node.name or "outer")

    def _transpose(self, node: Node, inputs: list[str]) -> str:
        before = self.leading if self.wide[node.inputs[0]] else 0
        turned = [*range(before), before + 1, before]
        return self.writer.add("Transpose", inputs, name=node.name or "transpose", perm=turned)

    def _expand(self, node: Node, inputs: list[str]) -> str:
        shape = tuple(int(size) for size in node.shape)
        axes = self.writer.integers(*(-1 - at for at in range(len(shape))))
        apart = self.writer.add("Unsqueeze", [inputs[0], axes])
        return self.writer.add("Expand", [apart, self.writer.integers(*shape)], name=node.name or "expand")

    def _sum(self, node: Node, inputs: list[str]) -> str:
        axes = tuple(-1 - at for at in range(len(self.graph.nodes[node.inputs[0]].shape)))
        if node.gate == "mean":  # whose axes are an attribute until version 18
            return self.writer.add("ReduceMean", inputs, name=node.name or "mean", axes=list(axes), keepdims=0)
        return self.writer.add("ReduceSum", [*inputs, self.writer.integers(*axes)], name=node.name or "sum", keepdims=0)

    def _slice(self, node: Node, inputs: list[str]) -> str:
        start, stop = (self.writer.integers(int(node.settings[key])) for key in ("start", "stop"))
        axis = self.writer.integers(-len(node.shape))
        return self.writer.add("Slice", [inputs[0], start, stop, axis], name=node.name or "slice")

    def _concatenate(self, node: Node, inputs: list[str]) -> str:
        if len({self.wide[at] for at in node.inputs}) > 1:
            inputs = [self.widened(at) for at in node.inputs]
        return self.writer.add("Concat", inputs, name=node.name or "concatenate", axis=-len(node.shape))

    def _pad(self, node: Node, inputs: list[str]) -> str:
        below, above = int(node.settings["before"]), int(node.settings["after"])
        axes = len(node.shape) + (self.leading if self.wide[node.inputs[0]] else 0)
        at = axes - len(node.shape)
        widths = [below if axis == at else above if axis == axes + at else 0 for axis in range(2 * axes)]
        return self.writer.add("Pad", [inputs[0], self.writer.integers(*widths)], name=node.name or "pad")

    def _greater(self, node: Node, inputs: list[str]) -> str:
        truth = self.writer.add("Greater", inputs)
        return self.writer.add("Cast", [truth], name=node.name or "greater", to=self.writer.kind)

    def _where(self, node: Node, inputs: list[str]) -> str:
        truth = self.writer.add("Cast", inputs[:1], to=int(self.writer.onnx.TensorProto.BOOL))
        return self.writer.add("Where", [truth, *inputs[1:]], name=node.name or "where")

    def _detach(self, node: Node, inputs: list[str]) -> str:
        return inputs[0]


OTHERS: dict[str, Callable[[GateNodes, Node, list[str]], str]] = {
    "product": GateNodes._product, "outer": GateNodes._outer, "transpose": GateNodes._transpose,
    "expand": GateNodes._expand, "sum": GateNodes._sum, "mean": GateNodes._sum, "slice": GateNodes._slice,
    "concatenate": GateNodes._concatenate, "pad": GateNodes._pad, "greater": GateNodes._greater,
    "where": GateNodes._where, "detach": GateNodes._detach,
}  # fmt: skip
"""The gates of equations that are not one operator without attributes."""


def outputs_of(nodes: GateNodes) -> dict[str, Any]:
    """The output of a graph whose gates are written, and its new states by name, all with the leading axes."""
    graph = nodes.graph
    found = {name: nodes.widened(at) for name, at in graph.named("state").items()}
    return {"": nodes.widened(next(iter(graph.named("output").values())))} | found
