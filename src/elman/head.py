"""Head: what stands on the layers of a model, a read-out at every step or once a sequence; with its loss and gradient.

Time comes first here, as inside layers: `[T, B, ...]`. A head that reads once a sequence has T = 1 behind the layers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from elman.errors import SettingError
from elman.gates import Array
from elman.graph import Graph
from elman.lanes import LayerLane
from elman.layer import Layer
from elman.passes.differentiate import GRADIENT, OUTPUT_GRADIENT
from elman.program import Asked, Program, program
from elman.recompute import backward
from elman.rnn import RNN
from elman.scoring import TARGET, only_logits, output_node, reads_tokens, with_gradients, with_logits, with_loss
from elman.shapes import Shape
from elman.trace import Cell


@dataclass(frozen=True)
class Scores:
    """The losses `[T, B]` of a head, the gradient for what the layers gave, and those for its parameters."""

    losses: Array
    d_y: Array
    parameters: dict[str, Array]


def check_map(readout: Cell) -> None:
    """Raises `SettingError` for a read-out that has states."""
    if readout.states:
        raise SettingError(f"Model: the read-out {readout.name} has states; a read-out is a map, states belong in the cell")


class Head:
    """A read-out, a map without states, over what layers give.

    With `once` it reads a sequence once: what each direction gave at its last step, which for a direction that reads from
    the end is the first. An example without a step reads zeros. Raises `SettingError` for a read-out with states.
    """

    def __init__(self, readout: RNN, below: Layer, *, once: bool) -> None:
        check_map(readout.cell)
        self.readout, self.once, self.name = readout, once, readout.name
        self._below = below
        if once:
            below._turned()  # which says where directions have no last step of their own

    @property
    def output_shape(self) -> Shape:
        """The shape of what it gives."""
        return self.readout.graph.nodes[output_node(self.readout.graph)].shape

    @property
    def gate(self) -> str:
        """The read-out's last gate, which says what its loss is."""
        return self.readout.graph.nodes[output_node(self.readout.graph)].gate

    @property
    def wants_tokens(self) -> bool:
        """Whether its targets are tokens, or else vectors of its output's size."""
        return reads_tokens(self.readout.graph)

    def forward(self, y: Array, lengths: Array | None) -> Mapping[str, Array]:
        """`logits` and `output`, `[T, B, ...]` (T = 1 where it reads once)."""
        graph = with_logits(self.readout.graph)
        return self._run(graph, {self.readout._input: self._read(y, lengths)}, self._lengths(lengths))

    def values(self, y: Array, lengths: Array | None, keep: tuple[str, ...]) -> Mapping[str, Array]:
        """Named values `[T, B, ...]` (T = 1 where it reads once), and nothing else."""
        if not keep:
            return {}
        bare = replace(self.readout.graph, results=())
        return self._run(bare, {self.readout._input: self._read(y, lengths)}, self._lengths(lengths), keep)

    def each_step(self, y: Array, lengths: Array | None) -> Array:
        """The output after each step, `[T, B, ...]`, also where it reads once."""
        graph = self.readout.graph
        return self._run(graph, {self.readout._input: y}, lengths)[next(iter(graph.named("output")))]

    def lane(self, y: Array, count: int | None) -> LayerLane | None:
        """The output after a step that is read from a buffer, where the target has a short way for it."""
        return self.readout._lane({}, y, count=count)

    def losses(self, y: Array, targets: Array, lengths: Array | None, smoothing: float = 0.0) -> Array:
        """The loss of each step of each example, `[T, B]`; past a length 0."""
        inputs = {self.readout._input: self._read(y, lengths), TARGET: targets}
        return self._run(with_loss(self.readout.graph, smoothing), inputs, self._lengths(lengths))["loss"]

    def gradients(self, y: Array, targets: Array, shares: Array, lengths: Array | None, smoothing: float = 0.0) -> Scores:
        """Losses, and gradients of their sum weighted by `shares` `[T, B]`."""
        compiled, held = self._program(with_gradients(self.readout.graph, smoothing), Asked()), self.readout._held
        inputs = {self.readout._input: self._read(y, lengths), TARGET: targets, OUTPUT_GRADIENT + "loss": shares}
        found = compiled.forward(held.prepare(compiled), inputs, {}, lengths=self._lengths(lengths)).outcome
        d_read = found.outputs[GRADIENT + self.readout._input]
        sums = {name: found.sums[name] if name in found.sums else np.zeros_like(p) for name, p in held.parameters.items()}
        return Scores(found.outputs["loss"], self._back(d_read, y, lengths), sums)

    def gradients_of(self, y: Array, score: Callable[[Array], tuple[Array, Array]], lengths: Array | None) -> Scores:
        """Losses that `score` makes of the logits `[T, B, ...]`, as it gives their gradient for these; and the others."""
        compiled, held = self._program(only_logits(self.readout.graph), Asked(gradient=True)), self.readout._held
        inputs = {self.readout._input: self._read(y, lengths)}
        run = compiled.forward(held.prepare(compiled), inputs, {}, lengths=self._lengths(lengths))
        losses, d_logits = score(run.outcome.outputs["logits"])
        found = backward(compiled, held, run, {"logits": d_logits}, {})
        return Scores(losses, self._back(found.outputs[GRADIENT + self.readout._input], y, lengths), found.sums)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _program(self, graph: Graph, asked: Asked) -> Program:
        return program(graph, asked, self.readout.dtype.name, self.readout.target)

    def _run(
        self, graph: Graph, inputs: Mapping[str, Array], lengths: Array | None, keep: tuple[str, ...] = ()
    ) -> Mapping[str, Array]:
        compiled = self._program(graph, Asked(keeping=keep))
        return compiled.forward(self.readout._held.prepare(compiled), inputs, {}, lengths=lengths).outcome.outputs

    def _lengths(self, lengths: Array | None) -> Array | None:
        return None if self.once else lengths

    def _read(self, y: Array, lengths: Array | None) -> Array:
        """What the read-out reads: every step, or each direction's last."""
        if not self.once:
            return y
        return read_last(y, lengths, self._below)

    def _back(self, d_read: Array, y: Array, lengths: Array | None) -> Array:
        """The gradient for what the layers gave, from that for what was read."""
        if not self.once:
            return d_read
        return unread_last(d_read, y, lengths, self._below)


def read_last(y: Array, lengths: Array | None, layer: Layer) -> Array:
    """What each direction of a layer gave at its last step, `[1, B, H]`; zeros for an example without a step."""
    if not len(y):
        return np.zeros((1, *y.shape[1:]), y.dtype)
    at, rows = _last_steps(y, lengths)
    return np.where(layer._turned(), y[0], y[at, rows])[None]


def unread_last(d_read: Array, y: Array, lengths: Array | None, layer: Layer) -> Array:
    """The gradient for all that a layer gave, `[T, B, H]`, from that for what was read."""
    d_y, turned = np.zeros_like(y), layer._turned()
    if len(y):
        at, rows = _last_steps(y, lengths)
        d_y[at, rows] += np.where(turned, 0, d_read[0])
        d_y[0] += np.where(turned, d_read[0], 0)
    return d_y


def _last_steps(y: Array, lengths: Array | None) -> tuple[Array, Array]:
    """The last step of each example, and the examples; past its length a layer gives 0 and takes no gradient."""
    rows = np.arange(y.shape[1])
    return np.maximum((np.full(len(rows), len(y)) if lengths is None else lengths) - 1, 0), rows


def mean(losses: Array, live: Array, counts: Array | None = None) -> float:
    """The mean of the losses that are live, each as much as it counts; nothing has the mean 0."""
    counted = np.multiply(losses, live if counts is None else counts, order="C")  # added in one order, however they lie
    return float(counted.sum(dtype=np.float64)) / max(1, int(np.count_nonzero(live)))
