"""A net bound: its functions chosen, its settings read and its values numbered once, so that a node is little but its work.

A node of a small net takes a microsecond or two; to look up its operator, its attributes and the sizes it may have, each
time it runs, took two more, and another two where other code had been run in between.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from elman.errors import DataError, ElmanError, ModelFileError, ShapeError, one_line
from elman.io.onnx.equations import GATES
from elman.io.onnx.loops import PARTS, SUBGRAPHS
from elman.io.onnx.operators import INTEGERS, WITH_PLANS, as_arrays, operator
from elman.io.onnx.reading import ABSENT, LAYER, Net, Node
from elman.io.onnx.shaping import integers
from elman.io.onnx.sizes import LARGEST, check_size, may_grow
from elman.shapes import written

Values = dict[str, Any]
RunRecurrent = Callable[[Node, Sequence[Any]], Sequence[Any]]

WRONG = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)
"""What nodes may come to that do not fit."""

WITH_OUTPUTS = ("Split",)
"""Operators that must be told how many outputs are asked for."""

LEFT_OUT, DROPPED = 0, 1
"""Slots of an input that is left out, which is None, and of an output that nobody wants."""


class Step(NamedTuple):
    """A node in use: an operator takes the values of its slots, all else the run and a list of them."""

    node: Node
    is_operator: bool
    function: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Part(NamedTuple):
    """A graph, whole or within a node: its steps, and the slots of its values by name."""

    steps: list[Step]
    slots: dict[str, int]


class Bound:
    """A net that can be run often, also by several threads: `bound(values, run_recurrent, names)` is those values by name.

    Without `names` it is every value of the net. None grows beyond `largest`. Inputs named in `optional` may be `ABSENT`.
    """

    def __init__(self, net: Net, optional: Sequence[str] = (), largest: int = LARGEST) -> None:
        self.name, self._largest = net.name, largest
        self._slots: list[Any] = [None, None]  # as they are before anything runs: the constants
        self._doubtful = bool(optional)
        self._maybe_absent: set[int] = set()
        self.parts: dict[int, Part] = {}
        inputs = {name: self._slot() for name in net.inputs}
        self._maybe_absent.update(inputs[name] for name in optional)
        self._inputs = inputs
        self._whole = self._part(net, inputs, inner=False)

    def __call__(self, values: Mapping[str, Any], run_recurrent: RunRecurrent, names: Iterable[str] | None = None) -> Values:
        """Run it; what `run_recurrent` is given are recurrent nodes, with their inputs."""
        slots = self._slots.copy()
        for name, value in values.items():
            slots[self._inputs[name]] = value
        Run(self, slots, run_recurrent).steps(self._whole.steps)
        at = self._whole.slots
        return {name: slots[at[name]] for name in (at if names is None else names)}

    # --- binding ------------------------------------------------------------------------------------------------------

    def _slot(self, value: Any = None) -> int:
        self._slots.append(value)
        return len(self._slots) - 1

    def _part(self, net: Net, around: Mapping[str, int], *, inner: bool) -> Part:
        """The steps of a graph that sees the values `around` it."""
        slots = {**around, **{name: self._slot(value) for name, value in net.constants.items()}}
        steps: list[Step] = []
        for node in net.nodes:
            if node.op == "Identity" and not node.domain and len(node.inputs) == len(node.outputs) == 1 and all(node.inputs):
                slots[node.outputs[0]] = slots[node.inputs[0]]  # one value by two names
                continue
            try:
                steps.append(self._step(net, node, slots, inner=inner))
            except ElmanError:
                raise
            except WRONG as error:  # settings that are no such
                raise ModelFileError(f"{net.name}: {node}: {one_line(str(error))}") from error
            slots |= {name: at for name, at in zip(node.outputs, steps[-1].outputs, strict=True) if name}
        return Part(steps, slots)

    def _step(self, net: Net, node: Node, slots: Mapping[str, int], *, inner: bool) -> Step:
        inputs = [slots[name] if name else LEFT_OUT for name in node.inputs]
        outputs = tuple(self._slot() if name else DROPPED for name in node.outputs)
        if not node.domain and (node.op in GATES or node.op == LAYER):
            return Step(node, False, partial(_recurrent, node), tuple(inputs), outputs)
        maybe_absent = self._doubtful and (inner or not self._maybe_absent.isdisjoint(inputs))
        if maybe_absent:
            self._maybe_absent.update(outputs)
        if not node.domain and node.op in SUBGRAPHS:
            for part in (node.attributes[name] for name in PARTS[node.op]):
                self.parts[id(part)] = self._inner(part, slots)
            return Step(node, False, partial(_of_graphs, node), tuple(inputs), outputs)
        while inputs and inputs[-1] == LEFT_OUT:
            inputs.pop()
        for place in INTEGERS.get(node.op, ()):
            known = self._slots[inputs[place]] if place < len(inputs) else None
            if known is not None:  # a constant, of this graph or one around it
                inputs[place] = self._slot(integers(known))
        function = self._function(net, node)
        if maybe_absent:
            return Step(node, False, partial(_unless_absent, function, len(outputs)), tuple(inputs), outputs)
        return Step(node, True, function, tuple(inputs), outputs or (DROPPED,))

    def _inner(self, part: Net, around: Mapping[str, int]) -> Part:
        own = {name: self._slot() for name in part.inputs}
        return self._part(part, {**around, **own}, inner=True)

    def _function(self, net: Net, node: Node) -> Callable[..., Any]:
        """What an operator computes, with its attributes, after a look at the sizes where it can grow."""
        function = operator(node.op, net.opset, node.domain)
        assert function is not None, "the net was checked"
        settings = {name: tuple(given) if isinstance(given, list) else given for name, given in node.attributes.items()}
        if not node.domain and node.op in WITH_PLANS:
            return WITH_PLANS[node.op](**settings)
        told = {"outputs": len(node.outputs)} if node.op in WITH_OUTPUTS else {}
        applied = partial(function, **told, **settings) if told or settings else function
        return partial(_sized, node.op, settings, self._largest, applied) if may_grow(node.op) else applied


class Run:
    """One run of a bound net: its values as they come, and what runs recurrent nodes."""

    def __init__(self, bound: Bound, slots: list[Any], run_recurrent: RunRecurrent) -> None:
        self.bound, self.slots, self.recurrent = bound, slots, run_recurrent

    def steps(self, steps: Sequence[Step]) -> None:
        """Run the steps of a graph, which leave what they give in the slots."""
        slots = self.slots
        for node, is_operator, function, inputs, outputs in steps:
            given = [slots[at] for at in inputs]
            try:
                found = function(*given) if is_operator else function(self, given)
                if type(found) is np.ndarray:
                    slots[outputs[0]] = found
                    continue
                found = as_arrays(found) if is_operator else found
            except (ElmanError, *WRONG) as error:
                raise self._told(node, given, error) from error
            for at, value in zip(outputs, found, strict=False):
                slots[at] = value

    def graph(self, part: Net, own: Mapping[str, Any]) -> Values:
        """What a graph of a node gives for what it is given itself."""
        bound = self.bound.parts[id(part)]
        for name, value in own.items():
            self.slots[bound.slots[name]] = value
        self.steps(bound.steps)
        return {name: self.slots[bound.slots[name]] for name in part.outputs}

    def _told(self, node: Node, given: Sequence[Any], error: BaseException) -> BaseException:
        """An error of a node, with its name."""
        if isinstance(error, ShapeError | DataError | ModelFileError):
            return type(error)(f"{self.bound.name}: {node}: {error}")
        if isinstance(error, ElmanError):
            return error
        shapes = ", ".join(map(_told_shape, given))
        return ModelFileError(f"{self.bound.name}: {node}: inputs are {shapes}: {one_line(str(error))}")


def _recurrent(node: Node, run: Run, given: Sequence[Any]) -> Sequence[Any]:
    return run.recurrent(node, given)


def _of_graphs(node: Node, run: Run, given: Sequence[Any]) -> Sequence[Any]:
    if any(value is ABSENT for value in given):
        return [ABSENT] * len(node.outputs)
    return SUBGRAPHS[node.op](node, given, run.graph)


def _unless_absent(function: Callable[..., Any], outputs: int, _: Run, given: Sequence[Any]) -> Sequence[Any]:
    return [ABSENT] * outputs if any(value is ABSENT for value in given) else as_arrays(function(*given))


def _sized(op: str, settings: Mapping[str, Any], largest: int, function: Callable[..., Any], *given: Any) -> Any:
    check_size(op, given, settings, largest)
    return function(*given)


def _told_shape(value: Any) -> str:
    if value is None:
        return "none"
    return f"a sequence of {len(value)}" if isinstance(value, list) else written(np.shape(value))
