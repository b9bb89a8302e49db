"""A file followed node by node, from its input to its output: which layers stand upon one another, what is read of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.cells import ported
from elman.errors import ElmanError, ModelFileError
from elman.gates import Array
from elman.io.onnx.axes import DIRECTIONS, FEATURES, Axis, Groups, features_at
from elman.io.onnx.equations import GATES
from elman.io.onnx.flows import Asked, Base, Flow, Lost, NoCounterpartError, Tokens, finished
from elman.io.onnx.loops import SUBGRAPHS
from elman.io.onnx.model import ImportedModel
from elman.io.onnx.reading import ABSENT, LAYER, Net, Node
from elman.io.onnx.recurrent import DIRECTIONS as WAYS
from elman.io.onnx.recurrent import Recurrent
from elman.io.onnx.rules import RULES
from elman.io.onnx.terms import Term
from elman.rnn import RNN

AS_IT_IS = "elman.io.onnx.load runs the file as it is"

ALIKE = ("Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten")
"""Operators that move tokens about as they move all else."""


def seen_by(node: Node) -> Iterator[str]:
    """Names of what a node reads, also within graphs of its own."""
    yield from node.inputs
    for part in node.attributes.values():
        if isinstance(part, Net):
            for inner in part.nodes:
                yield from seen_by(inner)


JOINING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Concat", "Where")
"""Operators whose first input may be a constant."""


@dataclass(frozen=True)
class Followed:
    """What came out of a file, and how its input and output lie: the axes of steps and examples, by their names."""

    flow: Flow
    input: Groups
    tokens: bool
    time: str
    batch: str


def followed(loaded: ImportedModel, x: Array) -> Followed:
    """What a file computes, as seen when it runs on `x`. Raises `ModelFileError` for what has no counterpart in a model."""
    first = ModelFileError(f"{loaded.name}: its input is a number, no sequence; {AS_IT_IS}")
    for features in range(x.ndim - 1, -1, -1) if x.dtype.kind == "f" else (None,):  # most often the last axis
        try:
            return Walk(loaded, x, features).all()
        except ModelFileError as error:
            first = error if features in (None, x.ndim - 1) else first
    raise first


class Walk:
    """One way through a file, with one of the axes of its input taken as the values of a step."""

    def __init__(self, loaded: ImportedModel, x: Array, features: int | None) -> None:
        self.net, self.loaded = loaded._net, loaded
        self.name = next(iter(loaded.inputs))
        self.values, _ = loaded.evaluated(x)
        self.groups: Groups = tuple((Axis(FEATURES if at == features else str(at), n),) for at, n in enumerate(x.shape))
        self.time, self.batch = "", ""
        self.flows: dict[str, Any] = {}
        if features is None:
            self.flows[self.name] = Tokens(self.groups)
        else:
            size = x.shape[features]
            self.flows[self.name] = Flow(Base(size), Term(size), self.groups)

    def all(self) -> Followed:
        """Follow every node that something flows into."""
        for node in self.net.nodes:
            seen = [self.flows[name] for name in seen_by(node) if name in self.flows]
            if seen:
                lost = next((given for given in seen if isinstance(given, Lost) and not given.of_tokens), None)
                try:
                    found = [lost] * len(node.outputs) if lost else self._node(node)
                except (ElmanError, ValueError, TypeError, IndexError, KeyError) as error:  # files are as they are
                    found = [Lost(f"{node} has no counterpart in a model: {error}")] * len(node.outputs)
                self.flows.update((name, flow) for name, flow in zip(node.outputs, found, strict=False) if name)
        [output] = self.loaded.outputs
        return self._result(self.flows.get(output))

    def _result(self, flow: Any) -> Followed:
        if isinstance(flow, Lost):
            raise ModelFileError(f"{self.net.name}: {flow.why}; {AS_IT_IS}")
        if not isinstance(flow, Flow) or flow.base.layer is None or flow.way is not None:
            raise ModelFileError(f"{self.net.name}: its output is not what a recurrent layer gives; {AS_IT_IS}")
        at = features_at(flow.groups)
        if at != len(flow.groups) - 1 or flow.steps in ("first", "end"):
            raise ModelFileError(f"{self.net.name}: its output is not [batch, steps, values] or [batch, values]; {AS_IT_IS}")
        return Followed(flow, self.groups, self.name in self.flows and self._reads_tokens(flow), self.time, self.batch)

    def _reads_tokens(self, flow: Flow) -> bool:
        base = flow.base
        while base.below is not None:
            base = base.below
        return base.tokens

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _node(self, node: Node) -> Sequence[Any]:
        inputs = [self.flows.get(name, self.values.get(name)) if name else None for name in node.inputs]
        if node.op in ("Shape", "Size"):
            return []
        if any(isinstance(given, Tokens | Lost) for given in inputs):
            return self._of_tokens(node, inputs)
        if node.op in GATES or node.op == LAYER:
            return self._recurrent(node, inputs)
        rule = RULES.get(node.op)
        if node.op in SUBGRAPHS:
            raise NoCounterpartError("what it repeats is not told from its graph")
        if rule is None:
            raise NoCounterpartError("this operator is not one of an equation of one step")
        if not isinstance(inputs[0], Flow) and node.op not in JOINING:
            raise NoCounterpartError("it does not work on the values of a step")
        found = [self.values[name] for name in node.outputs if name]
        return rule(Asked(node.op, inputs, node.attributes, found, self.time, self.net.opset))

    def _of_tokens(self, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
        """Tokens looked up, made one-hot, moved about, or computed with to no effect, as for negative ones."""
        given = inputs[0]
        if node.op == "Gather" and isinstance(inputs[1], Tokens) and np.ndim(given) == 2:
            table = np.asarray(given)
            size, hidden = table.shape
            rnn = RNN(ported.embedding, input=size, hidden=hidden, dtype=table.dtype.name)
            rnn.update({"e": table.T})
            base = Base(hidden, rnn, Base(size, tokens=True), name="embedding")
            return [Flow(base, base.read(), (*inputs[1].groups, (Axis(FEATURES, hidden),)))]
        if node.op == "OneHot" and isinstance(given, Tokens) and np.array_equal(inputs[2], [0, 1]):
            size = int(np.reshape(inputs[1], ()))
            return [Flow(Base(size, tokens=True), Term(size), (*given.groups, (Axis(FEATURES, size),)))]
        if node.op in ALIKE and isinstance(given, Tokens):
            found = [self.values[name] for name in node.outputs if name]
            flow = Flow(Base(1), Term(1), given.groups)
            asked = Asked(node.op, [flow, *inputs[1:]], node.attributes, found, self.time, self.net.opset)
            return [Tokens(moved.groups) for moved in RULES[node.op](asked)]
        if any(isinstance(given, Flow) for given in inputs):
            raise NoCounterpartError("it joins tokens and values")
        held = [
            (given, self.values[name]) for given, name in zip(inputs, node.inputs, strict=True) if isinstance(given, Tokens)
        ]
        lost = Lost(f"{node} computes with tokens", of_tokens=True)
        found = [self.values[name] for name in node.outputs if name]
        return [next((tokens for tokens, value in held if np.array_equal(made, value)), lost) for made in found]

    def _recurrent(self, node: Node, inputs: Sequence[Any]) -> Sequence[Any]:
        entry = self.loaded._recurrent.get(id(node))
        assert entry is not None, "nodes of a graph within are not followed"
        at = 0 if isinstance(entry, Recurrent) else len(inputs) - 1
        flow, count = inputs[at], len(inputs)
        if not isinstance(flow, Flow):
            raise NoCounterpartError("it reads what does not come from the input")
        initial = inputs[5:7] if isinstance(entry, Recurrent) else inputs[: count - 1]
        for given in initial:
            if isinstance(given, Flow) or not (given is None or given is ABSENT or not np.any(given)):
                raise NoCounterpartError("it starts from a state that is not zero")
        groups = self._laid_out(flow, batch_first=isinstance(entry, Recurrent) and entry.batch_first)
        lengths = inputs[4] if isinstance(entry, Recurrent) and count > 4 else None
        if lengths is not None and not np.all(lengths == groups[0][0].size):
            raise NoCounterpartError("it takes lengths, which a model takes itself")
        below = finished(flow)
        size = int(entry.layer.output_shape[0])
        base = Base(size, entry.layer, below, name=f"{node.op} {node.name}")
        if not isinstance(entry, Recurrent):
            y = Flow(base, base.read(), (*groups, (Axis(FEATURES, size),)))
            return [*[Lost(f"{node}: its last state is not its output") for _ in initial], y]
        return self._given(entry, base, groups)

    def _given(self, entry: Recurrent, base: Base, groups: Groups) -> Sequence[Any]:
        """Y, and Y_h as the last output of each direction; Y_c is none of a model's."""
        ways = len(WAYS[entry.direction])
        way = (Axis(DIRECTIONS, ways),) if ways > 1 else ()
        own = (Axis(FEATURES, base.size // ways),)
        time, batch = groups
        y = (batch, time, way, own) if entry.batch_first else (time, way, batch, own)
        last = (batch, way, own) if entry.batch_first else (way, batch, own)
        return [
            Flow(base, base.read(), y),
            Flow(base, base.read(), last, "last"),
            Lost(f"{base.name}: its last c is not its output"),
        ]

    def _laid_out(self, flow: Flow, *, batch_first: bool) -> Groups:
        """The axes of steps and examples of what a recurrent node reads, which say what those of the input are."""
        if len(flow.groups) != 3 or features_at(flow.groups) != 2:
            raise NoCounterpartError("it does not read the values of a step")
        time, batch = flow.groups[1::-1] if batch_first else flow.groups[:2]
        if len(time) != 1 or len(batch) > 1:
            raise NoCounterpartError("its axes of steps and examples are not those of the input")
        called = time[0].name, batch[0].name if batch else ""
        if self.time and called != (self.time, self.batch):
            raise NoCounterpartError("its steps are not those of the recurrent node below it")
        self.time, self.batch = called
        return time, batch
