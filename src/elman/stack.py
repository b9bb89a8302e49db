"""Layers made of layers: one upon another, and in two directions.

Longer than the guide for a file: it is one idea, a layer with named parts, in its three forms.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from elman.checks import checked_share
from elman.errors import DataError, SettingError, ShapeError
from elman.flow import Back, Flow, Passed
from elman.gates import Array
from elman.lanes import LayerLane, chained
from elman.layer import Layer
from elman.passes import Plan
from elman.repeats import Key
from elman.states import State
from elman.trees import Tree


class _Parts(Layer):
    """A layer made of named parts: its parameters, values and states are theirs, with their names in front."""

    parts: dict[str, Layer]

    def _take(self, kind: str, parts: Mapping[str, Layer]) -> None:
        for name, part in parts.items():
            if not isinstance(part, Layer):
                raise SettingError(f"{kind}: {name} is {part!r}; a layer (RNN, Stack, Bidirectional) is wanted")
        names: dict[int, str] = {}
        for name, part in parts.items():
            for leaf in part._leaves().values():
                if names.setdefault(id(leaf), name) != name:
                    same = f"{names[id(leaf)]} and {name} hold the same layer ({leaf.name})"
                    raise SettingError(f"{kind}: {same}; make one for each, since each has parameters of its own")
        self.parts = dict(parts)
        dtypes = {part.dtype.name for part in parts.values()}
        if len(dtypes) > 1:
            raise SettingError(f"{kind}: the layers are of {' and '.join(sorted(dtypes))}; one type is wanted")
        self.dtype = next(iter(parts.values())).dtype
        self.name = f"{kind}({', '.join(part.name for part in parts.values())})"

    def __repr__(self) -> str:
        return f"{self.name.split('(')[0]}({', '.join([*map(repr, self.parts.values()), *self._told()])})"

    def _told(self) -> list[str]:
        """Settings for the repr."""
        return []

    @property
    def values(self) -> tuple[str, ...]:
        """Names of all that `inspect` can show: the part, a point, the value."""
        return tuple(f"{name}.{value}" for name, part in self.parts.items() for value in part.values)

    def _parameters_by_name(self) -> dict[str, Array]:
        return {f"{name}.{n}": value for name, part in self.parts.items() for n, value in part.parameters.items()}

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        unknown = [name for name in values if name.partition(".")[0] not in self.parts]
        if unknown:
            names = ", ".join(self.parameters)
            raise SettingError(f"{self.name}: there is no parameter {unknown[0]!r}; parameters are {names}")
        inside: dict[str, dict[str, Any]] = {name: {} for name in self.parts}
        for name, value in values.items():
            part_name, _, inner = name.partition(".")
            inside[part_name][inner] = value
        return {name: part._checked(inside[name]) for name, part in self.parts.items()}

    def _set(self, checked: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part._set(checked[name])

    def _initial(self, batch: int) -> Tree:
        return {name: part._initial(batch) for name, part in self.parts.items()}

    def _zero_states(self, batch: int) -> Tree:
        return {name: part._zero_states(batch) for name, part in self.parts.items()}

    @property
    def _reads_from_end(self) -> bool:
        return any(part._reads_from_end for part in self.parts.values())

    @property
    def _drops(self) -> bool:
        return any(part._drops for part in self.parts.values())

    def _leaves(self) -> dict[str, Layer]:
        return {f"{name}.{n}": leaf for name, part in self.parts.items() for n, leaf in part._leaves().items()}

    def _plans(self, *, tokens: bool = False) -> tuple[Plan, ...]:
        return tuple(plan for part in self.parts.values() for plan in part._plans(tokens=tokens))

    def _state_in(self, given: Any, batch: int | None) -> Tree | None:
        if given is None:
            return None
        if isinstance(given, State) and given.cell not in ("", self.name):
            raise ShapeError(f"{self.name}: this is a state of {given.cell}")
        if isinstance(given, tuple | list) and len(given) == len(self.parts):
            given = dict(zip(self.parts, given, strict=True))
        if not isinstance(given, Mapping) or set(given) != set(self.parts):
            wanted = f"the state has one part for each of {', '.join(self.parts)}"
            raise ShapeError(f"{self.name}: {wanted}; this is {_described(given)}")
        return {name: self._part_in(name, given[name], batch) for name in self.parts}

    def _part_in(self, name: str, given: Any, batch: int | None) -> Tree | None:
        try:
            return self.parts[name]._state_in(given, batch)
        except (ShapeError, DataError) as error:
            raise type(error)(f"{self.name.partition('(')[0]}, part {name}: {error}") from None

    def _state_out(self, states: Tree, batch: int | None) -> State:
        fields = {name: part._state_out(states[name], batch) for name, part in self.parts.items()}
        return State._of(fields, self.name, batch)


class Stack(_Parts):
    """Layers one upon another: the output of each is the input of the next.

    `Stack([first, second, ...])`; with `dropout` that share of each layer's output but the last's is dropped while
    training; with `residual` each layer from the second on adds its input to its output. Parameters and values are called
    `0.wax`, `1.wax` ..., the state has one part a layer, `state.layers`. Raises `SettingError` for sizes that do not meet.

    >>> import numpy as np, elman
    >>> stack = Stack([elman.RNN(elman.cells.gru, input=3, hidden=4), elman.RNN(elman.cells.lstm, input=4, hidden=2)])
    >>> y, state = stack(np.ones((7, 3)))
    >>> y.shape, state.layers[1].c.shape
    ((7, 2), (2,))
    """

    def __init__(self, layers: Sequence[Layer], *, dropout: float = 0.0, residual: bool = False) -> None:
        if isinstance(layers, Layer) or not isinstance(layers, Iterable):
            raise SettingError(f"Stack: {layers!r} is no list of layers; write Stack([first, second])")
        if residual not in (True, False):
            raise SettingError(f"Stack: residual={residual!r} must be True or False")
        layers = list(layers)
        if not layers:
            raise SettingError("Stack: no layer is given; one or more are wanted")
        self._take("Stack", {str(position): layer for position, layer in enumerate(layers)})
        self.dropout, self.residual = checked_share("dropout", dropout), residual
        self._may_repeat = not residual and all(layer._may_repeat for layer in layers)
        for position, (below, above) in enumerate(pairwise(layers)):
            _check_meet(position, below, above, residual)
        self.input_shape, self.output_shape = layers[0].input_shape, layers[-1].output_shape

    def _told(self) -> list[str]:
        return [f"dropout={self.dropout}"] * bool(self.dropout) + ["residual"] * self.residual

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input on."""
        return tuple(self.parts.values())

    def _turned(self) -> Array:
        return self.layers[-1]._turned()

    def _lane(
        self, states: Tree, x: Array | None = None, *, tokens: bool = False, count: int | None = None
    ) -> LayerLane | None:
        if self.residual:
            return None
        lanes: dict[str, LayerLane] = {}
        for name, layer in self.parts.items():
            lane = layer._lane(states[name], x, tokens=tokens, count=count)
            if lane is None:
                return None
            lanes[name], x, tokens = lane, lane.y, False
        return chained(lanes)

    def _ready(self, key: Key) -> bool:
        ready = [part._ready(key) for part in self.parts.values()]  # each is asked, so that all become ready together
        return all(ready)

    def _again(self, x: Array, state: Any, key: Key) -> tuple[Array, State] | None:
        if state is not None and not (type(state) is State and state.cell == self.name and list(state) == list(self.parts)):
            return None
        last: dict[str, State] = {}
        for name, part in self.parts.items():
            found = part._again(x, None if state is None else state[name], key)
            if found is None:
                return None
            x, last[name] = found
        return x, State._of(last, self.name, next(reversed(last.values())).batch)

    @property
    def _drops(self) -> bool:
        return self.dropout > 0 or super()._drops

    def _plans(self, *, tokens: bool = False) -> tuple[Plan, ...]:
        first, *others = self.parts.values()  # which alone reads the tokens
        return (*first._plans(tokens=tokens), *(plan for part in others for plan in part._plans()))

    def _pass(self, flow: Flow, states: Tree | None, keep: tuple[str, ...] = ()) -> Passed:
        last: Tree = {}
        values: dict[str, Array] = {}
        backs: list[Back | None] = []
        scales: list[Array | None] = []
        for position, (name, layer) in enumerate(self.parts.items()):
            passed = layer._pass(flow, None if states is None else states[name], _names(keep, name))
            last[name], y = passed.states, passed.y
            values |= {f"{name}.{n}": value for n, value in passed.values.items()}
            backs.append(passed.back)
            if self.residual and position:
                y = y + flow.x
            scales.append(self._scale(flow, y) if position + 1 < len(self.parts) else None)
            flow = replace(flow, x=y if scales[-1] is None else y * scales[-1], tokens=False, inner=False)

        def back(dy: Array, d_states: Tree) -> tuple[dict[str, Array], Array | None, Tree]:
            return self._back(backs, scales, dy, d_states)

        return Passed(flow.x, last, values, back if flow.gradient else None)

    def _back(
        self, backs: Sequence[Back | None], scales: Sequence[Array | None], dy: Array, d_states: Tree
    ) -> tuple[dict[str, Array], Array | None, Tree]:
        found: dict[str, Array] = {}
        first: Tree = {}
        d_x: Array | None = dy
        for position, name in reversed(list(enumerate(self.parts))):
            back, scale = backs[position], scales[position]
            assert back is not None, "a gradient was asked for"
            assert d_x is not None, "only the first layer may read tokens"
            d_y = d_x if scale is None else d_x * scale
            parameters, d_x, first[name] = back(d_y, d_states[name])
            found |= {f"{name}.{n}": value for n, value in parameters.items()}
            if self.residual and position:
                assert d_x is not None, "a layer above reads vectors"
                d_x = d_x + d_y
        return {name: found[name] for name in self.parameters}, d_x, {name: first[name] for name in self.parts}

    def _scale(self, flow: Flow, y: Array) -> Array | None:
        """What dropout lets through, scaled so that the mean stays (Srivastava et al., 2014)."""
        if not self.dropout or flow.noise is None:
            return None
        kept = 1.0 - self.dropout
        scale: Array = (flow.noise.random(y.shape) < kept).astype(self.dtype) / self.dtype.type(kept)
        return scale


class Backwards(_Parts):
    """A layer that reads from the last step to the first; its output stands in the order of the input.

    With lengths it begins at the last step of each sequence: padding is not read. Where a reset begins a sequence anew, the
    direction ends one there.
    """

    def __init__(self, layer: Layer) -> None:
        self._take("Backwards", {"layer": layer})
        self.layer = layer
        self.input_shape, self.output_shape = layer.input_shape, layer.output_shape

    @property
    def _reads_from_end(self) -> bool:
        return True

    def _turned(self) -> Array:
        return ~self.layer._turned()

    def _pass(self, flow: Flow, states: Tree | None, keep: tuple[str, ...] = ()) -> Passed:
        inner = replace(flow, backwards=not flow.backwards)
        passed = self.layer._pass(inner, None if states is None else states["layer"], _names(keep, "layer"))

        def back(dy: Array, d_states: Tree) -> tuple[dict[str, Array], Array | None, Tree]:
            assert passed.back is not None, "a gradient was asked for"
            parameters, d_x, first = passed.back(dy, d_states["layer"])
            return {f"layer.{n}": value for n, value in parameters.items()}, d_x, {"layer": first}

        values = {f"layer.{n}": value for n, value in passed.values.items()}
        return Passed(passed.y, {"layer": passed.states}, values, back if flow.gradient else None)


MERGES = ("concatenate", "sum", "mean", "product")


class Bidirectional(_Parts):
    """Two directions over one sequence: `forward` reads it from the first step, `backward` from the last.

    Schuster and Paliwal, Bidirectional recurrent neural networks, 1997. `merge` is "concatenate" (`[T, 2 H]`, forward
    first), "sum", "mean" or "product". The state has the parts `forward` and `backward`. Raises `SettingError` for sizes
    that do not fit.

    >>> import numpy as np, elman
    >>> both = Bidirectional(*(elman.RNN(elman.cells.gru, input=3, hidden=4, seed=seed) for seed in (0, 1)))
    >>> y, state = both(np.ones((7, 3)))
    >>> y.shape, state.backward.h.shape
    ((7, 8), (4,))
    """

    def __init__(self, forward: Layer, backward: Layer, *, merge: str = "concatenate") -> None:
        self._take("Bidirectional", {"forward": forward, "backward": backward})
        if merge not in MERGES:
            raise SettingError(f"Bidirectional: merge {merge!r} is unknown; it is one of {', '.join(MERGES)}")
        if forward.input_shape != backward.input_shape:
            reads = [f"{layer.name} reads {_size(layer.input_shape)} values a step" for layer in (forward, backward)]
            raise SettingError(f"Bidirectional: forward {reads[0]}, backward {reads[1]}; both read one input")
        outputs, joined = (forward.output_shape, backward.output_shape), merge == "concatenate"
        gives = [f"{layer.name} gives {_size(layer.output_shape)} values a step" for layer in (forward, backward)]
        if joined and any(len(shape) != 1 for shape in outputs):
            raise SettingError(f"Bidirectional: forward {gives[0]}, backward {gives[1]}; concatenate wants vectors")
        if not joined and outputs[0] != outputs[1]:
            raise SettingError(f"Bidirectional: forward {gives[0]}, backward {gives[1]}; a {merge} wants one size")
        self.merge, self._backward = merge, Backwards(backward)
        self.input_shape, self._cut = forward.input_shape, int(forward.output_shape[0]) if joined else 0
        self.output_shape = (self._cut + int(backward.output_shape[0]),) if joined else forward.output_shape

    @property
    def _reads_from_end(self) -> bool:
        return True

    def _turned(self) -> Array:
        if self.merge != "concatenate":
            fix = 'merge="concatenate" (or in a model pool="mean" or "max")'
            raise SettingError(f"Bidirectional: a {self.merge} mixes the last steps of two directions; take {fix}")
        return np.concatenate((self.parts["forward"]._turned(), self._backward._turned()))

    def _pass(self, flow: Flow, states: Tree | None, keep: tuple[str, ...] = ()) -> Passed:
        ahead = self.parts["forward"]._pass(flow, None if states is None else states["forward"], _names(keep, "forward"))
        wanted = tuple(f"layer.{name}" for name in _names(keep, "backward"))
        back_states = None if states is None else {"layer": states["backward"]}
        behind = self._backward._pass(flow, back_states, wanted)
        values = {f"forward.{n}": v for n, v in ahead.values.items()}
        values |= {f"backward.{n.removeprefix('layer.')}": v for n, v in behind.values.items()}
        last = {"forward": ahead.states, "backward": behind.states["layer"]}

        def back(dy: Array, d_states: Tree) -> tuple[dict[str, Array], Array | None, Tree]:
            return self._back(ahead, behind, dy, d_states)

        return Passed(self._merged(ahead.y, behind.y), last, values, back if flow.gradient else None)

    def _told(self) -> list[str]:
        return [f"merge={self.merge}"] * (self.merge != "concatenate")

    def _merged(self, a: Array, b: Array) -> Array:
        if self.merge == "concatenate":
            return np.concatenate((a, b), -1)
        return a * b if self.merge == "product" else (a + b) * self.dtype.type(0.5 if self.merge == "mean" else 1.0)

    def _back(self, ahead: Passed, behind: Passed, dy: Array, d_states: Tree) -> tuple[dict[str, Array], Array | None, Tree]:
        assert ahead.back is not None, "a gradient was asked for"
        assert behind.back is not None, "a gradient was asked for"
        d_a, d_b = self._parted(dy, ahead.y, behind.y)
        of_a, x_a, first_a = ahead.back(d_a, d_states["forward"])
        of_b, x_b, first_b = behind.back(d_b, {"layer": d_states["backward"]})
        found = {f"forward.{n}": v for n, v in of_a.items()}
        found |= {f"backward.{n.removeprefix('layer.')}": v for n, v in of_b.items()}
        d_x = None if x_a is None or x_b is None else x_a + x_b
        return found, d_x, {"forward": first_a, "backward": first_b["layer"]}

    def _parted(self, dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
        """Gradients for the outputs of the two directions."""
        if self.merge == "concatenate":
            return dy[..., : self._cut], dy[..., self._cut :]
        if self.merge == "product":
            return dy * b, dy * a
        half = dy * self.dtype.type(0.5 if self.merge == "mean" else 1.0)
        return half, half


# --- inside -----------------------------------------------------------------------------------------------------------


def _inside(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What of a mapping with points in its names belongs to a part, under the part's own names."""
    return {name.partition(".")[2]: value for name, value in values.items() if name.partition(".")[0] == part}


def _names(keep: tuple[str, ...], part: str) -> tuple[str, ...]:
    return tuple(_inside(dict.fromkeys(keep), part))


def _check_meet(position: int, below: Layer, above: Layer, residual: bool) -> None:
    if below.output_shape != above.input_shape:
        raise SettingError(
            f"Stack: layer {position} ({below.name}) gives {_size(below.output_shape)} values a step, "
            f"layer {position + 1} ({above.name}) reads {_size(above.input_shape)}"
        )
    if residual and above.output_shape != above.input_shape:
        raise SettingError(
            f"Stack: residual adds input and output of layer {position + 1} ({above.name}), "
            f"which are of sizes {_size(above.input_shape)} and {_size(above.output_shape)}"
        )


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(int(size)) for size in shape) or "1"


def _described(given: Any) -> str:
    if isinstance(given, Mapping):
        return f"one with {', '.join(map(str, given)) or 'none'}"
    return f"{len(given)} parts" if isinstance(given, tuple | list) else f"of type {type(given).__name__}"
