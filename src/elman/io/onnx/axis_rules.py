"""What operators that turn, cut and join arrays do to what flows: operator -> rule."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from elman import gates
from elman.io.onnx.axes import FEATURES, Axis, reshaped
from elman.io.onnx.flows import (
    Asked,
    Base,
    Flow,
    NoCounterpartError,
    Rule,
    cut,
    finished,
    time_of,
    whole,
    with_features,
    without,
)
from elman.io.onnx.shaping import integers
from elman.io.onnx.terms import applied
from elman.stack import Backwards, Bidirectional


def merged(asked: Asked, merge: str) -> Flow | None:
    """Two layers that read one input, one of them from the end, as the two directions of a layer."""
    flows = [given for given in asked.inputs if isinstance(given, Flow)]
    if len(flows) != 2 or flows[0].base is flows[1].base or not merge:
        return None
    ahead, behind = flows if isinstance(flows[1].base.layer, Backwards) else flows[::-1]
    one, other = ahead.base.layer, behind.base.layer
    plain = all(flow.term.is_read and flow.way is None for flow in flows)
    alike = ahead.base.below is behind.base.below and ahead.groups == behind.groups and ahead.steps == behind.steps
    if one is None or not isinstance(other, Backwards) or isinstance(one, Backwards) or not (plain and alike):
        raise NoCounterpartError("it joins what stands on different layers, which are not two directions over one input")
    if merge == "concatenate" and ahead is not flows[0]:
        raise NoCounterpartError("it puts the direction that reads from the end first")
    layer = Bidirectional(one, other.layer, merge=merge)
    known = behind.base.joined.get((ahead.base, merge))
    base = known or Base(int(layer.output_shape[0]), layer, ahead.base.below, name=f"{ahead.base.name}, {behind.base.name}")
    behind.base.joined[ahead.base, merge] = base
    return Flow(base, base.read(), with_features(ahead, base.read()).groups, ahead.steps)


def _same(asked: Asked) -> list[Any]:
    return [asked.inputs[0]]


def _expanded(asked: Asked) -> list[Any]:
    flow = asked.inputs[0]
    if asked.found[0].shape != tuple(prod(a.size for a in group) for group in flow.groups):
        raise NoCounterpartError("it repeats values")
    return [flow]


def _turned(asked: Asked) -> list[Any]:
    flow = asked.inputs[0]
    order = asked.attributes.get("perm") or range(len(flow.groups))[::-1]
    return [replace(flow, groups=tuple(flow.groups[at] for at in order))]


def _reshaped(asked: Asked) -> list[Any]:
    groups = reshaped(asked.inputs[0].groups, asked.found[0].shape)
    if groups is None:
        raise NoCounterpartError("it cuts the axis of steps, examples or values")
    return [replace(asked.inputs[0], groups=groups)]


def _squeezed(asked: Asked) -> list[Any]:
    flow, axes = asked.inputs[0], integers(asked.given("axes", 1))
    rank = len(flow.groups)
    ones = [at for at, group in enumerate(flow.groups) if prod(a.size for a in group) == 1]
    for at in sorted((axis % rank for axis in axes) if axes is not None else ones, reverse=True):
        flow = without(flow, at)
    return [flow]


def _unsqueezed(asked: Asked) -> list[Any]:
    flow, groups = asked.inputs[0], list(asked.inputs[0].groups)
    rank = asked.found[0].ndim
    for at in sorted(axis % rank for axis in integers(asked.given("axes", 1)) or ()):
        groups.insert(at, ())
    return [replace(flow, groups=tuple(groups))]


def _sliced(asked: Asked) -> list[Any]:
    flow = asked.inputs[0]
    starts, ends = (integers(asked.given(name, at)) or () for name, at in (("starts", 1), ("ends", 2)))
    axes = integers(asked.given("axes", 3)) or tuple(range(len(starts)))
    steps = integers(asked.given("steps", 4)) or (1,) * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = axis % len(flow.groups)
        low, high, by = slice(start, end, step).indices(prod(a.size for a in flow.groups[at]))
        if by != 1:
            raise NoCounterpartError(f"it takes every {step}th part")
        flow = cut(flow, at, low, high, asked.time)
    return [flow]


def _gathered(asked: Asked) -> list[Any]:
    flow, indices = asked.inputs[:2]
    if not isinstance(flow, Flow) or isinstance(indices, Flow) or np.size(indices) != 1:
        raise NoCounterpartError("it does not take one part")
    at = asked.attributes.get("axis", 0) % len(flow.groups)
    start = int(np.reshape(indices, ())) % prod(a.size for a in flow.groups[at])
    found = cut(flow, at, start, start + 1, asked.time)
    return [found if np.ndim(indices) else without(found, at)]


def _split(asked: Asked) -> list[Any]:
    flow = asked.inputs[0]
    at, start, found = asked.attributes.get("axis", 0) % len(flow.groups), 0, []
    for part in asked.found:
        found.append(cut(flow, at, start, start + part.shape[at], asked.time))
        start += part.shape[at]
    return found


def _concatenated(asked: Asked) -> list[Any]:
    flows = list(asked.inputs)
    if not all(isinstance(flow, Flow) for flow in flows):
        raise NoCounterpartError("it joins values and constants")
    at = asked.attributes["axis"] % len(flows[0].groups)
    if len(flows) == 1:
        return flows
    if [flow.way for flow in flows] == [0, 1]:
        return [_both_ways(flows, at)]
    joined = merged(asked, "concatenate")
    if joined is not None:
        return [joined]
    if any(whole(flow) != at for flow in flows) or len({flow.where for flow in flows}) > 1:
        raise NoCounterpartError("it joins what stands on different layers or steps, or not the values of a step")
    size = sum(flow.term.size for flow in flows)
    return [with_features(flows[0], applied(gates.concatenate, *(flow.term for flow in flows), size=size))]


def _both_ways(flows: Sequence[Flow], at: int) -> Flow:
    """The two directions of a layer, side by side again."""
    one, other = flows
    held = [axis.name for axis in one.groups[at]]
    if one.base is not other.base or one.steps != other.steps or held != [FEATURES] or one.groups != other.groups:
        raise NoCounterpartError("it joins directions of different layers or steps")
    groups = (*one.groups[:at], (Axis(FEATURES, one.base.size),), *one.groups[at + 1 :])
    return replace(one, way=None, groups=groups)


def _reduced(asked: Asked) -> list[Any]:
    flow, rank = asked.inputs[0], len(asked.inputs[0].groups)
    axes = integers(asked.given("axes", 1)) or tuple(range(rank))
    if asked.op == "GlobalAveragePool":
        axes = tuple(range(2, rank))
    along, kept = {axis % rank for axis in axes}, asked.attributes.get("keepdims", 1)
    if along == {time_of(flow, asked.time)} and asked.op != "ReduceSum" and not flow.steps and flow.way is None:
        [at] = along
        groups = (*flow.groups[:at], *([()] if kept else []), *flow.groups[at + 1 :])
        base = finished(flow)
        return [Flow(base, base.read(), groups, "max" if asked.op == "ReduceMax" else "mean")]
    if along == {whole(flow)} and asked.op != "ReduceMax":
        at, gate = whole(flow), gates.sum if asked.op == "ReduceSum" else gates.mean
        found = with_features(flow, applied(gate, flow.term, size=0))
        return [found if kept else without(found, at)]
    raise NoCounterpartError("it is neither over the steps nor over the values of a step")


def _chosen(asked: Asked) -> list[Any]:
    """Where: the first or the last step, as each direction reads."""
    turned, first, end = asked.inputs
    if not any(isinstance(given, Flow) for given in (first, end)) or isinstance(turned, Flow):
        raise NoCounterpartError("it chooses by values")
    if np.all(turned) or not np.any(turned):
        return [first if np.all(turned) else end]
    alike = isinstance(first, Flow) and isinstance(end, Flow) and first.base is end.base and first.groups == end.groups
    layer = first.base.layer if alike else None
    if layer is None or (first.steps, end.steps) != ("first", "end"):
        raise NoCounterpartError("it joins what stands on different layers or steps")
    if not np.array_equal(np.broadcast_to(turned, layer.output_shape), layer._turned()):
        raise NoCounterpartError("it does not choose the last step of each direction")
    return [replace(first, steps="last")]


AXIS_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Identity", "Dropout", "Cast", "CastLike"), _same),
    **dict.fromkeys(("Reshape", "Flatten"), _reshaped),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "GlobalAveragePool"), _reduced),
    "Expand": _expanded,
    "Transpose": _turned,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Slice": _sliced,
    "Gather": _gathered,
    "Split": _split,
    "Concat": _concatenated,
    "Where": _chosen,
}
