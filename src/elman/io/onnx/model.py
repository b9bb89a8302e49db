"""A model from an ONNX file: its recurrent nodes are layers, whose states go in and out as one value."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from elman.errors import ModelFileError, SettingError, ShapeError
from elman.gates import Array
from elman.io.onnx.equations import GATES
from elman.io.onnx.evaluate import check, checked_inputs, evaluated, once
from elman.io.onnx.loops import SUBGRAPHS
from elman.io.onnx.reading import ABSENT, LAYER, Net, Node, read
from elman.io.onnx.recurrent import Recurrent, recurrent
from elman.io.onnx.scans import Scanned, as_layers, scanned
from elman.io.onnx.states import state_inputs, state_outputs
from elman.layer import Layer
from elman.states import State

WEIGHTS = (1, 2, 3, 7)
"""Where a recurrent node has W, R, B and P."""


def load(source: Any) -> "ImportedModel":
    """A model from an ONNX file: a path, bytes, or a `ModelProto`.

    Each recurrent node becomes a layer of this library, and so does a Scan that `save` wrote. Warns of a GRU that comes from
    PyTorch without linear_before_reset=1: its numbers are not those of the PyTorch model. Raises `ModelFileError` for a file
    that cannot be read, an operator that is not supported, and a recurrent node whose weights are not constant;
    `MissingLibraryError` without the library onnx.

    >>> import tempfile, pathlib, numpy as np, elman
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "lstm.onnx")
    ...     elman.io.onnx.save(path, elman.RNN(elman.cells.lstm, input=3, hidden=5))
    ...     model = load(path)
    >>> y, state = model(np.ones((1, 7, 3)))
    >>> y.shape, state
    ((1, 7, 5), State(lstm, 0 State(lstm, h (1, 5), c (1, 5); batch 1); batch 1))
    """
    net = read(source)
    check(net)
    return ImportedModel(net)


class ImportedModel:
    """A model from an ONNX file: `y, state = model(x, state)`.

    `x` is an array where the file has one input, or a mapping from name to array; `y` likewise. Inputs that only start
    recurrent nodes, and outputs that only end them, are the state, and left out: the state is a `State` with a part for
    each recurrent node, in the order of the file, also where the file keeps none. `layers` are the layers behind it,
    `inputs` and `outputs` what the file declares. Made by `load`.
    """

    def __init__(self, net: Net) -> None:
        self._net = as_layers(_folded(net))
        self.name = net.name.removesuffix(".onnx")
        self._recurrent: dict[int, Recurrent | Scanned] = {}
        for node in self._net.nodes:
            if node.op in GATES or node.op == LAYER:
                self._recurrent[id(node)] = scanned(self._net, node) if node.op == LAYER else _layer(self._net, node)
        self._starts, ends = state_inputs(self._net), state_outputs(self._net)
        self.declared = net.inputs
        self.inputs = {name: declared for name, declared in net.inputs.items() if name not in self._starts}
        self.outputs = {name: declared for name, declared in net.outputs.items() if name not in ends}

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers)) or "no recurrent nodes"
        return f"ImportedModel({', '.join(self.inputs)} -> {', '.join(self.outputs)}: {layers})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the recurrent nodes, in the order of the file."""
        return tuple(entry.layer for entry in self._recurrent.values())

    def __call__(self, x: Any, state: Any = None) -> tuple[Any, State]:
        """Run over `x`, from a state or from where the file starts; returns `y` and the state after it.

        Raises `SettingError`, `DataError` or `ShapeError` for inputs and states that do not fit.
        """
        found, last = self.evaluated(x, state)
        y = {name: found[name] for name in self.outputs}
        batch = last[0].batch if last else None
        after = State({str(at): part for at, part in enumerate(last)}, cell=self.name, batch=batch)
        return (next(iter(y.values())) if len(y) == 1 else y), after

    def evaluated(self, x: Any, state: Any = None) -> tuple[dict[str, Any], list[State]]:
        """Every value of the file by its name there, and the state after each recurrent node."""
        given = checked_inputs(self._net, self._by_name(x), self._starts)
        absent = {name: ABSENT for name in self._starts if name not in given}
        parts = self._parts(state)
        last: list[State] = []

        def run(node: Node, inputs: Sequence[Any]) -> tuple[Array, ...]:
            if id(node) not in self._recurrent:  # in a branch or loop of the file, whose state nobody can have
                return once(node, inputs)
            found, after = self._recurrent[id(node)](inputs, parts[len(last)])
            last.append(after)
            return found

        return evaluated(self._net, given | absent, run), last

    def initial_state(self, batch: int = 1) -> State:
        """Zeros, for a batch. Raises `SettingError` for no number of examples."""
        parts = {str(at): layer.initial_state(batch) for at, layer in enumerate(self.layers)}
        return State(parts, cell=self.name, batch=batch)

    def _by_name(self, x: Any) -> Mapping[str, Any]:
        if isinstance(x, Mapping):
            return x
        if len(self.inputs) != 1:
            raise SettingError(f"{self.name}: give a mapping, since this model has the inputs {', '.join(self.inputs)}")
        return {next(iter(self.inputs)): x}

    def _parts(self, state: Any) -> list[Any]:
        """The state of each recurrent node, or None."""
        if state is None:
            return [None] * len(self._recurrent)
        if isinstance(state, State) and state.cell not in ("", self.name):
            raise ShapeError(f"{self.name}: this is a state of {state.cell}")
        parts = list(state.values()) if isinstance(state, Mapping) else list(state)
        if len(parts) != len(self._recurrent):
            raise ShapeError(
                f"{self.name}: the state has {len(parts)} parts; {len(self._recurrent)} are wanted, one a layer"
            )
        return parts


def _folded(net: Net) -> Net:
    """The net with all that needs no input computed once; nodes that do remain."""
    known = dict(net.constants)
    rest = []
    for node in net.nodes:
        constant = all(name in known for name in node.inputs if name)
        if constant and node.op not in GATES and node.op not in SUBGRAPHS:
            known |= evaluated(replace(net, nodes=(node,), constants=known), {}, _never)
        else:
            rest.append(node)
    return replace(net, nodes=tuple(rest), constants=known)


def _never(node: Node, inputs: Sequence[Any]) -> tuple[Array, ...]:
    raise AssertionError("recurrent nodes are not folded")


def _layer(net: Net, node: Node) -> Recurrent:
    """The layer of a recurrent node. Raises `ModelFileError` where its weights come from inputs."""
    names = [node.inputs[at] if at < len(node.inputs) else "" for at in WEIGHTS]
    unknown = [name for name in names if name and name not in net.constants]
    if unknown:
        raise ModelFileError(f"{net.name}: {node}: its weights {unknown[0]!r} are computed from inputs; run can do that")
    try:
        return recurrent(node.op, node.attributes, *(net.constants[name] if name else None for name in names))
    except ModelFileError as error:
        raise ModelFileError(f"{net.name}: {node}: {error}") from error
