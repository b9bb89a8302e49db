"""Functions of an ONNX file, written out where they are called: each a graph of nodes that may call others."""

from collections.abc import Iterator, Mapping
from typing import Any

from elman.errors import ModelFileError

Key = tuple[str, str]

MOST = 2**16
"""So many nodes a file may come to: forty functions that call the next one twice would be a million million."""

DEEPEST = 64
"""So many functions may be in one another."""


def inlined(model: Any, name: str) -> Any:
    """The model without functions. Raises `ModelFileError` where they call one another in a circle, or come to too much."""
    from onnx import inliner

    bodies = {(function.domain, function.name): function for function in model.functions}
    counts: dict[Key, int] = {}
    total = _count(_nodes(model.graph), bodies, counts, name)
    if total > MOST:
        raise ModelFileError(f"{name}: its functions come to {total:,} nodes; {MOST:,} are the most")
    try:
        return inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(f"{name}: its functions cannot be written out: {error}") from error


def _count(
    nodes: Iterator[Any], bodies: Mapping[Key, Any], counts: dict[Key, int], name: str, around: tuple[Key, ...] = ()
) -> int:
    """How many nodes there are once every function is written out; each is counted once."""
    total = 0
    for node in nodes:
        key = (node.domain, node.op_type)
        if key in around or len(around) > DEEPEST:
            raise ModelFileError(f"{name}: the function {node.op_type!r} calls itself, or too many call one another")
        if key in bodies and key not in counts:
            counts[key] = _count(_nodes(bodies[key]), bodies, counts, name, (*around, key))
        total += counts.get(key, 1)
    return total


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph, those of the graphs in it too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _nodes(inner)
