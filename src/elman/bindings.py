"""Bindings: a layer, and a head, whose programs are bound to arrays that stay; the parts of a round.

Time comes first here, as inside layers: `[T, B, ...]`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.arrays import is_finite
from elman.flow import Flow
from elman.gates import Array
from elman.head import mean
from elman.network import Network
from elman.passes.carry import MASK
from elman.passes.differentiate import GRADIENT, OUTPUT_GRADIENT
from elman.program import Asked
from elman.repeats import Bound, Names
from elman.rnn import CARRY, RNN
from elman.scoring import TARGET, with_gradients


class UnboundError(Exception):
    """There is no short way."""


def known(bound: Bound | None) -> Bound:
    """What is bound. Raises `UnboundError` where the target has no short way."""
    if bound is None:
        raise UnboundError
    return bound


class LayerBinding:
    """A layer that reads `x` and writes `y`; once `bind_back` was called, it reads the gradient for `y` and writes `d_x`."""

    def __init__(self, rnn: RNN, names: Names, parameters: Mapping[str, Array], flow: Flow, x: Array) -> None:
        self.rnn, self.names, self.x, [steps, batch] = rnn, names, x, x.shape[:2]
        flags = flow.flags()
        drops = rnn.recurrent_dropout > 0 and flow.noise is not None
        carry = {CARRY[flag] for flag in flags} | ({"dropout"} if drops else set())
        is_first = x is flow.x  # nobody wants the gradient for what it reads
        self._program = rnn._program(Asked(flow.tokens and is_first, frozenset(carry), (), True, is_first))
        graph = self._program.plan.graph
        shapes = {name: graph.nodes[index].shape for name, index in graph.leaves("input").items() if name.startswith(MASK)}
        self._masks = {name: np.zeros((batch, *shape), rnn.dtype) for name, shape in shapes.items()}
        masks = {name: np.broadcast_to(mask, (steps, *mask.shape)) for name, mask in self._masks.items()}
        self._inputs = {rnn._input: x} | {name: flag.astype(rnn.dtype) for name, flag in flags.items()} | masks
        self._first = {name: np.zeros((batch, *shape), rnn.dtype) for name, shape in rnn._state_shapes.items()}
        self.forward = known(self._program.bound(parameters, names, self._inputs, self._first))
        self.y = self.forward.outputs[rnn._output_name]

    def bind_back(self, parameters: Mapping[str, Array], d_y: Array) -> None:
        """Read the gradient for `y` there, on the way back."""
        self.d_y, given = d_y, {self.rnn._output_name: d_y}
        self.back = known(self._program.bound_backward(parameters, self.names, self.forward, self._inputs, given))
        self.d_x = self.back.outputs.get(GRADIENT + self.rnn._input)

    def begin(self, states: Mapping[str, Array] | None) -> None:
        """The first states; zeros if there are none."""
        for name, array in self._first.items():
            array[...] = 0 if states is None else states[name]

    def goes_on(self) -> bool:
        """Begin with the last states, unless some are not finite."""
        for name, array in self._first.items():
            array[...] = self.forward.last[name]
        return is_finite(*self._first.values())

    def draw(self, flow: Flow) -> None:
        """Draw what recurrent dropout drops."""
        if self._masks:
            for name, mask in self.rnn._masks(self._program, flow).items():
                self._masks[name][...] = mask[0]


class HeadBinding:
    """A head that reads `y` at every step and targets, and writes losses and `d_y`."""

    def __init__(self, network: Network, parameters: Mapping[str, Array], y: Array, smoothing: float) -> None:
        self._network, head, dtype = network, network.head, network.rnn.dtype
        self.names = {inner: outer for outer, inner in network._read_parameters.items()}
        self._y, [steps, batch] = y, y.shape[:2]
        shape, kind = ((), np.dtype(np.int64)) if head.wants_tokens else (head.output_shape, dtype)
        self._targets, self._shares = np.zeros((steps, batch, *shape), kind), np.zeros((steps, batch), dtype)
        given = {head.readout._input: y, TARGET: self._targets, OUTPUT_GRADIENT + "loss": self._shares}
        program = head._program(with_gradients(head.readout.graph, smoothing), Asked())
        self.bound = known(program.bound(parameters, self.names, given, {}))
        self._losses, self.d_y = self.bound.outputs["loss"], self.bound.outputs[GRADIENT + head.readout._input]
        self._limit, self._is_share = int(head.output_shape[0]) if head.wants_tokens else 0, head.gate == "sigmoid"
        self._live: Array | None = None  # all
        self._count(network._live(y, None), None)

    def reads(self, targets: Any) -> bool:
        """Whether these are targets as they should be; they are in place then."""
        if not put(targets, self._targets, self._limit):
            return False
        return not self._is_share or bool(self._targets.min() >= 0 and self._targets.max() <= 1)

    def begin(self, lengths: Array | None, weights: Any) -> None:
        """Say which losses count, and how much. Raises `ShapeError` or `DataError` for weights that are none."""
        is_usual = lengths is None and weights is None
        if not is_usual or self._live is not None:
            live = self._network._live(self._y, lengths)
            self._live = None if is_usual else live
            self._count(live, weights)
            self._losses[...] = 0

    def loss(self) -> float:
        """The mean loss of the steps within the lengths."""
        if self._live is not None:
            return mean(self._losses, self._live, self._counts)
        return float(np.add.reduce(self._losses, axis=None, dtype=np.float64)) / self._losses.size

    def _count(self, live: Array, weights: Any) -> None:
        """Each loss that counts has its share."""
        self._counts = live if weights is None else self._network._weights(weights, self._y, live, live.shape[1])
        self._shares[...] = self._counts / max(1, np.count_nonzero(live))


def put(given: Any, into: Array, limit: int) -> bool:
    """Lay `[B, T, ...]` into a buffer `[T, B, ...]`: tokens below a limit, or finite numbers; else False."""
    kind = "iu" if limit else "f"
    if type(given) is not np.ndarray or given.dtype.kind not in kind or given.ndim != into.ndim:
        return False
    if given.shape[:2] != into.shape[1::-1] or given.shape[2:] != into.shape[2:]:
        return False
    into[...] = given.swapaxes(0, 1)
    return bool(into.view(np.uint64).max() < limit) if limit else is_finite(into)
