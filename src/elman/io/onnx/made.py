"""An ordinary model from an ONNX file: tokens or features, recurrent layers with equations of a step between, a read-out."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.cells import ported
from elman.errors import ElmanError, ModelFileError, ShapeError
from elman.gates import Array
from elman.graph import equations_of
from elman.io.onnx.axes import Groups
from elman.io.onnx.evaluate import check
from elman.io.onnx.flows import Base
from elman.io.onnx.following import AS_IT_IS, Followed, followed
from elman.io.onnx.model import ImportedModel
from elman.io.onnx.reading import Declared, library, read
from elman.io.onnx.terms import traced
from elman.layer import Layer
from elman.model import Model
from elman.pooled import POOLS
from elman.rnn import RNN
from elman.shapes import written
from elman.stack import Stack
from elman.trace import Cell

FREE = ((3, 11), (2, 5))
"""Sizes for axes of an input that a file leaves open, so that what holds for one of them alone is seen."""

ROUNDING = 1e-4
"""How far the model may be off what the file gives, as a share of the largest output (or of 1)."""


@dataclass(frozen=True)
class Opened:
    """A model, the file that it is from, and how that lies its input and output."""

    model: Model
    file: ImportedModel
    found: Followed

    def input(self, x: Any) -> Array:
        """An input of the file as the model takes it, examples first."""
        return self._turned(np.asarray(x), self.found.input, every=not self.model.reads_tokens)

    def output(self, y: Any) -> Array:
        """An output of the file as the model gives it."""
        return self._turned(np.asarray(y), self.found.flow.groups, every=True)

    def example(self, symbols: int, free: tuple[int, ...] = FREE[0]) -> Array:
        """A random input of the file, with these sizes where it leaves them open; tokens below `symbols`."""
        [declared] = self.file.inputs.values()
        return example(self.file.name, declared, free, symbols)

    def _turned(self, array: Array, groups: Groups, *, every: bool) -> Array:
        if array.ndim != len(groups):
            raise ShapeError(f"{self.file.name}: {written(array.shape)} has {array.ndim} axes; the file has {len(groups)}")
        called = [axis.name for group in groups for axis in group if axis.name in (self.found.batch, self.found.time)]
        ours = [name for name in (self.found.batch, self.found.time) if name in called]
        one = tuple(at for at, group in enumerate(groups) if not group)
        return np.squeeze(array, one).transpose([called.index(name) for name in ours] + [len(called)] * every)


def as_model(source: Any) -> Model:
    """An `elman.Model` of an ONNX file: it is saved, streams, is trained and exported like every other.

    From its one input, tokens or features, to its one output besides states there must be recurrent nodes upon one another,
    between them equations of one step (linear layers, activations, norms), and at the end a read-out of every step, or of
    the last, the mean or the largest. The state starts at zero. The model is run beside the file's own operators before it
    is handed out. Raises `ModelFileError` where a node has no counterpart, which names it; `load` then runs the file.

    >>> import tempfile, pathlib, elman
    >>> lstm = elman.RNN(elman.cells.lstm, input=3, hidden=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "tagger.onnx")
    ...     elman.io.onnx.save(path, elman.Model.from_layers(lstm, outputs=2))
    ...     as_model(path)
    Model(3 features, lstm, 192 parameters, float32)
    """
    return opened(source, level=4).model


def opened(source: Any, *, level: int = 3) -> Opened:
    """What `as_model` gives, with how the file lies its input and output; `level` is whom warnings are for."""
    net = read(source)
    check(net, level=level)
    file = ImportedModel(net, {})
    if len(file.inputs) != 1 or len(file.outputs) != 1:
        told = f"inputs {', '.join(file.inputs)} and outputs {', '.join(file.outputs)}"
        raise ModelFileError(f"{file.name}: a model has one input and one output, this file the {told}; {AS_IT_IS}")
    [declared] = file.inputs.values()
    found = followed(file, example(file.name, declared, FREE[0], 2))
    try:
        made = Opened(_built(found), file, found)
    except ElmanError as error:
        raise ModelFileError(f"{file.name}: its layers and equations make no model: {error}; {AS_IT_IS}") from error
    for free in FREE:
        _check(made, made.example(made.model.word_dim, free))
    return made


def example(name: str, declared: Declared, free: tuple[int, ...], symbols: int) -> Array:
    """A random input of the declared type and sizes, with these where they are left open; tokens below `symbols`."""
    if declared.shape is None or declared.dtype is None:
        raise ModelFileError(f"{name}: its input is of no declared sizes or type; {AS_IT_IS}")
    sizes, rest = list[int](), list(free)
    for size in declared.shape:
        if not isinstance(size, int) and not rest:
            raise ModelFileError(f"{name}: its input {declared} leaves the number of values of a step open; {AS_IT_IS}")
        sizes.append(size if isinstance(size, int) else rest.pop(0))
    rng: Any = np.random.default_rng(sizes)
    tokens: Array = rng.integers(0, symbols, sizes)
    return tokens.astype(declared.dtype) if declared.dtype.kind in "iu" else rng.normal(size=sizes).astype(declared.dtype)


def _built(found: Followed) -> Model:
    bases: list[Base] = []
    base: Base | None = found.flow.base
    while base is not None and base.layer is not None:
        bases.insert(0, base)
        base = base.below
    layers: list[Layer] = [entry.layer for entry in bases if entry.layer is not None]
    pool: str | None = found.flow.steps or None
    if pool == "last" and len(layers) > 1 and isinstance(layers[-1], RNN):  # as `save` writes a mean and a largest
        pool = next((name for name, cell in POOLS.items() if _is_cell(layers[-1], cell)), "last")
        layers = layers if pool == "last" else layers[:-1]
    term, sizes, values = found.flow.term, dict[str, Any](), dict[str, Array]()
    if term.is_read:
        readout = ported.unread
    else:
        readout, named, values = traced(term, found.flow.base.size, readout=True)
        sizes = {name: size for name, size in named.items() if name != "hidden"}
    made = Model.from_layers(
        layers[0] if len(layers) == 1 else Stack(layers),
        readout=readout,
        pool=pool,
        tokens=found.tokens,
        **sizes,
    )
    made.readout.update(values)
    made.training = {"imported": {"framework": "onnx", "parts": [entry.name for entry in bases]}}
    return made


def _is_cell(rnn: RNN, cell: Cell) -> bool:
    return set(cell.sizes) == set(rnn.sizes) and equations_of(cell.graph(**rnn.sizes)) == equations_of(rnn.graph)


def _check(made: Opened, x: Array) -> None:
    """The model must give what the file's own operators give."""
    wanted = made.output(made.file(x)[0])
    got = made.model.forward_propagation(made.input(x)).output
    off = float(np.abs(got - wanted).max()) if got.shape == wanted.shape else float("inf")
    if not off <= ROUNDING * max(1.0, float(np.abs(wanted).max())):
        raise ModelFileError(f"{made.file.name}: a model of its layers gives other numbers, off by {off:.2g}; {AS_IT_IS}")


def with_reset_after(path: str | os.PathLike[str]) -> Model | None:
    """The model of a file whose every GRU has linear_before_reset=1; None where they have it, or there is none."""
    onnx = library()
    proto, changed = onnx.load(os.fspath(path)), False
    for node in proto.graph.node:
        if node.op_type == "GRU" and not any(entry.name == "linear_before_reset" and entry.i for entry in node.attribute):
            kept = [entry for entry in node.attribute if entry.name != "linear_before_reset"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("linear_before_reset", 1)])
            changed = True
    return as_model(proto) if changed else None


def runtime(path: str | os.PathLike[str], made: Opened, x: Array) -> tuple[Array, str] | None:
    """What ONNX Runtime gives for an input of a file, and its name and version; None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    given = {entry.name: entry for entry in session.get_inputs()}
    inputs = dict.fromkeys(made.file.inputs, x)
    for name in set(given) - set(inputs):  # states, which start at zero
        declared = made.file.declared[name]
        sizes = [size if isinstance(size, int) else len(made.input(x)) for size in declared.shape or ()]
        inputs[name] = np.zeros(sizes, declared.dtype)
    try:
        [y] = session.run(list(made.file.outputs), inputs)
    except Exception as error:  # it has exceptions of its own for each of its codes
        told = " ".join(str(error).split())
        fix = "give --example and --expect"
        raise ModelFileError(
            f"{path}: ONNX Runtime does not run it on an input {written(x.shape)}: {told}; {fix}"
        ) from error
    return np.asarray(y), f"ONNX Runtime {onnxruntime.__version__}"
