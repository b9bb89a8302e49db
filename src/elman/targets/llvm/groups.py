"""Which gates of a phase are computed together: groups, in stages, each going through memory once.

A *group* works on vectors of one shape, a few lanes at a time; all its gates meet in registers. What a gate needs whole (the
operand of a product, what a reduction sums) must be in memory, so it comes from an earlier stage. An LSTM is one group: four
products and all that is done with them; a GRU that resets before its product is two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from elman.gates import GATES
from elman.nodes import LEAVES
from elman.passes import Plan
from elman.passes.schedule import SUMMED
from elman.shapes import Shape

VIEWS = ("slice", "expand")
"""Gates that are another way of reading a value: nothing is computed."""

LANEWISE = ("product", "outer", "lookup", "one_hot")
"""Gates besides the elementwise ones that are computed lane by lane from operands in memory."""


@dataclass(frozen=True)
class Group:
    """Gates that are computed together: of one shape and lane by lane, or one gate that reads its operands `whole`.

    A `copy` computes nothing: it brings a value that stands in memory to another place. A `total` sums over all rows.
    """

    nodes: tuple[int, ...]
    shape: Shape
    whole: bool = False
    copy: bool = False
    total: bool = False


@dataclass(frozen=True)
class Source:
    """Where a value is read: from a node in memory at an offset of elements, or as one number in every lane."""

    node: int
    offset: int = 0


class Grouping:
    """The groups of every phase of a plan, and what must be in memory."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.graph = plan, plan.graph

    def groups(self, phase: str) -> list[Group]:
        """The groups of a phase, in the order in which they can run."""
        return self._groups[phase]

    @cached_property
    def _groups(self) -> dict[str, list[Group]]:
        return {phase: self._staged(phase) for phase in ("before", "loop", "after")}

    def source(self, index: int) -> Source:
        """What a view reads; a value that is no view reads itself."""
        offset = 0
        node = self.graph.nodes[index]
        while node.gate == "slice" and not self.plan.shared[index]:
            columns = int(node.shape[1]) if len(node.shape) > 1 else 1
            offset += int(node.settings["start"]) * columns
            index = node.inputs[0]
            node = self.graph.nodes[index]
        return Source(index, offset)

    def is_lanewise(self, index: int) -> bool:
        """Whether a gate is computed lane by lane."""
        node = self.graph.nodes[index]
        if node.gate == "product":
            return self.plan.shared[node.inputs[0]]
        if node.gate == "lookup":
            return self.plan.shared[node.inputs[0]]
        return GATES[node.gate].elementwise or node.gate in LANEWISE

    def _staged(self, phase: str) -> list[Group]:
        """Stage by stage: a value that is needed whole must stand in memory before, so its user is a stage later."""
        inside = [i for i in self.plan.nodes(phase) if self.graph.nodes[i].gate not in VIEWS]
        stage: dict[int, int] = {}
        for index in inside:
            stage[index] = max((stage[i] + apart for i, apart in self.needs(index) if i in stage), default=0)
            if self.graph.nodes[index].gate == "total":
                stage[index] = len(self.graph.nodes)  # behind all others: nothing reads it
        for index in inside:
            if self.graph.nodes[index].gate == "one_hot":  # made where it is wanted, it need not be held
                stage[index] = min((stage[i] for i in self.graph.uses[index] if i in stage), default=stage[index])
        together: dict[tuple[int, object], list[int]] = {}
        for index in inside:
            key: object = self.graph.nodes[index].shape if self.is_lanewise(index) else index
            together.setdefault((stage[index], key), []).append(index)
        ordered = sorted(together.items(), key=lambda item: (item[0][0], item[1][0]))
        return [self._group(tuple(nodes)) for _, nodes in ordered]

    def _group(self, nodes: tuple[int, ...]) -> Group:
        first = self.graph.nodes[nodes[0]]
        if first.gate == "total":
            return Group(nodes, first.shape, total=True)
        return Group(nodes, first.shape, not self.is_lanewise(nodes[0]))

    def needs(self, index: int) -> Iterable[tuple[int, bool]]:
        """The values that a gate needs, and for each whether it must stand in memory first."""
        if self.graph.nodes[index].gate == "total":
            yield from ((self.source(i).node, True) for i in summed(self.plan, index)[1])
            return
        for i in self.graph.nodes[index].inputs:
            yield from self._reads(index, i)

    def _reads(self, index: int, i: int) -> Iterable[tuple[int, bool]]:
        node, operand = self.graph.nodes[index], self.graph.nodes[i]
        if operand.gate == "expand":
            inner = self.source(operand.inputs[0]).node
            yield inner, True
            return
        source = self.source(i)
        lanewise = self.is_lanewise(index) and GATES[node.gate].elementwise and self.is_lanewise_node(source.node)
        same = source.node == i and operand.shape == node.shape
        yield source.node, not (lanewise and same)

    def is_lanewise_node(self, index: int) -> bool:
        """Whether a value is the result of a gate that is computed lane by lane."""
        return self.graph.nodes[index].gate not in LEAVES and self.is_lanewise(index)

    @cached_property
    def stored(self) -> frozenset[int]:
        """Values that must be in memory: results, and what another group or phase reads."""
        results = {result.node for result in self.graph.results}
        home = {i: (phase, k) for phase in self._groups for k, g in enumerate(self._groups[phase]) for i in g.nodes}
        found = {self.source(i).node for i in results}
        for index, where in home.items():
            for source, apart in self.needs(index):
                if apart or home.get(source) != where:
                    found.add(source)
        return frozenset(i for i in found if i in home and self.graph.nodes[i].gate != "total")


def summed(plan: Plan, index: int) -> tuple[str, tuple[int, ...]]:
    """What a total sums: the gate that is never made by itself and its operands, or a value as it stands."""
    [inner] = plan.graph.nodes[index].inputs
    node = plan.graph.nodes[inner]
    return (node.gate, node.inputs) if node.gate in SUMMED and not plan.phases[inner] else ("", (inner,))
