"""Losses of all logits together: what a model does that transcribes, and the door for a loss of one's own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from elman.ctc import mean_ctc
from elman.errors import DataError, SettingError, ShapeError
from elman.flow import time_first
from elman.gates import Array
from elman.labellings import ctc_decode
from elman.network import Network
from elman.shapes import written
from elman.states import State

Score = Callable[[Array], tuple[Any, Any]]
"""From logits `[T, V]` or `[B, T, V]` (read once: no T) to a loss, a number, and its gradient for them."""


class Transcribes(Network):
    """A network whose loss can be one of whole sequences: of labels without their times, or of one's own."""

    def gradients_of(
        self,
        score: Score,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        dropout_seed: int | None = None,
        recompute: bool = False,
    ) -> tuple[float, dict[str, Array], State]:
        """A loss of one's own, its gradients by parameter, and the last state; the rest as `gradients`.

        `score` is given the logits, `[T, V]` or `[B, T, V]` as for `forward_propagation`, and returns the loss and its
        gradient for them, of their shape; past a length that is not looked at. Raises `ShapeError` for another shape.

        >>> import elman
        >>> model = elman.Model.from_layers(elman.RNN(elman.cells.gru, input=2, hidden=3, dtype="float64"), 4)
        >>> x = np.ones((5, 2))
        >>> loss, gradients, _ = model.gradients_of(lambda z: (0.5 * np.sum(z * z), z), x)
        >>> bool(np.isclose(loss, 0.5 * np.sum(model.forward_propagation(x).logits ** 2))), list(gradients)[-1]
        (True, 'by')
        """
        x = self._input(x, lengths)
        asked: dict[str, Any] = {"dropout_seed": dropout_seed, "recompute": recompute, "input_gradient": False}
        record = self.rnn.record(x, state, lengths, reset, truncate=self.bptt_truncate, **asked)
        batch, held = record.state.batch, None if lengths is None else np.asarray(lengths)
        y = time_first(record.y, batch)
        live = self._live(y, held)[..., None]

        def scored(logits: Array) -> tuple[Array, Array]:
            seen = self._read_out(logits, batch)
            loss, d_logits = _scored(score(seen))
            if d_logits.shape != seen.shape:
                raise ShapeError(f"Model: the gradient is {written(d_logits.shape)}, the logits are {written(seen.shape)}")
            inward = d_logits.reshape(logits.shape) if self.head.once else time_first(d_logits, batch)
            return np.asarray(loss), np.where(live, inward, 0).astype(self.rnn.dtype)

        scores = self.head.gradients_of(y, scored, held)
        return float(scores.losses), self._followed_back(record, scores)[0], record.state

    def ctc_gradients(
        self,
        x: Any,
        targets: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        target_lengths: Any = None,
        blank: int = 0,
        zero_infinity: bool = False,
        dropout_seed: int | None = None,
        recompute: bool = False,
    ) -> tuple[float, dict[str, Array], State]:
        """The loss of labels without their times, its gradients by parameter, and the last state.

        The loss is the mean over the sequences of -ln p(targets), nats a sequence: `elman.ctc.ctc`, which tells what
        `target_lengths`, `blank` and `zero_infinity` are. `targets` are labels `[B, U]`, or `[U]` for one sequence; the
        model ends in a softmax and reads every step. Raises as `ctc`, and `SettingError` for another model.

        >>> import elman
        >>> model = elman.Model.from_layers(elman.RNN(elman.cells.gru, input=2, hidden=3), 4)
        >>> loss, gradients, _ = model.ctc_gradients(np.ones((1, 5, 2)), [[2, 1]])
        >>> loss > 0, len(gradients) == len(model.parameters)
        (True, True)
        """
        score = self._ctc(targets, lengths, target_lengths, blank, zero_infinity=zero_infinity)
        return self.gradients_of(score, x, state, lengths, reset, dropout_seed=dropout_seed, recompute=recompute)

    def ctc_loss(
        self,
        x: Any,
        targets: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        target_lengths: Any = None,
        blank: int = 0,
        zero_infinity: bool = False,
    ) -> float:
        """The loss of `ctc_gradients`."""
        score = self._ctc(targets, lengths, target_lengths, blank, zero_infinity=zero_infinity)
        return float(score(self.forward_propagation(x, state, lengths, reset).logits)[0])

    def ctc_decode(self, x: Any, state: Any = None, lengths: Any = None, *, blank: int = 0, width: int | None = None) -> Any:
        """The labels that a sequence says, or for a batch a list of them: `elman.labellings.ctc_decode`."""
        self._check_transcribes()
        logits = self.forward_propagation(x, state, lengths).logits
        return ctc_decode(logits, lengths, blank, width=width)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _ctc(self, targets: Any, lengths: Any, target_lengths: Any, blank: int, *, zero_infinity: bool) -> Score:
        self._check_transcribes()

        def score(logits: Array) -> tuple[float, Array]:
            one = logits.ndim == 2
            z, labels = (logits[None], np.asarray(targets)[None]) if one else (logits, targets)
            loss, d_logits = mean_ctc(z, labels, lengths, target_lengths, blank, zero_infinity=zero_infinity)
            return loss, d_logits[0] if one else d_logits

        return score

    def _check_transcribes(self) -> None:
        if self.head.once or not self.head.wants_tokens:
            what = "reads once" if self.head.once else f"ends in {self.head.gate}"
            raise SettingError(f"Model: CTC wants a distribution at every step; this model {what}, a softmax each step does")


def _scored(found: Any) -> tuple[Array, Array]:
    """What a loss of one's own gave. Raises `DataError` for what is not a number and an array."""
    wanted = "a number and its gradient for the logits are wanted"
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise DataError(f"Model: the loss gave a {type(found).__name__}; {wanted}, as a pair")
    loss, d_logits = (np.asarray(each) for each in found)
    for what, array in (("loss", loss), ("gradient", d_logits)):
        if array.dtype.kind not in "fiu":
            raise DataError(f"Model: the {what} is of the type {array.dtype}; {wanted}")
    if loss.ndim:
        raise ShapeError(f"Model: the loss is {written(loss.shape)}; {wanted}")
    return loss, d_logits
