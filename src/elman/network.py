"""Network: layers and a head, on arrays; forward propagation, prediction, loss, gradients, inspection."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from elman.checks import checked_targets, checked_token_targets
from elman.errors import ElmanError, SettingError
from elman.flow import outward, time_first
from elman.gates import Array
from elman.gradient_checks import checked_smoothing, checked_weights
from elman.head import Head, Scores, mean
from elman.layer import Layer, Record
from elman.rnn import RNN
from elman.states import State


@dataclass(frozen=True)
class Propagation:
    """What forward propagation gives, step by step (a batch puts `[B, ...]` before each shape).

    `a` `[T, H]` what the layers give, `logits` `[T, V]` before the read-out's activation, `output` `[T, V]` behind it,
    `state` the last state. A model that reads once a sequence gives `logits` and `output` `[V]`.
    """

    a: Array
    logits: Array
    output: Array
    state: State

    @property
    def probabilities(self) -> Array:
        """The output, under the name that it has for softmax and sigmoid."""
        return self.output


class Scored(NamedTuple):
    """A loss in nats a step, its gradients: by parameter, and for the first state; and the last state."""

    loss: float
    parameters: dict[str, Array]
    d_state: State
    state: State


class Network(ABC):
    """Layers and a head: what a model computes, whatever it reads and however it was made."""

    rnn: Layer
    """The recurrent part: one layer, or layers made of layers."""

    head: Head
    """What stands on it: the read-out, at every step or once a sequence."""

    bptt_truncate: int | tuple[int, int] | None
    """After how many steps gradients are cut; or the steps whose losses, and the steps through which they, flow back."""

    def _set_parts(self, rnn: Layer, head: Head, bptt_truncate: int | tuple[int, int] | None) -> None:
        self.rnn, self.head, self.bptt_truncate = rnn, head, bptt_truncate
        taken, shown, read = set(rnn.parameters), set(rnn.values), head.readout
        self._read_parameters = {f"readout.{name}" if name in taken else name: name for name in read.parameters}
        self._read_values = {f"readout.{name}" if name in shown else name: name for name in read.values}

    @property
    def readout(self) -> RNN:
        """The read-out."""
        return self.head.readout

    @property
    def parameters(self) -> Mapping[str, Array]:
        """All parameters by name, read-only: those of the layers, then those of the read-out."""
        read = {name: self.readout.parameters[inner] for name, inner in self._read_parameters.items()}
        return MappingProxyType({**self.rnn.parameters, **read})

    def _owners(self) -> list[tuple[RNN, dict[str, str]]]:
        """The layers that hold the parameters, and from their names for these to those here."""
        layers: dict[str, Any] = dict(self.rnn._leaves())
        found = [(layer, {name: before + name for name in layer.parameters}) for before, layer in layers.items()]
        return [*found, (self.readout, {inner: outer for outer, inner in self._read_parameters.items()})]

    @property
    def _drops(self) -> bool:
        return self.rnn._drops

    def update(self, values: Mapping[str, Any]) -> None:
        """Set parameters by name, all or none. Raises as `RNN.update` does."""
        if not isinstance(values, Mapping):
            self.rnn.update(values)  # which says what is wanted
        before, known = self.rnn.parameters, self.parameters
        unknown = [n for n in values if n not in known]
        if unknown:
            raise SettingError(f"Model: there is no parameter {unknown[0]!r}; parameters are {', '.join(known)}")
        self.rnn.update({n: v for n, v in values.items() if n in before})
        try:
            self.readout.update({self._read_parameters[n]: v for n, v in values.items() if n not in before})
        except ElmanError:
            self.rnn.update(before)
            raise

    # --- forward ------------------------------------------------------------------------------------------------------

    def forward_propagation(self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None) -> Propagation:
        """Run over tokens `[T]` or features `[T, I]` (or batches `[B, T, ...]`) from a state (the initial one).

        `lengths` and `reset` as for layers. Raises `DataError` for an empty sequence of tokens, `TokenError` for a token
        outside the vocabulary, `ShapeError` for another rank or size, or a state of another size.
        """
        return self._propagate(x, state, lengths, reset)

    def predict(self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None) -> Array:
        """What is likeliest at each step, or once: tokens `[T]` of a softmax, truth values `[T, V]` of a sigmoid.

        Of any other read-out the output `[T, V]`. A batch puts `[B, ...]` before each shape.
        """
        output = self.forward_propagation(x, state, lengths, reset).output
        if self.head.wants_tokens:
            likeliest: Array = np.argmax(output, -1)
            return likeliest
        return output > 0.5 if self.head.gate == "sigmoid" else output

    def loss(
        self,
        x: Any,
        targets: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        label_smoothing: float = 0.0,
    ) -> float:
        """Mean loss of the targets over the steps within the lengths (over sequences, where the model reads once).

        Targets are tokens `[T]` for a softmax (cross entropy, nats), numbers from 0 to 1 `[T, V]` for a sigmoid (binary
        cross entropy, nats), else numbers `[T, V]` (squared error). A batch puts `[B, ...]` before; read once, no T. Of
        labels `label_smoothing` takes a share and spreads it evenly (Szegedy et al., 2016); 0.1 is usual.
        """
        losses, live, _ = self._losses(x, targets, state, lengths, reset, label_smoothing)
        return mean(losses, live)

    def losses(self, x: Any, targets: Any, state: Any = None, lengths: Any = None, reset: Any = None) -> tuple[Array, State]:
        """The loss of each step, `[T]` or `[B, T]`, past a length 0 (read once: a number or `[B]`); and the last state."""
        losses, live, last = self._losses(x, targets, state, lengths, reset)
        return self._read_out(np.where(live, losses, self.rnn.dtype.type(0)), last.batch), last

    def inspect(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        keep: Iterable[str] | None = None,
        dropout_seed: int | None = None,
    ) -> dict[str, Array]:
        """Every named value of layers and read-out at every step: name -> `[T, ...]` (or `[B, T, ...]`).

        `keep` names those wanted (all); only they are held. `dropout_seed` draws what dropout drops (nothing). Raises
        `SettingError` for a name that is not in `values`.
        """
        names = self.values if keep is None else (keep,) if isinstance(keep, str) else tuple(keep)
        for name in names:
            if name not in self.values:
                raise SettingError(f"Model: there is no value {name!r}; values are {', '.join(self.values)}")
        found = self._values(x, state, lengths, reset, names, dropout_seed)
        return {name: found[name] for name in names}

    @property
    def values(self) -> tuple[str, ...]:
        """Names of all that `inspect` can show: those of the layers, then those of the read-out."""
        return (*self.rnn.values, *self._read_values)

    # --- gradient -----------------------------------------------------------------------------------------------------

    def gradients(
        self,
        x: Any,
        targets: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        weights: Any = None,
        label_smoothing: float = 0.0,
        dropout_seed: int | None = None,
        recompute: bool = False,
    ) -> tuple[float, dict[str, Array], State]:
        """The loss, its gradients by parameter, and the last state; `dropout_seed` draws what dropout drops (nothing).

        The loss is that of `loss`, which tells what `label_smoothing` is. `weights` `[B, T]` (read once: `[B]`) say how much
        each of the losses counts of which it is the mean (1).
        Truncated back-propagation through time (Williams and Peng, 1990): no gradient flows back past steps k, 2k, ... with
        k = `bptt_truncate`, while the state goes on; where it is a pair (k1, k2), the losses of every k1 steps are followed
        back through k2 steps. With `recompute` only the states of every sqrt(T) steps are held, and the rest made again.
        """
        asked: dict[str, Any] = {"weights": weights, "label_smoothing": label_smoothing}
        asked |= {"dropout_seed": dropout_seed, "recompute": recompute}
        found = self._scored(x, targets, state, lengths, reset, truncate=self.bptt_truncate, **asked)
        return found.loss, found.parameters, found.state

    def _scored(
        self,
        x: Any,
        targets: Any,
        state: Any,
        lengths: Any,
        reset: Any,
        *,
        truncate: int | tuple[int, int] | None,
        weights: Any = None,
        label_smoothing: float = 0.0,
        dropout_seed: int | None = None,
        recompute: bool = False,
    ) -> Scored:
        x, smoothing = self._input(x, lengths), checked_smoothing("Model", label_smoothing, self.head.gate)
        record = self.rnn.record(
            x, state, lengths, reset, truncate=truncate, dropout_seed=dropout_seed, recompute=recompute, input_gradient=False
        )
        batch, lengths = record.state.batch, None if lengths is None else np.asarray(lengths)
        y = time_first(record.y, batch)
        live = self._live(y, lengths)
        counts = live if weights is None else self._weights(weights, y, live, batch)
        shares = (counts / max(1, np.count_nonzero(live))).astype(self.rnn.dtype)
        scores = self.head.gradients(y, self._targets(targets, x, y, batch, lengths), shares, lengths, smoothing)
        parameters, d_state = self._followed_back(record, scores)
        return Scored(mean(scores.losses, live, counts), parameters, d_state, record.state)

    def _followed_back(self, record: Record, scores: Scores) -> tuple[dict[str, Array], State]:
        """The gradients of a loss by parameter, and for the first state, from those that the head found."""
        inner = record.gradients(outward(scores.d_y, record.state.batch))
        read = {name: scores.parameters[readout_name] for name, readout_name in self._read_parameters.items()}
        return inner.parameters | read, inner.state

    # --- inside -------------------------------------------------------------------------------------------------------

    def _propagate(self, x: Any, state: Any, lengths: Any, reset: Any) -> Propagation:
        flow, states, batch = self.rnn._inward(self._input(x, lengths), state, lengths, reset)
        passed = self.rnn._pass(flow, states)
        found = self.head.forward(passed.y, flow.lengths)
        logits, output = (self._read_out(found[name], batch) for name in ("logits", "output"))
        a = passed.y if passed.below is None else passed.below
        return Propagation(outward(a, batch), logits, output, self.rnn._state_out(passed.states, batch))

    def _values(
        self, x: Any, state: Any, lengths: Any, reset: Any, keep: Sequence[str], seed: int | None
    ) -> dict[str, Array]:
        """Named values of the layers, and of the read-out where some of its are wanted."""
        flow, states, batch = self.rnn._inward(self._input(x, lengths), state, lengths, reset, seed=seed)
        passed = self.rnn._pass(flow, states, tuple(n for n in keep if n not in self._read_values))
        values = {name: outward(value, batch) for name, value in passed.values.items()}
        read = {self._read_values[n]: n for n in keep if n in self._read_values}
        found = self.head.values(passed.y, flow.lengths, tuple(read))
        return values | {name: self._read_out(found[inner], batch) for inner, name in read.items()}

    def _losses(
        self, x: Any, targets: Any, state: Any, lengths: Any, reset: Any, label_smoothing: float = 0.0
    ) -> tuple[Array, Array, State]:
        """Losses `[T, B]`, which of them count, and the last state."""
        x, smoothing = self._input(x, lengths), checked_smoothing("Model", label_smoothing, self.head.gate)
        flow, states, batch = self.rnn._inward(x, state, lengths, reset)
        passed = self.rnn._pass(flow, states)
        wanted = self._targets(targets, x, passed.y, batch, flow.lengths)
        losses = self.head.losses(passed.y, wanted, flow.lengths, smoothing)
        return losses, self._live(passed.y, flow.lengths), self.rnn._state_out(passed.states, batch)

    def _read_out(self, value: Array, batch: int | None) -> Array:
        """From `[T, B, ...]` to what the caller sees; a model that reads once has no T."""
        if self.head.once:
            one: Array = value[0, 0] if batch is None else value[0]
            return one
        return outward(value, batch)

    def _targets(self, targets: Any, x: Array, y: Array, batch: int | None, lengths: Array | None) -> Array:
        """Targets in the layout of the head, `[T, B]` tokens or `[T, B, V]`; what stands past a length is not looked at."""
        once, leading = self.head.once, () if batch is None else (batch,)
        axes = leading if once else (*leading, len(y))
        live = None if lengths is None and len(y) else self._live(y, lengths).T.reshape(axes)
        if self.head.wants_tokens:
            if isinstance(targets, str):
                targets = self._input(targets)
            found = checked_token_targets("Model", targets, x, axes, int(self.head.output_shape[0]), live)
        else:
            shape, share = (*axes, *self.head.output_shape), self.head.gate == "sigmoid"
            found = checked_targets("Model", targets, shape, live, self.rnn.dtype, share=share)
        return found.reshape((1, y.shape[1], *found.shape[len(axes) :])) if once else time_first(found, batch)

    def _weights(self, weights: Any, y: Array, live: Array, batch: int | None) -> Array:
        """How much each loss `[T, B]` counts."""
        leading: tuple[int, ...] = () if batch is None else (batch,)
        found = checked_weights("Model", weights, live.T.reshape(leading if self.head.once else (*leading, len(y))))
        return found.reshape(live.shape) if self.head.once else time_first(found, batch)

    def _live(self, y: Array, lengths: Array | None) -> Array:
        """Which losses `[T, B]` count: all that are within the lengths (read once: all that have a step)."""
        steps, batch = y.shape[:2]
        if lengths is None:
            return np.full((1 if self.head.once else steps, batch), steps > 0)
        return lengths[None] > 0 if self.head.once else np.arange(steps)[:, None] < lengths

    @abstractmethod
    def _input(self, x: Any, lengths: Any = None) -> Array:
        """What the caller gave as tokens or features, checked."""
