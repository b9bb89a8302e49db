"""Operators that run a graph of their own, as the specification has them: If, Loop, and Scan from version 9 on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from elman.gates import Array
from elman.io.onnx.reading import Net, Node

RunGraph = Callable[[Net, dict[str, Any]], dict[str, Any]]
"""Runs a graph, which sees the values around it, on some more of its own."""


def branched(node: Node, inputs: Sequence[Any], run: RunGraph) -> list[Any]:
    """The operator If."""
    part = node.attributes["then_branch" if _truth(inputs[0]) else "else_branch"]
    found = run(part, {})
    return [found[name] for name in part.outputs]


def looped(node: Node, inputs: Sequence[Any], run: RunGraph) -> list[Any]:
    """The operator Loop: so many steps at most, while the body says so; what it carries, and what it collects."""
    body = node.attributes["body"]
    most, going, *carried = inputs
    at, goes_on = 0, going is None or _truth(going)
    collected: list[list[Any]] = [[] for _ in range(len(body.outputs) - 1 - len(carried))]
    while goes_on and (most is None or at < int(np.asarray(most).reshape(-1)[0])):
        given = dict(zip(body.inputs, [np.array(at, np.int64), np.array(goes_on), *carried], strict=True))
        found = run(body, given)
        condition, *outputs = (found[name] for name in body.outputs)
        goes_on, carried = _truth(condition), outputs[: len(carried)]
        for listed, value in zip(collected, outputs[len(carried) :], strict=True):
            listed.append(value)
        at += 1
    return [*carried, *_stacked(collected, body)]


def scanned(node: Node, inputs: Sequence[Any], run: RunGraph) -> list[Any]:
    """The operator Scan: its body, step by step."""
    body, count = node.attributes["body"], int(node.attributes["num_scan_inputs"])
    states, sequences = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    results = len(body.outputs) - len(states)
    axes, out_axes = (
        node.attributes.get(f"scan_{way}_axes") or (0,) * n for way, n in (("input", count), ("output", results))
    )
    ways = node.attributes.get("scan_input_directions") or (0,) * count
    out_ways = node.attributes.get("scan_output_directions") or (0,) * results
    rows = [np.moveaxis(x, axis, 0)[:: -1 if way else 1] for x, axis, way in zip(sequences, axes, ways, strict=True)]
    steps: list[list[Any]] = [[] for _ in range(results)]
    for at in range(len(rows[0])):
        found = run(body, dict(zip(body.inputs, [*states, *(row[at] for row in rows)], strict=True)))
        outputs = [found[name] for name in body.outputs]
        states = outputs[: len(states)]
        for listed, value in zip(steps, outputs[len(states) :], strict=True):
            listed.append(value)
    turned = [listed[:: -1 if way else 1] for listed, way in zip(steps, out_ways, strict=True)]
    return [*states, *(np.moveaxis(y, 0, axis) for y, axis in zip(_stacked(turned, body), out_axes, strict=True))]


SUBGRAPHS = {"If": branched, "Loop": looped, "Scan": scanned}

PARTS = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",)}
"""The attributes that hold their graphs, which see the values around them."""


def _truth(value: Any) -> bool:
    return bool(np.asarray(value).reshape(-1)[0])


def _stacked(collected: Sequence[Sequence[Any]], body: Net) -> list[Array]:
    """What the steps gave, one upon another; of no steps, as many axes as the body declares."""
    declared = list(body.outputs.values())[len(body.outputs) - len(collected) :]
    found = []
    for listed, entry in zip(collected, declared, strict=True):
        sizes = (size if isinstance(size, int) else 0 for size in entry.shape or ())
        found.append(np.stack(listed) if listed else np.zeros((0, *sizes), entry.dtype))
    return found
