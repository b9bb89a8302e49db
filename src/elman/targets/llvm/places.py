"""Where values stand in memory while a program runs, and how large a workspace that takes.

    input, output   arrays of the caller, any stride from step to step and from example to example
    first, last     states before and after, arrays of the caller
    chunk           a row for every step and example of a chunk of time: what crosses from phase to phase
    now, next       states, a row for every example; they change places after every step
    passing         a row for every example: what passes from group to group within a step
    brief           a single row: what passes from group to group of a strand
    shared          parameters, and what was made of them alone
    sum             totals over all rows

Rows of the workspace are padded to whole vectors, so that nothing in it needs a mask.
"""

from dataclasses import dataclass
from functools import cached_property

from elman.nodes import LEAVES
from elman.shapes import Shape
from elman.targets.llvm.groups import Group, Grouping
from elman.targets.llvm.strands import Strand, strands

PAD = 16
"""Elements to which a row is padded: the widest vector of the narrowest type."""

BRIEF = 1 << 14
"""Elements of what is brief, at most: it stands on the stack, and should be near."""


@dataclass(frozen=True)
class Place:
    """Where a value stands: a kind from the table above, and which one of that kind."""

    kind: str
    which: int | str

    @property
    def is_callers(self) -> bool:
        """Whether the array is one of the caller's: not padded, any strides."""
        return self.kind in ("input", "output", "shared")


def lines_of(shape: Shape) -> int:
    """Rows of a value: of a matrix; a vector or number has one."""
    return int(shape[0]) if len(shape) > 1 else 1


def columns(shape: Shape, padded: bool) -> int:
    """Elements from one row of a value to the next; a vector or number has one row."""
    width = int(shape[-1]) if shape else 1
    return -(-width // PAD) * PAD if padded else width


def elements(shape: Shape, padded: bool) -> int:
    """Elements of a value in memory."""
    return columns(shape, padded) * lines_of(shape)


class Places:
    """The places of every value of a grouping."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping, self.graph, self.plan = grouping, grouping.graph, grouping.plan
        self.outputs, self.states = self.graph.named("output"), self.graph.named("state")

    @property
    def phases(self) -> dict[str, list[Group]]:
        """Groups by phase, with the copies of results that no group computes."""
        return self._phases

    @cached_property
    def _phases(self) -> dict[str, list[Group]]:
        phases = {phase: list(self.grouping.groups(phase)) for phase in ("before", "loop", "after")}
        for phase, copied in self._copies.items():
            phases[phase] += [Group((index,), self.graph.nodes[index].shape, copy=True) for index in copied]
        return phases

    @cached_property
    def home_phase(self) -> dict[int, str]:
        """The phase that computes each value."""
        groups = self.grouping.groups
        return {i: phase for phase in ("before", "loop", "after") for group in groups(phase) for i in group.nodes}

    @cached_property
    def _copies(self) -> dict[str, list[int]]:
        """Results, and states that are read behind the loop, that no group computes where they are wanted."""
        states = [index for index in self.states.values() if self.home_phase.get(index) != "loop"]
        found = {"before": list(self._brought_together), "loop": [*dict.fromkeys(states)], "after": []}
        for index in dict.fromkeys((*self.outputs.values(), *self.plan.kept_states)):
            if index not in self.home_phase and index not in found[self._phase_of_copy(index)]:
                found[self._phase_of_copy(index)].append(index)
        return found

    @cached_property
    def strands(self) -> dict[str, list[Strand]]:
        """The groups of every phase, put together."""
        return {phase: strands(self.grouping, groups) for phase, groups in self._phases.items()}

    @cached_property
    def brief(self) -> dict[int, int]:
        """Values that are read by the strand alone that makes them, and at which element each begins."""
        made, readers = dict[int, Strand](), dict[int, set[Strand]]()
        for strand in (strand for phase in self.strands.values() for strand in phase):
            for index in (index for group in strand for index in group.nodes):
                made.setdefault(index, strand)
                for i in self.read(index):
                    readers.setdefault(i, set()).add(strand)
        results = {*self.outputs.values(), *self.states.values()}
        found, ends = dict[int, int](), dict[Strand, int]()
        for index, strand in made.items():
            begin = ends.get(strand, 0)
            end = begin + elements(self.graph.nodes[index].shape, True)
            is_wanted = index in self.grouping.stored and index not in results
            if is_wanted and readers.get(index) == {strand} and end <= BRIEF:
                found[index], ends[strand] = begin, end
        return found

    @cached_property
    def _summed(self) -> frozenset[int]:
        """Values whose rows totals read."""
        groups = (group for group in self.grouping.groups("after") if group.total)
        return frozenset(i for group in groups for index in group.nodes for i, _ in self.grouping.needs(index))

    @cached_property
    def _brought_together(self) -> tuple[int, ...]:
        """Inputs whose rows totals read: these want to stand one behind another."""
        return tuple(sorted(i for i in self._summed if self.graph.nodes[i].gate == "input"))

    def _phase_of_copy(self, index: int) -> str:
        """When a value that is no gate's can be copied: as soon as what it is read from is there."""
        node = self.graph.nodes[index]
        if node.gate == "expand":
            index = node.inputs[0]
        source = self.grouping.source(index).node
        if self.graph.nodes[source].gate == "state":
            return "loop"
        return self.home_phase.get(source, "before")

    @cached_property
    def _states_behind(self) -> frozenset[int]:
        """States that are read behind the loop, as they were before each step; those that are only results stand there."""
        read = {i for group in self._phases["after"] for index in group.nodes for i in self.read(index)}
        return frozenset(read & set(self.plan.kept_states))

    @cached_property
    def _crossing(self) -> frozenset[int]:
        """Values that one phase makes and another reads."""
        found = set(self._states_behind)
        for phase, groups in self._phases.items():
            for group in groups:
                for index in group.nodes:
                    found |= {i for i in self.read(index) if self.home_phase.get(i, phase) != phase}
        return frozenset(found)

    def read(self, index: int) -> set[int]:
        """The values in memory that a gate, or a copy, reads."""
        node = self.graph.nodes[index]
        found = {self.grouping.source(node.inputs[0] if node.gate == "expand" else index).node} - {index}
        if node.gate in LEAVES or self.plan.shared[index] or index in self.home_phase:
            found |= {index}
        if index in self.home_phase:
            found |= {source for source, _ in self.grouping.needs(index)}
        return found

    def home(self, index: int, phase: str) -> Place:
        """Where a phase reads a value."""
        node = self.graph.nodes[index]
        if node.gate in ("input", "token"):
            return Place("input", node.name)
        if self.plan.shared[index]:
            return Place("shared", index)
        if node.gate == "state":
            return Place("now", node.name) if phase == "loop" else Place("chunk", index)
        return self._homes[index]

    @cached_property
    def _homes(self) -> dict[int, Place]:
        outputs = {index: name for name, index in reversed(self.outputs.items())}
        states = {index: name for name, index in reversed(self.states.items())}
        homes = {}
        for index, phase in self.home_phase.items():
            if index not in self.grouping.stored:
                continue
            if index in self.brief:
                homes[index] = Place("brief", index)
            elif index in self._summed:
                homes[index] = Place("chunk", index)
            elif index in outputs and (index in self._crossing or phase != "loop"):
                homes[index] = Place("output", outputs[index])
            elif index in self._crossing or phase != "loop":
                homes[index] = Place("chunk", index)
            elif index in states:
                homes[index] = Place("next", states[index])
            else:
                homes[index] = Place("output", outputs[index]) if index in outputs else Place("passing", index)
        return homes

    def written(self, index: int, phase: str) -> list[Place]:
        """Where a group or copy of a phase puts a value."""
        places = [Place("next", name) for name, node in self.states.items() if node == index and phase == "loop"]
        is_home = self.home_phase.get(index) == phase
        if is_home or (index not in self.home_phase and self._phase_of_copy(index) == phase):
            places += [Place("output", name) for name, node in self.outputs.items() if node == index]
        if is_home and index in self._homes and self._homes[index] not in places:
            places.append(self._homes[index])
        if phase == "before" and index in self._brought_together:
            places.append(Place("chunk", index))
        if phase == "loop" and index in self._states_behind:
            places.append(Place("chunk", index))
        return places

    def segments(self) -> list[tuple[Place, int, bool]]:
        """The arrays of the workspace: place, elements of a row, and whether there is a row for every step of a chunk."""
        found: dict[Place, tuple[int, bool]] = {}
        for phase, groups in self._phases.items():
            for group in groups:
                for index in group.nodes:
                    for place in self.written(index, phase):
                        if place.kind in ("chunk", "passing"):
                            found[place] = (elements(self.graph.nodes[index].shape, True), place.kind == "chunk")
        for name, index in self.graph.leaves("state").items():
            for kind in ("now", "next"):
                found[Place(kind, name)] = (elements(self.graph.nodes[index].shape, True), False)
        return [(place, *size) for place, size in found.items()]
