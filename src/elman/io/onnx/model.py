"""A model from an ONNX file: its recurrent nodes are layers, whose states go in and out as one value."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from elman.errors import ElmanError, ModelFileError, SettingError, ShapeError, one_line
from elman.gates import Array
from elman.io.onnx.binding import WRONG, Bound
from elman.io.onnx.carried import Carried
from elman.io.onnx.equations import GATES
from elman.io.onnx.evaluate import check, checked_inputs, once
from elman.io.onnx.folding import folded, graphs
from elman.io.onnx.reading import ABSENT, LAYER, Net, Node, read
from elman.io.onnx.recurrent import Recurrent, recurrent
from elman.io.onnx.scans import Scanned, as_layers, scanned
from elman.io.onnx.states import state_inputs, state_outputs
from elman.layer import Layer
from elman.states import State

WEIGHTS = (1, 2, 3, 7)
"""Where a recurrent node has W, R, B and P."""


def load(
    source: Any, *, constants: Mapping[str, Any] | None = None, state: Mapping[str, str] | None = None
) -> "ImportedModel":
    """A model from an ONNX file: a path, bytes, or a `ModelProto`.

    Each recurrent node becomes a layer of this library, and so does a Scan that `save` wrote. `constants` are inputs that
    are always the same, such as a sampling rate: branches on them are taken once, here. `state` names inputs that are state,
    each with the output that is its next value, where no recurrent node tells it: where a cell was written out node by node,
    or stands in a branch. Then these are the state, all of it.

    Warns of a GRU that comes from PyTorch without linear_before_reset=1: its numbers are not those of the PyTorch model.
    Raises `ModelFileError` for a file that cannot be read, an operator that is not supported, and a recurrent node whose
    weights are not constant; `SettingError`, `DataError` or `ShapeError` for constants and names of states that do not fit;
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
    return ImportedModel(_with(net, constants or {}), state or {})


class ImportedModel:
    """A model from an ONNX file: `y, state = model(x, state)`.

    `x` is an array where the file has one input, or a mapping from name to array; `y` likewise. Inputs that only start
    recurrent nodes, and outputs that only end them, are the state, and left out: the state is a `State` with a part for
    each recurrent node, in the order of the file, also where the file keeps none; or one for each input that was named as
    state, batch first. `layers` are the layers behind it,
    `inputs` and `outputs` what the file declares. Made by `load`.
    """

    def __init__(self, net: Net, state: Mapping[str, str]) -> None:
        self._net = as_layers(folded(net))
        self.name = net.name.removesuffix(".onnx")
        self._carried = Carried(self._net, state) if state else None
        self._recurrent: dict[int, Recurrent | Scanned] = {}
        for node in self._net.nodes:
            if node.op in GATES or node.op == LAYER:
                self._recurrent[id(node)] = scanned(self._net, node) if node.op == LAYER else _layer(self._net, node)
        self._inner = dict(_inner(self._net, {}))
        self.declared = net.inputs
        self._starts = tuple(state) if state else state_inputs(self._net)
        self._bound = Bound(self._net, self._starts if not state else ())
        ends = tuple(state.values()) if state else state_outputs(self._net)
        self.inputs = {name: declared for name, declared in net.inputs.items() if name not in self._starts}
        self.outputs = {name: declared for name, declared in net.outputs.items() if name not in ends}

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers)) or "no recurrent nodes"
        return f"ImportedModel({', '.join(self.inputs)} -> {', '.join(self.outputs)}: {layers})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the recurrent nodes, in the order of the file; those in branches and loops come after all others."""
        return tuple(entry.layer for entry in (*self._recurrent.values(), *self._inner.values()))

    def __call__(self, x: Any, state: Any = None) -> tuple[Any, State]:
        """Run over `x`, from a state or from where the file starts; returns `y` and the state after it.

        Raises `SettingError`, `DataError` or `ShapeError` for inputs and states that do not fit.
        """
        found, last = self.evaluated(x, state, self._net.outputs)
        y = {name: found[name] for name in self.outputs}
        after = self._after(last) if self._carried is None else self._carried.written(found)
        return (next(iter(y.values())) if len(y) == 1 else y), after

    def evaluated(
        self, x: Any, state: Any = None, names: Iterable[str] | None = None
    ) -> tuple[Mapping[str, Any], list[State]]:
        """Values of the file by their names there, all or those asked for, and the state after each recurrent node."""
        given = checked_inputs(self._net, self._by_name(x), self._starts)
        if self._carried is not None:
            return self._evaluated(self._carried.read(state, given) | given, self._parts(None), names)
        absent = {name: ABSENT for name in self._starts if name not in given}
        return self._evaluated(given | absent, self._parts(state), names)

    def _after(self, parts: Sequence[State]) -> State:
        batch = parts[0].batch if parts else None
        return State({str(at): part for at, part in enumerate(parts)}, cell=self.name, batch=batch)

    def _evaluated(
        self, values: Mapping[str, Any], parts: Sequence[Any], names: Iterable[str] | None
    ) -> tuple[Mapping[str, Any], list[State]]:
        """Values, and the state of each recurrent node after its part."""
        last: list[State] = []

        def run(node: Node, inputs: Sequence[Any]) -> tuple[Array, ...]:
            if id(node) in self._recurrent:
                found, after = self._recurrent[id(node)](inputs, parts[len(last)])
                last.append(after)
                return found
            # in a branch or loop, whose state nobody can have
            return self._inner[id(node)](inputs)[0] if id(node) in self._inner else once(node, inputs)

        return self._bound(values, run, names), last

    def initial_state(self, batch: int = 1) -> State:
        """Zeros, for a batch. Raises `SettingError` for no number of examples."""
        if self._carried is not None:
            return self._carried.zeros(batch)
        parts = {str(at): entry.layer.initial_state(batch) for at, entry in enumerate(self._recurrent.values())}
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


def _with(net: Net, constants: Mapping[str, Any]) -> Net:
    """The net with some of its inputs known."""
    known = checked_inputs(net, constants, tuple(net.inputs))
    rest = {name: declared for name, declared in net.inputs.items() if name not in known}
    return replace(net, inputs=rest, constants={**net.constants, **known})


def _inner(net: Net, around: Mapping[str, Array]) -> Iterator[tuple[int, Recurrent]]:
    """The layers of recurrent nodes in branches and loops, where their weights are constant."""
    known = {**around, **net.constants}
    for part in (part for node in net.nodes for part in graphs(node)):
        within = replace(part, constants={**known, **part.constants})
        for node in part.nodes:
            if node.op in GATES and not _computed(within, node):
                yield id(node), _layer(within, node)
        yield from _inner(part, known)


def _weights(node: Node) -> list[str]:
    return [node.inputs[at] if at < len(node.inputs) else "" for at in WEIGHTS]


def _computed(net: Net, node: Node) -> list[str]:
    """Weights of a recurrent node that come from inputs."""
    return [name for name in _weights(node) if name and name not in net.constants]


def _layer(net: Net, node: Node) -> Recurrent:
    """The layer of a recurrent node. Raises `ModelFileError` where its weights come from inputs."""
    unknown = _computed(net, node)
    if unknown:
        raise ModelFileError(f"{net.name}: {node}: its weights {unknown[0]!r} are computed from inputs; run can do that")
    try:
        return recurrent(node.op, node.attributes, *(net.constants[name] if name else None for name in _weights(node)))
    except (ElmanError, *WRONG) as error:
        raise ModelFileError(f"{net.name}: {node}: {one_line(str(error))}") from error
