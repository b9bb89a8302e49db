"""What flows through a file that is to become a model: layers upon layers, and between them equations of one step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from elman.errors import ModelFileError
from elman.io.onnx.axes import FEATURES, Axis, Groups, features_at, place_of
from elman.io.onnx.terms import Term, applied, traced
from elman.layer import Layer
from elman.rnn import RNN


@dataclass(eq=False)
class Base:
    """A layer on the layers below it; without a layer the input of the model, which may be `tokens`."""

    size: int
    layer: Layer | None = None
    below: "Base | None" = None
    tokens: bool = False
    name: str = ""
    maps: dict[Term, "Base"] = field(default_factory=dict)
    joined: dict[tuple["Base", str], "Base"] = field(default_factory=dict)

    def read(self) -> Term:
        """What it gives, as it is."""
        return Term(self.size)


@dataclass(frozen=True)
class Flow:
    """A value: an equation of what a layer gives, how it lies, which steps it is of, and which direction.

    `steps` are all, the "first" or the "end" of the sequence, the "last" of each direction, or their "mean" or "max".
    """

    base: Base
    term: Term
    groups: Groups
    steps: str = ""
    way: int | None = None

    @property
    def where(self) -> tuple[Any, ...]:
        """What two values must have in common to meet in an equation."""
        return self.base, self.steps, self.way


@dataclass(frozen=True)
class Tokens:
    """Integers that are read as tokens."""

    groups: Groups


@dataclass(frozen=True)
class Asked:
    """A node to follow: its inputs, its attributes, the arrays that it gave on an example, and what the axis of steps is."""

    op: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any]
    found: Sequence[Any]
    time: str
    opset: int

    def input(self, at: int) -> Any:
        """An input; None for one that is left out."""
        return self.inputs[at] if at < len(self.inputs) else None

    def given(self, name: str, at: int, otherwise: Any = None) -> Any:
        """What is an attribute in one version of the operators and an input in another."""
        value = self.attributes.get(name, self.input(at))
        return otherwise if value is None else value


Rule = Callable[[Asked], list[Flow]]
"""What flows on behind a node."""


@dataclass(frozen=True)
class Lost:
    """What has no counterpart in a model, and why; nothing is wrong as long as the output does not need it."""

    why: str
    of_tokens: bool = False


class NoCounterpartError(ModelFileError):
    """A node that has no counterpart in a model."""


def whole(flow: Flow) -> int:
    """Which axis has all values of a step. Raises `NoCounterpartError` where they are cut, or where there is none."""
    at = features_at(flow.groups)
    if at is None or prod(axis.size for axis in flow.groups[at]) != flow.term.size:
        raise NoCounterpartError("it does not take the values of a step together")
    return at


def with_features(flow: Flow, term: Term) -> Flow:
    """The flow with another vector where its values are."""
    at, groups = whole(flow), list(flow.groups)
    groups[at] = (Axis(FEATURES, term.size),) if term.size else ()
    return replace(flow, term=term, groups=tuple(groups))


def finished(flow: Flow) -> Base:
    """The layer that gives this flow: that of its equations, unless it is the one below as it is."""
    if flow.steps or flow.way is not None:
        raise NoCounterpartError("what is read once a sequence, or of one direction, cannot be read step by step again")
    whole(flow)
    if flow.term.is_read:
        return flow.base
    if flow.term not in flow.base.maps:
        cell, sizes, values = traced(flow.term, flow.base.size, readout=False)
        arrays = [*values.values(), *([] if flow.base.layer is None else [np.empty(0, flow.base.layer.dtype)])]
        dtype = np.result_type(*arrays).name if arrays else "float32"
        given: dict[str, Any] = sizes
        rnn = RNN(cell, dtype=dtype, **given)
        rnn.update(values)
        flow.base.maps[flow.term] = Base(flow.term.size, rnn, flow.base, name=cell.name)
    return flow.base.maps[flow.term]


def combined(equation: Callable[..., Any], inputs: list[Any]) -> Flow:
    """An equation of flows of one layer, numbers, and vectors that go with the values of a step."""
    flows = [given for given in inputs if isinstance(given, Flow)]
    first = max(flows, key=lambda flow: (flow.term.size, len(flow.groups)))
    slots: list[float | None] = []
    terms: list[Term] = []
    for given in inputs:
        if isinstance(given, Flow):
            _check_meet(given, first)
            found: float | Term = given.term
        else:
            found = _constant(np.asarray(given), first)
        slots.append(None if isinstance(found, Term) else found)
        terms += [found] if isinstance(found, Term) else []

    def filled(*values: Any) -> Any:
        rest = iter(values)
        return equation(*(next(rest) if slot is None else slot for slot in slots))

    plain = all(slot is None for slot in slots)
    term = applied(equation if plain else filled, *terms)
    if term.size == first.term.size:
        return replace(first, term=term)
    return replace(first, term=term, groups=(*first.groups[:-1], (Axis(FEATURES, term.size),)))  # of a number and a vector


def _check_meet(one: Flow, first: Flow) -> None:
    if one.where != first.where:
        raise NoCounterpartError("it joins what stands on different layers or steps")
    for ours, theirs in zip(one.groups[::-1], first.groups[::-1], strict=False):
        number = one.term.size == 0 and not ours
        if ours != theirs and not number:
            raise NoCounterpartError("it joins what lies differently")


def _constant(array: Any, flow: Flow) -> float | Term:
    """A number, or a vector along the values of a step."""
    if array.size == 1 and array.ndim <= len(flow.groups) and (flow.term.size != 1 or not array.ndim):
        return float(array.reshape(()))
    if flow.term.size == 0 and not flow.groups[-1] and array.shape[-1] == array.size:
        return Term(array.size, array=np.ascontiguousarray(array.reshape(-1)))
    at = whole(flow)
    shape = (1,) * (len(flow.groups) - array.ndim) + array.shape
    if len(shape) != len(flow.groups) or shape[at] != flow.term.size or array.size != shape[at]:
        raise NoCounterpartError("it has numbers for each step or example, not for the values of a step alone")
    return Term(flow.term.size, array=np.ascontiguousarray(array.reshape(-1)))


def cut(flow: Flow, axis: int, start: int, stop: int, time: str) -> Flow:
    """A part of an axis, which stays: of the steps one, of the directions one, of the values of a step any stretch."""
    group = flow.groups[axis]
    size = prod(a.size for a in group)
    if stop - start == size:
        return flow
    groups = (*flow.groups[:axis], (), *flow.groups[axis + 1 :])
    held = [a.name for a in group]
    if held == ["D"] and flow.term.is_read and stop - start == 1:
        return replace(flow, groups=groups, way=start)
    if held == [time] and not flow.steps and stop - start == 1 and start in (0, size - 1):
        return replace(flow, groups=groups, steps=_steps(flow, "first" if start == 0 else "end"))
    if axis != whole(flow) or start >= stop:
        raise NoCounterpartError("it takes a part that is neither one step at an end, nor one direction, nor of the values")
    term = applied(lambda x: x[start:stop], flow.term, size=stop - start)
    return with_features(flow, term)


def _steps(flow: Flow, end: str) -> str:
    """An end of the sequence, or "last" where all directions that the flow is of have their last step there."""
    layer = flow.base.layer
    if layer is None:
        return end
    turned = layer._turned()
    if flow.way is not None:
        turned = np.split(turned, 2)[flow.way]
    return "last" if (turned.all() if end == "first" else not turned.any()) else end


def without(flow: Flow, axis: int) -> Flow:
    """The flow without an axis of one."""
    if any(a.size > 1 for a in flow.groups[axis]):
        raise NoCounterpartError("it drops an axis that is more than one")
    return replace(flow, groups=(*flow.groups[:axis], *flow.groups[axis + 1 :]))


def time_of(flow: Flow, time: str) -> int | None:
    """Which axis has the steps."""
    return place_of(flow.groups, time)
