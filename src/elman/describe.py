"""Layers as plain data, for files: what they are made of, and back. No parameters, and no code."""

import json
import math
from collections.abc import Mapping
from typing import Any

from elman.errors import GraphError, SettingError
from elman.graph import Graph
from elman.layer import Layer
from elman.passes.carry import initial_name
from elman.pooled import Pooled
from elman.replay import from_graph
from elman.rnn import RNN
from elman.shapes import Shape, written
from elman.stack import Backwards, Bidirectional, Stack

FIELDS: dict[str, dict[str, type]] = {
    "rnn": {"graph": dict, "learn_initial": bool, "recurrent_dropout": float},
    "stack": {"layers": list, "dropout": float, "residual": bool},
    "bidirectional": {"forward": dict, "backward": dict, "merge": str},
    "pooled": {"layer": dict, "pool": str},
    "backwards": {"layer": dict},
}
"""What a description of a kind says."""

DEEPEST = 64
"""So many layers may be in one another: far more than anybody has, and far from where Python's recursion ends."""

WIDEST = 2**26
"""So many values one input, state or output may have: a file could claim any number where no parameter bears it out."""


def described(layer: Layer, depth: int = 0) -> dict[str, Any]:
    """A layer as JSON values. Raises `SettingError` for a layer that is none of the library's, or too deep or too wide."""
    _check_depth(depth)
    match layer:
        case RNN():
            settings = {"learn_initial": bool(layer.learn_initial), "recurrent_dropout": layer.recurrent_dropout}
            return {"kind": "rnn", "graph": _not_too_wide(layer.graph).to_json(), **settings}
        case Stack():
            settings = {"dropout": layer.dropout, "residual": bool(layer.residual)}
            return {"kind": "stack", "layers": [described(part, depth + 1) for part in layer.layers], **settings}
        case Bidirectional():
            parts = {name: described(part, depth + 1) for name, part in layer.parts.items()}
            return {"kind": "bidirectional", **parts, "merge": layer.merge}
        case Pooled():
            return {"kind": "pooled", "layer": described(layer.layer, depth + 1), "pool": layer.pool}
        case Backwards():
            return {"kind": "backwards", "layer": described(layer.layer, depth + 1)}
    raise SettingError(f"{layer.name}: a layer of {type(layer).__name__} cannot be written to a file")


def read_graph(data: Any) -> Graph:
    """A graph that stands in a file. Raises `GraphError`, also for one that is not written as graphs are written."""
    graph = Graph.from_json(data)
    if json.dumps(graph.to_json(), sort_keys=True) != json.dumps(data, sort_keys=True):
        raise GraphError(f"{graph.name}: an entry of the graph is missing, of another type, or there without a use")
    for result in graph.results:
        if not result.name.isidentifier():
            raise GraphError(f"{graph.name}: {result.name!r} is not a name for a result")
    return _not_too_wide(graph)


def declared(description: Mapping[str, Any], depth: int = 0) -> dict[str, Shape]:
    """The parameters that a described layer will have, by name, before anything of their size is made.

    Raises `SettingError` or `GraphError` for what describes no layer.
    """
    _check_depth(depth)
    _check_fields(description)
    if description["kind"] == "rnn":
        graph = read_graph(description["graph"])
        shapes = {name: graph.nodes[index].shape for name, index in graph.leaves("parameter").items()}
        if description["learn_initial"]:
            shapes |= {initial_name(name): graph.nodes[index].shape for name, index in graph.leaves("state").items()}
        return shapes
    parts = _parts(description).items()
    if description["kind"] == "pooled":
        return declared(description["layer"], depth + 1)
    return {f"{name}.{inner}": shape for name, part in parts for inner, shape in declared(part, depth + 1).items()}


def built(description: Mapping[str, Any], dtype: str, target: str = "auto") -> Layer:
    """A layer from its description, which `declared` has seen, its cells replayed from their graphs.

    Raises `SettingError`, `CellError`, `GraphError` or `TypeError` for parts that do not fit.
    """
    match description["kind"]:
        case "rnn":
            graph = Graph.from_json(description["graph"])
            names = "learn_initial", "recurrent_dropout"
            given: dict[str, Any] = {name: description[name] for name in names} | graph.sizes
            return RNN(from_graph(graph), dtype=dtype, target=target, **given)
        case "stack":
            layers = [built(part, dtype, target) for part in _parts(description).values()]
            return Stack(layers, dropout=description["dropout"], residual=description["residual"])
        case "bidirectional":
            directions = (built(part, dtype, target) for part in _parts(description).values())
            return Bidirectional(*directions, merge=description["merge"])
        case "pooled":
            return Pooled(built(description["layer"], dtype, target), description["pool"])
    return Backwards(built(description["layer"], dtype, target))


def _parts(description: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    match description["kind"]:
        case "stack":
            return {str(position): part for position, part in enumerate(description["layers"])}
        case "bidirectional":
            return {name: description[name] for name in ("forward", "backward")}
    return {"layer": description["layer"]}


def _check_depth(depth: int) -> None:
    if depth >= DEEPEST:
        raise SettingError(f"there are more than {DEEPEST} layers in one another; a file holds no more")


def _check_fields(description: Any) -> None:
    if not isinstance(description, Mapping):
        raise SettingError(f"a layer is described by {type(description).__name__}, a mapping is wanted")
    kind = description["kind"]
    if kind not in tuple(FIELDS):
        raise SettingError(f"there is no layer of the kind {kind!r}; kinds are {', '.join(FIELDS)}")
    for name, wanted in FIELDS[kind].items():
        if not isinstance(description[name], wanted):
            raise SettingError(f"{kind}: {name} is {type(description[name]).__name__}, {wanted.__name__} is wanted")
    unknown = sorted(set(description) - set(FIELDS[kind]) - {"kind"})
    if unknown:
        raise SettingError(f"{kind}: there is no {unknown[0]!r}; there are {', '.join(FIELDS[kind])}")


def _not_too_wide(graph: Graph) -> Graph:
    """The graph. Raises `GraphError` for one whose input, states or outputs no file may claim."""
    held = graph.leaves("input") | graph.leaves("state") | graph.named("output")
    for name, index in held.items():
        if math.prod(graph.nodes[index].shape) > WIDEST:
            raise GraphError(f"{graph.name}: {name} is {written(graph.nodes[index].shape)}; {WIDEST} values are the most")
    return graph
