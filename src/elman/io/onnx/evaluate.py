"""Running a file as it is: what it may hold, what its inputs must be, and every value of it."""

import difflib
import warnings
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from elman.errors import DataError, ModelFileError, SettingError, ShapeError
from elman.gates import Array
from elman.io.onnx.binding import Bound, Values
from elman.io.onnx.equations import GATES
from elman.io.onnx.loops import PARTS, SUBGRAPHS
from elman.io.onnx.operators import OPERATORS, operator
from elman.io.onnx.preparing import PREPARING
from elman.io.onnx.reading import Net, Node, read
from elman.io.onnx.recurrent import operands, recurrent
from elman.shapes import written

SUPPORTED = tuple(sorted({*OPERATORS, *PREPARING, *GATES, *SUBGRAPHS}))
"""Names of all operators that are run."""


def run(source: Any, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """What an ONNX model gives for its inputs: name -> array to name -> array, as the file has them.

    `source` is a path, bytes, or a `ModelProto`. The operators RNN, GRU and LSTM are run as the specification writes them,
    with all of their attributes: every activation with its alpha and beta, clip, direction, layout, linear_before_reset,
    input_forget, peepholes, lengths and initial states. So this can serve as an oracle for other runtimes.

    Raises `ModelFileError` for a file that cannot be read and an operator that is not supported, by its name and node;
    `SettingError`, `DataError` or `ShapeError` for inputs that do not fit.

    >>> from onnx import helper
    >>> declared = [helper.make_tensor_value_info(name, 1, ["T", 2]) for name in "xy"]
    >>> node = helper.make_node("Softsign", ["x"], ["y"])
    >>> run(helper.make_model(helper.make_graph([node], "one", declared[:1], declared[1:])), {"x": [[1.0, -3.0]]})
    {'y': array([[ 0.5 , -0.75]], dtype=float32)}
    """
    net = read(source)
    check(net)
    return Bound(net)(checked_inputs(net, inputs), once, net.outputs)


def once(node: Node, inputs: Sequence[Any]) -> tuple[Array, ...]:
    """A recurrent node, with weights that are known only now."""
    _, w, r, b, _, _, _, p = operands(inputs)
    return recurrent(node.op, node.attributes, w, r, b, p)(inputs)[0]


def check(net: Net, around: frozenset[str] = frozenset(), level: int = 3) -> None:
    """Raises `ModelFileError` for an operator that is not supported, and for a value that nothing before its node gives,
    as in a circle; warns of a GRU that PyTorch cannot have meant. The warning is for whoever is `level` calls above.
    """
    known_values = set(around | net.inputs.keys() | net.constants.keys())
    for node in net.nodes:
        within = not node.domain and (node.op in GATES or node.op in SUBGRAPHS)
        if not (within or operator(node.op, net.opset, node.domain)):
            near = difflib.get_close_matches(node.op[:50], SUPPORTED, 3)
            hint = f"the nearest in name are {', '.join(near)}; " if near else ""
            raise ModelFileError(
                f"{net.name}: {node}: this operator is not supported; {hint}docs/onnx.md lists those that are"
            )
        _check_inputs(net, node, known_values)
        for name in PARTS.get(node.op, ()):
            part = node.attributes.get(name)
            if not isinstance(part, Net):
                raise ModelFileError(f"{net.name}: {node}: the graph {name} is missing")
            check(part, frozenset(known_values), level + 1)
        known_values |= set(node.outputs)
        if node.op == "GRU" and net.producer == "pytorch" and not node.attributes.get("linear_before_reset"):
            warnings.warn(GRU_OF_PYTORCH.format(net=net.name, node=node), stacklevel=level)
    missing = [name for name in net.outputs if name not in known_values]
    if missing:
        raise ModelFileError(f"{net.name}: nothing gives its output {missing[0]!r}")


def _check_inputs(net: Net, node: Node, known: Set[str]) -> None:
    missing = [name for name in node.inputs if name and name not in known]
    if missing:
        raise ModelFileError(f"{net.name}: {node}: nothing gives its input {missing[0]!r}")


GRU_OF_PYTORCH = (
    "{net}: {node} comes from PyTorch and has linear_before_reset=0. PyTorch's GRU resets after the recurrent product, "
    "which is linear_before_reset=1, and some of its exporters leave the attribute out. It is run as the file says, and "
    "gives other numbers than the PyTorch model; export with dynamo=False, or set the attribute to 1."
)


def checked_inputs(net: Net, inputs: Mapping[str, Any], optional: Sequence[str] = ()) -> Values:
    """Inputs as arrays of the types that the file declares. Raises `SettingError`, `DataError` or `ShapeError`."""
    if not isinstance(inputs, Mapping):
        raise SettingError(f"{net.name}: inputs are a mapping from name to array, not {type(inputs).__name__}")
    unknown = [name for name in inputs if name not in net.inputs]
    missing = [name for name in net.inputs if name not in inputs and name not in optional]
    if unknown or missing:
        wrong = f"there is no input {unknown[0]!r}" if unknown else f"the input {missing[0]!r} is missing"
        wanted = ", ".join(f"{name} {declared}" for name, declared in net.inputs.items())
        raise SettingError(f"{net.name}: {wrong}; inputs are {wanted}")
    return {name: _checked_input(net, name, value) for name, value in inputs.items()}


TAKEN = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
"""Kinds of numbers that are taken for those that are declared."""


def _checked_input(net: Net, name: str, given: Any) -> Array:
    declared = net.inputs[name]
    if type(given) is np.ndarray and given.dtype == declared.dtype and given.shape == declared.shape:
        return given
    try:
        array: Array = np.asarray(given)
    except ValueError:
        raise ShapeError(f"{net.name}: input {name} has rows of different lengths; {declared} is wanted") from None
    kind = "" if declared.dtype is None else declared.dtype.kind
    if kind and array.dtype.kind not in TAKEN.get(kind, kind):
        raise DataError(f"{net.name}: input {name} is {array.dtype} {written(array.shape)}; {declared} is wanted")
    sizes = declared.shape
    if sizes is not None and (
        len(sizes) != array.ndim or any(isinstance(s, int) and s != n for s, n in zip(sizes, array.shape, strict=True))
    ):
        raise ShapeError(f"{net.name}: input {name} is {array.dtype} {written(array.shape)}; {declared} is wanted")
    return array if declared.dtype is None else array.astype(declared.dtype, copy=False)
