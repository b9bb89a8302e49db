"""What an ONNX graph is written with: nodes one after another, constants, and names that are used once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.gates import Array
from elman.io.onnx.reading import library

OPSET = 17
"""The operators' version: every operator that is written has its form of today, and runtimes of 2022 and later know it."""

IR = 8


class Writer:
    """A graph in the making; `add` returns the name of what a node gives. Constants stand once, in the outermost graph."""

    def __init__(self, dtype: np.dtype[Any], outer: "Writer | None" = None) -> None:
        self.onnx, self.dtype = library(), dtype
        self.nodes: list[Any] = []
        self._taken: set[str] = outer._taken if outer else set()
        self._constants: dict[str, Array] = outer._constants if outer else {}
        self._known: dict[tuple[Any, ...], str] = outer._known if outer else {}

    def inner(self) -> "Writer":
        """A writer of a graph within this one."""
        return Writer(self.dtype, self)

    def name(self, wanted: str) -> str:
        """A name that nothing has yet."""
        made, count = wanted, 1
        while made in self._taken:
            made, count = f"{wanted}_{count}", count + 1
        self._taken.add(made)
        return made

    def add(self, op: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        return self.several(op, inputs, [name or op.lower()], **attributes)[0]

    def several(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        made = [self.name(output) for output in outputs]
        node = self.onnx.helper.make_node(op, list(inputs), made, name=self.name(f"{op}.{made[0]}"), **attributes)
        self.nodes.append(node)
        return made

    def floats(self, value: Any, name: str = "constant") -> str:
        """A constant in the type of the model."""
        return self._constant(np.asarray(value, self.dtype), name)

    def integers(self, *values: int) -> str:
        """A vector of integers, such as axes or a shape."""
        return self._constant(np.array(values, np.int64), "integers")

    def scalar(self, value: int) -> str:
        """An integer that is no vector, such as a place."""
        return self._constant(np.array(value, np.int64), "scalar")

    def truths(self, value: Any) -> str:
        """Truth values."""
        return self._constant(np.asarray(value, np.bool_), "truths")

    def _constant(self, array: Array, name: str) -> str:
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.name(name)
            self._constants[self._known[key]] = array
        return self._known[key]

    @property
    def kind(self) -> int:
        """The number that stands for the model's type."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(self.dtype))

    def graph(
        self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], notes: str = "", *, whole: bool = False
    ) -> Any:
        """The graph of what was added; with `whole` the constants stand in it."""
        kept = [self.onnx.numpy_helper.from_array(array, key) for key, array in self._constants.items()] if whole else []
        return self.onnx.helper.make_graph(self.nodes, name, list(inputs), list(outputs), kept, doc_string=notes)

    def declared(self, name: str, shape: Sequence[Any] | None, kind: int = 0) -> Any:
        """What is said of an input or output: its type, that of the model unless given, and its sizes or their names."""
        return self.onnx.helper.make_tensor_value_info(name, kind or self.kind, shape)
