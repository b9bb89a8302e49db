"""Layer: what RNN, Stack and Bidirectional share, the public door around a run in the layout of programs.

Inside, time comes first: inputs and outputs are `[T, B, ...]`, states are trees of arrays `[B, ...]` by name. A layer passes
a `Flow` on to its parts and returns what `Passed` holds; its backward direction is a function that the forward run leaves.

Longer than the guide for a file: it is one idea, the door that all layers have.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from elman.arrays import as_array
from elman.checks import checked_lengths, checked_reset, checked_seed, checked_sequence, checked_step, checked_truth
from elman.errors import SettingError
from elman.flow import Back, Flow, Passed, outward, time_first
from elman.gates import Array
from elman.gradient_checks import checked_gradient, checked_truncation
from elman.lanes import LayerLane
from elman.overlapping import overlapped
from elman.passes import Plan
from elman.pools import Streams
from elman.repeats import Key
from elman.shapes import Shape
from elman.states import State
from elman.streams import Stream
from elman.targets import circumstances
from elman.trees import Tree, batched, filled, mapped, plain


class Gradients(NamedTuple):
    """Gradients of a loss: for the parameters by name, for the input (None for tokens), for the first state."""

    parameters: dict[str, Array]
    x: Array | None
    state: State


@dataclass(frozen=True)
class Record:
    """A forward run that remembers what its gradient needs: `y`, `state`, and `gradients(dy)`."""

    y: Array
    state: State
    _layer: "Layer"
    _back: Back

    def gradients(self, dy: Any, d_state: Any = None) -> Gradients:
        """Gradients of a loss whose gradient for `y` is `dy` (of the shape of `y`), and for the last state `d_state`.

        Raises `ShapeError` where `dy` is not of the shape of `y`, `DataError` where it holds no numbers.
        """
        dy = checked_gradient(self._layer.name, dy, self.y.shape, self._layer.dtype)
        return self._followed_back(dy, self._layer._state_in(d_state, self.state.batch))

    def _followed_back(self, dy: Array, d_state: Tree | None) -> Gradients:
        """The same from what other layers made, which need not be finite."""
        layer, batch = self._layer, self.state.batch
        last = filled(d_state, layer._zero_states(1 if batch is None else batch))
        parameters, d_x, first = self._back(time_first(dy, batch), last)
        return Gradients(parameters, None if d_x is None else outward(d_x, batch), layer._state_out(first, batch))


class Layer(ABC):
    """A sequence in, a sequence and a state out."""

    name: str
    dtype: np.dtype[Any]
    input_shape: Shape
    output_shape: Shape
    _may_repeat = False
    """Whether calls of some shapes may have a short way."""

    # --- running ------------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, state: Any = None, lengths: Any = None, reset: Any = None) -> tuple[Array, State]:
        """Run over a sequence `[T, I]` or batch `[B, T, I]` (or tokens `[T]`, `[B, T]`).

        `state`: where to start (the initial state). `lengths` `[B]`: outputs past a length are 0, the state returned is the
        one at the length. `reset` `[T]` or `[B, T]`: the state is initial again before that step. Returns `y` `[T, H]` or
        `[B, T, H]` and the last state. Raises `ShapeError`, `TokenError` or `DataError` for inputs that do not fit.
        """
        if lengths is None and reset is None and (found := self._repeated(x, state, one=False)):
            return found
        flow, states, batch = self._inward(x, state, lengths, reset)
        passed = self._pass(flow, states)
        return outward(passed.y, batch), self._state_out(passed.states, batch)

    def step(self, x: Any, state: Any = None) -> tuple[Array, State]:
        """One step: `x` `[I]` or `[B, I]`, or a token, or tokens `[B]`; returns the output and the state.

        Raises `SettingError` where a direction reads from the end of a sequence.
        """
        if found := self._repeated(x, state, one=True):
            return found
        self._check_forward("step")
        x, batched = checked_step(self.name, x, self.input_shape)
        y, state = self(x[:, None] if batched else x[None], state)
        return (y[:, 0] if batched else y[0]), state

    def stream(self, state: Any = None) -> Stream:
        """A running sequence that keeps its state between pushes. Raises `SettingError` as `step` does."""
        self._check_forward("stream")
        return Stream(self, state)

    def streams(self, count: int = 0) -> Streams:
        """A pool of `count` independent running sequences that advance in one call. Raises `SettingError` as `step` does."""
        self._check_forward("stream")
        return Streams(self, count)

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
        """Every value that the equations name, at every step: name -> `[T, ...]` or `[B, T, ...]`; past a length 0.

        `keep` names those wanted (all); only they are held in memory. `dropout_seed` draws what dropout drops (nothing).
        Raises `SettingError` for a name that the equations lack.
        """
        names = self.values if keep is None else (keep,) if isinstance(keep, str) else tuple(keep)
        unknown = [name for name in names if name not in self.values]
        if unknown:
            raise SettingError(f"{self.name}: there is no value {unknown[0]!r}; values are {', '.join(self.values)}")
        flow, states, batch = self._inward(x, state, lengths, reset, seed=dropout_seed)
        passed = self._pass(flow, states, tuple(names))
        return {name: outward(passed.values[name], batch) for name in names}

    def record(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        truncate: int | tuple[int, int] | None = None,
        dropout_seed: int | None = None,
        recompute: bool = False,
        input_gradient: bool = True,
    ) -> Record:
        """Run forward and remember what the gradient needs.

        `truncate` k cuts the gradient before steps k, 2k, ... (None: never). With a pair (k1, k2) the losses of every k1
        steps are followed back through k2 steps, from the last of them (Williams and Peng, 1990); it takes k2 / k1 times the
        work. `dropout_seed` draws what dropout drops; without it nothing is dropped. With `recompute` a layer holds its
        input, its output, and the state every sqrt(T) steps, and makes the rest again: the gradients are equal to the bit
        on the compiled target. Without `input_gradient` there is none for `x`, as the first layer of a model needs none.
        Raises `SettingError` for a pair where layers cannot run on from a state.
        """
        cut = checked_truncation(truncate)
        once, overlapping = (None, cut) if isinstance(cut, tuple) else (cut, None)
        flow, states, batch = self._inward(
            x, state, lengths, reset, truncate=once, gradient=True, seed=dropout_seed, recompute=recompute
        )
        flow.inner = not checked_truth("input_gradient", input_gradient)
        if overlapping and self._reads_from_end:
            raise SettingError(f"{self.name}: truncate={overlapping}, but a direction reads from the end of a sequence")
        if overlapping and flow.noise is not None and self._drops:
            raise SettingError(f"{self.name}: truncate={overlapping} and dropout do not go together; cut every k steps")
        flow.overlap = overlapping
        passed = self._through(flow, states)
        assert passed.back is not None, "a gradient was asked for"
        y = outward(passed.y, batch).view()
        y.flags.writeable = False  # the gradient reads it
        return Record(y, self._state_out(passed.states, batch), self, passed.back)

    def gradients(
        self,
        x: Any,
        dy: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Any = None,
        *,
        truncate: int | tuple[int, int] | None = None,
        recompute: bool = False,
    ) -> Gradients:
        """Gradients of a loss whose gradient for the output is `dy`: for the parameters, for `x`, for the first state.

        Back-propagation through time (Werbos, 1990); `truncate` and `recompute` as for `record`.
        """
        return self.record(x, state, lengths, reset, truncate=truncate, recompute=recompute).gradients(dy)

    def initial_state(self, batch: int | None = None) -> State:
        """The state before the first step, `[H]`, or `[B, H]` for a batch. Raises `SettingError` for another batch."""
        if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 0):
            raise SettingError(f"{self.name}: batch={batch!r} must be a number of examples, 0 or more, or None")
        return self._state_out(self._initial(1 if batch is None else batch), batch)

    # --- parameters ---------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The parameters by name, read-only; `update` sets them."""
        return MappingProxyType(self._parameters_by_name())

    def update(self, values: Mapping[str, Any]) -> None:
        """Set parameters by name, all or none.

        Raises `SettingError` for an unknown name, `ShapeError` for another shape, `DataError` for NaN or infinity.
        """
        self._set(self._checked(values))

    # --- what a layer is made of --------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def values(self) -> tuple[str, ...]:
        """Names of all that `inspect` can show."""

    @abstractmethod
    def _parameters_by_name(self) -> Mapping[str, Array]: ...

    @abstractmethod
    def _checked(self, values: Mapping[str, Any]) -> Any:
        """Check new parameters without setting any."""

    @abstractmethod
    def _set(self, checked: Any) -> None: ...

    @abstractmethod
    def _initial(self, batch: int) -> Tree: ...

    @abstractmethod
    def _zero_states(self, batch: int) -> Tree: ...

    @property
    @abstractmethod
    def _reads_from_end(self) -> bool:
        """Whether outputs need inputs that come later."""

    @abstractmethod
    def _turned(self) -> Array:
        """For each value of the output whether the direction that gives it reads from the end of a sequence, `[H]`."""

    @abstractmethod
    def _leaves(self) -> dict[str, "Layer"]:
        """The layers that have parameters of their own, by what stands before the names of these."""

    @abstractmethod
    def _plans(self, *, tokens: bool = False) -> tuple[Plan, ...]:
        """Their plans, for a plain sequence of vectors or of tokens."""

    @abstractmethod
    def _state_in(self, given: Any, batch: int | None) -> Tree | None:
        """What the caller gave as a state, checked; None where it gave nothing, also for a part of it."""

    @abstractmethod
    def _state_out(self, states: Tree, batch: int | None) -> State: ...

    @property
    @abstractmethod
    def _drops(self) -> bool:
        """Whether anything is dropped while training."""

    def _through(self, flow: Flow, states: Tree | None) -> Passed:
        """Run, with windows that overlap where these were asked for."""
        return self._pass(flow, states) if flow.overlap is None else overlapped(self._pass, flow, states)

    @abstractmethod
    def _pass(self, flow: Flow, states: Tree | None, keep: tuple[str, ...] = ()) -> Passed: ...

    # --- calls that come again ----------------------------------------------------------------------------------------

    def _repeated(self, x: Any, state: Any, *, one: bool) -> tuple[Array, State] | None:
        """A call, or `one` step, on the short way of those that have come before; None: it goes the long way."""
        if not self._may_repeat or type(x) is not np.ndarray or x.dtype != self.dtype or not x.size:
            return None
        shape = x.shape
        key = circumstances(), one, shape[:-1]
        return self._again(x, state, key) if shape[-1:] == self.input_shape and self._ready(key) else None

    def _ready(self, key: Key) -> bool:
        """Whether calls of a shape have a short way, and came before."""
        return False

    def _again(self, x: Array, state: Any, key: Key) -> tuple[Array, State] | None:
        """A call of a shape that is ready; None where input or state are a matter for the long way."""
        return None

    # --- running in a stream ------------------------------------------------------------------------------------------

    def _check_forward(self, asked: str) -> None:
        if self._reads_from_end:
            alone = "a step cannot be taken alone" if asked == "step" else "it cannot run as a stream"
            raise SettingError(f"{self.name}: {alone}; a direction reads from the end of a sequence")

    def _pushed(self, x: Any) -> tuple[Array, bool]:
        ragged = f"{self.name}: rows of different lengths are pushed; a step or a chunk is wanted"
        chunk: Array = as_array(x, f"{self.name}: what is pushed", ragged)
        single = chunk.ndim == (0 if chunk.dtype.kind in "iu" else 1)
        return (chunk[None] if single else chunk), single

    def _lane(
        self, states: Tree, x: Array | None = None, *, tokens: bool = False, count: int | None = None
    ) -> LayerLane | None:
        """The shortest way of a sequence, or `count` of them, that goes on step by step, reading from a buffer; or None."""
        return None

    def _lane_from(self, state: State, *, tokens: bool) -> LayerLane | None:
        return self._lane(plain(state), tokens=tokens, count=state.batch)

    def _state_of(self, states: Tree, batch: int | None = None) -> State:
        return self._state_out(batched(states) if batch is None else mapped(states, np.array), batch)

    def _advance(self, x: Array, state: State, lengths: Any = None) -> tuple[Array, State]:
        """Go on from a state of its own making, which may be infinite: a lane does not look, either."""
        if lengths is None and (found := self._repeated(x, state, one=False)):
            return found
        flow, _, batch = self._inward(x, None, lengths, None)
        passed = self._pass(flow, batched(plain(state)) if state.batch is None else plain(state))
        return outward(passed.y, batch), self._state_out(passed.states, batch)

    def _resumed(self, state: Any, batch: int | None) -> State:
        given = self._state_in(state, batch)
        return (
            self.initial_state(batch) if given is None else self._state_out(filled(given, self._initial(batch or 1)), batch)
        )

    # --- the public door ----------------------------------------------------------------------------------------------

    def _inward(
        self,
        x: Any,
        state: Any,
        lengths: Any,
        reset: Any,
        *,
        truncate: int | None = None,
        gradient: bool = False,
        seed: int | None = None,
        recompute: bool = False,
    ) -> tuple[Flow, Tree | None, int | None]:
        x, tokens, batch = checked_sequence(self.name, x, self.input_shape, self.dtype, lengths)
        size, steps = x.shape[:2]
        flow = Flow(
            # A gradient reads the input again, by when the caller may have changed it.
            (np.array(x) if gradient else x).swapaxes(0, 1),
            tokens,
            lengths=None if lengths is None else checked_lengths(self.name, lengths, size, steps),
            reset=None if reset is None else checked_reset(self.name, reset, size, steps),
            truncate=truncate,
            gradient=gradient,
            recompute=checked_truth("recompute", recompute),
            noise=None if seed is None else np.random.default_rng(checked_seed(seed)),
        )
        return flow, self._state_in(state, batch), batch
