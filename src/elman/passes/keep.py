"""Ask for more values: named ones become outputs beside the cell's own."""

from collections.abc import Iterable
from dataclasses import replace

from elman.errors import SettingError
from elman.graph import Graph
from elman.nodes import Result


def keep(graph: Graph, names: Iterable[str]) -> Graph:
    """Make each named value an output of every step. Raises `SettingError` for a name that the equations lack."""
    outputs = graph.named("output")
    results = list(graph.results)
    for name in names:
        if name not in graph.values:
            raise SettingError(f"{graph.name}: there is no value {name!r}; values are {', '.join(graph.values)}")
        if outputs.get(name) != graph.values[name]:
            results.append(Result(name, "output", graph.values[name]))
    return replace(graph, results=tuple(results))
