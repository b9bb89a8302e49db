"""Layers as plain data, for files: what they are made of, and back. No parameters, and no code."""

from collections.abc import Mapping
from typing import Any

from elman.errors import SettingError
from elman.graph import Graph
from elman.layer import Layer
from elman.passes.carry import initial_name
from elman.pooled import Pooled
from elman.replay import from_graph
from elman.rnn import RNN
from elman.shapes import Shape
from elman.stack import Backwards, Bidirectional, Stack


def described(layer: Layer) -> dict[str, Any]:
    """A layer as JSON values. Raises `SettingError` for a layer that is none of the library's."""
    match layer:
        case RNN():
            settings = {"learn_initial": layer.learn_initial, "recurrent_dropout": layer.recurrent_dropout}
            return {"kind": "rnn", "graph": layer.graph.to_json(), **settings}
        case Stack():
            settings = {"dropout": layer.dropout, "residual": layer.residual}
            return {"kind": "stack", "layers": [described(part) for part in layer.layers], **settings}
        case Bidirectional():
            parts = {name: described(part) for name, part in layer.parts.items()}
            return {"kind": "bidirectional", **parts, "merge": layer.merge}
        case Pooled():
            return {"kind": "pooled", "layer": described(layer.layer), "pool": layer.pool}
        case Backwards():
            return {"kind": "backwards", "layer": described(layer.layer)}
    raise SettingError(f"{layer.name}: a layer of {type(layer).__name__} cannot be written to a file")


def declared(description: Mapping[str, Any]) -> dict[str, Shape]:
    """The parameters that a described layer will have, by name, before anything of their size is made."""
    if description["kind"] == "rnn":
        graph = Graph.from_json(description["graph"])
        shapes = {name: graph.nodes[index].shape for name, index in graph.leaves("parameter").items()}
        if description["learn_initial"]:
            shapes |= {initial_name(name): graph.nodes[index].shape for name, index in graph.leaves("state").items()}
        return shapes
    parts = _parts(description).items()
    if description["kind"] == "pooled":
        return declared(description["layer"])
    return {f"{name}.{inner}": shape for name, part in parts for inner, shape in declared(part).items()}


def built(description: Mapping[str, Any], dtype: str) -> Layer:
    """A layer from its description, its cells replayed from their graphs.

    Raises `SettingError`, `CellError`, `GraphError`, `KeyError` or `TypeError` for what describes none.
    """
    match description["kind"]:
        case "rnn":
            graph = Graph.from_json(description["graph"])
            names = "learn_initial", "recurrent_dropout"
            given: dict[str, Any] = {name: description[name] for name in names} | graph.sizes
            return RNN(from_graph(graph), dtype=dtype, **given)
        case "stack":
            layers = [built(part, dtype) for part in _parts(description).values()]
            return Stack(layers, dropout=description["dropout"], residual=description["residual"])
        case "bidirectional":
            directions = (built(part, dtype) for part in _parts(description).values())
            return Bidirectional(*directions, merge=description["merge"])
        case "pooled":
            return Pooled(built(description["layer"], dtype), description["pool"])
    return Backwards(built(description["layer"], dtype))


def _parts(description: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    match description["kind"]:
        case "stack":
            return {str(position): part for position, part in enumerate(description["layers"])}
        case "bidirectional":
            return {name: description[name] for name in ("forward", "backward")}
        case "backwards" | "pooled":
            return {"layer": description["layer"]}
    raise SettingError(f"there is no layer of the kind {description['kind']!r}")
