"""Rounds: forward, loss and the way back of training steps that come again with arrays of the same shapes.

A round holds every array between its programs and runs them one after another: each writes what the next reads. It gives
what `Network.gradients` gives, to the bit. And it takes only what it knows for certain: what does not fit goes the long way,
past every check, where errors are raised.
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from elman.bindings import HeadBinding, LayerBinding, UnboundError, put
from elman.checks import checked_lengths
from elman.flow import Flow
from elman.gates import Array
from elman.gradient_checks import checked_truncation
from elman.network import Network
from elman.optim import root_of, squares_of
from elman.packs import Flats, Standing, standing
from elman.rnn import RNN
from elman.stack import Stack
from elman.states import State
from elman.targets import circumstances
from elman.trees import Tree

KEPT = 4
"""Shapes that rounds are kept for: each holds as much as passes between the programs of a training step."""

Scored = tuple[float, Mapping[str, Array], State | None, float]
"""The loss, gradients by parameter, which last until the next round, the last state (where one goes on), and the norm."""

ONCE, LONG = "came once", "goes the long way"
"""What is kept of a shape in place of a round."""


class Rounds:
    """The rounds of a network, by shape. One is made when a shape comes for the second time."""

    def __init__(self, network: Network) -> None:
        self._network, self._kept = network, dict[object, Round | str]()
        self._layers = layers_of(network)

    def scored(
        self,
        parameters: Mapping[str, Array],
        x: Any,
        targets: Any,
        state: Any,
        lengths: Any,
        seed: int | None,
        *,
        weights: Any = None,
        smoothing: float = 0.0,
    ) -> Scored | None:
        """What `gradients` of the network gives, whose parameters these are; None where that is for the long way."""
        if not self._layers or type(x) is not np.ndarray or not x.size:
            return None
        key = x.shape, x.dtype.kind, repr(self._network.bptt_truncate), self._drops(seed), smoothing, circumstances()
        found = self._kept.pop(key, None)  # no two threads get the same
        if found is ONCE:
            found = self._made(parameters, x, drops=seed is not None, smoothing=smoothing)
        asked = parameters, x, targets, state, lengths, seed, weights
        scored = found.run(*asked) if isinstance(found, Round) else None
        self._keep(key, found or ONCE)  # the newest is the last; what was broken off is not kept
        return scored

    def _drops(self, seed: int | None) -> tuple[bool, ...]:
        """Where something is dropped: between layers, and in each of them."""
        shares = getattr(self._network.rnn, "dropout", 0.0), *(rnn.recurrent_dropout for rnn in self._layers.values())
        return () if seed is None else tuple(share > 0 for share in shares)

    def _made(self, parameters: Mapping[str, Array], x: Array, *, drops: bool, smoothing: float) -> "Round | str":
        try:
            return Round(self._network, self._layers, parameters, x, drops=drops, smoothing=smoothing)
        except UnboundError:
            return LONG

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy begins without rounds: they stand at addresses of this process."""
        return Rounds, (self._network,)

    def _keep(self, key: object, found: "Round | str") -> None:
        while len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[key] = found


def layers_of(network: Network) -> dict[str, RNN]:
    """The layers, one upon another, by what stands before the names of their parameters; none where they stand otherwise."""
    layer, plain = network.rnn, type(network).gradients is Network.gradients and type(network)._scored is Network._scored
    if network.head.once or not plain or "gradients" in vars(network):
        return {}
    parts = {f"{name}.": part for name, part in layer.parts.items()} if type(layer) is Stack else {"": layer}
    found = {name: part for name, part in parts.items() if type(part) is RNN and not part.learn_initial}
    return found if len(found) == len(parts) and not getattr(layer, "residual", False) else {}


class Round:
    """Forward, loss and gradients over arrays of some shapes, with other parameters each time."""

    def __init__(
        self,
        network: Network,
        layers: Mapping[str, RNN],
        parameters: Mapping[str, Array],
        x: Array,
        *,
        drops: bool,
        smoothing: float,
    ) -> None:
        self._rnn, cut, tokens = network.rnn, checked_truncation(network.bptt_truncate), x.dtype.kind in "iu"
        if isinstance(cut, tuple) or x.ndim != 3 - tokens or tokens != getattr(network, "reads_tokens", tokens):
            raise UnboundError
        (batch, steps), self._limit = x.shape[:2], int(self._rnn.input_shape[0]) if tokens else 0
        self._x = np.zeros((steps, batch, *x.shape[2:]), np.int64 if tokens else self._rnn.dtype)
        self._flow = Flow(self._x, tokens, truncate=cut, gradient=True, noise=np.random.default_rng(0) if drops else None)
        self._layers, y = list[LayerBinding](), self._x
        for before, rnn in layers.items():
            if self._layers and drops and isinstance(self._rnn, Stack) and self._rnn.dropout:
                y = np.zeros_like(y)  # what dropout lets through
            names = {name: before + name for name in rnn.parameters}
            self._layers.append(LayerBinding(rnn, names, parameters, self._flow, y))
            y = self._layers[-1].y
        self._head = HeadBinding(network, parameters, y, smoothing)
        d_y = self._head.d_y
        for layer, below in zip(reversed(self._layers), [*reversed(self._layers[:-1]), None], strict=True):
            layer.bind_back(parameters, d_y)
            if below is not None:
                d_y = layer.d_x if layer.x is below.y and layer.d_x is not None else np.zeros_like(below.y)
        self._gradients, self._last = self._delivered(parameters), State({})
        [self._squares] = squares_of(self._gradients)
        joined = all(above.x is below.y for below, above in pairwise(self._layers))
        later = [*(layer.forward for layer in self._layers[1:]), self._head.bound, *(x.back for x in reversed(self._layers))]
        self._chain = self._layers[0].forward.chain(later, self._squares) if joined else None

    def _delivered(self, parameters: Mapping[str, Array]) -> Flats:
        """One flat array for all gradients, in the order of the parameters."""
        sizes = [array.size for array in parameters.values()]
        flat, places = np.zeros(sum(sizes), self._rnn.dtype), accumulate(sizes, initial=0)
        at = dict(zip(parameters, places, strict=False))
        for bound, names in [(layer.back, layer.names) for layer in self._layers] + [(self._head.bound, self._head.names)]:
            bound.deliver(flat, {inner: at[outer] for inner, outer in names.items()})
        return Flats({}, [(flat, parameters)])

    def run(
        self,
        parameters: Mapping[str, Array],
        x: Array,
        targets: Any,
        state: Any,
        lengths: Any,
        seed: int | None,
        weights: Any,
    ) -> Scored | None:
        """What the network gives; None where that is for the long way."""
        given, batch = standing(parameters), len(x)
        if given is None or not (put(x, self._x, self._limit) and self._head.reads(targets)):
            return None
        if lengths is not None:
            lengths = checked_lengths(self._rnn.name, lengths, batch, x.shape[1])
        if state is None or state is not self._last or not all(layer.goes_on() for layer in self._layers):
            self._begin(self._rnn._state_in(state, batch))
        self._flow.noise = None if seed is None else np.random.default_rng(seed)
        self._head.begin(lengths, weights)
        squares = self._compute(given, lengths)
        loss = self._head.loss()
        last = [{name: value.copy() for name, value in layer.forward.last.items()} for layer in self._layers]
        tree = dict(zip(self._rnn.parts, last, strict=True)) if isinstance(self._rnn, Stack) else last[0]
        self._last = self._rnn._state_out(tree, batch)
        return loss, self._gradients, self._last, root_of(squares)

    def _begin(self, states: Tree | None) -> None:
        """The first states; zeros where none are given."""
        for name, layer in zip(getattr(self._rnn, "parts", [""]), self._layers, strict=True):
            layer.begin(states[name] if states and name else states)

    def _compute(self, given: Standing, lengths: Array | None) -> list[float]:
        """All programs, in one call where Python has nothing to do between them; returns squares of the gradients."""
        if self._chain is not None:
            for layer in self._layers:
                layer.draw(self._flow)
            found = self._chain.run(given, lengths)
            return self._squares() if found is None else found
        scales = self._forward(given, lengths)
        self._head.bound.run(given, lengths)
        self._backward(given, lengths, scales)
        return self._squares()

    def _forward(self, given: Standing, lengths: Array | None) -> list[Array]:
        """All layers; returns what dropout let through between them, scaled."""
        scales: list[Array] = []
        for below, layer in zip([None, *self._layers], self._layers, strict=False):
            if below is not None and layer.x is not below.y:
                scale = self._rnn._scale(self._flow, below.y) if isinstance(self._rnn, Stack) else None
                assert scale is not None, "it drops"
                scales.append(scale)
                np.multiply(below.y, scale, out=layer.x)
            layer.draw(self._flow)
            layer.forward.run(given, lengths)
        return scales

    def _backward(self, given: Standing, lengths: Array | None, scales: list[Array]) -> None:
        """The way back through all layers."""
        above: LayerBinding | None = None
        for layer in reversed(self._layers):
            if above is not None and above.x is not layer.y:
                assert above.d_x is not None, "a layer above reads vectors"
                np.multiply(above.d_x, scales.pop(), out=layer.d_y)
            layer.back.run(given, lengths)
            above = layer
