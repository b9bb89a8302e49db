"""The gates of a cell as data: nodes in order, each naming its gate, its inputs and its shape.

A graph is never changed: a pass reads one and builds another with a `Builder`. What a leaf stands for is told by its gate:

* `input`      a value that every step brings: a vector, or a number
* `token`      an integer that every step brings, standing for a one-hot vector
* `state`      a value that the step before left
* `parameter`  a weight or bias
* `constant`   numbers that the equations contain
"""

import hashlib
import json
import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from elman.errors import GraphError, ProductError, ShapeError
from elman.gates import GATES, INPUTS
from elman.nodes import LEAVES, ROLES, Attributes, Node, Result, is_parameter
from elman.notation import as_asked, printed
from elman.shapes import Shape, Size, resolve, written


@dataclass(frozen=True)
class Graph:
    """The equations of one step as data.

    `nodes` are in order: an input comes before its use. `results` name what is returned. Raises `GraphError` when made
    from nodes that do not fit.
    """

    name: str
    nodes: tuple[Node, ...]
    results: tuple[Result, ...]
    notes: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self.name, self.nodes, self.results, self.notes)  # hashes of names are those of a process

    def __hash__(self) -> int:
        return self._hash  # programs are looked up by their graph at every call

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.nodes, self.results))

    def leaves(self, gate: str) -> dict[str, int]:
        """Index of every leaf of a kind, by name."""
        return self._leaves[gate]

    @cached_property
    def _leaves(self) -> dict[str, dict[str, int]]:
        return {g: {node.name: i for i, node in enumerate(self.nodes) if node.gate == g} for g in LEAVES}

    def named(self, role: str) -> dict[str, int]:
        """Node of every result of a role, by name."""
        return self._named[role]

    @cached_property
    def _named(self) -> dict[str, dict[str, int]]:
        return {r: {result.name: result.node for result in self.results if result.role == r} for r in ROLES}

    @cached_property
    def values(self) -> dict[str, int]:
        """Index of every value that the equations name, in their order; a state's name means its new value."""
        named = {node.name: i for i, node in enumerate(self.nodes) if node.name and node.gate not in LEAVES}
        return named | self.named("state")

    @cached_property
    def uses(self) -> tuple[tuple[int, ...], ...]:
        """For every node the nodes that it feeds."""
        feeds: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for source in node.inputs:
                feeds[source].append(index)
        return tuple(tuple(targets) for targets in feeds)

    @property
    def sizes(self) -> dict[str, int]:
        """Every named size."""
        named = ((s, s.name.rpartition("*")) for node in self.nodes for s in node.shape if isinstance(s, Size) and s.name)
        return {name: int(size) // int(factor or 1) for size, (factor, _, name) in named}

    def __str__(self) -> str:
        return printed(self)

    def to_json(self) -> dict[str, Any]:
        """The graph as plain data for JSON; `Graph.from_json` reads it back."""
        nodes = []
        for node in self.nodes:
            entry: dict[str, Any] = {"gate": node.gate}
            if node.inputs:
                entry["inputs"] = list(node.inputs)
            if node.name:
                entry["name"] = node.name
            if node.gate in LEAVES:
                entry["shape"] = [s.name if isinstance(s, Size) and s.name else int(s) for s in node.shape]
            if node.attributes:
                entry["attributes"] = {key: _plain(value) for key, value in node.attributes}
            nodes.append(entry)
        results = [{"name": result.name, "role": result.role, "node": result.node} for result in self.results]
        return {"name": self.name, "notes": self.notes, "sizes": self.sizes, "nodes": nodes, "results": results}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Graph":
        """Read what `to_json` gave, checking all of it; nothing in it is ever run.

        Raises `GraphError` for anything that is not a graph.
        """
        try:
            sizes = {str(name): int(size) for name, size in data["sizes"].items()}
            builder = Builder(str(data["name"]), notes=str(data.get("notes", "")), merge=False)
            for entry in data["nodes"]:
                _add_from_json(builder, entry, sizes)
            results = [Result(str(r["name"]), str(r["role"]), int(r["node"])) for r in data["results"]]
            return builder.finish(results)
        except GraphError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            raise GraphError(f"this is not a graph of elman: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=1024)
def equations_of(graph: Graph) -> str:
    """A short hash of the equations of a graph, whatever its sizes and names are called."""
    data = graph.to_json()
    nodes = [{key: value for key, value in node.items() if key != "shape"} for node in data["nodes"]]
    return hashlib.sha256(json.dumps([nodes, data["results"]], sort_keys=True).encode()).hexdigest()[:12]


class Builder:
    """Builds a graph node by node, inferring each shape from the gate table; equal nodes become one."""

    def __init__(self, name: str, *, notes: str = "", merge: bool = True) -> None:
        self.name, self.notes, self._merge = name, notes, merge
        self.nodes: list[Node] = []
        self._seen: dict[tuple[Any, ...], int] = {}

    def leaf(self, gate: str, name: str, shape: Sequence[int], attributes: Attributes = ()) -> int:
        """Add a leaf and return its index. Raises `GraphError` where the name stands for another shape."""
        index = self._append(Node(gate, (), tuple(shape), attributes, name))
        if self.nodes[index].shape != tuple(shape):
            raise GraphError(f"{self.name}: the name {name} is taken, by {gate} {written(self.nodes[index].shape)}")
        return index

    def constant(self, value: Any) -> int:
        """Add a constant: a number or an array."""
        array = np.asarray(value, np.float64)
        if np.isnan(array).any():
            raise ShapeError("a constant of the equations is NaN")
        return self.leaf("constant", "", array.shape, (("value", _frozen(array.tolist())),))

    def add(self, gate: str, inputs: Iterable[int], attributes: Attributes = (), name: str = "") -> int:
        """Add a gate and return its index; a number that meets a vector is expanded.

        Raises `ShapeError` whose text names the operands.
        """
        inputs, row = tuple(inputs), GATES[gate]
        if row.elementwise:
            shape = next((self.nodes[i].shape for i in inputs if self.nodes[i].shape), ())
            inputs = tuple(self._expanded(i, shape) for i in inputs)
        try:
            shape = row.shape(*(self.nodes[i].shape for i in inputs), **dict(attributes))
        except ShapeError as error:
            asked, operands = as_asked(self.nodes, Node(gate, inputs, (), attributes))
            kind = ProductError if gate == "product" and any(is_parameter(self.nodes, i) for i in inputs) else ShapeError
            raise kind(f"`{asked}`: {str(error).format(*operands)}") from None
        return self._append(Node(gate, inputs, shape, attributes, name))

    def copy(self, node: Node, inputs: Iterable[int]) -> int:
        """Add a node of another graph, with its inputs as they are called here."""
        return self._append(Node(node.gate, tuple(inputs), node.shape, node.attributes, node.name))

    def rename(self, index: int, name: str) -> None:
        """Give a node a name."""
        node = self.nodes[index]
        self.nodes[index] = Node(node.gate, node.inputs, node.shape, node.attributes, name)

    def finish(self, results: Iterable[Result]) -> Graph:
        """The graph of what was added."""
        return Graph(self.name, tuple(self.nodes), tuple(results), self.notes)

    def _expanded(self, index: int, shape: Shape) -> int:
        if not shape or self.nodes[index].shape:
            return index
        return self.add("expand", (index,), (("shape", shape),))

    def _append(self, node: Node) -> int:
        key = (node.gate, node.inputs, node.attributes, node.name)
        if self._merge and key in self._seen:
            return self._seen[key]
        self._seen[key] = len(self.nodes)
        self.nodes.append(node)
        return len(self.nodes) - 1


# --- checks -----------------------------------------------------------------------------------------------------------


def _check(graph: Graph) -> None:
    if not graph.name.isidentifier():  # it stands in emitted source, so nothing else may pass
        raise GraphError(f"{graph.name!r} is not a name for a graph; letters, digits and _ are")
    for index, node in enumerate(graph.nodes):
        where = f"{graph.name}: node {index} ({node.gate})"
        if node.gate not in GATES and node.gate not in LEAVES:
            raise GraphError(f"{where}: there is no such gate; gates are {', '.join(GATES)}")
        if any(not 0 <= source < index for source in node.inputs):
            raise GraphError(f"{where}: inputs {node.inputs} must come before it")
        # Names become variables of emitted source, so nothing but an identifier may pass.
        if node.name and (not node.name.isidentifier() or keyword.iskeyword(node.name)):
            raise GraphError(f"{where}: {node.name!r} is not a name")
        if node.gate in LEAVES:
            if not node.name and node.gate != "constant":
                raise GraphError(f"{where}: a leaf needs a name")
            if any(size < 1 for size in node.shape):
                raise GraphError(f"{where}: sizes are at least 1, this is {written(node.shape)}")
        else:
            _check_shape(graph, node, where)
    for gate in LEAVES[:-1]:
        names = [node.name for node in graph.nodes if node.gate == gate]
        if len(set(names)) < len(names):
            raise GraphError(f"{graph.name}: two leaves of kind {gate} have one name: {', '.join(sorted(names))}")
    _check_results(graph)


def _check_shape(graph: Graph, node: Node, where: str) -> None:
    if INPUTS[node.gate] not in (None, len(node.inputs)) or not node.inputs:
        raise GraphError(f"{where}: {len(node.inputs)} inputs; it takes {INPUTS[node.gate] or 'one or more'}")
    try:
        shape = GATES[node.gate].shape(*(graph.nodes[i].shape for i in node.inputs), **node.settings)
    except (ShapeError, TypeError, IndexError) as error:
        raise GraphError(f"{where}: {error}") from None
    if tuple(shape) != tuple(node.shape):
        raise GraphError(f"{where}: shape {written(node.shape)} is not what the gate gives, {written(shape)}")


def _check_results(graph: Graph) -> None:
    states = graph.leaves("state")
    for result in graph.results:
        where = f"{graph.name}: result {result.name} ({result.role})"
        if result.role not in ROLES or not 0 <= result.node < len(graph.nodes):
            raise GraphError(f"{where}: role or node {result.node} does not exist")
        if result.role == "state" and result.name not in states:
            raise GraphError(f"{where}: there is no such state")
        if result.role == "state" and graph.nodes[result.node].shape != graph.nodes[states[result.name]].shape:
            raise GraphError(
                f"{where}: the new state is {written(graph.nodes[result.node].shape)}, "
                f"the state is {written(graph.nodes[states[result.name]].shape)}"
            )
    missing = set(states) - set(graph.named("state"))
    if missing:
        raise GraphError(f"{graph.name}: states {', '.join(sorted(missing))} get no new value")


# --- JSON -------------------------------------------------------------------------------------------------------------


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)  # JSON has no infinity
    if isinstance(value, Size) and value.name:
        return value.name
    return int(value) if isinstance(value, int) else value


def _add_from_json(builder: Builder, entry: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    gate, name = entry["gate"], entry.get("name", "")
    if not isinstance(gate, str) or not isinstance(name, str):
        raise GraphError(f"node {len(builder.nodes)}: gate {gate!r} and name {name!r} must be text")
    attributes = entry.get("attributes", {})
    if gate == "constant":
        value = np.asarray(json.loads(json.dumps(attributes["value"])), np.float64)
        builder.constant(value)
    elif gate in LEAVES:
        shape = resolve(entry["shape"], sizes)
        builder.leaf(gate, name, shape, _attributes(attributes, sizes))
    elif gate in GATES:
        inputs = [int(i) for i in entry.get("inputs", ())]
        if any(not 0 <= i < len(builder.nodes) for i in inputs):
            raise GraphError(f"node {len(builder.nodes)} ({gate}): inputs {inputs} must come before it")
        builder.add(gate, inputs, _attributes(attributes, sizes), name)
    else:
        raise GraphError(f"there is no gate {gate!r}; gates are {', '.join(GATES)}")


def _attributes(data: Mapping[str, Any], sizes: Mapping[str, int]) -> Attributes:
    """Attributes of gates are integers, which may be named sizes, and tuples of integers, nothing else."""

    def number(value: Any) -> int:
        return resolve([value], sizes)[0] if isinstance(value, str) else int(value)

    return tuple((str(key), tuple(map(number, value)) if isinstance(value, list) else number(value))
                 for key, value in data.items())  # fmt: skip
