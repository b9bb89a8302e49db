"""An ONNX file as plain data: nodes, constants, and what goes in and out; the library onnx reads the protobuf."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import MissingLibraryError, ModelFileError, one_line
from elman.gates import Array
from elman.io.onnx.functions import inlined

ABSENT: Any = object()
"""Stands for an input that is not given; whatever is made of it alone is absent too, and recurrent nodes see to it."""

LAYER = "Scan of elman"
"""What a Scan becomes that is known to be one."""


@dataclass(frozen=True)
class Node:
    """One operator in use; an input or output that is left out has an empty name."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""
    notes: str = ""

    def __str__(self) -> str:
        return f"{self.domain}.{self.op} node {self.name!r}" if self.domain else f"{self.op} node {self.name!r}"


@dataclass(frozen=True)
class Declared:
    """What a file says of an input or output: a type, and sizes of which some have a name, or are not known."""

    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        sizes = "" if self.shape is None else f" ({', '.join('?' if size is None else str(size) for size in self.shape)})"
        return f"{self.dtype or 'any'}{sizes}"


@dataclass(frozen=True)
class Net:
    """A graph of a file: its nodes in order, its constants by name, its inputs and outputs as they are declared."""

    name: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: Mapping[str, Declared]
    outputs: Mapping[str, Declared]
    opset: int = 0
    producer: str = ""


def library() -> Any:
    """The library onnx. Raises `MissingLibraryError`."""
    try:
        import onnx
    except ImportError:
        raise MissingLibraryError('elman.io.onnx needs the library onnx: pip install "elman[onnx]"') from None
    return onnx


def read(source: Any) -> Net:
    """A file by its path, the bytes of one, or a `ModelProto`, as data.

    Raises `ModelFileError` where there is none, `MissingLibraryError` without the library onnx.
    """
    onnx, name = library(), "onnx"
    model = source
    if isinstance(source, str | os.PathLike):
        name = Path(source).name
        model = _opened(onnx, source)
    elif isinstance(source, bytes):
        model = _parsed(onnx, name, source)
    elif not isinstance(source, onnx.ModelProto):
        raise ModelFileError(f"onnx: {type(source).__name__} is no file; a path, bytes or a ModelProto is wanted")
    if not model.graph.output:
        raise ModelFileError(f"{name}: this is no ONNX model, or one without outputs")
    try:
        return _whole(onnx, inlined(model, name) if model.functions else model, name)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{name}: this is no ONNX model: {one_line(str(error))}") from error


def _whole(onnx: Any, model: Any, name: str) -> Net:
    opset = next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    return _net(onnx, model.graph, name, opset, model.producer_name)


def _opened(onnx: Any, path: str | os.PathLike[str]) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(os.fspath(path))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (DecodeError, ValueError, TypeError, MemoryError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"{path}: this is no ONNX model: {one_line(str(error))}") from error


def _parsed(onnx: Any, name: str, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_from_string(data)
    except DecodeError as error:
        raise ModelFileError(f"{name}: this is no ONNX model: {error}") from error


def _net(onnx: Any, graph: Any, name: str, opset: int, producer: str = "") -> Net:
    constants = {entry.name: _array(onnx, name, entry) for entry in graph.initializer}
    if graph.sparse_initializer:
        raise ModelFileError(f"{name}: sparse weights are not supported; write them dense")
    return Net(
        name,
        tuple(_node(onnx, name, node, at, opset) for at, node in enumerate(graph.node)),
        constants,
        {entry.name: _declared(onnx, entry) for entry in graph.input if entry.name not in constants},
        {entry.name: _declared(onnx, entry) for entry in graph.output},
        opset,
        producer,
    )


def _node(onnx: Any, name: str, node: Any, at: int, opset: int) -> Node:
    attributes = {entry.name: _attribute(onnx, name, entry, opset) for entry in node.attribute}
    domain = "" if node.domain == "ai.onnx" else node.domain
    called = node.name or next((output for output in node.output if output), f"{at}")
    return Node(node.op_type, called, tuple(node.input), tuple(node.output), attributes, domain, node.doc_string)


def _attribute(onnx: Any, name: str, entry: Any, opset: int) -> Any:
    """Text for bytes, arrays for tensors, nets for graphs."""
    value = onnx.helper.get_attribute_value(entry)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return _array(onnx, name, value)
    if isinstance(value, onnx.GraphProto):
        return _net(onnx, value, name, opset)
    if isinstance(value, list | tuple) and value and isinstance(value[0], bytes):
        return tuple(text.decode("utf-8", "replace") for text in value)
    return value


def _array(onnx: Any, name: str, tensor: Any) -> Array:
    if onnx.external_data_helper.uses_external_data(tensor):  # of bytes, which lie in no folder
        raise ModelFileError(f"{name}: the numbers of {tensor.name!r} are in another file; give the path of the model")
    try:
        array: Array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, ArithmeticError, MemoryError) as error:
        told = one_line(str(error))
        raise ModelFileError(f"{name}: the numbers of {tensor.name!r} cannot be read: {told}") from error
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _declared(onnx: Any, entry: Any) -> Declared:
    tensor = entry.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else None
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(size.dim_value if size.HasField("dim_value") else size.dim_param or None for size in tensor.shape.dim)
    return Declared(dtype, shape)
